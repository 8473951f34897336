# SPDX-License-Identifier: Apache-2.0
"""ttRPC and protobuf by hand: frames that no well-behaved client would send.

Messages are dictionaries; their fields come from the .proto files of this tree. A value may be of a wrong type on
purpose: bytes stand for a string as they are, an int outside its range is sent as it is. Raw(bytes) replaces the whole
encoding of a field's value.
"""
import os
import re
import select
import socket
import struct
import time

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'src', 'proto')
AGENT = 'grpc.AgentService'
MAX = 4 << 20


class Raw(bytes):
    """What goes onto the wire in place of a message or a string."""


class Field:
    def __init__(self, name, number, kind, repeated=False, key=None):
        self.name, self.number, self.kind, self.repeated, self.key = name, number, kind, repeated, key


class Schema:
    """The messages and methods of the .proto files, by their last name."""
    VARINT = {'int32', 'int64', 'uint32', 'uint64', 'bool', 'sint32', 'sint64'}

    def __init__(self, directory=PROTO):
        self.messages, self.enums, self.methods = {}, set(), {}
        for name in sorted(os.listdir(directory)):
            if name.endswith('.proto'):
                with open(os.path.join(directory, name)) as file:
                    self.parse(file.read())

    def parse(self, text):
        text = re.sub(r'//[^\n]*', '', text)
        text = re.sub(r'\[[^\]]*\]', '', text)
        open_, service = [], None
        token = re.compile(r'(message|enum|service|oneof)\s+(\w+)\s*\{|(\})|rpc\s+(\w+)\s*\(\s*([\w.]+)\s*\)[^;{]*;|'
                           r'(repeated|optional|required)?\s*(map\s*<\s*(\w+)\s*,\s*([\w.]+)\s*>|[\w.]+)\s+(\w+)\s*='
                           r'\s*(\d+)\s*;|(\w+)\s*=\s*\d+\s*;|syntax[^;]*;|package[^;]*;|import[^;]*;|option[^;]*;')
        for m in token.finditer(text):
            if m.group(1):
                open_.append((m.group(1), m.group(2)))
                if m.group(1) == 'message':
                    self.messages[m.group(2)] = {}
                elif m.group(1) == 'enum':
                    self.enums.add(m.group(2))
                elif m.group(1) == 'service':
                    service = m.group(2)
            elif m.group(3):
                open_.pop()
            elif m.group(4):
                self.methods[m.group(4)] = (service, m.group(5).split('.')[-1])
            elif m.group(11) and open_ and open_[-1][0] in ('message', 'oneof'):
                owner = [name for what, name in open_ if what == 'message'][-1]
                kind = m.group(9) or m.group(7)
                self.messages[owner][m.group(10)] = Field(m.group(10), int(m.group(11)), kind.split('.')[-1],
                                                          m.group(6) == 'repeated' or bool(m.group(8)), m.group(8))

    def encode(self, name, value):
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        out, fields = bytearray(), self.messages[name]
        for key, item in value.items():
            field = fields[key]
            if field.key:
                for k, v in item.items():
                    entry = self.encode_one(1, field.key, k) + self.encode_one(2, field.kind, v)
                    out += tag(field.number, 2) + varint(len(entry)) + entry
            elif field.repeated and isinstance(item, (list, tuple)):
                for one in item:
                    out += self.encode_one(field.number, field.kind, one)
            else:
                out += self.encode_one(field.number, field.kind, item)
        return bytes(out)

    def encode_one(self, number, kind, value):
        if isinstance(value, Raw):
            data = bytes(value)
        elif kind in self.VARINT or kind in self.enums:
            return tag(number, 0) + varint(int(value) & (1 << 64) - 1)
        elif kind in ('string', 'bytes'):
            data = value.encode('utf-8', 'surrogateescape') if isinstance(value, str) else bytes(value)
        else:
            data = self.encode(kind, value)
        return tag(number, 2) + varint(len(data)) + data

    def decode(self, name, data):
        """What of an answer plays look at: the last value of each known field; lists of repeated ones."""
        out, by_number = {}, {f.number: f for f in self.messages[name].values()}
        for number, wire, value in fields_of(data):
            field = by_number.get(number)
            if field is None:
                continue
            if wire == 2 and field.kind == 'string':
                value = value.decode('utf-8', 'replace')
            elif wire == 2 and field.kind != 'bytes' and not field.key and field.kind in self.messages:
                value = self.decode(field.kind, value)
            if field.repeated:
                out.setdefault(field.name, []).append(value)
            else:
                out[field.name] = value
        return out


def tag(number, wire):
    return varint(number << 3 | wire)


def varint(value):
    out = bytearray()
    while True:
        byte = value & 0x7f
        value >>= 7
        if not value:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def fields_of(data):
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, 0, number()
        elif key & 7 == 2:
            length = number()
            yield key >> 3, 2, data[at:at + length]
            at += length
        elif key & 7 == 5:
            yield key >> 3, 5, data[at:at + 4]
            at += 4
        elif key & 7 == 1:
            yield key >> 3, 1, data[at:at + 8]
            at += 8
        else:
            raise ValueError('wire type %d' % (key & 7))


class Answer:
    def __init__(self, code, text, payload):
        self.code, self.text, self.payload = code, text, payload

    def __repr__(self):
        return 'code %d %r' % (self.code, self.text)


class NoAnswer(AssertionError):
    pass


SCHEMA = Schema()


class Client:
    """One connection."""

    def __init__(self, path, patience=10):
        self.path, self.next, self.got, self.buffer = path, 1, {}, bytearray()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        # With a time limit a socket does not wait for room in the listener's queue.
        end = time.monotonic() + patience
        while True:
            try:
                return self.socket.connect(path)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def frame(self, body, stream=None, type_=1, flags=0, length=None):
        """One frame, whose header may lie. Its stream."""
        if stream is None:
            stream = self.next
            self.next += 2
        length = len(body) if length is None else length
        self.socket.sendall(struct.pack('>IIBB', length, stream, type_, flags) + body)
        return stream

    def send(self, method, message=None, service=None, timeout_ns=0):
        known = SCHEMA.methods.get(method)
        payload = message if isinstance(message, bytes) else SCHEMA.encode(known[1], message or {})
        return self.frame(request(service or 'grpc.' + known[0], method, payload, timeout_ns))

    def answer(self, stream, wait=30):
        """The answer to a call; NoAnswer after so many seconds, ConnectionError when the peer has gone."""
        end = time.monotonic() + wait
        while stream not in self.got:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise NoAnswer('no answer within %g s' % wait)
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionError('the peer has closed')
            self.buffer += data
            self.take()
        return self.got.pop(stream)

    def take(self):
        while len(self.buffer) >= 10:
            length, stream, type_, _ = struct.unpack('>IIBB', self.buffer[:10])
            if len(self.buffer) < 10 + length:
                return
            body = bytes(self.buffer[10:10 + length])
            del self.buffer[:10 + length]
            if type_ == 2:
                self.got[stream] = answer_of(body)

    def call(self, method, message=None, wait=30, **more):
        return self.answer(self.send(method, message, **more), wait)

    def ok(self, method, message=None, **more):
        answer = self.call(method, message, **more)
        if answer.code:
            raise AssertionError('%s: %r' % (method, answer))
        return answer


def request(service, method, payload, timeout_ns=0):
    body = b''
    for number, value in ((1, service), (2, method), (3, payload)):
        value = value.encode() if isinstance(value, str) else value
        if value:
            body += tag(number, 2) + varint(len(value)) + value
    if timeout_ns:
        body += tag(4, 0) + varint(timeout_ns & (1 << 64) - 1)
    return body


def answer_of(body):
    code, text, payload = 0, '', b''
    for number, _, value in fields_of(body):
        if number == 1:
            for n, _, v in fields_of(value):
                if n == 1:
                    code = v
                elif n == 2:
                    text = v.decode('utf-8')
        elif number == 2:
            payload = value
    return Answer(code, text, payload)

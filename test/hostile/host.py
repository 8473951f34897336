# SPDX-License-Identifier: Apache-2.0
"""A host that says anything: every request is answered, the agent stays, and nothing is left of what failed."""
import itertools
import os
import random
import struct
import threading
import time

from stage import *
from wire import AGENT as SERVICE
from wire import MAX, SCHEMA, Answer, Client, NoAnswer, Raw, request, tag, varint

SEED = int(os.environ.get('HOSTILE_SEED', '1'))
# Not to be tried with whatever comes: they are about the machine's clock, memory, processors and end.
NEVER = {'SetGuestDateTime', 'OnlineCPUMem', 'MemHotplugByProbe', 'AddSwap', 'AddSwapPath', 'DestroySandbox', 'ReseedRandomDev',
         'SetIPTables'}
TEXTS = ['', '.', '..', '../../../canary', '/', 'A' * 300, 'A' * 70000, b'\xff\xfe', b'a\0b', 'a\nb', '\x1b[2J', '%s%n%n', '-1',
         '/proc/self/mem', 'none', '🐳' * 50, ' ', ',', '=', 'a=b,c=d']
NUMBERS = [0, 1, -1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1]


def base(root, id_='h1'):
    """A spec in which everything is said once, and that works."""
    message = spec(id_, ['/bin/true'], root, mounts=[bind(TMP + '/source', '/mnt', 'ro')], cwd='/tmp', process={
        'Rlimits': [{'Type': 'RLIMIT_NOFILE', 'Hard': 100, 'Soft': 100}], 'OOMScoreAdj': 10, 'NoNewPrivileges': True,
        'ConsoleSize': {'Height': 1, 'Width': 1}, 'Scheduler': {'Policy': 'SCHED_OTHER', 'Nice': 1},
        'IOPriority': {'Class': 'IOPRIO_CLASS_BE', 'Priority': 4}}, linux={
        'MaskedPaths': ['/proc/keys'], 'ReadonlyPaths': ['/proc/sys'], 'RootfsPropagation': 'private',
        'Sysctl': {'kernel.shm_rmid_forced': '0'},
        'Devices': [{'Path': '/dev/spec', 'Type': 'c', 'Major': 1, 'Minor': 5, 'FileMode': 0o666, 'UID': 0, 'GID': 0}],
        'Resources': {'Devices': [{'Allow': True, 'Type': 'a', 'Access': 'rwm'}], 'Pids': {'Limit': 50}, 'Memory': {'Limit': 1 << 28},
                      'CPU': {'Shares': 100, 'Period': 100000, 'Quota': 50000}, 'BlockIO': {'Weight': 0}},
        'Seccomp': {'DefaultAction': 'SCMP_ACT_ALLOW', 'Architectures': ['SCMP_ARCH_X86_64'], 'Flags': [],
                    'Syscalls': [{'Names': ['swapon'], 'Action': 'SCMP_ACT_ERRNO', 'errnoret': 1,
                                  'Args': [{'Index': 0, 'Value': 1, 'ValueTwo': 0, 'Op': 'SCMP_CMP_EQ'}]}]}},
        Hostname='h', Annotations={'a': 'b'})
    message['storages'] = [{'driver': 'nothing', 'source': 'none', 'fstype': 'tmpfs', 'options': ['ro'], 'mount_point': CANARY + '/m'}]
    return message


def changed(kind, value):
    """A message with one thing in it, at any depth, that is not as it should be: pairs of where and message."""
    for name, field in SCHEMA.messages[kind].items():
        if field.key:
            for text in ('', '..', '../x', 'A' * 5000, 'a\nb', b'\xff', 'net.', '.'):
                v = text if field.kind == 'string' else {}
                yield name, dict(value, **{name: {text: v}})
            continue
        if field.kind in SCHEMA.messages:
            old = value.get(name)
            if old is not None:
                yield name + ' absent', {k: v for k, v in value.items() if k != name}
            yield name + ' empty', dict(value, **{name: [{}] if field.repeated else {}})
            yield name + ' broken', dict(value, **{name: [Raw(b'\x0a\xff')] if field.repeated else Raw(b'\xff\xff\xff')})
            inner = (old[0] if field.repeated and old else old) or {}
            if isinstance(inner, dict):
                for where, message in changed(field.kind, inner):
                    yield name + '.' + where, dict(value, **{name: [message] if field.repeated else message})
            continue
        if name in value:
            yield name + ' absent', {k: v for k, v in value.items() if k != name}
        for odd in TEXTS if field.kind in ('string', 'bytes') else NUMBERS:
            if field.kind in ('string', 'bytes'):
                odd = odd if isinstance(odd, bytes) else odd.encode()
            yield '%s=%r' % (name, odd[:20] if isinstance(odd, bytes) else odd), dict(value, **{name: [odd] if field.repeated else odd})


def every(step, sequence):
    return itertools.islice(sequence, 0, None, step)


def answered(client, method, message, what):
    try:
        answer = client.call(method, message, wait=BOUND)
    except (NoAnswer, ConnectionError) as problem:
        raise AssertionError('%s with %s: %s' % (method, what, problem)) from problem
    if answer.code:
        assert 1 <= answer.code <= 16, (method, what, answer)
        assert answer.text and len(answer.text) < 200000, (method, what)
    return answer


def create_fields():
    """CreateContainer with one thing wrong at a time. What is taken nevertheless is started and removed."""
    make_canary()
    os.makedirs(TMP + '/source', exist_ok=True)
    root = image('fields')
    plain = base(root)
    del plain['storages']
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        client.ok('CreateContainer', plain, wait=BOUND)
        start(client, 'h1')
        remove(client, 'h1')
        made = count = 0
        cases = itertools.chain(changed('CreateContainerRequest', plain),
                                (c for c in changed('CreateContainerRequest', base(root)) if c[0].startswith('storages')))
        for what, message in every(12 if SMALL else 4, cases):
            if what.startswith('storages.driver') or what.startswith('storages.mount_point'):
                message['storages'][0].setdefault('driver', 'nothing')
            count += 1
            answer = answered(client, 'CreateContainer', message, what)
            if answer.code:
                continue
            made += 1
            id_ = message['container_id']
            answered(client, 'StartContainer', {'container_id': id_}, what)
            answer = answered(client, 'RemoveContainer', {'container_id': id_}, what)
            assert not answer.code, ('RemoveContainer', what, answer)
        print('%d requests, %d were taken' % (count, made))
        assert made and count > made


def exec_fields():
    make_canary()
    root = image('fields')
    process = base(root)['OCI']['Process']
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        running(client, 'h1', ['/bin/evil', 'sleep'], root)
        message = {'container_id': 'h1', 'exec_id': 'e1', 'process': process}
        for what, message in every(4 if SMALL else 1, changed('ExecProcessRequest', message)):
            answer = answered(client, 'ExecProcess', message, what)
            if not answer.code:
                answered(client, 'WaitProcess', {'container_id': 'h1', 'exec_id': message['exec_id']}, what)
        resources = base(root)['OCI']['Linux']['Resources']
        for what, message in every(4 if SMALL else 1, changed('UpdateContainerRequest', {'container_id': 'h1', 'resources': resources})):
            answered(client, 'UpdateContainer', message, what)
        assert output(client, 'h1', 'e2', ['/bin/echo', 'x'])
        remove(client, 'h1')


def other_fields():
    """All other methods, with nothing, with garbage, with one thing wrong; with and without a container."""
    make_canary()
    root = image('fields')
    values = {'container_id': 'h1', 'exec_id': 'h1', 'data': b'x', 'len': 10, 'signal': 0, 'row': 1, 'column': 1,
              'path': '/run/kata-containers/shared/containers/x', 'file_mode': 0o100644, 'file_size': 1,
              'sandbox_id': 's', 'hostname': 's', 'log_type': 'containers', 'volume_guest_path': '/tmp'}
    with connect() as client, nothing_leaks():
        for alive in (True, False):
            if alive:
                running(client, 'h1', ['/bin/evil', 'sleep'], root)
            for method, (service, kind) in sorted(SCHEMA.methods.items()):
                if method in NEVER | {'CreateContainer', 'ExecProcess', 'GetOOMEvent', 'CreateSandbox', 'RemoveContainer'}:
                    continue
                known = {k: v for k, v in values.items() if k in SCHEMA.messages[kind]}
                if method in ('ReadStdout', 'ReadStderr', 'WaitProcess') and alive:
                    known['container_id'] = 'nobody'
                for garbage in (b'', b'\xff' * 20, b'\x0a', b'\x0a\x05abc', b'\x00', os.urandom(200), b'\x0b' * 5000, b'\x0a\xff\xff\xff\xff\x0f'):
                    if method in ('ReadStdout', 'ReadStderr', 'WaitProcess') or not garbage or True:
                        answered(client, method, garbage, garbage[:20])
                for what, message in every(4 if SMALL else 1, changed(kind, known)):
                    if method in ('ReadStdout', 'ReadStderr', 'WaitProcess') and alive and message.get('container_id') == 'h1':
                        continue
                    answered(client, method, message, what)
            if alive:
                client.call('ResumeContainer', {'container_id': 'h1'})
                remove(client, 'h1')
        compare_files()


def compare_files():
    """What CopyFile was let to make lies below its one directory, and goes."""
    here = '/proc/%d/root/run/kata-containers' % GUEST
    left = sorted(os.listdir(here))
    assert left in ([], ['shared']), left
    in_guest('rm', '-rf', '/run/kata-containers/shared')


def big_requests():
    """Ten thousand of everything, four megabytes, deep nesting: in bounded time, with an answer."""
    make_canary()
    os.makedirs(TMP + '/source', exist_ok=True)
    many = 1000 if SMALL else 10000
    root = image('big')
    seccomp = {'DefaultAction': 'SCMP_ACT_ALLOW', 'Architectures': ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']}
    rule = {'Names': ['read', 'write', 'nosuchcall', 'open'], 'Action': 'SCMP_ACT_LOG', 'Args': [
        {'Index': i % 6, 'Value': 2 ** 64 - 1, 'ValueTwo': 2 ** 63, 'Op': 'SCMP_CMP_MASKED_EQ'} for i in range(6)]}
    cases = {
        'args': dict(process={'Args': ['/bin/true'] + ['x' * 20] * many}),
        'one long arg': dict(process={'Args': ['/bin/true', 'x' * 3000000]}),
        'env': dict(process={'Env': ['K%d=%d' % (i, i) for i in range(many)]}),
        'the same env': dict(process={'Env': ['K=%d' % i for i in range(many)]}),
        'env without =': dict(process={'Env': ['x' * 10] * many}),
        'groups': dict(process={'User': {'AdditionalGids': list(range(65536))}}),
        'capabilities': dict(process={'Capabilities': {k: ['CAP_KILL'] * many for k in ('Bounding', 'Effective', 'Permitted', 'Ambient')}}),
        'unknown capabilities': dict(process={'Capabilities': {'Bounding': ['CAP_NONE\n%d' % i for i in range(many)]}}),
        'rlimits': dict(process={'Rlimits': [{'Type': 'RLIMIT_NOFILE', 'Hard': 1, 'Soft': 1}] * many}),
        'mounts': dict(mounts=[bind(TMP + '/source', '/mnt') for _ in range(many)]),
        'masked': dict(linux={'MaskedPaths': ['/tmp'] * (many // 10)}),
        'masked, absent': dict(linux={'MaskedPaths': ['/none/%d' % i for i in range(many)], 'ReadonlyPaths': ['/none'] * many}),
        'devices': dict(linux={'Devices': [{'Path': '/dev/d%d' % i, 'Type': 'c', 'Major': 1, 'Minor': 3} for i in range(many)]}),
        'device rules': dict(linux={'Resources': {'Devices': [{'Allow': bool(i % 2), 'Type': 'c', 'Major': i, 'Minor': i, 'Access': 'rwm'} for i in range(many)]}}),
        'namespaces': dict(linux={'Namespaces': [{'Type': 'mount'}] * many}),
        'sysctls': dict(linux={'Sysctl': {'net.x%d' % i: '0' for i in range(many)}}),
        'annotations': dict(Annotations={'k%d' % i: 'v' * 100 for i in range(many)}),
        'seccomp': dict(linux={'Seccomp': dict(seccomp, Syscalls=[rule] * (many // 10))}),
        'huge seccomp': dict(linux={'Seccomp': dict(seccomp, Syscalls=[rule] * many)}),
        'seccomp names': dict(linux={'Seccomp': dict(seccomp, Syscalls=[{'Names': ['call%d' % i for i in range(many)], 'Action': 'SCMP_ACT_KILL'}])}),
        'options': dict(mounts=[{'destination': '/mnt', 'type': 'tmpfs', 'source': 't', 'options': ['size=1k'] * many}]),
        'long option': dict(mounts=[{'destination': '/mnt', 'type': 'tmpfs', 'source': 't', 'options': ['x' * 1000000]}]),
        'cgroup': dict(linux={'CgroupsPath': '/%s/' % CGROUP + 'a/' * 1000}),
        'hooks': dict(Hooks={'Prestart': [{'Path': '/bin/true'}] * 20, 'CreateContainer': [{'Path': '/bin/true'}] * 20}),
    }
    with connect() as client, nothing_leaks(growth=64 << 20), nothing_outside_changes():
        for what, more in cases.items():
            message = spec('h1', ['/bin/true'], root, **more)
            began = time.monotonic()
            sent = client.send('CreateContainer', message)
            # Others are served meanwhile.
            if not SANITIZED:
                with connect() as other:
                    asked = time.monotonic()
                    other.ok('Check', wait=BOUND)
                    waited = time.monotonic() - asked
                    assert waited < 2, '%s: others wait %g s' % (what, waited)
            try:
                answer = client.answer(sent, 60)
            except NoAnswer as problem:
                raise AssertionError('%s: %s' % (what, problem)) from problem
            passed = time.monotonic() - began
            print('%s: %g s, %r' % (what, passed, answer))
            assert passed < 30, '%s took %g s' % (what, passed)
            if answer.code:
                clear(answer.text)
                continue
            client.call('StartContainer', {'container_id': 'h1'}, wait=BOUND)
            remove(client, 'h1')
        # Exactly as long as it may be, and one byte more.
        for extra in (0, 1):
            body = request(SERVICE, 'CreateContainer', b'')
            body += tag(5, 2) + varint(MAX + extra - len(body) - 5) + b'\0' * (MAX + extra - len(body) - 5)
            assert len(body) == MAX + extra
            answer = client.answer(client.frame(body), BOUND)
            assert answer.code, 'an empty CreateContainer was taken'
        # Messages within messages.
        inner = b''
        for _ in range(20000):
            inner = tag(6, 2) + varint(len(inner)) + inner if len(inner) < MAX // 2 else inner
        answered(client, 'CreateContainer', inner, 'deep nesting')
        groups = b'\x0b' * 1000000
        answered(client, 'CreateContainer', groups, 'deep groups')


def frames():
    """What is no call."""
    call = request('grpc.Health', 'Check', b'')
    rounds = 30 if SMALL else 150
    with nothing_leaks():
        chance = random.Random(SEED)
        odd = [struct.pack('>IIBB', 0xffffffff, 1, 1, 0), struct.pack('>IIBB', MAX + 1, 1, 1, 0) + b'x' * 100000, b'\0', b'\0' * 9,
               b'\0' * 10000, b'\xff' * 10000, struct.pack('>IIBB', 4, 1, 1, 0), struct.pack('>IIBB', 0, 0, 0, 0),
               b'GET / HTTP/1.1\r\n\r\n', struct.pack('>IIBB', len(call), 1, 1, 0) + call[:-1],
               (struct.pack('>IIBB', len(call), 1, 1, 0) + call) * 1000]
        for i in range(rounds):
            odd.append(bytes(chance.getrandbits(8) for _ in range(chance.randrange(200))))
            body = bytearray(call)
            for _ in range(chance.randrange(1, 4)):
                body[chance.randrange(len(body))] = chance.getrandbits(8)
            odd.append(struct.pack('>IIBB', len(body), chance.getrandbits(32), chance.choice((0, 1, 1, 1, 2, 3, 255)),
                                   chance.getrandbits(8)) + bytes(body))
        for data in odd:
            client = connect()
            try:
                client.socket.sendall(data)
                if chance.random() < 0.5:
                    client.socket.shutdown(1)
                    client.socket.settimeout(0.01)
                    client.socket.recv(1 << 16)
            except OSError:
                pass
            client.close()
        with connect() as client:
            # In single bytes, among others.
            for byte in struct.pack('>IIBB', len(call), 1, 1, 0) + call:
                client.socket.sendall(bytes([byte]))
            assert not client.answer(1).code
            client.next = 3
            for stream, type_ in ((2, 1), (0, 1), (5, 3), (0xfffffffe, 1)):
                client.frame(call, stream=stream, type_=type_)
                assert client.answer(stream).code == 3
            for type_ in (0, 2, 4, 200):
                client.frame(call, stream=7, type_=type_)
            for timeout in (1, 2 ** 63 - 1, -1, -2 ** 63):
                client.answer(client.frame(request('grpc.Health', 'Check', b'', timeout)))
            for service, method in ((b'\xff', b'Check'), ('', ''), ('grpc.Health', ''), ('', 'Check'), ('grpc.Health', 'check'),
                                    (SERVICE, 'Check'), ('grpc.Health\0', 'Check'), ('x' * 100000, 'y' * 100000)):
                answer = client.answer(client.frame(request(service, method, b'')))
                assert answer.code, (service, method)
            pairs = b''.join(tag(5, 2) + varint(4) + b'\x0a\0\x12\0' for _ in range(200000))
            client.answer(client.frame(call + pairs))
            # The same stream twice while the first still waits.
            first = client.frame(request(SERVICE, 'GetOOMEvent', b''), stream=101)
            client.frame(call, stream=101)
            client.answer(101)
            client.next = 201
            client.ok('Check')


def crowds():
    """Many connections that say nothing, many calls that nobody waits for, and answers that nobody reads."""
    with nothing_leaks(growth=48 << 20):
        idlers = [connect() for _ in range(100)]
        with idle():
            time.sleep(0.5)
        agent_is_well()
        for i, one in enumerate(idlers):
            if i % 3 == 0:
                one.socket.sendall(b'\0\0')
            elif i % 3 == 1:
                for _ in range(50):
                    one.send('GetOOMEvent')
        agent_is_well()
        flooder = connect()
        flooder.socket.settimeout(1)
        try:
            for _ in range(200000):
                flooder.send('Version')
        except OSError:
            pass
        began = time.monotonic()
        agent_is_well()
        assert time.monotonic() - began < 2
        with idle():
            time.sleep(0.5)
        flooder.close()
        for one in idlers:
            one.close()
    # As many as there are descriptors: those that are too many wait or are refused, and those that are in are served.
    many, first = [], connect()
    try:
        limit = int([line for line in open('/proc/%d/limits' % AGENT) if line.startswith('Max open files')][0].split()[3])
        for _ in range(min(limit + 20, 1500)):
            many.append(connect(patience=0))
    except OSError:
        pass
    first.ok('Check')
    with idle():
        time.sleep(0.5)
    for one in many:
        one.close()
    first.close()
    with connect() as client:
        client.ok('Check')


def ids():
    """Ids: every wrong one is refused, and the same one on two connections is made once."""
    root = image('ids')
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        for id_ in ('..', '.', '../h1', 'h/1', '/h1', '', 'a', 'A' * 256, 'A' * 5000, b'\xff\xff', 'a\0b', 'a b', 'a\n', '-a', 'ä' * 4, 'a' * 254 + '/'):
            message = spec('h1', ['/bin/true'], root)
            message['container_id'] = id_
            answer = answered(client, 'CreateContainer', message, id_)
            assert answer.code, id_
            for method in ('StartContainer', 'RemoveContainer', 'StatsContainer'):
                assert answered(client, method, {'container_id': id_}, id_).code
        for length in (128, 200, 250, 251, 252, 253, 254, 255):
            message = spec('h1', ['/bin/true'], root)
            message['container_id'] = 'A' * length
            answer = answered(client, 'CreateContainer', message, length)
            if not answer.code:
                answered(client, 'StartContainer', {'container_id': 'A' * length}, length)
                remove(client, 'A' * length)
        running(client, 'h1', ['/bin/evil', 'sleep'], root)
        for id_ in ('..', '../x', 'e/1', '', 'A' * 5000, b'\xff', 'a\n'):
            answer = execute(client, 'h1', id_, ['/bin/true'])
            assert answer.code, id_
        remove(client, 'h1')
        others = [connect() for _ in range(6)]
        for i in range(5 if SMALL else 25):
            calls = [(other, other.send('CreateContainer', spec('h2', ['/bin/evil', 'sleep'], root))) for other in others]
            codes = sorted(other.answer(call, BOUND).code for other, call in calls)
            assert codes == [0] + [6] * 5, codes
            execs = [(other, other.send('StartContainer', {'container_id': 'h2'})) for other in others]
            codes = [other.answer(call, BOUND).code for other, call in execs]
            assert codes.count(0) == 1, codes
            execs = [(other, other.send('ExecProcess', {'container_id': 'h2', 'exec_id': 'e', 'process': {
                'Args': ['/bin/sleep', '1000'], 'Env': ['PATH=/bin'], 'Cwd': '/'}})) for other in others]
            codes = [other.answer(call, BOUND).code for other, call in execs]
            assert codes.count(0) == 1, codes
            ends = [(other, other.send('RemoveContainer', {'container_id': 'h2'})) for other in others]
            codes = [other.answer(call, BOUND).code for other, call in ends]
            assert 0 in codes and set(codes) <= {0, 5}, codes
        for other in others:
            other.close()


def out_of_order():
    """All calls about one container, in any order, at once."""
    root = image('order')
    chance = random.Random(SEED)
    process = {'Args': ['/bin/sleep', '1000'], 'Env': ['PATH=/bin'], 'Cwd': '/'}
    one, x = {'container_id': 'h1'}, {'container_id': 'h1', 'exec_id': 'x'}
    calls = [('CreateContainer', spec('h1', ['/bin/evil', 'sleep'], root)), ('StartContainer', one), ('RemoveContainer', one),
             ('ExecProcess', dict(x, process=process)), ('SignalProcess', dict(x, signal=9)), ('SignalProcess', dict(one, signal=9)),
             ('PauseContainer', one), ('ResumeContainer', one), ('StatsContainer', one), ('WaitProcess', x), ('WaitProcess', one),
             ('ReadStdout', dict(x, len=10)), ('ReadStderr', dict(one, len=10)), ('WriteStdin', dict(x, data=b'x' * 70000)),
             ('CloseStdin', x), ('TtyWinResize', dict(x, row=1, column=1)), ('UpdateContainer', dict(one, resources={'Pids': {'Limit': 10}})),
             ('SignalProcess', dict(x, signal=19)), ('RemoveContainer', dict(one, timeout=1)), ('GetDiagnosticData', {'log_type': 'containers'})]
    with nothing_leaks(), nothing_outside_changes():
        for round_ in range(12 if SMALL else 60):
            with connect() as a, connect() as b:
                sent = []
                for _ in range(40):
                    method, message = chance.choice(calls[:4] if chance.random() < 0.4 else calls)
                    client = chance.choice((a, b))
                    sent.append((client, method, client.send(method, message)))
                    if chance.random() < 0.3:
                        time.sleep(chance.random() * 0.01)
                end = a.send('RemoveContainer', one)
                a.answer(end, BOUND)
                # A create that waited for that removal may have come through: once more, until there is none.
                for _ in range(40):
                    if a.call('RemoveContainer', one, wait=BOUND).code == 5 and not [
                            1 for c, m, s in sent if m == 'CreateContainer' and s not in c.got and c is not a]:
                        break
                for client, method, stream in sent:
                    try:
                        client.answer(stream, BOUND)
                    except NoAnswer as problem:
                        # One that came after the last removal.
                        a.call('RemoveContainer', one, wait=BOUND)
                        try:
                            client.answer(stream, BOUND)
                        except NoAnswer:
                            raise AssertionError('%s of round %d: %s' % (method, round_, problem)) from problem
                a.call('RemoveContainer', one, wait=BOUND)


def vanishing_hosts():
    """Two hundred clients that leave at any moment of a create; the same id at once is then free."""
    root = image('vanish')
    message = SCHEMA.encode('CreateContainerRequest', spec('h1', ['/bin/evil', 'sleep'], root, terminal=True))
    chance = random.Random(SEED)
    os.makedirs(TMP + '/source', exist_ok=True)
    with nothing_leaks(), nothing_outside_changes():
        for i in range(40 if SMALL else 200):
            client = connect()
            client.send('CreateContainer', message)
            if i % 4 == 0:
                client.socket.shutdown(1)
            time.sleep(chance.random() ** 2 * 0.03)
            client.close()
            if i % 2:
                continue
            with connect() as other:
                answer = other.call('CreateContainer', message, wait=BOUND)
                if answer.code == 6:
                    # The agent has not heard of the other's leave yet, or the create came through before.
                    eventually(lambda: other.call('RemoveContainer', {'container_id': 'h1'}, wait=BOUND).code in (0, 5))
                    answer = other.call('CreateContainer', message, wait=BOUND)
                assert not answer.code, answer
                if chance.random() < 0.5:
                    other.call('StartContainer', {'container_id': 'h1'}, wait=BOUND)
                remove(other, 'h1')
        with connect() as other:
            other.call('RemoveContainer', {'container_id': 'h1'}, wait=BOUND)
            # Whose exec it was when the host left.
            running(other, 'h1', ['/bin/evil', 'sleep'], root)
            for i in range(20):
                client = connect()
                client.send('ExecProcess', {'container_id': 'h1', 'exec_id': 'e%d' % i, 'process': {
                    'Args': ['/bin/sleep', '1000'], 'Env': ['PATH=/bin'], 'Cwd': '/'}})
                time.sleep(chance.random() ** 2 * 0.01)
                client.close()
            remove(other, 'h1')


def deadlines():
    """Deadlines from a nanosecond up, of every call about a container."""
    root = image('deadline')
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        for i in range(20 if SMALL else 100):
            limit = int(10 ** (i % 20 / 2.6)) + i
            answer = client.call('CreateContainer', spec('h1', ['/bin/evil', 'sleep'], root), timeout_ns=limit, wait=BOUND)
            assert answer.code in (0, 4), answer
            if answer.code:
                # Undone by the time of the answer, or waited for.
                client.ok('CreateContainer', spec('h1', ['/bin/evil', 'sleep'], root), wait=BOUND)
            answer = client.call('StartContainer', {'container_id': 'h1'}, timeout_ns=limit, wait=BOUND)
            assert answer.code in (0, 4), answer
            answer = execute(client, 'h1', 'e1', ['/bin/true'], timeout_ns=limit)
            assert answer.code in (0, 4, 9), answer
            for method, more in (('WaitProcess', {}), ('ReadStdout', {'len': 5}), ('ReadStderr', {'len': 5})):
                answer = client.call(method, dict(more, container_id='h1'), timeout_ns=limit, wait=BOUND)
                assert answer.code == 4, (method, answer)
            client.call('PauseContainer', {'container_id': 'h1'}, timeout_ns=limit, wait=BOUND)
            answer = client.call('RemoveContainer', {'container_id': 'h1'}, timeout_ns=limit, wait=BOUND)
            assert answer.code in (0, 4), answer
            answer = client.call('RemoveContainer', {'container_id': 'h1'}, wait=BOUND)
            assert answer.code in (0, 5), answer


def destroyed_meanwhile():
    """DestroySandbox in the midst of creates, execs, reads and waits: each is answered or its connection ends, and the agent
    ends by itself with nothing left."""
    root = image('destroy')
    a, b = connect(), connect()
    running(a, 'h1', ['/bin/evil', 'flood'], root)
    sent = [(a, a.send('CreateContainer', spec('c%d' % i, ['/bin/evil', 'sleep'], root))) for i in range(8)]
    sent += [(b, b.send('ExecProcess', {'container_id': 'h1', 'exec_id': 'e%d' % i, 'process': {
        'Args': ['/bin/sleep', '1000'], 'Env': ['PATH=/bin'], 'Cwd': '/'}})) for i in range(8)]
    sent += [(b, b.send(method, {'container_id': 'h1'})) for method in ('WaitProcess', 'ReadStdout', 'ReadStderr')]
    sent += [(b, b.send('RemoveContainer', {'container_id': 'h1'}))]
    time.sleep(0.01)
    a.ok('DestroySandbox', wait=BOUND)
    for client, call in sent:
        try:
            client.answer(call, BOUND)
        except (ConnectionError, OSError):
            pass
    assert eventually(lambda: not os.path.exists('/proc/%d' % AGENT), BOUND)

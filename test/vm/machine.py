# SPDX-License-Identifier: Apache-2.0
"""A virtual machine for plays.

The guest has two serial ports. The first is its console, kept in a file. The second is the line to the plays: the guest
writes what it is doing and what it found ("PLAY name", "ok - text", "not ok - text", "# text", "END name status",
"DONE"), and a line "QMP {…}" asks this side to give QEMU that command; the answer goes back as one line. So a play can
plug devices into the machine that it runs in. "SHARE STOP" and "SHARE CONT" stop and continue the daemon of the shared file
system, as a host does that is too busy, or broken.

QEMU emulates (tcg), since nested virtualisation is rarely there; a guest boots in about three seconds.
"""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

QEMU = 'qemu-system-x86_64'
VIRTIOFSD = '/usr/lib/qemu/virtiofsd'


def arguments(kernel, initrd, append='', memory='256', smp='1', extra=()):
    """QEMU and its arguments but for the serial ports."""
    return [QEMU, '-accel', 'tcg', '-cpu', 'max', '-m', memory, '-smp', smp, '-nodefaults', '-no-user-config',
            '-no-reboot', '-display', 'none', '-kernel', kernel, '-initrd', initrd, '-append',
            'console=ttyS0 panic=-1 ' + append] + list(extra)


class MachineError(Exception):
    pass


class Lines:
    """Lines from a stream socket, with a deadline."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b''
        self.closed = False

    def next(self, deadline):
        """A line, or None when the peer closed; raises TimeoutError."""
        while b'\n' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self.closed:
                return None
            if not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b''
            if not data:
                self.closed = True
                if self.buffer:
                    self.buffer += b'\n'
                continue
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b'\n')
        return line.decode(errors='replace').rstrip('\r')


class Machine:
    def __init__(self, kernel, initrd, append='', memory='256', smp='1', extra=(), log=None, share=None):
        self.directory = tempfile.mkdtemp(prefix='kata-vm.')
        self.console = log or os.path.join(self.directory, 'console')
        self.qmp = self.daemon = None
        if share:
            extra = [*extra, *self.share(share, memory)]
        play_path = os.path.join(self.directory, 'play')
        self.qmp_path = os.path.join(self.directory, 'qmp')
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(play_path)
        listener.listen(1)
        args = arguments(kernel, initrd, append, memory, smp, extra) + [
            '-serial', 'file:' + self.console, '-chardev', 'socket,id=play,path=' + play_path,
            '-serial', 'chardev:play', '-qmp', 'unix:%s,server=on,wait=off' % self.qmp_path]
        self.started = time.monotonic()
        self.errors = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=self.errors)
            listener.settimeout(20)
            self.play, _ = listener.accept()
        except (OSError, TimeoutError) as e:
            self.stop()
            raise MachineError('QEMU did not start: %s %s' % (e, self.error_text())) from e
        finally:
            listener.close()
        self.lines = Lines(self.play)

    def share(self, directory, memory):
        """Starts virtiofsd for @directory; the arguments with which QEMU gives it to the guest as "kataShared"."""
        path = os.path.join(self.directory, 'share')
        self.daemon = subprocess.Popen([VIRTIOFSD, '--socket-path=' + path, '-o', 'source=' + directory, '-o', 'cache=auto',
                                        '-o', 'sandbox=chroot', '--thread-pool-size=1'],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not os.path.exists(path):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise MachineError('virtiofsd did not start')
            time.sleep(0.05)
        return ['-object', 'memory-backend-memfd,id=shared,share=on,size=%sM' % memory, '-numa', 'node,memdev=shared',
                '-chardev', 'socket,id=share,path=' + path, '-device', 'vhost-user-fs-pci,chardev=share,tag=kataShared']

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors='replace').strip()

    def line(self, deadline):
        """The next line of the plays, with requests to QEMU served on the way."""
        while True:
            line = self.lines.next(deadline)
            if line is None or not line.startswith(('QMP ', 'SHARE ')):
                return line
            try:
                if line.startswith('SHARE '):
                    self.daemon.send_signal(getattr(signal, 'SIG' + line[6:]))
                    answer = {'return': {}}
                else:
                    answer = self.command(json.loads(line[4:]))
            except (ValueError, OSError, AttributeError, TimeoutError) as e:
                answer = {'error': {'desc': str(e) or type(e).__name__}}
            self.play.sendall(json.dumps(answer).encode() + b'\n')

    def command(self, command):
        if self.qmp is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(self.qmp_path)
            self.qmp = Lines(sock)
            self.answer()
            sock.sendall(b'{"execute":"qmp_capabilities"}\n')
            self.answer()
        self.qmp.sock.sendall(json.dumps(command).encode() + b'\n')
        return self.answer()

    def answer(self):
        """The next message that is not an event."""
        while True:
            line = self.qmp.next(time.monotonic() + 10)
            if line is None:
                raise OSError('QEMU closed its monitor')
            message = json.loads(line)
            if 'event' not in message:
                return message

    def wait(self, seconds):
        """True when the machine ended by itself in time."""
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def console_text(self):
        try:
            with open(self.console, errors='replace') as f:
                return f.read()
        except OSError:
            return ''

    def stop(self):
        for process in (getattr(self, 'process', None), self.daemon):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        for sock in (getattr(self, 'play', None), self.qmp and self.qmp.sock):
            if sock:
                sock.close()
        shutil.rmtree(self.directory, ignore_errors=True)

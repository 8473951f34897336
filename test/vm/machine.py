# SPDX-License-Identifier: Apache-2.0
"""A virtual machine for plays.

The guest has two serial ports. The first is its console, kept in a file. The second is the line to the plays: the guest
writes what it is doing and what it found ("PLAY name", "ok - text", "not ok - text", "# text", "END name status",
"DONE"), and a line "QMP {…}" asks this side to give QEMU that command; the answer goes back as one line. So a play can
plug devices into the machine that it runs in. Further requests, answered likewise:

    SHARE STOP, SHARE CONT      stops and continues the daemon of the shared file system, as a host does that is too busy
    CONSOLE STOP, CONSOLE CONT  the host no longer reads the machine's console, which fills up; and reads again
    CONSOLE SEND TEXT           a line is typed on the console
    CONSOLE SEEN TEXT           whether the console has shown it
    PAUSE SECONDS               the machine stands still for that time
    FREEZE SECONDS              the machine is saved to a file and ends; after that time another one goes on from there

CONSOLE STOP, CONT and SEND need a machine with `typed`.

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

    def next(self, deadline, beside=None):
        """A line, or None when the peer closed; raises TimeoutError. @beside, a Drain, is served meanwhile."""
        while b'\n' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self.closed:
                return None
            ready = select.select([self.sock] + (beside.sources() if beside else []), [], [], left)[0]
            if not ready:
                raise TimeoutError
            if beside:
                beside.read()
            if self.sock not in ready:
                continue
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


class Drain:
    """Reads a console that nobody needs to see here (QEMU keeps a copy of it in a file), or leaves it unread."""

    def __init__(self, sock):
        self.sock = sock
        self.on = True
        sock.setblocking(False)

    def sources(self):
        return [self.sock] if self.on else []

    def read(self):
        try:
            while self.on and self.sock.recv(65536):
                pass
        except (BlockingIOError, ConnectionResetError):
            return
        self.on = False


class Machine:
    def __init__(self, kernel, initrd, append='', memory='256', smp='1', extra=(), log=None, share=None, typed=False):
        self.directory = tempfile.mkdtemp(prefix='kata-vm.')
        self.console = log or os.path.join(self.directory, 'console')
        self.qmp = self.daemon = None
        if share:
            extra = [*extra, *self.share(share, memory)]
        self.qmp_path = os.path.join(self.directory, 'qmp')
        self.typed = typed
        self.drain = self.play = None
        self.args = arguments(kernel, initrd, append, memory, smp, extra)
        open(self.console, 'w').close()
        self.errors = tempfile.TemporaryFile()
        self.launch()

    def launch(self, more=()):
        """Starts QEMU and waits for its serial ports."""
        paths = [os.path.join(self.directory, 'play')] + [os.path.join(self.directory, 'console')] * self.typed
        listeners = []
        args = self.args + ['-chardev', ('socket,id=console,path=%s,logfile=%s,logappend=on' % (paths[-1], self.console)
                                         if self.typed else 'file,id=console,append=on,path=' + self.console),
                            '-serial', 'chardev:console', '-chardev', 'socket,id=play,path=' + paths[0],
                            '-serial', 'chardev:play', '-qmp', 'unix:%s,server=on,wait=off' % self.qmp_path, *more]
        try:
            for path in paths:
                if os.path.exists(path):
                    os.unlink(path)
                listeners.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                listeners[-1].bind(path)
                listeners[-1].listen(1)
                listeners[-1].settimeout(20)
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=self.errors)
            socks = [listener.accept()[0] for listener in listeners]
        except (OSError, TimeoutError) as e:
            self.stop()
            raise MachineError('QEMU did not start: %s %s' % (e, self.error_text())) from e
        finally:
            for listener in listeners:
                listener.close()
        self.play = socks[0]
        self.lines = Lines(self.play)
        if self.typed:
            self.drain = Drain(socks[1])

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
            line = self.lines.next(deadline, self.drain)
            verb, _, rest = (line or '').partition(' ')
            request = {'QMP': self.monitor, 'SHARE': self.share_signal, 'CONSOLE': self.console_request,
                       'PAUSE': self.pause, 'FREEZE': self.freeze}.get(verb)
            if not request:
                return line
            try:
                answer = request(rest)
            except (ValueError, OSError, AttributeError, TimeoutError, MachineError) as e:
                answer = {'error': {'desc': str(e) or type(e).__name__}}
            self.play.sendall(json.dumps(answer).encode() + b'\n')

    def monitor(self, text):
        return self.command(json.loads(text))

    def share_signal(self, name):
        self.daemon.send_signal(getattr(signal, 'SIG' + name))
        return {'return': {}}

    def console_request(self, text):
        verb, _, rest = text.partition(' ')
        if verb == 'SEEN':
            return {'return': rest in self.console_text()}
        if verb == 'SEND':
            self.drain.sock.sendall(rest.encode() + b'\n')
        else:
            self.drain.on = verb == 'CONT'
        return {'return': {}}

    def pause(self, seconds):
        self.command({'execute': 'stop'})
        time.sleep(float(seconds))
        return self.command({'execute': 'cont'})

    def freeze(self, seconds):
        """Saves the machine to a file, ends QEMU, and restores it in another one."""
        saved = os.path.join(self.directory, 'saved')
        self.command({'execute': 'stop'})
        answer = self.command({'execute': 'migrate', 'arguments': {'uri': 'exec:cat >' + saved}})
        deadline = time.monotonic() + 60
        while 'error' not in answer:
            answer = self.command({'execute': 'query-migrate'})
            status = answer.get('return', {}).get('status')
            if status == 'completed':
                break
            if status == 'failed' or time.monotonic() > deadline:
                raise MachineError('the machine was not saved: %s' % answer)
            time.sleep(0.1)
        if 'error' in answer:
            return answer
        self.quit()
        time.sleep(float(seconds))
        self.launch(['-incoming', 'exec:cat ' + saved])
        while self.command({'execute': 'query-status'})['return']['status'] == 'inmigrate':
            time.sleep(0.1)
        os.unlink(saved)
        return self.command({'execute': 'cont'})

    def command(self, command):
        if self.qmp is None:
            self.qmp = Lines(self.dial_monitor())
            self.answer()
            self.qmp.sock.sendall(b'{"execute":"qmp_capabilities"}\n')
            self.answer()
        self.qmp.sock.sendall(json.dumps(command).encode() + b'\n')
        return self.answer()

    def dial_monitor(self):
        deadline = time.monotonic() + 10
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self.qmp_path)
                return sock
            except OSError:
                sock.close()
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

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
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.drain:
                self.drain.read()
            try:
                self.process.wait(0.2)
                return True
            except subprocess.TimeoutExpired:
                pass
        return False

    def console_text(self):
        try:
            with open(self.console, errors='replace') as f:
                return f.read()
        except OSError:
            return ''

    def quit(self):
        """Ends QEMU; launch() may follow."""
        process = getattr(self, 'process', None)
        if process and process.poll() is None:
            process.kill()
            process.wait()
        for sock in (self.play, self.qmp and self.qmp.sock, self.drain and self.drain.sock):
            if sock:
                sock.close()
        self.play = self.qmp = self.drain = None

    def stop(self):
        self.quit()
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

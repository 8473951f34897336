# SPDX-License-Identifier: Apache-2.0
"""Containers that fight: against who comes in, against their own end, against the agent's patience."""
import os
import re
import shutil
import subprocess
import threading
import time

from stage import *

PRIVILEGED = ['CAP_SYS_ADMIN', 'CAP_KILL', 'CAP_DAC_OVERRIDE', 'CAP_MKNOD', 'CAP_CHOWN', 'CAP_SYS_CHROOT']


def moved_init():
    """An init that has gone into a mount namespace of its own is not followed."""
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('moved')
        with open(root + '/real', 'w') as out:
            out.write('real\n')
        with open(root + '/trap', 'w') as out:
            out.write('trap\n')
        running(client, 'h1', ['/bin/evil', 'elsewhere', '/real', '/trap'], root, caps=PRIVILEGED)
        assert read(client, 'h1') == b'elsewhere\n'
        assert output(client, 'h1', 'e1', ['/bin/cat', '/real']) == 'real\n'
        assert output(client, 'h1', 'e2', ['/bin/cat', '/real'], Terminal=True).strip() == 'real'
        inner = output(client, 'h1', 'e3', ['/bin/readlink', '/proc/self/ns/mnt'])
        assert inner.startswith('mnt:[') and inner.strip() != os.readlink('/proc/%d/ns/mnt' % AGENT)
        remove(client, 'h1')
        # The same one by one: its root, its other namespaces, and /proc itself.
        for args in (['unshare', '-u', 'sleep', '1000'], ['unshare', '-m', 'sh', '-c', 'umount -l /proc; sleep 1000'],
                     ['sh', '-c', 'mkdir /new; mount -o bind /mnt /proc; sleep 1000'],
                     ['sh', '-c', 'mount -t tmpfs t /bin; sleep 1000'], ['sh', '-c', 'mount -t tmpfs t /; sleep 1000'],
                     ['sh', '-c', 'exec 3>&-; umount -l /dev; sleep 1000'],
                     ['sh', '-c', 'rm -rf /* 2>/dev/null; sleep 1000']):
            running(client, 'h1', ['/bin/' + args[0]] + args[1:], image('moved'), caps=PRIVILEGED)
            time.sleep(0.1)
            answer = execute(client, 'h1', 'e1', ['/bin/echo', 'x'])
            if answer.code:
                clear(answer.text)
            answer = execute(client, 'h1', 'e2', ['/bin/echo', 'x'], Terminal=True)
            if answer.code:
                clear(answer.text)
            remove(client, 'h1')


def forged_proc():
    """What a container puts over /proc changes nothing about who comes in."""
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('forged')
        script = '''
            echo 0 >/tmp/zero; mkdir -p /tmp/self/attr /tmp/self/fd /tmp/self/ns /tmp/sys/kernel; echo 3 >/tmp/sys/kernel/cap_last_cap
            case $1 in
            last) mount -o bind /tmp/zero /proc/sys/kernel/cap_last_cap;;
            self) mount -o bind /tmp/self /proc/self;;
            proc) mount -o bind /tmp /proc;;
            tmpfs) mount -t tmpfs t /proc;;
            none) umount -l /proc;;
            esac
            echo done; sleep 1000'''
        for what in ('last', 'self', 'proc', 'tmpfs', 'none'):
            running(client, 'h1', ['/bin/sh', '-c', script, '-', what], root, caps=PRIVILEGED)
            assert read(client, 'h1') == b'done\n', what
            caps = ['CAP_KILL']
            answer = execute(client, 'h1', 'e1', ['/bin/sleep', '1000'], NoNewPrivileges=True, OOMScoreAdj=500,
                             Capabilities={'Bounding': caps, 'Effective': caps, 'Permitted': caps, 'Inheritable': caps})
            assert not answer.code, (what, answer)
            status = ''
            for pid in os.listdir('/proc'):
                try:
                    if pid.isdigit() and open('/proc/%s/cmdline' % pid).read() == '/bin/sleep\x001000\0':
                        text = open('/proc/%s/status' % pid).read()
                        if re.search(r'^PPid:\t%d$' % AGENT, text, re.M):
                            status = text
                except OSError:
                    pass
            assert status, 'the process is not to be found'
            for name in ('CapBnd', 'CapPrm', 'CapEff', 'CapInh'):
                assert re.search(r'^%s:\t0*20$' % name, status, re.M), (what, status)
            assert 'NoNewPrivs:\t1' in status
            remove(client, 'h1')


def working_directories():
    """A cwd that leads out by way of procfs, of a create and of an exec."""
    make_canary()
    up = '../' * 30
    ways = ['/proc/self/cwd', '/proc/1/cwd', '/proc/1/root', '/proc/1/root/..', '/proc/self/root' + CANARY,
            '/proc/self/task/../root', '/proc/thread-self/root', '/link-root', '/link-fd', '/link-chain', '/proc/self',
            '/proc/1/task/1/cwd', '/dev/fd/0', '/' + up + CANARY, up + CANARY[1:], './x', '..', '\0', '/\xff', '/loop', '/proc/self/ns/mnt',
            '/proc/self/map_files', '/fifo']
    ways += ['/proc/self/fd/%d' % fd for fd in range(24)]
    ways += ['/proc/self/fd/%d/%s' % (fd, up + CANARY[1:]) for fd in range(3, 24)]
    entered = 0
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('cwd')
        for name, leads in (('root', '/proc/1/root'), ('fd', '/proc/self/fd/7'), ('chain', '/link-fd/' + up), ):
            os.symlink(leads, root + '/link-' + name)
        os.symlink('loop', root + '/loop')
        os.mkfifo(root + '/fifo')
        for which in ('create', 'exec'):
            if which == 'exec':
                running(client, 'h1', ['/bin/evil', 'sleep'], root)
            for cwd in ways:
                for secret in ('secret', 'canary/secret', up + CANARY[1:] + '/secret'):
                    args = ['/bin/evil', 'where', secret]
                    if which == 'exec':
                        out = output(client, 'h1', 'e1', args, Cwd=cwd)
                    else:
                        answer = client.call('CreateContainer', spec('h1', args, root, cwd=cwd), wait=BOUND)
                        if answer.code:
                            out = 'refused: ' + answer.text
                        else:
                            start(client, 'h1')
                            out = read_all(client, 'h1')
                            remove(client, 'h1')
                    if out.startswith('refused: '):
                        clear(out)
                        break
                    entered += 1
                    assert SECRET not in out and '(unreachable)' not in out and 'cwd /' in out, (which, cwd, out)
        remove(client, 'h1')
    assert entered


def own_program():
    """The agent's own program, as far as a container gets hold of it, stays what it is."""
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('self')
        with open(root + '/bin/script', 'w') as out:
            out.write('#!/proc/self/exe\n')
        os.chmod(root + '/bin/script', 0o755)
        os.symlink('/proc/self/exe', root + '/bin/link')
        running(client, 'h1', ['/bin/evil', 'sleep'], root, caps=PRIVILEGED)
        for program in ('/proc/self/exe', '/bin/script', '/bin/link'):
            # Who overwrites comes first, and finds the other by its number, which is not much higher.
            number = int(output(client, 'h1', 'e0', ['/bin/sh', '-c', 'echo $$']))
            watchers = []
            for pid in range(number + 1, number + 10):
                name = 'w%d' % pid
                if not execute(client, 'h1', name, ['/bin/evil', 'overwrite', str(pid), '1']).code:
                    watchers.append(name)
            for i in range(6):
                answer = execute(client, 'h1', 'e%d' % i, [program, '--help'])
                if answer.code:
                    clear(answer.text)
            for name in watchers:
                out = read_all(client, 'h1', name)
                assert 'overwritten' not in out, (program, out)
            remove(client, 'h1')
            running(client, 'h1', ['/bin/evil', 'sleep'], root, caps=PRIVILEGED)
        remove(client, 'h1')


def leaked_descriptors():
    """Init and every further process have 0, 1 and 2, whatever the agent has open meanwhile."""
    with connect() as client, nothing_leaks():
        root = image('descriptors')
        others = [connect() for _ in range(20)]
        for terminal in (False, True):
            running(client, 'h1', ['/bin/evil', 'sleep'], root)
            running(client, 'h2', ['/bin/evil', 'sleep'], root, terminal=True)
            out = run(client, 'h3', ['/bin/evil', 'descriptors'], root, terminal=terminal)
            assert out.split() == ['0', '1', '2'], out
            for i in range(5):
                out = output(client, 'h1', 'e%d' % i, ['/bin/evil', 'descriptors'], Terminal=terminal)
                assert out.split() == ['0', '1', '2'], out
            # What waits at the gate and what a stranger sees of it.
            client.ok('CreateContainer', spec('h3', ['/bin/evil', 'descriptors'], root, terminal=terminal))
            for id_ in ('h1', 'h2'):
                listing = in_guest('ls', '/proc/%d/fd' % init_pid(client, id_)).split()
                assert listing == ['0', '1', '2'], listing
            for id_ in ('h1', 'h2', 'h3'):
                remove(client, id_)
        for other in others:
            other.close()


def seen_from_inside():
    """What the inhabitants of a container can find out about, or do to, those who are on their way in."""
    with connect() as client, nothing_leaks():
        root = image('peek')
        for uid in (0, 1000):
            running(client, 'h1', ['/bin/evil', 'sleep'], root, caps=['CAP_KILL', 'CAP_DAC_OVERRIDE'])
            assert not execute(client, 'h1', 'peek', ['/bin/evil', 'peek'], User={'UID': uid, 'GID': uid}).code
            for i in range(15 if SMALL else 60):
                answer = execute(client, 'h1', 'e%d' % i, ['/bin/true'] if i % 2 else ['/bin/echo', 'x'],
                                 User={'UID': uid, 'GID': uid}, Terminal=bool(i % 3 == 0))
                if answer.code:
                    clear(answer.text)
            client.call('SignalProcess', {'container_id': 'h1', 'exec_id': 'peek', 'signal': 9})
            seen = set(re.sub(r'/proc/\d+/', '', line) for line in read_all(client, 'h1', 'peek').splitlines())
            bad = [line for line in seen if re.search(r'kata|agent|/run/|seized 1$|socket:|mnt:|anon_inode|canary', line)]
            assert not bad, bad
            outside_ = [line for line in seen if line.startswith('fd/') and
                        not re.match(r'fd/\d+ -> (pipe:|/dev/|/proc$|/$|/bin)', line)]
            assert not outside_, outside_
            remove(client, 'h1')


def storms():
    """Everybody in the container gets a signal, over and over: also those who come in."""
    with connect() as client, nothing_leaks():
        root = image('storm')
        for number in (9, 19, 15, 20, 6):
            running(client, 'h1', ['/bin/evil', 'sleep'], root, caps=['CAP_KILL'])
            assert not execute(client, 'h1', 'storm', ['/bin/evil', 'storm', str(number)]).code
            read(client, 'h1', 'storm')
            for i in range(10 if SMALL else 25):
                answer = execute(client, 'h1', 'e%d' % i, ['/bin/true'], timeout_ns=300 * 10 ** 6, wait=8,
                                 Terminal=bool(i % 2))
                if answer.code:
                    clear(answer.text)
                if i > 2 and number in (19, 20):
                    break
            agent_is_well()
            remove(client, 'h1')
            # And an init that does it to everybody but itself, before and after the first exec.
            running(client, 'h1', ['/bin/evil', 'storm', str(number)], root, caps=['CAP_KILL'])
            read(client, 'h1')
            for i in range(3):
                answer = execute(client, 'h1', 'e%d' % i, ['/bin/sleep', '1000'], timeout_ns=300 * 10 ** 6, wait=8)
                if answer.code:
                    clear(answer.text)
            remove(client, 'h1')


def stopped_newcomer():
    """A process that the container has stopped on its way in is given up when the call's time is over, or with the container,
    and holds nobody else up."""
    with connect() as client, nothing_leaks():
        root = image('stopped')
        running(client, 'h1', ['/bin/evil', 'storm', '19'], root, caps=['CAP_KILL'])
        read(client, 'h1')
        call = client.send('ExecProcess', {'container_id': 'h1', 'exec_id': 'e1', 'process': {
            'Args': ['/bin/sleep', '1'], 'Env': ['PATH=/bin'], 'Cwd': '/'}})
        time.sleep(0.3)
        running(client, 'h2', ['/bin/evil', 'sleep'], root)
        assert output(client, 'h2', 'e1', ['/bin/echo', 'x']) == 'x\n'
        began = time.monotonic()
        remove(client, 'h1', wait=BOUND)
        assert time.monotonic() - began < 5
        client.answer(call, 5)
        remove(client, 'h2')


def frozen_newcomer():
    """A container that is paused while a process is on its way in is resumed, and removed, all the same."""
    process = {'Args': ['/bin/sleep', '1'], 'Env': ['PATH=/bin'], 'Cwd': '/'}
    with connect() as client, nothing_leaks():
        root = image('frozen')
        for end in ('resume', 'remove', 'deadline'):
            # It is held up by its init, which stops everybody.
            running(client, 'h1', ['/bin/evil', 'storm', '19'], root, caps=['CAP_KILL'])
            read(client, 'h1')
            call = client.send('ExecProcess', {'container_id': 'h1', 'exec_id': 'e1', 'process': process},
                               timeout_ns=10 ** 9 if end == 'deadline' else 0)
            time.sleep(0.3)
            answer = client.call('PauseContainer', {'container_id': 'h1'}, wait=BOUND)
            if answer.code:
                clear(answer.text)
            if end == 'deadline':
                assert client.answer(call, 5).code == 4
            elif end == 'resume' and not answer.code:
                client.ok('ResumeContainer', {'container_id': 'h1'}, wait=BOUND)
            began = time.monotonic()
            remove(client, 'h1', wait=BOUND)
            assert time.monotonic() - began < 12
            if end != 'deadline':
                client.answer(call, 5)


def bombs():
    """A container full of processes that make processes, within its limits, is removed."""
    with connect() as client, nothing_leaks():
        root = image('bomb')
        for where in ('init', 'exec'):
            limits = {'Resources': {'Pids': {'Limit': 120}, 'Memory': {'Limit': 64 << 20}, 'CPU': {'Shares': 20}}}
            running(client, 'h1', ['/bin/evil', 'bomb' if where == 'init' else 'sleep'], root, linux=limits)
            if where == 'exec':
                assert not execute(client, 'h1', 'bomb', ['/bin/evil', 'bomb']).code
            read(client, 'h1', 'bomb' if where == 'exec' else '')
            for i in range(5):
                answer = execute(client, 'h1', 'e%d' % i, ['/bin/true'], wait=BOUND)
                if answer.code:
                    clear(answer.text)
            client.ok('StatsContainer', {'container_id': 'h1'})
            agent_is_well()
            if where == 'exec':
                client.ok('PauseContainer', {'container_id': 'h1'}, wait=BOUND)
            began = time.monotonic()
            remove(client, 'h1')
            assert time.monotonic() - began < 10


def nested_cgroups():
    """A container that may make cgroups makes many, and hides its processes in them."""
    script = '''
        cd /sys/fs/cgroup 2>/dev/null && for c in pids memory freezer cpu .; do
            [ -d $c ] && ( cd $c; d=.; for i in $(seq 40); do d=$d/n; mkdir $d; done; for i in $(seq 60); do mkdir s$i; done
                sleep 1000 & echo $! >$d/cgroup.procs; sleep 1000 & echo $! >s7/cgroup.procs ) 2>/dev/null
        done; echo done; sleep 1000'''
    with connect() as client, nothing_leaks():
        root = image('nested')
        running(client, 'h1', ['/bin/sh', '-c', script], root, caps=PRIVILEGED + ['CAP_SYS_RESOURCE'],
                mounts=[{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['ro']},
                        {'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup', 'options': ['rw']}])
        assert read(client, 'h1') == b'done\n'
        assert len(cgroups()) > 90, len(cgroups())
        client.ok('PauseContainer', {'container_id': 'h1'}, wait=BOUND)
        client.ok('ResumeContainer', {'container_id': 'h1'}, wait=BOUND)
        assert output(client, 'h1', 'e1', ['/bin/echo', 'x']) == 'x\n'
        client.ok('SignalProcess', {'container_id': 'h1', 'exec_id': '', 'signal': 9}, wait=BOUND)
        assert exit_code(client, 'h1') == 137
        remove(client, 'h1')


def streams():
    """Containers that write without end, close everything, or take every terminal: nobody turns in circles over them."""
    with connect() as client, nothing_leaks():
        root = image('streams')
        for terminal in (False, True):
            running(client, 'h1', ['/bin/evil', 'flood'], root, terminal=terminal)
            time.sleep(0.3)
            with idle():
                time.sleep(0.7)
            # Reads of which nobody takes the answers.
            other = connect()
            for i in range(200):
                other.send('ReadStdout', {'container_id': 'h1', 'len': 1 << 20})
            time.sleep(0.2)
            with idle():
                time.sleep(0.7)
            agent_is_well()
            other.close()
            assert read(client, 'h1')
            remove(client, 'h1')

            running(client, 'h1', ['/bin/evil', 'without-stdio'], root, terminal=terminal)
            time.sleep(0.1)
            calls = [client.send(m, {'container_id': 'h1', 'len': 1}) for m in ('ReadStdout', 'ReadStderr')]
            write = client.send('WriteStdin', {'container_id': 'h1', 'data': b'x' * 300000})
            with idle():
                time.sleep(0.7)
            agent_is_well()
            remove(client, 'h1')
            for call in calls + [write]:
                client.answer(call, 5)

            running(client, 'h1', ['/bin/evil', 'terminals'], root, terminal=terminal, linux={
                'Resources': {'Pids': {'Limit': 50}}})
            assert int(read(client, 'h1')) > 5
            for i in range(3):
                answer = execute(client, 'h1', 'e%d' % i, ['/bin/echo', 'x'], Terminal=True)
                if answer.code:
                    clear(answer.text)
            client.call('TtyWinResize', {'container_id': 'h1', 'row': 1 << 31, 'column': (1 << 32) - 1})
            remove(client, 'h1')

        # Stdin that nobody reads: a write waits, others do not, and the removal ends it.
        running(client, 'h1', ['/bin/evil', 'sleep'], root)
        writes = [client.send('WriteStdin', {'container_id': 'h1', 'data': b'x' * 100000}) for _ in range(30)]
        with idle():
            time.sleep(0.7)
        agent_is_well()
        remove(client, 'h1')
        for call in writes:
            client.answer(call, 5)


def sudden_ends():
    """Init is gone at once, at any moment."""
    with connect() as client, nothing_leaks():
        root = image('sudden')
        for i in range(10 if SMALL else 40):
            client.ok('CreateContainer', spec('h1', ['/bin/sh', '-c', 'exit 3'], root))
            calls = [client.send('StartContainer', {'container_id': 'h1'})]
            if i % 2:
                time.sleep(i * 0.0003)
            calls += [client.send('ExecProcess', {'container_id': 'h1', 'exec_id': 'e%d' % k, 'process': {
                'Args': ['/bin/sleep', '1000'], 'Env': ['PATH=/bin'], 'Cwd': '/'}}) for k in range(4)]
            for call in calls:
                answer = client.answer(call, BOUND)
                if answer.code:
                    clear(answer.text)
            assert exit_code(client, 'h1') == 3
            remove(client, 'h1')
        # Killed from outside between the steps, by somebody who is not the agent.
        for i in range(10):
            client.ok('CreateContainer', spec('h1', ['/bin/evil', 'sleep'], root))
            in_guest('kill', '-9', str(init_pid(client, 'h1')))
            answer = client.call('StartContainer', {'container_id': 'h1'}, wait=BOUND)
            if answer.code:
                clear(answer.text)
            assert exit_code(client, 'h1') == 137
            remove(client, 'h1')
        # And stopped from outside at the gate: a start is answered, or given up in time; the removal works.
        client.ok('CreateContainer', spec('h1', ['/bin/evil', 'sleep'], root))
        in_guest('kill', '-STOP', str(init_pid(client, 'h1')))
        answer = client.call('StartContainer', {'container_id': 'h1'}, wait=5, timeout_ns=10 ** 9)
        agent_is_well()
        remove(client, 'h1')


def hostile_users():
    """Users, groups, homes and environments of an image's making."""
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('users')
        home = {'long': 'u:x:7:7::/' + 'h' * 100000 + ':/bin/sh\n', 'huge': 'u:x:%d:7::/h:/bin/sh\n' % (1 << 70), 'nul': 'u:x:7:7::/a\0b:\n',
                'many': 'x:x:1:1::/:\n' * 200000 + 'u:x:7:7::/h:\n', 'bytes': 'u:x:7:7::/\udcff\udcfe:\n', 'equals': 'u:x:7:7::A=B\x1b:\n',
                'colons': ':' * 100000, 'negative': 'u:x:-1:7::/h:\n'}
        for name, text in home.items():
            with open(root + '/etc/passwd', 'w', errors='surrogateescape') as out:
                out.write(text)
            for user in ({'UID': 7, 'GID': 7}, {'UID': (1 << 32) - 1, 'GID': (1 << 32) - 1},
                         {'UID': 7, 'AdditionalGids': list(range(3000))}, {'UID': 7, 'AdditionalGids': list(range(70000))},
                         {'Username': '../../root'}):
                answer = client.call('CreateContainer', spec('h1', ['/bin/true'], root, process={'User': user}), wait=BOUND)
                if answer.code:
                    clear(answer.text)
                    continue
                client.call('StartContainer', {'container_id': 'h1'}, wait=BOUND)
                remove(client, 'h1')

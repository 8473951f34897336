# SPDX-License-Identifier: Apache-2.0
"""Images that want out: what a container's files may be at the moment when the agent works among them."""
import os
import shutil
import socket
import stat
import subprocess
import time

from stage import *

UP = '../' * 60
# Where a link may lead.
TARGETS = {
    'absolute': lambda root: CANARY,
    'relative': lambda root: UP + CANARY[1:],
    'proc-self-root': lambda root: '/proc/self/root' + CANARY,
    'proc-1-root': lambda root: '/proc/1/root' + CANARY,
    'proc-self-cwd': lambda root: '/proc/self/cwd/' + UP + CANARY[1:],
    'descriptor': lambda root: '/proc/self/fd/3',
    'loop': lambda root: None,
    'dangling': lambda root: '/nowhere/' + UP + CANARY[1:] + '/new',
    'chain-38': lambda root: chain(root, 38),
    'chain-60': lambda root: chain(root, 60),
    'long': lambda root: ('/' + 'x' * 250) * 16,
    'empty-parts': lambda root: '//..//../' + CANARY + '//.//',
    'outside-file': lambda root: CANARY + '/secret',
    'outside-fifo': lambda root: CANARY + '/fifo',
    'proc-mem': lambda root: '/proc/self/mem',
    'proc-sysrq': lambda root: '/proc/sysrq-trigger',
}
# What of an image the agent touches.
PLACES = ('dev', 'dev/pts', 'dev/shm', 'dev/console', 'dev/null', 'dev/ptmx', 'dev/fd', 'dev/spec', 'proc', 'sys', 'etc',
          'etc/hosts', 'etc/passwd', 'mnt', 'mnt/dir', 'mnt/file', 'work', 'masked', 'masked/file', 'readonly', 'tmp', 'bin')


def chain(root, length):
    """A chain of so many links that ends outside. Its beginning, as seen from inside."""
    os.makedirs(root + '/chain', exist_ok=True)
    for i in range(length):
        os.symlink('/chain/%d' % (i + 1), '%s/chain/%d' % (root, i))
    os.symlink(CANARY, '%s/chain/%d' % (root, length))
    return '/chain/0'


def clear_way(root, place):
    """The parents of a place are there, the place itself is not."""
    path = os.path.join(root, place)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path) or not os.path.isdir(path):
        if os.path.lexists(path):
            os.unlink(path)
    else:
        shutil.rmtree(path)
    return path


def request(root, id_, own_dev, terminal=False):
    """A spec that reaches for every place."""
    return spec(id_, ['/bin/sh', '-c', 'cat /*/secret /secret /work /mnt/*/secret /etc/hosts /masked/* 2>/dev/null; pwd'],
                root, dev=not own_dev, terminal=terminal, cwd='/work', caps=['CAP_KILL'],
                mounts=[{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['ro', 'nosuid']},
                        {'destination': '/dev/shm', 'type': 'tmpfs', 'source': 'shm', 'options': ['size=65536']},
                        bind(TMP + '/source/file', '/etc/hosts'), bind(TMP + '/source', '/mnt/dir/new'),
                        bind(TMP + '/source/file', '/mnt/file', 'ro'),
                        {'destination': '/tmp', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['tmpcopyup']}],
                linux={'MaskedPaths': ['/proc/kcore', '/masked', '/masked/file', '/work/masked'],
                       'ReadonlyPaths': ['/proc/sys', '/readonly', '/readonly/../work/x'],
                       'Devices': [{'Path': '/dev/spec', 'Type': 'c', 'Major': 1, 'Minor': 5, 'FileMode': 0o666,
                                    'UID': 7, 'GID': 7}]})


def attempt(client, id_, message):
    """Creates and starts, if it is to be had, and removes. What it said, or None with a clear refusal."""
    began = time.monotonic()
    answer = client.call('CreateContainer', message, wait=BOUND)
    assert time.monotonic() - began < BOUND
    if answer.code:
        clear(answer.text)
        return None
    out = ''
    answer = client.call('StartContainer', {'container_id': id_}, wait=BOUND)
    if answer.code:
        clear(answer.text)
    else:
        out = read_all(client, id_)
    remove(client, id_)
    return out


def sources():
    os.makedirs(TMP + '/source', exist_ok=True)
    with open(TMP + '/source/file', 'w') as file:
        file.write('source\n')


def tried(client, what, root, **more):
    with canary_stays():
        try:
            out = attempt(client, 'h1', request(root, 'h1', **more))
        except Exception as problem:
            raise AssertionError('%s: %s' % (what, problem)) from problem
    assert SECRET not in (out or ''), '%s: the container reads what is the guest\'s' % what
    return out


def links():
    sources()
    made = refused = 0
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        tried(client, 'harmless', image('harmless'), own_dev=False)
        for place in PLACES:
            for name, target in TARGETS.items():
                if left_out(place, name):
                    continue
                root = image('links')
                path = clear_way(root, place)
                leads = target(root)
                os.symlink(leads if leads else os.path.basename(path), path)
                out = tried(client, '%s is a link (%s)' % (place, name), root,
                            own_dev=place.startswith('dev'), terminal=place in ('dev/console', 'dev/ptmx', 'dev/pts'))
                made, refused = made + (out is not None), refused + (out is None)
    print('%d made, %d refused' % (made, refused))
    assert made and refused


def put(kind, path):
    if kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'socket':
        here = os.getcwd()
        os.chdir(os.path.dirname(path))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.basename(path))
        listener.close()
        os.chdir(here)
    elif kind == 'memory':
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 1))
    elif kind == 'tty':
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(5, 0))
    elif kind == 'disk':
        os.mknod(path, 0o666 | stat.S_IFBLK, os.makedev(7, 250))
    elif kind == 'file':
        open(path, 'w').close()
    elif kind == 'directory':
        os.makedirs(path + '/in/it')
    elif kind == 'closed':
        os.mkdir(path, 0)


def things():
    sources()
    made = 0
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        for place in PLACES:
            for kind in ('fifo', 'socket', 'memory', 'tty', 'disk', 'file', 'directory', 'closed'):
                if left_out(place, kind):
                    continue
                root = image('things')
                put(kind, clear_way(root, place))
                for terminal in (False, True) if place.startswith('dev/') else (False,):
                    out = tried(client, '%s is a %s' % (place, kind), root, own_dev=place.startswith('dev'),
                                terminal=terminal)
                    made += out is not None
    assert made


def names_and_sizes():
    """Names of all kinds, in an image of ten thousand files, in a deep one, in one that may not be written to."""
    sources()
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('odd')
        odd = [b'new\nline', b'\xff\xfe\x80', b'-rf', b'\x01\x1b[2J', b' ', b'\\', b'"', b'%s%n', b'x' * 255, b'...']
        for name in odd:
            os.makedirs(os.path.join(root.encode(), b'tmp', name))
            with open(os.path.join(root.encode(), b'tmp', name, name), 'wb') as file:
                file.write(name)
        # A mount at each, with these among its parents, of a tmpfs that copies them all.
        for name in odd:
            message = request(root, 'h1', own_dev=False)
            message['OCI']['Mounts'].append(bind(TMP + '/source', '/mnt/x'))
            message['OCI']['Mounts'][-1]['destination'] = b'/mnt/' + name + b'/y'
            with canary_stays():
                attempt(client, 'h1', message)
        for i in range(2000 if SMALL else 10000):
            open('%s/tmp/%d' % (root, i), 'w').close()
        assert tried(client, 'many files', root, own_dev=False) is not None
        root = image('deep')
        here = os.getcwd()
        os.chdir(root + '/tmp')
        for _ in range(300):
            os.mkdir('d' * 200)
            os.chdir('d' * 200)
        os.chdir(here)
        tried(client, 'deep directories below a tmpcopyup', root, own_dev=False)
        for length in (4094, 4095, 4096, 5000, 70000):
            path = '/mnt' + '/' + ('/'.join(['p' * 100] * (length // 101 + 1)))[:length - 5]
            for where in ('destination', 'source', 'cwd', 'masked', 'device', 'root'):
                root = image('long')
                message = request(root, 'h1', own_dev=False)
                oci = message['OCI']
                if where in ('destination', 'source'):
                    oci['Mounts'].append(bind(TMP + '/source', '/mnt/x'))
                    oci['Mounts'][-1][where] = path
                elif where == 'cwd':
                    oci['Process']['Cwd'] = path
                elif where == 'masked':
                    oci['Linux']['MaskedPaths'] = oci['Linux']['ReadonlyPaths'] = [path]
                elif where == 'device':
                    oci['Linux']['Devices'][0]['Path'] = path
                else:
                    oci['Root']['Path'] = root + path
                with canary_stays():
                    attempt(client, 'h1', message)
        # Nothing in it can be made: everything must be there, or is refused.
        root = image('readonly')
        subprocess.run(['nsenter', '-t', str(GUEST), '-m', '-p', 'sh', '-c',
                        'busybox mount -o bind "$1" "$1" && busybox mount -o remount,ro,bind "$1"', '-', root], check=True)
        try:
            tried(client, 'a read-only image', root, own_dev=False)
            tried(client, 'a read-only image with its own /dev', root, own_dev=True)
            attempt(client, 'h1', spec('h1', ['/bin/true'], root))
        finally:
            subprocess.run(['nsenter', '-t', str(GUEST), '-m', '-p', 'busybox', 'umount', root], check=True)


def bind_sources():
    """Sources that are not there, that vanish, that nobody can open without waiting, that lead elsewhere."""
    make_canary()
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        odd = TMP + '/odd'
        os.makedirs(odd, exist_ok=True)
        for kind in ('fifo', 'socket', 'tty', 'disk', 'file', 'directory', 'closed'):
            put(kind, '%s/%s' % (odd, kind))
        os.symlink('loop', odd + '/loop')
        os.symlink('nowhere', odd + '/dangling')
        for name in ('fifo', 'socket', 'tty', 'disk', 'file', 'directory', 'closed', 'loop', 'dangling', 'none', '',
                     '../../../../../../..', 'file/', 'file/x', '\0'):
            for destination in ('/mnt/new', '/etc/hosts', '/dev/new', '/proc/new', '/proc', '/proc/self/attr', '/dev/null',
                                '/', '/..', '', 'mnt/relative', '/mnt/../..//mnt/x', '/proc/1/root/mnt', '/sys/x'):
                if left_out(name, destination):
                    continue
                if name.endswith('..') and destination in ('/', '/..'):
                    continue # who asks for the guest as the container's root gets it, and its /dev filled
                source = odd + '/' + name if name else ''
                root = image('sources')
                with canary_stays():
                    answer = client.call('CreateContainer', spec('h1', ['/bin/cat', '/mnt/none'], root,
                                                                 mounts=[bind(source, destination)]), wait=BOUND)
                    if answer.code:
                        clear(answer.text)
                        continue
                    client.call('StartContainer', {'container_id': 'h1'}, wait=BOUND)
                    remove(client, 'h1')
        # One that comes and goes meanwhile.
        root = image('vanish')
        os.makedirs(odd + '/there', exist_ok=True)
        swapper = subprocess.Popen(['sh', '-c', 'while :; do mv "$1" "$2"; mv "$2" "$1"; done', '-', odd + '/there',
                                    odd + '/gone'], stderr=subprocess.DEVNULL)
        try:
            for i in range(10 if SMALL else 30):
                attempt(client, 'h1', spec('h1', ['/bin/true'], root, mounts=[bind(odd + '/there', '/mnt/a/b/c')]))
        finally:
            swapper.kill()
            swapper.wait()


def exchanging(client, root, place, leads, make, rounds):
    """Creates while @place and a link that leads out change places without end. How often it was made."""
    path = os.path.join(root, place)
    os.makedirs(path, exist_ok=True)
    os.symlink(leads, path + '.link')
    swapper = subprocess.Popen([TMP + '/evil', 'swap', path, path + '.link'])
    made = 0
    try:
        for i in range(rounds):
            out = attempt(client, 'h1', make(i))
            made += out is not None
            assert SECRET not in (out or '')
    finally:
        swapper.kill()
        swapper.wait()
        # Which of the two is the link now?
        for name in (path, path + '.link'):
            if os.path.islink(name):
                os.unlink(name)
    return made


def races():
    sources()
    rounds = 6 if SMALL else 23
    total = 0
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        for place, leads in (('mnt/dir', CANARY), ('mnt/dir', UP + CANARY[1:]), ('dev', CANARY), ('etc', CANARY),
                             ('work', CANARY), ('masked', CANARY), ('readonly', CANARY), ('proc', CANARY),
                             ('tmp/sub', CANARY)):
            root = image('race')
            total += exchanging(client, root, place, leads,
                                lambda i: request(root, 'h1', own_dev=place == 'dev', terminal=place == 'dev' and i % 2),
                                rounds)
    print('%d made' % total)
    assert total > 0


def proc_stays_proc():
    """Nothing but procfs gets onto /proc, by whatever name, and no mask is evaded by a name of the image's."""
    sources()
    tmpfs = {'type': 'tmpfs', 'source': 'tmpfs'}
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('proc')
        os.symlink('/proc', root + '/alias')
        os.symlink('/proc/self', root + '/self')
        os.symlink('/proc/sys/kernel', root + '/kernel')
        for destination in ('/proc', '/proc/', '//proc/.', '/alias', '/alias/sys', '/self/attr', '/self', '/kernel',
                            '/proc/self/attr', '/mnt/../proc', '/alias/../alias/self/fd'):
            for mount in (bind(TMP + '/source', destination), dict(tmpfs, destination=destination)):
                answer = client.call('CreateContainer', spec('h1', ['/bin/true'], root, mounts=[mount]), wait=BOUND)
                if not answer.code:
                    raise AssertionError('%s onto %s is let through' % (mount['type'], destination))
                clear(answer.text)
        for name in ('cpuinfo', 'version', 'meminfo'):
            out = run(client, 'h1', ['/bin/sh', '-c', 'head -c 1 /proc/%s; ls -d /alias/%s 2>&1' % (name, name)], root,
                      linux={'MaskedPaths': ['/alias/' + name]})
            assert out == '/alias/%s\n' % name, (name, out)


def no_escape_by_root_links():
    """The image's own directories on the way to its root are the guest's; the root itself may be a link there."""
    with connect() as client, nothing_leaks():
        root = image('real')
        for name, leads in (('link', root), ('dots', root + '/../real'), ('up', '/')):
            path = TMP + '/images/to-' + name
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(leads, path)
        with nothing_outside_changes():
            assert run(client, 'h1', ['/bin/echo', 'here'], TMP + '/images/to-link') == 'here\n'
            for path in (root + '/bin/busybox', TMP + '/fifo', '/nowhere', root + '/\n', '/proc/self/fd/0', '/proc/self/exe'):
                attempt(client, 'h1', spec('h1', ['/bin/true'], path))


def executables():
    """What is at the end of args[0]."""
    with connect() as client, nothing_leaks(), nothing_outside_changes():
        root = image('programs')
        for name in ('fifo', 'socket', 'memory', 'disk', 'directory', 'closed'):
            put(name, '%s/bin/x-%s' % (root, name))
        scripts = {'self': '#!/bin/x-self\n', 'none': '#!/nowhere\n', 'bare': '#!\n', 'zero': '', 'nul': '\0' * 4096,
                   'long': '#!/' + 'x' * 5000, 'fifo-script': '#!/bin/x-fifo\n', 'elf': '\177ELF', 'text': 'hello\n',
                   'esc': '#!/\x1b[2J\x07\n', 'bytes': '#!/\udcff\udcfe\n'}
        for name, text in scripts.items():
            with open('%s/bin/x-%s' % (root, name), 'w', errors='surrogateescape') as out:
                out.write(text)
            os.chmod('%s/bin/x-%s' % (root, name), 0o755)
        os.symlink('x-loop', root + '/bin/x-loop')
        os.symlink(PROGRAM, root + '/bin/x-outside')
        running(client, 'h2', ['/bin/evil', 'sleep'], root)
        for name in sorted(os.listdir(root + '/bin')):
            if not name.startswith('x-'):
                continue
            for args in (['/bin/' + name], [name]):
                answer = client.call('CreateContainer', spec('h1', args, root), wait=BOUND)
                if not answer.code:
                    answer = client.call('StartContainer', {'container_id': 'h1'}, wait=BOUND)
                    assert answer.code, '%s was started' % name
                    remove(client, 'h1')
                clear(answer.text)
                answer = execute(client, 'h2', 'e1', args)
                assert answer.code, '%s was executed' % name
                clear(answer.text)
        for args in ([], [''], ['/'], ['.'], ['..'], ['/bin'], ['/bin/'], ['\xff'.encode('latin1')], ['x' * 255], ['x' * 4096],
                     ['/' * 5000], ['a\nb'], ['nowhere/..']):
            answer = client.call('CreateContainer', spec('h1', args, root), wait=BOUND)
            assert answer.code, args
            clear(answer.text)
            answer = execute(client, 'h2', 'e1', args)
            assert answer.code, args
            clear(answer.text)
        remove(client, 'h2')

# SPDX-License-Identifier: Apache-2.0
"""What hostile plays share: images to be made, specs to be sent, and what must be the same afterwards as before."""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
import zlib

from wire import Client, NoAnswer

TMP = os.environ['HOSTILE_TMP']
AGENT = int(os.environ['HOSTILE_AGENT'])
GUEST = int(os.environ['HOSTILE_GUEST'])
CGROUP = os.environ['HOSTILE_CGROUP']
SMALL = os.environ.get('KATA_SMALL', '') not in ('', '0')
SOCKET = TMP + '/agent.sock'
CANARY = TMP + '/canary'
SECRET = 'the guest has this for itself'
PROGRAM = TMP + '/kata-agent'
# What a create may take, however hostile: far above what it takes, far below its deadline.
BOUND = 20

with open(PROGRAM, 'rb') as file:
    SANITIZED = b'__asan_init' in file.read()


def left_out(*what):
    """Of the many combinations a run takes a third, a small one a twelfth, always the same; HOSTILE_ALL=1: all."""
    return 'HOSTILE_ALL' not in os.environ and zlib.crc32(' '.join(what).encode()) % (12 if SMALL else 3)


def connect(**options):
    return Client(SOCKET, **options)


# --- images

APPLETS = 'true sh cat echo ls rm sleep mkdir mount umount unshare ln kill mv test stat readlink seq setsid head'.split()


def image(name, directories='bin dev etc proc sys tmp mnt run'):
    """A small root file system. Its path."""
    root = '%s/images/%s' % (TMP, name)
    shutil.rmtree(root, ignore_errors=True)
    for directory in directories.split():
        os.makedirs(os.path.join(root, directory))
    if os.path.isdir(root + '/bin'):
        for program, source in (('busybox', '/bin/busybox'), ('evil', TMP + '/evil')):
            with contextlib.suppress(FileExistsError):
                shutil.copy(source, '%s/images/.%s' % (TMP, program)) \
                    if not os.path.exists('%s/images/.%s' % (TMP, program)) else None
            os.link('%s/images/.%s' % (TMP, program), '%s/bin/%s' % (root, program))
        for applet in APPLETS:
            os.symlink('busybox', '%s/bin/%s' % (root, applet))
    return root


def spec(id_, args, root, mounts=None, cwd='/', terminal=False, caps=(), dev=True, process=None, linux=None, **more):
    """A CreateContainer request."""
    caps = list(caps)
    all_mounts = [{'destination': '/proc', 'type': 'proc', 'source': 'proc'}]
    if dev:
        all_mounts += [{'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['mode=755']},
                       {'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',
                        'options': ['newinstance', 'ptmxmode=0666']}]
    all_process = {'Terminal': terminal, 'Args': args, 'Env': ['PATH=/bin'], 'Cwd': cwd, 'User': {'UID': 0, 'GID': 0},
                   'Capabilities': {'Bounding': caps, 'Effective': caps, 'Permitted': caps}}
    all_process.update(process or {})
    all_linux = {'CgroupsPath': '/%s/%s' % (CGROUP, id_),
                 'Namespaces': [{'Type': t} for t in ('mount', 'uts', 'ipc', 'pid')]}
    all_linux.update(linux or {})
    request = {'container_id': id_, 'OCI': {'Version': '1.0.2', 'Root': {'Path': root}, 'Process': all_process,
                                            'Mounts': all_mounts + (mounts or []), 'Linux': all_linux}}
    request['OCI'].update(more)
    return request


def bind(source, destination, *options):
    return {'destination': destination, 'source': source, 'type': 'bind', 'options': ['rbind'] + list(options)}


# --- calls

def start(client, id_):
    return client.ok('StartContainer', {'container_id': id_})


def running(client, id_, args, root, **more):
    client.ok('CreateContainer', spec(id_, args, root, **more))
    start(client, id_)


def remove(client, id_, wait=BOUND):
    client.ok('RemoveContainer', {'container_id': id_}, wait=wait)


def execute(client, id_, exec_, args, wait=BOUND, timeout_ns=0, **process):
    message = {'Args': args, 'Env': ['PATH=/bin'], 'Cwd': '/'}
    message.update(process)
    return client.call('ExecProcess', {'container_id': id_, 'exec_id': exec_, 'process': message}, wait=wait,
                       timeout_ns=timeout_ns)


def decode(answer, message):
    from wire import SCHEMA
    return SCHEMA.decode(message, answer.payload)


def exit_code(client, id_, exec_='', wait=BOUND):
    answer = client.ok('WaitProcess', {'container_id': id_, 'exec_id': exec_}, wait=wait)
    code = decode(answer, 'WaitProcessResponse').get('status', 0)
    return code


def read(client, id_, exec_='', wait=BOUND, method='ReadStdout'):
    answer = client.call(method, {'container_id': id_, 'exec_id': exec_, 'len': 65536}, wait=wait)
    if answer.code:
        raise EOFError(answer.text)
    return decode(answer, 'ReadStreamResponse').get('data', b'')


def read_all(client, id_, exec_='', wait=BOUND):
    out = b''
    while len(out) < 1 << 20:
        try:
            piece = read(client, id_, exec_, wait)
        except EOFError:
            break
        if not piece:
            break
        out += piece
    return out.decode('utf-8', 'replace')


def run(client, id_, args, root, **more):
    """Creates, starts, reads, waits, removes. What it said."""
    running(client, id_, args, root, **more)
    out = read_all(client, id_)
    exit_code(client, id_)
    remove(client, id_)
    return out


def output(client, id_, exec_, args, **more):
    """A further process. What it said, or the error."""
    answer = execute(client, id_, exec_, args, **more)
    if answer.code:
        return 'refused: ' + answer.text
    out = read_all(client, id_, exec_)
    exit_code(client, id_, exec_)
    return out


def init_pid(client, id_):
    data = decode(client.ok('GetDiagnosticData', {'log_type': 'containers'}), 'GetDiagnosticDataResponse')['data']
    return [json.loads(line)['pid'] for line in data.splitlines() if json.loads(line)['id'] == id_][0]


def in_guest(*command):
    return subprocess.run(['nsenter', '-t', str(GUEST), '-m', '-p'] + list(command), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=20).stdout.decode('utf-8', 'replace')


# --- what must not change

def make_canary():
    if os.path.exists(CANARY):
        return
    os.makedirs(CANARY + '/directory/deeper')
    for name in ('secret', 'directory/secret', 'hosts', 'null', 'console', 'kcore', 'passwd'):
        with open(os.path.join(CANARY, name), 'w') as out:
            out.write(SECRET)
    os.mkfifo(CANARY + '/fifo')
    os.symlink('secret', CANARY + '/link')
    os.chmod(CANARY + '/directory/secret', 0o600)


def tree(top, follow=True):
    """Everything about each file below: type, mode, owner, times, content."""
    out = {}
    for directory, directories, files in os.walk(top):
        for name in sorted(directories + files) + ['.']:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            facts = [stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_size, st.st_mtime_ns,
                     st.st_ctime_ns, st.st_rdev]
            if stat.S_ISREG(st.st_mode) and follow:
                with open(path, 'rb') as content:
                    facts.append(hashlib.sha256(content.read()).hexdigest())
            elif stat.S_ISLNK(st.st_mode):
                facts.append(os.readlink(path))
            out[path] = tuple(facts)
    return out


def names(top):
    """Names, types and modes of one directory in the guest."""
    out = {}
    for name in os.listdir(top):
        with contextlib.suppress(FileNotFoundError):
            st = os.lstat(os.path.join(top, name))
            out[name] = (stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_rdev)
    return out


def outside():
    guest = '/proc/%d/root' % GUEST
    with open('/proc/%d/mountinfo' % GUEST) as table:
        mounts = sorted(line.split(' ')[4] for line in table)
    with open(PROGRAM, 'rb') as program:
        digest = hashlib.sha256(program.read()).hexdigest()
    return {'canary': tree(CANARY), '/dev': names(guest + '/dev'), '/etc': tree(guest + '/etc', False),
            '/': {k: v for k, v in names(guest + '/').items()}, '/run': names(guest + '/run'),
            '/run/kata-containers': names(guest + '/run/kata-containers'),
            'mounts': mounts, 'the agent': digest}


def compare(before, after):
    for what in before:
        if before[what] == after[what]:
            continue
        a, b = before[what], after[what]
        if isinstance(a, dict):
            changed = {k: (a.get(k), b.get(k)) for k in set(a) | set(b) if a.get(k) != b.get(k)}
        else:
            # Mounts of the machine's may go meanwhile, and take their copies along. What comes is ours.
            changed = (a, b) if not isinstance(a, list) else [x for x in b if x not in a]
            if not changed:
                continue
        raise AssertionError('%s changed: %r' % (what, changed))


@contextlib.contextmanager
def canary_stays():
    """The quick half of nothing_outside_changes()."""
    make_canary()
    guest = '/proc/%d/root' % GUEST
    before = {'canary': tree(CANARY), '/dev': names(guest + '/dev')}
    yield
    compare(before, {'canary': tree(CANARY), '/dev': names(guest + '/dev')})


@contextlib.contextmanager
def nothing_outside_changes():
    make_canary()
    before = outside()
    yield
    compare(before, outside())


# --- the agent itself

def descriptors():
    out = []
    for name in os.listdir('/proc/%d/fd' % AGENT):
        with contextlib.suppress(FileNotFoundError):
            out.append(os.readlink('/proc/%d/fd/%s' % (AGENT, name)))
    return sorted(out)


def children():
    with open('/proc/%d/task/%d/children' % (AGENT, AGENT)) as file:
        return file.read().split()


def resident():
    with open('/proc/%d/statm' % AGENT) as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE')


def processor_time():
    with open('/proc/%d/stat' % AGENT) as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def cgroups():
    out = []
    for directory, directories, _ in os.walk('/sys/fs/cgroup'):
        if CGROUP in directory:
            out += [directory] if directory.rsplit('/', 1)[1] != CGROUP else []
        elif directory.count('/') > 6:
            directories[:] = []
    return sorted(out)


def eventually(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def agent_is_well():
    with connect() as client:
        client.ok('Check')


@contextlib.contextmanager
def nothing_leaks(growth=24 << 20):
    """Descriptors, children, cgroups and memory of the agent are what they were, and it answers."""
    agent_is_well()
    fds, memory = descriptors(), resident()
    yield
    agent_is_well()
    if not eventually(lambda: len(descriptors()) <= len(fds)):
        extra = descriptors()
        for one in fds:
            if one in extra:
                extra.remove(one)
        raise AssertionError('descriptors left: %r' % extra)
    assert eventually(lambda: not children()), 'children left: %r' % children()
    assert eventually(lambda: not cgroups()), 'cgroups left: %r' % cgroups()
    if not SANITIZED and resident() - memory > growth:
        raise AssertionError('the agent grew from %d to %d bytes' % (memory, resident()))


@contextlib.contextmanager
def idle():
    """The agent does not turn in circles meanwhile: less than a tenth of a processor."""
    before, began = processor_time(), time.monotonic()
    yield
    used, passed = processor_time() - before, time.monotonic() - began
    assert used < 0.1 * passed + 0.03, 'the agent used %g s of %g s' % (used, passed)


def clear(text):
    """An error for a person: one that says something, in printable characters, and not without end."""
    assert text, 'an error without a text'
    assert len(text) < 9000, 'an error of %d characters: %s…' % (len(text), text[:200])
    bad = [c for c in text if ord(c) < 32 and c not in '\n\t']
    assert not bad, 'an error with control characters: %r' % text


__all__ = [name for name in dir() if not name.startswith('__')]

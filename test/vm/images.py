# SPDX-License-Identifier: Apache-2.0
"""The machines of the plays, and the images that they boot. Everything fetched or made lies in BUILD/vm."""
import glob
import os
import shutil
import subprocess

from machine import VIRTIOFSD

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

# What Debian's cloud kernel has as modules and Kata's guest kernels have built in.
MODULES = ['virtio_pci', 'virtio_blk', 'virtiofs', 'vsock_loopback', 'vmw_vsock_virtio_transport', 'overlay', '+virtio_net',
           '+loop', '+dummy']
SMALL_MODULES = ['vsock_loopback']

# Two nodes of memory, each with a processor.
NUMA = [word for node in '01' for word in (
    '-object', 'memory-backend-ram,id=node%s,size=256M' % node,
    '-numa', 'node,nodeid=%s,cpus=%s,memdev=node%s' % (node, node, node))]

V2 = 'systemd.unified_cgroup_hierarchy=1'
# Ports of the agent, and that streams may be passed through from within the guest.
PORTS = ' agent.log_vport=1025 agent.debug_console agent.debug_console_vport=1026 agent.passfd_listener_port=1027' \
    ' KATA_AGENT_PASSFD_ANY_CID=1'
# A bad value for every key, keys that do not exist, and words that the kernel hands to its first process.
BAD = ' '.join(['agent.%s=x' % key for key in (
    'log', 'server_addr', 'trace', 'devmode', 'debug_console', 'debug_console_vport', 'log_vport', 'passfd_listener_port',
    'container_pipe_size', 'hotplug_timeout', 'cdh_api_timeout', 'image_pull_timeout', 'cdi_timeout',
    'launch_process_timeout', 'visible_cdi_devices', 'cgroup_driver', 'cgroup_devices', 'renew', 'https_proxy',
    'guest_components_rest_api', 'guest_components_procs', 'secure_storage_integrity', 'mem_agent_enable',
    'mem_agent_memcg_disable', 'mem_agent_memcg_swap', 'mem_agent_memcg_swappiness_max', 'mem_agent_memcg_period_secs',
    'mem_agent_memcg_period_psi_percent_limit', 'mem_agent_memcg_eviction_psi_percent_limit',
    'mem_agent_memcg_eviction_run_aging_count_min', 'mem_agent_compact_disable', 'mem_agent_compact_period_secs',
    'mem_agent_compact_period_psi_percent_limit', 'mem_agent_compact_psi_percent_limit', 'mem_agent_compact_sec_max',
    'mem_agent_compact_order', 'mem_agent_compact_threshold', 'mem_agent_compact_force_times', 'no_such_key')] + [
    'agent.no_proxy=', 'agent.config_file=/no/such/file', 'systemd.unified_cgroup_hierarchy=x', 'cgroup_no_v1=x',
    'KATA_AGENT_LOG_LEVEL=x', 'KATA_AGENT_TRACING=x', 'single', '-v', '-h', '--', '-s', '--no-such-option', 'word'])
SYSTEMD = ' quiet systemd.unit=kata-containers.target systemd.show_status=false'

# In the order in which they run.
MACHINES = {
    # No agent: busybox is PID 1 on a disk. For unit tests that had better not run on a person's machine.
    'bare': dict(init='bare', append='quiet', memory='512', smp='2', disk=256, extra=NUMA),
    'bare-v1': dict(init='bare', append='quiet', memory='512', disk=256),
    # The agent is PID 1 of an initramfs, as in Kata's stock initrd.
    'pid1-v2': dict(init='agent', append='quiet ' + V2 + PORTS, memory='256M,slots=2,maxmem=1G', smp='1,maxcpus=2',
                    policies=True),
    # Here nothing of the configuration is any good.
    'pid1-v1': dict(init='agent', append='quiet', words=BAD),
    # Few drivers and little memory: 64 MiB and what its plays take away. (Debian's kernel needs more to unpack itself.)
    'pid1-small': dict(init='agent', append='quiet ' + V2, memory='96', small=True),
    # The agent is PID 1 on a disk, as in Kata's agent-init image: here pivot_root(2) works.
    # Its console is the host's to type on, and to leave unread.
    'pid1-disk': dict(init='agent', append='quiet agent.debug_console agent.log=debug ' + V2, disk=96, typed=True),
    # A read-only root, no /dev/console, no standard streams, and a kernel without v1's memory controller.
    'pid1-ro': dict(init='agent', append='quiet cgroup_no_v1=memory play.ro', disk=96),
    # A file system shared by the host, and the agent's memory so that its daemon can see it.
    'pid1-share': dict(init='agent', append='quiet ' + V2, share=True),
    # A kernel with SELinux instead of AppArmor, which it has by itself.
    'pid1-selinux': dict(init='agent', append='quiet security=selinux ' + V2, policies=True),
    # systemd is PID 1 and the agent its service, as in Kata's systemd images; without and with the system bus.
    'systemd': dict(init='systemd', append=V2 + SYSTEMD, bus=True, disk=160),
    'systemd-nobus': dict(init='systemd', append=V2 + SYSTEMD, memory='512', bus=False),
}


def unavailable(build):
    """Why there are no virtual machines here, or None."""
    if not shutil.which('qemu-system-x86_64'):
        return 'qemu-system-x86_64 is not installed'
    if os.uname().machine != 'x86_64':
        return 'the machines are made for x86_64'
    done = subprocess.run([os.path.join(HERE, 'fetch-kernel'), os.path.join(build, 'vm/kernel')],
                          capture_output=True, text=True)
    if done.returncode:
        return 'the kernel cannot be fetched: ' + ' '.join(done.stderr.split())
    return None


def runnable(name):
    """Why the machine cannot be had here, or None."""
    if MACHINES[name].get('share') and not os.path.exists(VIRTIOFSD):
        return 'virtiofsd is not installed'
    return None


def programs(build):
    """(file, place in the guest) of what was built."""
    return [(path, place) for path, place in (
        (os.path.join(build, 'src/ctl/kata-agent-ctl'), '/bin/kata-agent-ctl'),
        (os.path.join(build, 'src/oci/kata-oci'), '/bin/kata-oci'),
        (os.path.join(build, 'src/agent/vsock-pipe'), '/bin/vsock-pipe'),
        (os.path.join(build, 'src/agent/orphans'), '/bin/orphans'),
    ) if os.path.exists(path)]


def libraries(paths):
    """What dynamically linked programs need, each file once."""
    found = set()
    for path in paths:
        done = subprocess.run(['ldd', path], capture_output=True, text=True)
        for line in done.stdout.splitlines():
            found.update(word for word in line.split() if word.startswith('/'))
    return sorted(found)


def mkguest(*args):
    subprocess.run([os.path.join(TOP, 'tools/mkguest'), *args], check=True)


def machine(name, build, plays, driver=os.path.join(HERE, 'driver'), before=''):
    """The image for a machine, and the arguments for Machine(). @driver is what runs beside the agent,
    @before what a shell does right before it becomes the agent (not with a disk)."""
    what = MACHINES[name]
    base = os.path.join(build, 'vm')
    kernel = os.path.join(base, 'kernel')
    image = os.path.join(base, name + '.cpio')
    common = ['--busybox', shutil.which('busybox'), '--bundle', '/bundle', '--file', HERE + '/lib:/plays/lib',
              '--file', driver + ':/plays/driver',
              '--file', HERE + '/modprobe:/sbin/modprobe']
    for play in plays:
        common += ['--file', '%s:/plays/%s' % (play.path, play.name)]
    if what.get('policies'):
        common += policies(base)
    for path, place in programs(build) if not what.get('small') else programs(build)[:1]:
        common += ['--file', path + ':' + place]
    modules = ['--kernel', kernel]
    for module in MODULES if not what.get('small') else SMALL_MODULES:
        modules += ['--module', module]
    arguments = dict(kernel=os.path.join(kernel, 'vmlinuz'), initrd=image, append='%s play.machine=%s %s' % (what['append'], name, what.get('words', '')),
                     memory=what.get('memory', '256'), smp=what.get('smp', '1'), extra=list(what.get('extra', [])))
    if what.get('share'):
        arguments['share'] = share(base)
    if what.get('typed'):
        arguments['typed'] = True
    to_do = []
    if what['init'] == 'bare':
        tests = bare_tests(build)
        for path, place in [(test, '/tests/' + os.path.basename(test)) for test in tests] + [
                (library, library) for library in libraries(tests)]:
            common += ['--file', path + ':' + place]
        common += ['--file', HERE + '/bare-init:/sbin/init', '--dir', '/usr/bin']
    else:
        agent = os.path.join(build, 'src/agent/kata-agent')
        if what.get('small'):
            agent = os.path.join(base, 'kata-agent')
            subprocess.run(['strip', '-o', agent, os.path.join(build, 'src/agent/kata-agent')], check=True)
        common += ['--agent', agent]
    if what['init'] == 'systemd':
        common += systemd(build, what['bus'])
    else:
        to_do = ['--before', '/bin/sh /plays/driver &\n' + before]
    if what.get('disk'):
        # The disk's drivers are in a small initramfs, which leaves nothing behind.
        disk = os.path.join(base, name + '.ext4')
        mkguest('-o', disk, '--size', str(what['disk']), *common, '--kernel', kernel,
                *[word for module in MODULES for word in ('--module', '+' + module.lstrip('+'))])
        mkguest('-o', image, '--busybox', shutil.which('busybox'), *modules, '--init', '/bin/sh /sbin/to-disk',
                '--file', HERE + '/to-disk:/sbin/to-disk')
        arguments['extra'] += ['-drive', 'file=%s,format=raw,if=none,id=root,snapshot=on' % disk,
                               '-device', 'virtio-blk-pci,drive=root']
    else:
        mkguest('-o', image, *common, *modules, *to_do)
    return arguments


def policies(base):
    """Policies of security modules for /policies; nothing where their compilers cannot be had, and plays say so."""
    directory = os.path.join(base, 'policies')
    done = subprocess.run([os.path.join(HERE, 'fetch-policies'), directory], stderr=subprocess.PIPE, text=True)
    if done.returncode == 77:
        return ['--dir', '/policies']
    if done.returncode:
        raise OSError('the policies cannot be compiled: ' + ' '.join(done.stderr.split()))
    return ['--file', os.path.join(directory, 'policies') + ':/policies']


def share(base):
    """The directory that a host shares: a container's root and a volume, as a runtime lays them out."""
    top = os.path.join(base, 'share')
    shutil.rmtree(top, ignore_errors=True)
    root = os.path.join(top, 'web/rootfs')
    for directory in ('bin', 'proc', 'sys', 'dev', 'tmp', 'etc'):
        os.makedirs(os.path.join(root, directory))
    shutil.copy(shutil.which('busybox'), os.path.join(root, 'bin/busybox'))
    for name in ('sh', 'cat', 'ls', 'sleep', 'echo', 'mount'):
        os.symlink('busybox', os.path.join(root, 'bin', name))
    os.makedirs(os.path.join(top, 'web-0123456789abcdef-data'))
    with open(os.path.join(top, 'web-0123456789abcdef-data/from-host'), 'w') as f:
        f.write('from the host\n')
    return top


def installed(build):
    """What `meson install` installs for guests: (tree, unit directory). Its manual pages and control tool are not taken."""
    top = os.path.join(build, 'vm/installed')
    shutil.rmtree(top, ignore_errors=True)
    subprocess.run(['meson', 'install', '-C', build, '--no-rebuild', '--quiet'], check=True,
                   env=dict(os.environ, DESTDIR=top), capture_output=True)
    units = [directory for directory, _, files in os.walk(top) if 'kata-agent.service' in files]
    for directory, _, files in os.walk(top):
        for name in files:
            if name not in ('kata-agent',) and os.path.basename(directory) == 'bin' or '/man/' in directory:
                os.unlink(os.path.join(directory, name))
    return top, units[0][len(top):]


def systemd(build, bus):
    """The root with systemd, the project as it is installed, and a unit for the driver."""
    base = os.path.join(build, 'vm')
    subprocess.run([os.path.join(HERE, 'fetch-root'), os.path.join(base, 'systemd')], check=True)
    units, etc = '/usr/lib/systemd/system/', '/etc/systemd/system/'
    args = ['--tree', os.path.join(base, 'systemd/root'), '--tree', installed(build)[0],
            '--file', os.path.join(HERE, 'plays.service') + ':' + units + 'plays.service',
            '--link', '/usr/lib/systemd/systemd:/sbin/init',
            '--link', units + 'plays.service:' + etc + 'kata-containers.target.wants/plays.service']
    if bus:
        args += ['--link', units + 'dbus.socket:' + etc + 'kata-containers.target.wants/dbus.socket']
    else:
        args += ['--link', '/dev/null:' + etc + 'dbus.socket', '--link', '/dev/null:' + etc + 'dbus.service']
    return args


def bare_tests(build):
    """Unit tests of what a kernel does; most of them need root."""
    patterns = ['base/test-path', 'base/test-job', 'base/test-record', 'cgroup/test-*', 'engine/test-*', 'guest/test-*']
    return sorted(path for pattern in patterns for path in glob.glob(os.path.join(build, 'src', pattern))
                  if os.path.isfile(path) and os.access(path, os.X_OK))

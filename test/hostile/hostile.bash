# SPDX-License-Identifier: Apache-2.0
# The stage for hostile plays: the guest of ../helpers.bash, with /dev and /etc that are its own too, so that what should leak
# out of a container leaks into nothing of the machine's, and is seen. The plays themselves are in python (play.py).

hostile_setup() {
	guest_start
	cc -O1 -static -o "$tmp/evil" "$hostile/evil.c"
	cp -a /etc "$tmp/etc"
	mkdir "$tmp/dev"
	in_guest sh -c "
		set -e
		busybox mount -o bind "$tmp/etc" /etc
		busybox mount -t tmpfs -o mode=755 tmpfs '$tmp/dev'
		cd '$tmp/dev'
		mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 full c 1 7
		mknod -m 666 random c 1 8; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
		mkdir pts shm
		busybox mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts pts
		ln -s pts/ptmx ptmx; ln -s /proc/self/fd fd
		cd /
		busybox mount -o move '$tmp/dev' /dev"
	mounts_before=$(guest_mounts)
	# A copy: it is among what is attacked. Away from the machine's network, which is attacked as well.
	cp "$build/src/agent/kata-agent" "$tmp/kata-agent"
	printf '#!/bin/sh\nexec unshare --net --uts --ipc "%s"\n' "$tmp/kata-agent" >"$tmp/agent"
	chmod 755 "$tmp/agent"
	agent_program=$tmp/agent
	agent_start KATA_AGENT_LOG_LEVEL=info
}
# What the agent left frozen could not be ended, and this test would wait for it without end.
hostile_thaw() {
	local file
	for file in /sys/fs/cgroup{,/unified,/freezer}/"$cgroup"/*/{freezer.state,cgroup.freeze}; do
		case $file in
		*.state) [ ! -e "$file" ] || echo THAWED >"$file" ;;
		*.freeze) [ ! -e "$file" ] || echo 0 >"$file" ;;
		esac
	done
}
hostile_teardown() {
	local status=0 watch
	[ -n "$BATS_TEST_COMPLETED" ] || hostile_thaw
	(sleep 40; hostile_thaw) >/dev/null 2>&1 3>&- &
	watch=$!
	guest_stop || status=$?
	kill $watch 2>/dev/null
	return $status
}

# One play, by the name of its file and its function.
play() {
	HOSTILE_TMP=$tmp HOSTILE_AGENT=$agent HOSTILE_GUEST=$guest HOSTILE_CGROUP=$cgroup \
		timeout -k 5 "${2:-100}" python3 "$hostile/play.py" "$1" 3>&-
}

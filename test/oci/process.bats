#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Processes: exec in all its forms, terminals, inherited descriptors, errors of programs that cannot be executed.

load helpers
setup() { stage_open; }
teardown() { stage_close; }

@test "exec: output, status, environment, directory, user" {
	sleeper c
	must 7 oci exec c sh -c 'echo here; exit 7'
	[ "$output" = here ]
	must 0 oci exec --env A=b --cwd /tmp --user 12:34 c sh -c 'echo $A $(pwd) $(id -u):$(id -g)'
	[ "$output" = "b /tmp 12:34" ]
	must 0 oci exec c hostname
	[ "$output" = box ]
	must 137 oci exec c sh -c 'kill -9 $$'
	[ "$(echo word | oci exec c cat)" = word ]
}

@test "exec by a process file" {
	sleeper c
	jq -n '{args: ["sh", "-c", "echo $A; grep CapEff /proc/self/status"], cwd: "/", env: ["A=x y", "PATH=/bin"],
		capabilities: {bounding: ["CAP_CHOWN"], effective: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"]}}' >"$tmp/process.json"
	must 0 oci exec --process "$tmp/process.json" c
	[ "${lines[0]:-$(sed -n 1p <<<"$output")}" = "x y" ]
	grep -q 'CapEff:.*0000000000000001' <<<"$output"
	must 0 oci exec --cap CAP_NET_RAW c grep CapEff /proc/self/status
	grep -q 'CapEff:.*0000000000002020' <<<"$output"
}

@test "exec --detach: pid file, and the process lives on" {
	sleeper c
	must 0 oci exec --detach --pid-file "$tmp/pid" c sleep 200
	[ "$(on_stage cat "/proc/$(cat "$tmp/pid")/comm")" = sleep ]
	[ "$(oci ps -f json c | jq length)" = 2 ]
}

@test "exec --detach of what ends at once: the pid is told, and the status is left to the adopter" {
	command -v python3 >/dev/null || skip "no python3"
	sleeper c
	cat >"$tmp/adopt.py" <<'P'
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
for i in range(20):
    subprocess.run(sys.argv[2:], check=True)
    pid = int(open(sys.argv[1]).read())
    assert pid > 1, pid
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
P
	must 0 on_stage python3 "$tmp/adopt.py" "$tmp/pid" "$oci_program" --root "$state" exec --detach --pid-file "$tmp/pid" c sh -c 'exit 9'
}

@test "exec into what does not run" {
	must 255 oci exec nobody true
	[[ $output == *"does not exist"* ]]
	sleeper c
	oci kill c KILL
	eventually has_status c stopped
	must 255 oci exec c true
	[[ $output == *stopped* ]]
}

@test "programs that cannot be executed are told before the start" {
	config . /no/such/program
	must 1 oci create -b "$bundle" c
	[[ $output == *"no such file or directory"* ]]
	config . nosuchprogram
	must 1 oci create -b "$bundle" c
	[[ $output == *"executable file not found in \$PATH"* ]]
	touch "$bundle/rootfs/plain"
	config . /plain
	must 1 oci create -b "$bundle" c
	[[ $output == *"permission denied"* ]]
	[ -z "$(ls "$state")" ]
	sleeper c
	must 255 oci exec c nosuchprogram
	[[ $output == *"executable file not found in \$PATH"* ]]
}

@test "a missing interpreter is told by start" {
	printf '#!/no/interpreter\n' >"$bundle/rootfs/script"
	chmod +x "$bundle/rootfs/script"
	config . /script
	must 0 oci create -b "$bundle" c
	must 1 oci start c
	[[ $output == *'interpreter "/no/interpreter" is missing'* ]]
}

@test "a terminal in the foreground" {
	config '.process.terminal = true' sh -c 'tty; stty size; test -c /dev/console && echo console'
	script -qec "stty rows 33 cols 99; nsenter -t $stage -m -p $oci_program --root $state run -b $bundle c" /dev/null </dev/null \
		>"$tmp/out" 3>&-
	grep -q /dev/pts/0 "$tmp/out"
	grep -q "33 99" "$tmp/out"
	grep -q console "$tmp/out"
}

@test "a terminal by console socket" {
	command -v python3 >/dev/null || skip "no python3"
	config '.process.terminal = true' sh -c 'echo from the terminal; sleep 300'
	cat >"$tmp/console.py" <<'P'
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
c, _ = s.accept()
_, anc, _, _ = c.recvmsg(256, socket.CMSG_SPACE(4))
fd = array.array("i", anc[0][2])[0]
print(os.read(fd, 100).decode(), flush=True)
P
	python3 "$tmp/console.py" "$tmp/console" >"$tmp/out" 3>&- &
	local job=$!
	eventually test -S "$tmp/console"
	must 1 oci create -b "$bundle" c
	[[ $output == *"console socket"* ]]
	# Who reads what it says sees the end of that while the container waits.
	timeout 20 bash -o pipefail -c '"$@" 2>&1 | cat' create nsenter -t "$stage" -m -p \
		"$oci_program" --root "$state" create -b "$bundle" --console-socket "$tmp/console" c 3>&-
	must 0 oci start c
	wait $job
	grep -q "from the terminal" "$tmp/out"
	must 1 oci create -b "$bundle" --console-socket "$tmp/none" d
	[[ $output == *"$tmp/none"* ]]
	[ ! -e "$state/d" ]
	must 255 oci exec --tty --detach c true
}

@test "a descriptor of the process by pidfd socket" {
	command -v python3 >/dev/null || skip "no python3"
	config . sleep 300
	cat >"$tmp/pidfd.py" <<'P'
import array, os, signal, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
c, _ = s.accept()
name, anc, _, _ = c.recvmsg(256, socket.CMSG_SPACE(4))
for _ in range(1000):
    if os.path.exists(sys.argv[2]):
        break
    time.sleep(0.01)
signal.pidfd_send_signal(array.array("i", anc[0][2])[0], signal.SIGKILL)
print(name.decode(), flush=True)
P
	receive() { # COMMAND…: its process is killed by the descriptor that is sent
		python3 "$tmp/pidfd.py" "$tmp/socket" "$tmp/go" >"$tmp/out" 3>&- &
		local job=$!
		eventually test -S "$tmp/socket"
		# It comes before the program is started, and who is killed by then fails the start.
		must 0 "$@"
		touch "$tmp/go"
		wait $job
		rm "$tmp/socket" "$tmp/go"
		[ "$(cat "$tmp/out")" = pidfd ]
	}
	receive oci create -b "$bundle" --pidfd-socket "$tmp/socket" c
	eventually has_status c stopped
	oci delete c
	receive oci run --detach -b "$bundle" --pidfd-socket "$tmp/socket" c
	eventually has_status c stopped
	oci delete c
	sleeper c
	receive oci exec --detach --pidfd-socket "$tmp/socket" c sleep 301
	gone() { ! on_stage pgrep -x -f "sleep 301"; }
	eventually gone
	has_status c running
	must 255 oci exec --detach --pidfd-socket "$tmp/none" c sleep 301
	[[ $output == *"$tmp/none"* ]]
	eventually gone
	must 1 oci create -b "$bundle" --pidfd-socket "$tmp/none" d
	[ ! -e "$state/d" ]
}

@test "descriptors: preserved ones, socket activation, no others" {
	config . sh -c 'cat <&3; echo; ls /proc/self/fd | tr "\n" " "'
	echo -n three >"$tmp/three"
	echo -n nine >"$tmp/nine"
	must 0 on_stage sh -c "exec 3<$tmp/three 4<$tmp/three 9<$tmp/nine; exec $oci_program --root $state run --preserve-fds 1 -b $bundle c"
	[[ $output == three* ]]
	# ls has 0, 1, 2, what was preserved, and its own for the directory.
	[[ $output == *"0 1 2 3 4 "* && $output != *" 5 "* && $output != *" 9 "* ]]
	must 1 oci run --preserve-fds 3 -b "$bundle" c
	config . sh -c 'echo $LISTEN_FDS $LISTEN_PID; cat <&3'
	must 0 on_stage sh -c "exec 3<$tmp/three; LISTEN_FDS=1 exec $oci_program --root $state run -b $bundle c"
	[ "$output" = "1 1
three" ]
}

@test "readiness is passed on to systemd" {
	command -v python3 >/dev/null || skip "no python3"
	python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1]); s.settimeout(20); print(s.recv(200).decode())' \
		"$tmp/systemd" >"$tmp/out" 3>&- &
	local job=$!
	eventually test -S "$tmp/systemd"
	cp "$(command -v python3)" "$tmp/" 2>/dev/null || true
	config . sh -c 'echo "$NOTIFY_SOCKET"; test -S "$NOTIFY_SOCKET" && sleep 300'
	must 0 on_stage env "NOTIFY_SOCKET=$tmp/systemd" "$oci_program" --root "$state" create -b "$bundle" c
	on_stage env "NOTIFY_SOCKET=$tmp/systemd" "$oci_program" --root "$state" start c &
	local start=$!
	eventually has_status c running
	# What the program in the container would say.
	sleep 0.2
	python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM).sendto(b"STATUS=x\nREADY=1\n",sys.argv[1])' \
		"$state/c/notify/notify.sock"
	wait $start
	wait $job
	grep -q READY=1 "$tmp/out"
	grep -q "MAINPID=$(oci state c | jq .pid)" "$tmp/out"
	! grep -q STATUS "$tmp/out"
}

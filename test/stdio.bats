#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What goes into a process and comes out of it, to the byte.

load helpers

setup() { guest_start; agent_start; }
teardown() { guest_stop; }

@test "stdio: what was written before the exit is there after the exit, and after the wait" {
	running c1 /bin/sh -c 'echo out; echo err >&2'
	[ "$(wait_code c1)" = 0 ]
	[ "$(wait_code c1)" = 0 ]
	[ "$(read_all c1 "" ReadStderr)" = err ]
	[ "$(read_all c1)" = out ]
	[ -z "$(read_some c1)" ]
	[ -z "$(read_some c1)" ]
}

@test "stdio: the same for an exec" {
	running c1 /bin/sleep 1000
	execute c1 e1 /bin/sh -c 'echo out; echo err >&2; exit 3'
	[ "$(wait_code c1 e1)" = 3 ]
	[ "$(read_all c1 e1 ReadStderr)" = err ]
	[ "$(read_all c1 e1)" = out ]
	# Its id may be used again, now that it was waited for.
	execute c1 e1 /bin/echo again
	[ "$(read_all c1 e1)" = again ]
	fails_with "already exists" execute c1 e1 /bin/true
	[ "$(wait_code c1 e1)" = 0 ]
}

@test "stdio: a read gets at most what it asks for, and the rest is kept" {
	running c1 /bin/printf abcdefghij
	[ "$(wait_code c1)" = 0 ]
	[ "$(read_some c1 "" ReadStdout 3)" = abc ]
	[ -z "$(read_some c1 "" ReadStdout 0)" ]
	[ "$(read_some c1 "" ReadStdout 4)" = defg ]
	[ "$(read_some c1 "" ReadStdout 4294967295)" = hij ]
}

@test "stdio: a read that was parked on a lost connection takes nothing with it" {
	running c1 /bin/sh -c 'read x; echo "got $x"'
	for i in 1 2 3; do
		ctl_begin ReadStdout '{"container_id":"c1","len":1000}' >/dev/null 2>&1
		sleep 0.1
		kill -KILL $client
		wait $client || true
	done
	write_stdin c1 "" $'it\n'
	[ "$(read_all c1)" = "got it" ]
}

@test "stdio: reads of one stream are answered in turn" {
	running c1 /bin/sh -c 'read x; printf 123456789'
	for i in 1 2 3; do
		rpc ReadStdout '{"container_id":"c1","len":3}' >"$tmp/r$i" 3>&- &
		eval "r$i=$!"
		sleep 0.1
	done
	write_stdin c1 "" $'\n'
	wait $r1 $r2 $r3
	[ "$(cat "$tmp"/r[123] | jq -r .data | while read -r d; do base64 -d <<<"$d"; done)" = 123456789 ]
}

@test "stdio: a grandchild that holds the pipe delays nobody for long" {
	running c1 /bin/sleep 1000
	execute c1 e1 /bin/sh -c 'sleep 1000 & echo parent; exit 4'
	started=$SECONDS
	[ "$(wait_code c1 e1)" = 4 ]
	[ "$(read_all c1 e1)" = parent ]
	[ -z "$(read_all c1 e1 ReadStderr)" ]
	[ $((SECONDS - started)) -le 3 ]
}

@test "stdio: input is delivered in order, before the start too, and closed after it" {
	create c1 /bin/sh -c 'cat; echo end'
	write_stdin c1 "" "before "
	start c1
	[ "$(rpc WriteStdin '{"container_id":"c1","data":"YWZ0ZXIK"}' | jq .len)" = 6 ]
	close_stdin c1
	close_stdin c1
	fails_with "Cannot get writer" write_stdin c1 "" x
	[ "$(read_all c1)" = $'before after\nend' ]
}

@test "stdio: an empty write closes too" {
	running c1 /bin/cat
	write_stdin c1 "" text
	rpc WriteStdin '{"container_id":"c1"}'
	[ "$(read_all c1)" = text ]
	[ "$(wait_code c1)" = 0 ]
}

@test "stdio: a write to a process that has gone says EPIPE" {
	running c1 /bin/true
	[ "$(wait_code c1)" = 0 ]
	fails_with "EPIPE: Broken pipe" write_stdin c1 "" x
}

@test "stdio: a write waits until all of it was taken, and the close comes after it" {
	create c1 /bin/sh -c 'wc -c'
	head -c 1000000 /dev/zero | base64 -w 0 >"$tmp/data"
	jq -Rc '{container_id: "c1", data: .}' "$tmp/data" >"$tmp/r"
	rpc WriteStdin "@$tmp/r" >"$tmp/answer" 3>&- &
	writing=$!
	sleep 0.3
	[ ! -s "$tmp/answer" ]
	close_stdin c1
	start c1
	wait $writing
	[ "$(jq .len "$tmp/answer")" = 1000000 ]
	[ "$(read_all c1)" = 1000000 ]
}

@test "stdio: a terminal" {
	running c1 -t /bin/sh -c 'tty; stty size; read x; stty size; echo "got $x"'
	[[ $(read_some c1) == /dev/* ]]
	rpc TtyWinResize '{"container_id":"c1","row":33,"column":44}'
	write_stdin c1 "" $'hello\n'
	out=$(read_all c1)
	[[ $out == *"33 44"* ]]
	[[ $out == *"got hello"* ]]
	[ "$(wait_code c1)" = 0 ]
}

@test "stdio: the end of input on a terminal is an end of file, and output goes on" {
	running c1 -t /bin/sh -c 'stty -echo; echo ready; cat; echo; echo "after the end"; exit 6'
	[[ $(read_some c1) == ready* ]]
	write_stdin c1 "" "no newline"
	close_stdin c1
	out=$(read_all c1)
	[[ $out == *"no newline"*"after the end"* ]]
	[ "$(wait_code c1)" = 6 ]
}

@test "stdio: many bytes there and back" {
	bytes=$((${KATA_STDIO_MIB:-${KATA_SMALL:+16}}))
	[ "$bytes" -gt 0 ] || bytes=1024
	"$load_program" "$address" "$rootfs" "$cgroup" echo $((bytes << 20))
}

@test "stdio: many lines after the end" {
	"$load_program" "$address" "$rootfs" "$cgroup" flood 0
}

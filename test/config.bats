#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The command line and the configuration as a person sees them, and the last words of an agent that falls.

load helpers

setup() { tmp=$(mktemp -d /tmp/kata-play-XXXXXX); agent=; }
teardown() {
	[ -z "$agent" ] || kill -KILL "$agent" 2>/dev/null || true
	rm -rf "$tmp"
}

# The row of a key in what --check-config prints.
row() { grep -F "$1" <<<"$output" | head -n 1; }

@test "config: --version says what hosts read, and a second one the driver" {
	run "$agent_program" --version
	[ $status -eq 0 ]
	pattern='^kata-agent version [0-9]+\.[0-9]+\.[0-9]+ \(api version: [0-9.]+, commit version: .+, type: c, extra-features: \[.*\]\)$'
	[[ $output =~ $pattern ]]
	[ "$("$agent_program" -v)" = "$output" ]
	run "$agent_program" -v -v
	[ $status -eq 0 ]
	[[ $output == *"cgroup driver: "*"("*")"* ]]
}

@test "config: --help, and words that are none" {
	for word in --help -h help; do
		run "$agent_program" $word
		[ $status -eq 0 ]
		[[ $output == *"Usage: kata-agent"*"--check-config"*"KATA_AGENT_SERVER_ADDR"* ]]
	done
	for word in --no-such -x word --config; do
		run "$agent_program" $word
		[ $status -eq 2 ]
		[[ $output == *"Usage: kata-agent"* ]]
	done
}

@test "config: a file is named in every way, and is all there is but the environment" {
	printf 'log_level = "debug"\nlog_vport = 1030\n' >"$tmp/agent.toml"
	for way in "-c $tmp/agent.toml" "-c$tmp/agent.toml" "--config $tmp/agent.toml" "--config=$tmp/agent.toml"; do
		run env -i "$agent_program" --check-config $way
		[ $status -eq 0 ]
		[[ $(row agent.log_vport) == *1030*"configuration file"* ]]
		[[ $output == *debug*"configuration file"* ]]
		[[ $(row agent.hotplug_timeout) == *3*default* ]]
	done
	run env -i KATA_AGENT_LOG_LEVEL=error KATA_AGENT_SERVER_ADDR=unix:///x=y "$agent_program" --check-config -c "$tmp/agent.toml"
	[ $status -eq 0 ]
	[[ $(row agent.server_addr) == *"unix:///x=y"*environment* ]]
	[[ $output == *error*environment* ]]
}

@test "config: what is wrong is told, and the rest is used" {
	printf 'log_level = "loud"\nlog_vport = 1030\nno_such_key = 1\n' >"$tmp/agent.toml"
	run env -i "$agent_program" --check-config --config "$tmp/agent.toml"
	[ $status -eq 1 ]
	[[ $(row agent.log_vport) == *1030* ]]
	[[ $output == *'"loud"'*"not used"* ]]
	run env -i "$agent_program" --check-config --config "$tmp/none.toml"
	[ $status -eq 1 ]
	[[ $output == *"none.toml"* ]]
	printf 'a = [\n' >"$tmp/agent.toml"
	run env -i "$agent_program" --check-config --config "$tmp/agent.toml"
	[ $status -eq 1 ]
	[[ $output == *"agent.toml"* ]]
}

# As the kernel's command line is seen by a process whose /proc/cmdline is ours.
with_cmdline() {
	echo "$1" >"$tmp/cmdline"
	shift
	unshare --mount --propagation private sh -c 'mount --bind "$0" /proc/cmdline && exec "$@"' "$tmp/cmdline" "$@"
}

@test "config: the kernel command line, its file, and the environment, in that order" {
	printf 'log_vport = 1030\nhotplug_timeout = 7\n' >"$tmp/agent.toml"
	run with_cmdline "quiet agent.log_vport=1025 agent.cdi_timeout=9 agent.config_file=$tmp/agent.toml agent.hotplug_timeout=5" \
		env -i KATA_AGENT_LOG_LEVEL=warn "$agent_program" --check-config
	[ $status -eq 0 ]
	[[ $(row agent.log_vport) == *1030*"configuration file"* ]]
	[[ $(row agent.hotplug_timeout) == *7*"configuration file"* ]]
	[[ $(row agent.cdi_timeout) == *9*"kernel command line"* ]]
	[[ $output == *warn*environment* ]]
	# With --config the kernel command line is not looked at.
	run with_cmdline "agent.cdi_timeout=9 agent.nonsense=1" env -i "$agent_program" --check-config -c "$tmp/agent.toml"
	[ $status -eq 0 ]
	[[ $(row agent.cdi_timeout) == *100*default* ]]
}

@test "config: a fatal signal leaves a last record with a backtrace, and the signal's status" {
	beyond_valgrind "what a fallen agent has open is reported"
	for signal in SEGV ABRT; do
		env KATA_AGENT_SERVER_ADDR=unix://$tmp/agent.sock unshare --mount --propagation private sh -c \
			'mount -t tmpfs tmpfs /run && exec "$0"' "$agent_program" >"$tmp/out" 2>"$tmp/err" 3>&- &
		agent=$!
		eventually test -S "$tmp/agent.sock"
		eventually ctl_answers
		kill -$signal $agent
		status=0
		wait $agent || status=$?
		agent=
		[ $status -eq $((128 + $(kill -l $signal))) ]
		record=$(grep '"msg":"fatal signal"' "$tmp/err")
		[ "$(jq -r .level <<<"$record")" = CRIT ]
		[ "$(jq -r .signal <<<"$record")" = "$(kill -l $signal)" ]
		[ "$(jq -r .backtrace <<<"$record" | grep -o 0x | wc -l)" -ge 3 ]
		rm -f "$tmp/agent.sock"
	done
}
ctl_answers() { "$ctl_program" --server-address "unix://$tmp/agent.sock" check >/dev/null 2>&1; }

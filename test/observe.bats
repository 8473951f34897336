#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the host's management socket asks for: metrics, the packet filter; and answers for what is not built in.

load helpers

setup() { guest_start; agent_start; }
teardown() { guest_stop; }

metrics() { rpc GetMetrics | jq -r .metrics; }

@test "observe: metrics of the agent and of the guest" {
	metrics >"$tmp/one"
	metrics >"$tmp/two"
	[ "$(sed -n 's/^kata_agent_scrape_count //p' "$tmp/one" "$tmp/two" | tr '\n' ' ')" = "1 2 " ]
	[ "$(sed -n 's/^kata_agent_threads //p' "$tmp/one")" = 1 ]
	total=$(awk '/^MemTotal/ { printf "%.0f\n", $2 * 1024 }' /proc/meminfo)
	[ "$(sed -n 's/^kata_guest_meminfo{item="mem_total"} //p' "$tmp/one")" = "$total" ]
	# The agent's own, not those of the child that reads them.
	resident=$(sed -n 's/^kata_agent_total_rss //p' "$tmp/one")
	[ "$resident" -gt 100000 ]
	[ "$(sed -n 's/^kata_agent_process_open_fds //p' "$tmp/one")" -ge 6 ]
	# A family has one head, in front of its samples.
	[ "$(grep -c '^# TYPE' "$tmp/one")" = "$(grep '^# TYPE' "$tmp/one" | sort -u | wc -l)" ]
	[ "$(grep '^kata' "$tmp/one" | sed 's/[{ ].*//' | uniq | wc -l)" = "$(grep -c '^# TYPE' "$tmp/one")" ]
	if python3 -c 'import prometheus_client' 2>/dev/null; then
		python3 -c 'import sys; from prometheus_client.parser import text_string_to_metric_families as parse
assert len(list(parse(sys.stdin.read()))) >= 18' <"$tmp/one"
	fi
}

@test "observe: the packet filter" {
	mkdir "$tmp/sbin"
	printf '#!/bin/sh\ncat "%s/rules" 2>/dev/null; true\n' "$tmp" >"$tmp/sbin/iptables-save"
	printf '#!/bin/sh\ngrep -q COMMIT >/dev/null || { echo "iptables-restore: line 1 failed" >&2; exit 2; }\n' >"$tmp/sbin/ip6tables-restore"
	printf '#!/bin/sh\n[ "$*" = "--wait 5" ] && cat >"%s/rules"\n' "$tmp" >"$tmp/sbin/iptables-restore"
	chmod +x "$tmp"/sbin/*
	in_guest mount --bind "$tmp/sbin" /usr/sbin
	rules=$(printf '*filter\n-A INPUT -j ACCEPT\nCOMMIT\n' | base64 -w0)
	rpc SetIPTables "{\"data\":\"$rules\"}"
	[ "$(rpc GetIPTables | jq -r .data)" = "$rules" ]
	fails_with 'ip6tables-restore failed: "iptables-restore: line 1 failed"' rpc SetIPTables '{"is_ipv6":true,"data":"eA=="}'
	fails_with "ip6tables-save: ENOENT" rpc GetIPTables '{"is_ipv6":true}'
	in_guest umount /usr/sbin
}

@test "observe: what is not built in is told in the words that hosts know" {
	fails_with "NOT_FOUND" rpc SetPolicy '{"policy":"package agent_policy"}'
	fails_with "/grpc.AgentService/SetPolicy is not supported" rpc SetPolicy '{"policy":"package agent_policy"}'
	fails_with "mem-agent is disabled" rpc MemAgentMemcgSet '{"swap":true}'
	fails_with "mem-agent is disabled" rpc MemAgentCompactSet '{}'
}

@test "observe: the log holds no secrets, not even with details" {
	secret=hunter2hunter2
	for id in c1 c2; do
		spec $id /bin/sh -c "echo $secret >&2; sleep 1000" | jq -c --arg id $id --arg secret "PASSWORD=$secret" '
			.OCI |= (with_entries(.) | if has("process") then .process.env += [$secret] else .Process.Env += [$secret] end) |
			if $id == "c2" then .OCI |= (if has("root") then .root.path = "/no/such" else .Root.Path = "/no/such" end) else . end' \
			>"$tmp/$id"
	done
	rpc CreateContainer "@$tmp/c1"
	start c1
	[ "$(read_some c1 "" ReadStderr)" = $secret ]
	write_stdin c1 "" $secret
	! rpc CreateContainer "@$tmp/c2" 2>/dev/null
	for program in /bin/true /no/such; do
		rpc ExecProcess "{\"container_id\":\"c1\",\"exec_id\":\"e-${program##*/}\",\"process\":{\"Args\":[\"$program\",\"$secret\"],
			\"Env\":[\"PASSWORD=$secret\"],\"Cwd\":\"/\"}}" || true
	done
	rpc CopyFile "{\"path\":\"/run/kata-containers/shared/containers/secret\",\"file_mode\":33152,\"uid\":0,\"gid\":0,
		\"file_size\":14,\"data\":\"$(printf %s $secret | base64)\"}"
	rpc RemoveContainer '{"container_id":"c1"}'
	grep -q ExecProcess "$tmp/log"
	! grep -q "$secret\|$(printf %s $secret | base64 | cut -c1-12)" "$tmp/log"
}

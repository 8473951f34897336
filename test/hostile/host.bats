#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A host that sends anything: every request is answered, the agent stays, and nothing is left of what failed.

hostile=$BATS_TEST_DIRNAME
BATS_TEST_DIRNAME=${hostile%/hostile} # where the helpers think they are
load helpers
load hostile/hostile

setup() { hostile_setup; }
teardown() { hostile_teardown; }

@test "hostile host: CreateContainer with one thing wrong at a time" { play host.create_fields; }
@test "hostile host: ExecProcess and UpdateContainer with one thing wrong at a time" { play host.exec_fields; }
@test "hostile host: every other call with garbage and with one thing wrong" { play host.other_fields; }
@test "hostile host: ten thousand of everything" { play host.big_requests; }
@test "hostile host: frames that are none" { play host.frames; }
@test "hostile host: many connections, unread answers" { play host.crowds; }
@test "hostile host: ids that are none, and the same one many times" { play host.ids; }
@test "hostile host: calls in any order" { play host.out_of_order; }
@test "hostile host: clients that leave in the middle" { play host.vanishing_hosts; }
@test "hostile host: deadlines from a nanosecond up" { play host.deadlines; }
@test "hostile host: the end of the sandbox in the midst of it" {
	play host.destroyed_meanwhile
	agent_wait
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Containers that fight against who comes in, against their end, and for the agent's attention.

hostile=$BATS_TEST_DIRNAME
BATS_TEST_DIRNAME=${hostile%/hostile} # where the helpers think they are
load helpers
load hostile/hostile

setup() { hostile_setup; }
teardown() { hostile_teardown; }

@test "hostile exec: init has moved to another mount namespace" { play execs.moved_init; }
@test "hostile exec: the container's /proc is forged" { play execs.forged_proc; }
@test "hostile exec: a working directory that leads out" { play execs.working_directories; }
@test "hostile exec: the agent's program is not overwritten" { play execs.own_program; }
@test "hostile exec: no descriptor of the agent's" { play execs.leaked_descriptors; }
@test "hostile exec: newcomers are not looked into" { play execs.seen_from_inside; }
@test "hostile exec: signals to everybody without end" { play execs.storms; }
@test "hostile exec: a newcomer that is stopped holds nobody up" { play execs.stopped_newcomer; }
@test "hostile exec: paused with a newcomer on its way" { play execs.frozen_newcomer; }
@test "hostile exec: bombs are removed" { play execs.bombs; }
@test "hostile exec: cgroups inside the container's" { play execs.nested_cgroups; }
@test "hostile exec: streams that are flooded, closed, never read" { play execs.streams; }
@test "hostile exec: sudden ends" { play execs.sudden_ends; }
@test "hostile exec: users and homes of the image's making" { play execs.hostile_users; }

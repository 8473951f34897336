#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images whose files are not what they should be, bind sources that are not there, and names that change places meanwhile:
# nothing outside the root may change, nothing may hang, and nothing may be left.

hostile=$BATS_TEST_DIRNAME
BATS_TEST_DIRNAME=${hostile%/hostile} # where the helpers think they are
load helpers
load hostile/hostile

setup() { hostile_setup; }
teardown() { hostile_teardown; }

@test "hostile image: every place that is touched is a link out" { play images.links; }
@test "hostile image: every place that is touched is something else" { play images.things; }
@test "hostile image: odd names, many, deep and long ones, and nothing that can be written" { play images.names_and_sizes; }
@test "hostile image: sources of binds that are odd, absent, or vanish" { play images.bind_sources; }
@test "hostile image: directories and links change places meanwhile" { play images.races; }
@test "hostile image: nothing covers /proc, and no other name evades a mask" { play images.proc_stays_proc; }
@test "hostile image: the root is a link, or no root" { play images.no_escape_by_root_links; }
@test "hostile image: what is executed is nothing of the kind" { play images.executables; }

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads what valgrind recorded (test/valgrind run) and prints each fault once. Exit status 1: there was one.

A file is named after the program and the pid of its first process; lines of its children have theirs. Everything that
valgrind says is a fault, but

 - descriptors that the first process was given, and those that are open in a child when it ends: it has its parent's;
 - what a child has "possibly" lost: an intrusive list points into the middle of its parent's objects;
 - the note on an ioctl(2) whose number does not tell a size: those that we make have no memory.
"""

import collections
import os
import re
import sys

LINE = re.compile(r"(?:==|--)(\d+)(?:==|--) ?(.*)")


def records(path):
    """(pid, lines) of each paragraph."""
    paragraphs = collections.defaultdict(list)
    with open(path, errors="replace") as file:
        for line in file:
            match = LINE.match(line.rstrip("\n"))
            pid, text = match.groups() if match else ("", line.rstrip())
            note = text.startswith(("Warning: noted but unhandled ioctl", "FILE DESCRIPTORS: "))
            if (not text.strip() or note) and paragraphs[pid]:
                yield pid, paragraphs.pop(pid)
            if text.strip():
                paragraphs[pid].append(text)
            if text.startswith(("FILE DESCRIPTORS: ", "   See README_MISSING_SYSCALL_OR_IOCTL")):
                yield pid, paragraphs.pop(pid)
    yield from ((pid, lines) for pid, lines in paragraphs.items() if lines)


def is_fault(lines, is_child):
    first = lines[0]
    if first.startswith(("FILE DESCRIPTORS: ", "Warning: noted but unhandled ioctl")):
        return False
    if first.startswith("Open "):
        return not is_child and "<inherited from parent>" not in lines[1]
    return not (is_child and " are possibly lost " in first)


def main():
    found = collections.Counter()
    for name in sorted(os.listdir(sys.argv[1])):
        for pid, lines in records(os.path.join(sys.argv[1], name)):
            if is_fault(lines, pid != name.rsplit(".", 1)[-1]):
                text = re.sub(r" in loss record .*", "", "\n".join(lines))
                # The same place, whatever the addresses and the sizes.
                text = re.sub(r"0x[0-9A-F]+: ", "", text)
                found[name.split(".")[0] + ":\n  " + text.replace("\n", "\n  ")] += 1
    for text, times in found.most_common():
        print(f"{times} × {text}\n")
    return 1 if found else 0


sys.exit(main())

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_FOREGROUND_H
#define OCI_FOREGROUND_H

/*
 * A process in the foreground: our terminal becomes its terminal (raw mode, window size, bytes both ways), our signals
 * become its signals, its exit status becomes ours.
 */

#include "base/loop.h"
#include "engine/container.h"

/* Where our stdin is a terminal and @process has one, but no size for it: ours. Before it is started, so that the program
 * sees it from its first look on. 0 or -ENOMEM. */
int foreground_size(Grpc__Process *process, struct arena *arena);
/* Runs the loop until @process has exited. The exit status, 0..255. @process is a child of ours. */
int foreground_wait(struct loop *loop, struct process *process);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MODULE_H
#define GUEST_MODULE_H

/* Kernel modules that a sandbox asks for, loaded by the image's modprobe in a job. */

#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"

struct module_request {
	const char *name;
	const char *const *parameters;
	size_t n_parameters;
};

struct module_load;
typedef void (*module_done)(int r, const struct error *e, void *data);

/*
 * `/sbin/modprobe -v NAME PARAMETERS…` for each, in order, until the first failure. @list is borrowed until this
 * returns. @done once, never before this returns. NULL with @e set. Errors (INTERNAL): "Kernel module name is
 * empty"; "load_kernel_module return code: N stdout:… stderr:…"; "Process terminated by signal".
 */
struct module_load *modules_load(struct loop *loop, const struct module_request *list, size_t count,
				 module_done done, void *data, struct error *e);
/* Kills modprobe; `done` is not called any more. Takes NULL. */
void module_load_cancel(struct module_load *load);

#endif

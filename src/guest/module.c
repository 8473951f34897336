/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading of kernel modules. One job runs modprobe for each module in turn: a driver that probes hardware may take long,
 * and the order is the host's. Parameters are single arguments and never pass through a shell.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/job.h"
#include "base/str.h"
#include "guest/module.h"

enum { MODULE_DEADLINE_MS = 60000, OUTPUT_MAX = 512 };

struct module_load {
	struct job *job;
	module_done done;
	void *data;
};

struct module_list {
	const struct module_request *list;
	size_t count;
};

static int modprobe(const struct module_request *request, struct error *e)
{
	static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	_cleanup_free_ const char **argv = calloc(request->n_parameters + 4, sizeof(*argv));
	_cleanup_buf_ struct buf out = BUF_INIT, err = BUF_INIT;
	size_t n = 0;
	int status, r;

	if (!argv)
		return error_errno(e, ENOMEM, "load module");
	if (str_is_empty(request->name))
		return error_set(e, STATUS_INTERNAL, EINVAL, "Kernel module name is empty");
	argv[n++] = "/sbin/modprobe";
	argv[n++] = "-v";
	argv[n++] = request->name;
	for (size_t i = 0; i < request->n_parameters; i++)
		argv[n++] = request->parameters[i];
	r = job_run_program(argv, environment, NULL, 0, &out, &err, OUTPUT_MAX, &status, e);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (!WIFEXITED(status))
		return error_set(e, STATUS_INTERNAL, EIO, "Process terminated by signal");
	return error_set(e, STATUS_INTERNAL, EIO, "load_kernel_module return code: %d stdout:%s stderr:%s",
			 WEXITSTATUS(status), str_or_empty(buf_string(&out)), str_or_empty(buf_string(&err)));
}

static int modules_run(struct buf *result, void *argument, struct error *e)
{
	const struct module_list *list = argument;
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->count; i++)
		r = modprobe(&list->list[i], e);
	return r;
}

static void modules_done(struct job *job, int r, struct buf *result, struct error *e, void *data)
{
	struct module_load *load = data;

	load->done(r, e, load->data);
	free(load);
}

struct module_load *modules_load(struct loop *loop, const struct module_request *list, size_t count,
				 module_done done, void *data, struct error *e)
{
	const struct job_options options = {
		.name = "modprobe", .deadline_ms = MODULE_DEADLINE_MS, .new_group = true};
	struct module_list argument = {.list = list, .count = count};
	struct module_load *load = calloc(1, sizeof(*load));

	if (!load) {
		error_errno(e, ENOMEM, "load modules");
		return NULL;
	}
	load->done = done;
	load->data = data;
	load->job = job_start(loop, &options, modules_run, &argument, modules_done, load, e);
	if (!load->job) {
		free(load);
		return NULL;
	}
	return load;
}

void module_load_cancel(struct module_load *load)
{
	if (!load)
		return;
	job_cancel(load->job);
	free(load);
}

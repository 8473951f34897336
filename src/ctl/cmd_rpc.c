/* SPDX-License-Identifier: Apache-2.0 */
/* Small commands: calls by name, cp, and what needs no agent. */
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "ctl/copy.h"
#include "ctl/ctl.h"
#include "ctl/request.h"
#include "ctl/units.h"

/* As long as the ids of the reference's tool. */
enum { LONG_ID_SIZE = 65 };

int cmd_rpc(struct ctl *ctl, const struct proto_method *method, int argc, char **argv)
{
	struct arena *arena = arena_new(0);
	struct error e = ERROR_INIT;
	void *request = NULL;
	void *response;
	int code;

	/* A call that waits does so for as long as it takes, unless a limit was given. */
	if (ctl->options.timeout_ns < 0)
		ctl->options.timeout_ns = 0;
	if (arena)
		request = request_read(method, argv + 1, (size_t)argc - 1, true, arena, &e);
	if (!request)
		code = ctl_fail(CTL_USAGE, &e, "%s", method->name);
	else if (!ctl_connect(ctl, &e) || agent_call(ctl->agent, method, request, arena, &response, &e) < 0)
		code = ctl_fail(CTL_FAILED, &e, "%s", method->name);
	else
		code = ctl_print(response);
	arena_free(arena);
	return code;
}

int cmd_cp(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	struct error e = ERROR_INIT;
	int at = ctl_no_options(command, argc, argv, 2, 2);

	if (at >= 0)
		return at;
	if (!ctl_connect(ctl, &e) || copy_file(ctl->agent, argv[-at], argv[-at + 1], &e) < 0)
		return ctl_fail(CTL_FAILED, &e, "cp");
	return CTL_OK;
}

int cmd_generate_id(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	char id[LONG_ID_SIZE];
	int code = ctl_no_options(command, argc, argv, 0, 0);

	if (code >= 0)
		return code;
	random_id(id, sizeof(id));
	printf("%s\n", id);
	return CTL_OK;
}

int cmd_examples(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
	int code = ctl_no_options(command, argc, argv, 0, 0);

	if (code >= 0)
		return code;
	printf("With the agent on this machine:\n\n"
	       "  export KATA_AGENT_SERVER_ADDR=unix:///run/kata.sock\n"
	       "  kata-agent-ctl check\n"
	       "  kata-agent-ctl run ROOTFS /bin/echo hello\n"
	       "  kata-agent-ctl run --tty --memory 256m --name box ROOTFS /bin/sh\n"
	       "  kata-agent-ctl exec box /bin/ls /\n"
	       "  kata-agent-ctl shell box\n\n"
	       "In a virtual machine:\n\n"
	       "  kata-agent-ctl -a vsock://3:1024 GetGuestDetails '{\"mem_block_size\": true}'\n"
	       "  kata-agent-ctl -a hvsock:///run/vmm.sock:1024 GetMetrics\n\n"
	       "Calls by name:\n\n"
	       "  kata-agent-ctl WaitProcess cid=box\n"
	       "  kata-agent-ctl SignalProcess cid=box signal=USR1\n"
	       "  kata-agent-ctl CreateContainer @request.json\n\n"
	       "As with the reference's tool:\n\n"
	       "  kata-agent-ctl connect --server-address unix:///run/kata.sock -c Check -c GetGuestDetails\n"
	       "  kata-agent-ctl connect --server-address unix:///run/kata.sock \\\n"
	       "      -c 'CreateSandbox json://{\"sandbox_id\": \"s\"}'\n");
	return CTL_OK;
}

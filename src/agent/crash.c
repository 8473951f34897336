/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/crash.h"

#include <linux/reboot.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/reboot.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"

enum { FRAMES_MAX = 24, STACK_BYTES = 32 << 10, TEXT_MAX = 1024 };

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};

static pid_t owner; /* children inherit the handlers; only the agent itself speaks */
static bool is_pid1;
static uintptr_t stack_top;
static _Alignas(16) char alternate_stack[STACK_BYTES];

struct text {
	char data[TEXT_MAX];
	size_t length;
};

static void put(struct text *out, const char *text)
{
	while (*text && out->length < sizeof(out->data) - 1)
		out->data[out->length++] = *text++;
}

static void put_number(struct text *out, uintptr_t number, unsigned base)
{
	char digits[2 + 64], *at = digits + sizeof(digits) - 1;
	*at = '\0';
	do
		*--at = "0123456789abcdef"[number % base];
	while ((number /= base));
	if (base == 16) {
		*--at = 'x';
		*--at = '0';
	}
	put(out, at);
}

struct frame {
	uintptr_t pc;
	uintptr_t fp;
	uintptr_t sp;
};

static struct frame first_frame(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (struct frame){(uintptr_t)context->uc_mcontext.gregs[REG_RIP],
			      (uintptr_t)context->uc_mcontext.gregs[REG_RBP],
			      (uintptr_t)context->uc_mcontext.gregs[REG_RSP]};
#elif defined(__aarch64__)
	return (struct frame){context->uc_mcontext.pc, context->uc_mcontext.regs[29],
			      context->uc_mcontext.sp};
#else
	return (struct frame){0, 0, (uintptr_t)context};
#endif
}

/* Follows frame pointers (the program is built with them) as long as they stay within the stack and go up. */
static void put_backtrace(struct text *out, const ucontext_t *context)
{
	struct frame frame = first_frame(context);
	uintptr_t low = frame.sp;
	put_number(out, frame.pc, 16);
	for (int i = 1; i < FRAMES_MAX; i++) {
		if (frame.fp < low || frame.fp + 2 * sizeof(uintptr_t) > stack_top ||
		    frame.fp % sizeof(uintptr_t))
			return;
		const uintptr_t *pair = (const uintptr_t *)frame.fp;
		if (!pair[1])
			return;
		put(out, " ");
		put_number(out, pair[1], 16);
		low = frame.fp + 1;
		frame.fp = pair[0];
	}
}

static void last_words(int signal, const siginfo_t *info, const ucontext_t *context)
{
	struct text out = {.length = 0};
	put(&out, "{\"msg\":\"fatal signal\",\"level\":\"CRIT\",\"version\":\"0.1.0\",\"pid\":\"");
	put_number(&out, (uintptr_t)owner, 10);
	put(&out, "\",\"name\":\"kata-agent\",\"source\":\"agent\",\"subsystem\":\"root\",\"signal\":\"");
	put_number(&out, (uintptr_t)signal, 10);
	put(&out, "\",\"address\":\"");
	put_number(&out, (uintptr_t)info->si_addr, 16);
	put(&out, "\",\"backtrace\":\"");
	put_backtrace(&out, context);
	put(&out, "\"}\n");
	if (write(2, out.data, out.length) < 0)
		return;
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
	if (getpid() == owner) {
		last_words(number, info, context);
		if (is_pid1)
			reboot(RB_POWER_OFF);
	}
	/* SA_RESETHAND has restored the default: the signal, raised again, ends us as it should. */
	raise(number);
}

void crash_handlers_install(bool pid1)
{
	owner = getpid();
	is_pid1 = pid1;
	/* The program's own name is the last thing on the stack: all frames are below it, and no hole is. */
	stack_top = (uintptr_t)getauxval(AT_EXECFN);
	stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof(alternate_stack)};
	sigaltstack(&stack, NULL);
	struct sigaction action = {.sa_sigaction = on_fatal,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < array_length(fatal_signals); i++) {
		sigaction(fatal_signals[i], &action, NULL);
		loop_signal_changed(fatal_signals[i]);
	}
}

void crash_handlers_remove(void)
{
	for (size_t i = 0; i < array_length(fatal_signals); i++)
		signal(fatal_signals[i], SIG_DFL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration as hosts send it (wire form, first byte even) or as config.json has it (odd): decoded, validated, and, where it is
 * valid, everything made of it that needs no kernel: capabilities, credentials, the seccomp program.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/credentials.h"
#include "engine/seccomp_filter.h"
#include "engine/validate.h"
#include "proto/json.h"
#include "proto/proto.h"

static void derive(const Grpc__Spec *spec, bool wire)
{
	struct credentials credentials;
	struct seccomp_filter *filter = NULL;
	struct error e = ERROR_INIT;

	credentials_init(&credentials, spec->process, NULL);
	/* Compiling is the library's and slow; a bound keeps the fuzzer at our code. */
	const Grpc__LinuxSeccomp *seccomp = spec->linux->seccomp;
	if (!seccomp || seccomp->n_syscalls > 4 || seccomp->n_architectures > 4)
		return;
	if (seccomp_compile(seccomp, wire, &filter, &e) < 0 && e.code == STATUS_OK)
		abort();
	seccomp_filter_unref(filter);
	seccomp_cache_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	struct error e = ERROR_INIT;

	if (!quiet)
		log_set_fd(-1);
	quiet = true;
	if (size < 1)
		return 0;
	bool wire = !(data[0] & 1);
	const struct validate_context context = {.wire = wire, .rootless = data[0] & 2};
	struct arena *arena = arena_new(0);
	if (!arena)
		return 0;
	arena_set_limit(arena, 64 << 20);
	const Grpc__Spec *spec = wire ? proto_decode(&grpc__spec__descriptor, data + 1, size - 1, arena, &e)
				      : json_decode(&grpc__spec__descriptor, (const char *)data + 1, size - 1,
						    false, arena, &e);
	if (spec) {
		e = ERROR_INIT;
		int r = spec_validate(spec, &context, &e);
		/* An error has a code and a text, a success has none. */
		if ((r == 0) != (e.code == STATUS_OK) || (r < 0 && !e.text[0]))
			abort();
		if (r == 0)
			derive(spec, wire);
	}
	arena_free(arena);
	return 0;
}

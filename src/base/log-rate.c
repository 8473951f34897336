/* SPDX-License-Identifier: Apache-2.0 */
/* A table of leaky buckets by the hash of the message. A bucket that has run empty may be taken by another message. */

#include "base/log-rate.h"

#include <stddef.h>
#include <stdio.h>

#include "base/fd.h"

enum { PROBES = 8 };

static uint64_t hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	return hash ? hash : 1;
}

static void leak(struct log_rate_slot *slot, uint64_t now)
{
	uint64_t gone = (now - slot->since) * LOG_RATE_A_SECOND / 1000;

	/* What is not yet a whole record stays in the account. */
	if (gone == 0)
		return;
	slot->spent = gone < slot->spent ? slot->spent - (uint32_t)gone : 0;
	slot->since += gone * 1000 / LOG_RATE_A_SECOND;
}

static struct log_rate_slot *find(struct log_rate *rate, uint64_t hash, const char *message, uint64_t now)
{
	struct log_rate_slot *first = &rate->slots[hash % LOG_RATE_MESSAGES], *empty = NULL;

	for (size_t i = 0; i < PROBES; i++) {
		struct log_rate_slot *slot = &rate->slots[(hash + i) % LOG_RATE_MESSAGES];

		if (slot->hash == hash)
			return slot;
		leak(slot, now);
		if (!empty && slot->spent == 0 && slot->suppressed == 0)
			empty = slot;
	}
	if (!empty)
		return first;
	empty->hash = hash;
	empty->since = now;
	(void)snprintf(empty->message, sizeof(empty->message), "%s", message);
	return empty;
}

bool log_rate_admit(struct log_rate *rate, const char *message, uint64_t now)
{
	struct log_rate_slot *slot = find(rate, hash_of(message), message, now);

	leak(slot, now);
	if (slot->spent < LOG_RATE_BURST) {
		slot->spent++;
		return true;
	}
	slot->suppressed += slot->suppressed < UINT32_MAX;
	return false;
}

const char *log_rate_suppressed(struct log_rate *rate, uint32_t *count)
{
	for (size_t i = 0; i < array_length(rate->slots); i++) {
		struct log_rate_slot *slot = &rate->slots[i];

		if (slot->suppressed == 0)
			continue;
		*count = slot->suppressed;
		slot->suppressed = 0;
		return slot->message;
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_RATE_H
#define BASE_LOG_RATE_H

/*
 * How often one message may be told. What a peer does over and over again must not fill the host's log, nor push out what
 * else there is to say: each message has an allowance of its own, which grows again with time. Used by log.c alone.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	LOG_RATE_BURST = 1000,	 /* records of one message at once */
	LOG_RATE_A_SECOND = 100, /* and from then on */
	LOG_RATE_MESSAGES = 64,	 /* more share their allowances */
};

struct log_rate {
	struct log_rate_slot {
		uint64_t hash;	/* of the message; 0: free */
		uint64_t since; /* milliseconds: up to when the allowance was counted */
		uint32_t spent;
		uint32_t suppressed;
		char message[64]; /* cut */
	} slots[LOG_RATE_MESSAGES];
};

/* Whether a record of @message may be written at @now (milliseconds, monotonic); otherwise it is counted. */
bool log_rate_admit(struct log_rate *rate, const char *message, uint64_t now);
/* The next message of which records were suppressed since it was last asked for, and how many; NULL: there is none. */
const char *log_rate_suppressed(struct log_rate *rate, uint32_t *count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DBUS_H
#define BASE_DBUS_H

/*
 * A small D-Bus client: method calls with answers and errors, and signals that arrive meanwhile. Enough to
 * ask systemd for things, over the system bus or over systemd's private socket, without a library and without
 * a daemon.
 *
 * It blocks, up to a deadline for everything that it does, and so belongs into jobs. What the peer sends is
 * checked byte by byte: lengths, alignment, texts, signatures, nesting. A connection on which something was
 * wrong is dead: every further call fails at once.
 *
 * Values are written and read one by one, in the order of a signature that the caller knows. Both kinds of
 * byte order are read; little-endian is written. Protocol: the D-Bus Specification, "Message Protocol" and
 * "Authentication".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

enum {
	DBUS_CALL = 1,
	DBUS_RETURN = 2,
	DBUS_ERROR = 3,
	DBUS_SIGNAL = 4,
};
enum { DBUS_MESSAGE_MAX = 4 << 20, DBUS_DEPTH_MAX = 32 };

/* One message that was received. Texts point into @data; absent ones are "". */
struct dbus_message {
	uint8_t *data; /* malloc'ed */
	size_t body;   /* offset */
	size_t body_length;
	bool big_endian;
	uint8_t type;
	uint32_t serial, reply_serial;
	const char *path, *interface, *member, *error_name, *signature, *sender, *destination;
};
void dbus_message_deinit(struct dbus_message *message);
#define _cleanup_dbus_message_ __attribute__((cleanup(dbus_message_deinit)))

/* Length of the whole message whose first 16 bytes these are, or -EPROTO. */
ssize_t dbus_message_size(const uint8_t header[16]);
/* Takes @data, at once and in every case. 0 or -EPROTO. */
int dbus_message_parse(uint8_t *data, size_t length, struct dbus_message *out);

/* --- writing values ------------------------------------------------------------------------------------- */

/* All append to a body; a lack of memory is remembered in the buffer. */
void dbus_put_byte(struct buf *body, uint8_t value);
void dbus_put_bool(struct buf *body, bool value);
void dbus_put_u32(struct buf *body, uint32_t value);
void dbus_put_u64(struct buf *body, uint64_t value);
/* Strings and object paths. */
void dbus_put_string(struct buf *body, const char *text);
void dbus_put_signature(struct buf *body, const char *signature);
/* Structs and dictionary entries begin with this (alignment 8). */
void dbus_put_struct(struct buf *body);
/* An array whose elements have @alignment (1, 2, 4, 8): what is put until dbus_array_end() is in it. */
size_t dbus_array_begin(struct buf *body, unsigned alignment);
void dbus_array_end(struct buf *body, size_t mark, unsigned alignment);

/* --- reading values ------------------------------------------------------------------------------------- */

struct dbus_reader {
	const uint8_t *data;
	size_t length, at;
	bool big_endian;
	bool failed; /* something was not as expected: all further values are 0 or "" */
};
struct dbus_reader dbus_reader_of(const struct dbus_message *message);
uint8_t dbus_get_byte(struct dbus_reader *reader);
uint32_t dbus_get_u32(struct dbus_reader *reader);
uint64_t dbus_get_u64(struct dbus_reader *reader);
/* Into the message: valid UTF-8 without NUL. */
const char *dbus_get_string(struct dbus_reader *reader);
const char *dbus_get_signature(struct dbus_reader *reader);
/* Passes over one complete value of the type at *@signature, which is moved behind it. */
void dbus_skip(struct dbus_reader *reader, const char **signature, unsigned depth);

/* --- a connection --------------------------------------------------------------------------------------- */

struct dbus;

/* Connects to the UNIX socket at @path and authenticates as our user; with @bus a bus daemon is there,
 * which is greeted. @timeout_ms bounds this and each later call. NULL with @e set. */
struct dbus *dbus_open(const char *path, bool bus, unsigned timeout_ms, struct error *e);
/* As above on a connected socket, which is taken. */
struct dbus *dbus_open_fd(int fd, bool bus, unsigned timeout_ms, struct error *e);
/* Takes NULL. */
void dbus_close(struct dbus *dbus);
void dbus_set_timeout(struct dbus *dbus, unsigned timeout_ms);

/* Called for every signal that arrives while a call or a wait is under way. */
void dbus_on_signal(struct dbus *dbus, void (*fn)(const struct dbus_message *signal, void *data), void *data);

struct dbus_call {
	const char *destination; /* NULL: none */
	const char *path, *interface, *member;
	const char *signature; /* "" or NULL: no arguments */
	const struct buf *body;
};
/*
 * Calls and waits for the answer. 0 with @reply (may be NULL) set; -EREMOTEIO when the peer answered with an
 * error: then @e has "NAME: text", and @reply->error_name its name; any other -errno: the connection is dead.
 */
int dbus_call(struct dbus *dbus, const struct dbus_call *call, struct dbus_message *reply, struct error *e);
/* Takes signals until *@done (changed by the function for signals) or the timeout: 0 or -errno with @e
 * set. */
int dbus_wait(struct dbus *dbus, const bool *done, struct error *e);

#endif

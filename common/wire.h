/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wire.h - the messages of faultline-protocol.h: made, checked, printed. Pure functions on bytes.
 * See wire.c.
 */
#ifndef FAULTLINE_COMMON_WIRE_H
#define FAULTLINE_COMMON_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "include/faultline-protocol.h"

enum wire_direction {
	WIRE_TO_DAEMON	= 1,
	WIRE_TO_CLIENT	= 2,
};

/* A message that was received, or is built, and is aligned for any body. */
union wire_buffer {
	struct flp_header h;
	uint64_t align;
	uint8_t bytes[FLP_MAX_MESSAGE];
};

/* The body of a message. */
static inline const void *wire_body(const void *msg)
{
	return (const uint8_t *)msg + sizeof(struct flp_header);
}

size_t wire_body_size(unsigned int type);	/* 0 too for a type that is not known */
const char *wire_name(unsigned int type);	/* "HELLO"; never NULL */

/* Fill in a header in front of the body of that type. */
void wire_header(struct flp_header *h, enum flp_type type, uint32_t cookie);
/* Header and body (of the size that the type has; NULL: zeros) into buf. The length. */
size_t wire_build(union wire_buffer *buf, enum flp_type type, uint32_t cookie, const void *body);
/* FLP_ERROR. error: -errno. text: for a person, cut off where it is too long; NULL: strerror's. */
size_t wire_build_error(union wire_buffer *buf, uint32_t cookie, int error, const char *text);

/*
 * Is this a message that may be said in this direction, with so many descriptors? Afterwards
 * nobody needs to look again at sizes, paddings, terminators, ranges, enumerations and flags.
 *
 * 0; -EPROTONOSUPPORT: of another FLP_VERSION (of an FLP_HELLO the body may then be read all the
 * same); -EBADMSG: anything else. *ret_why is set to one phrase for a person when it is not 0.
 */
int wire_check(const void *msg, size_t len, unsigned int n_fds, enum wire_direction to);
int wire_check_why(const void *msg, size_t len, unsigned int n_fds, enum wire_direction to,
		   const char **ret_why);

/* One line for a trace, of any bytes at all: "ADVISE #7 0x7f0000000000+0x4000 advice=3". As
 * snprintf(3). Text of the peer is not printed. */
int wire_print(char *buf, size_t size, const void *msg, size_t len, unsigned int n_fds);

#endif

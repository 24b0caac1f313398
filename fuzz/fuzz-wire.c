/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fuzz-wire.c - no bytes that a peer sends crash the check of messages, or slip through it.
 *
 * The first byte says how many descriptors came along and in which direction; the rest is the
 * message.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "common/wire.h"
#include "fuzz/fuzz.h"

static void try_direction(const union wire_buffer *msg, size_t len, unsigned int n_fds,
			  enum wire_direction to)
{
	const char *why = NULL;
	int r = wire_check_why(msg, len, n_fds, to, &why);

	must(r == wire_check(msg, len, n_fds, to));
	must(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
	must(r == 0 || why);
	/* What passes is a whole message of a type that has a name. */
	if (r == 0) {
		must(len == sizeof(struct flp_header) + wire_body_size(msg->h.type));
		must(wire_name(msg->h.type)[0] != '\0');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t sizes[] = { 0, 1, 16, 64, 512 };
	union wire_buffer msg;
	char line[513];
	unsigned int n_fds;

	if (!size || size - 1 > sizeof(msg))
		return 0;
	memset(&msg, 0xa5, sizeof(msg));
	memcpy(&msg, data + 1, size - 1);
	n_fds = data[0] & 15;

	try_direction(&msg, size - 1, n_fds, WIRE_TO_DAEMON);
	try_direction(&msg, size - 1, n_fds, WIRE_TO_CLIENT);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(line, 'x', sizeof(line));
		must(wire_print(line, sizes[i], &msg, size - 1, n_fds) >= 0);
		must(sizes[i] == 0 || memchr(line, '\0', sizes[i]));
		must(line[sizes[i]] == 'x');
		for (const char *p = line; sizes[i] && *p; p++)
			must(*p >= ' ' && *p < 127);
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * conn.h - one connection to the daemon's socket: messages in, messages out, and their limits.
 * See conn.c.
 *
 * Owned by its server, from conn_new() until the deferred end of conn_close(). Control loop only.
 */
#ifndef FAULTLINE_DAEMON_CONN_H
#define FAULTLINE_DAEMON_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/sock.h"
#include "common/wire.h"
#include "daemon/loop.h"
#include "include/faultline-protocol.h"

struct account;
struct call;
struct job;
struct server;
struct session;

#define CONN_OUTBOX		(64u << 10)			/* bytes */
#define CONN_PATIENCE_NS	UINT64_C(5000000000)		/* to say HELLO, to read what was sent */

enum conn_state {
	CONN_HELLO,		/* nobody yet: it may say HELLO, and that soon */
	CONN_READY,		/* has a role */
	CONN_CLOSING,		/* neither read nor sent to any more; freed when nothing is in flight */
};

struct conn_message {
	STAILQ_ENTRY(conn_message) link;
	size_t len;
	uint8_t bytes[];
};

/* Where an answer to FLP_STATUS has got to. */
struct conn_status {
	uint32_t cookie;
	uint64_t only;			/* this job; 0: all */
	uint64_t job, session;		/* the records that were sent last */
	bool begun;
};

struct conn {
	/* constant */
	struct server *server;
	struct loop *loop;
	uint64_t id;
	int fd;
	struct sock_peer peer;
	struct account *account;	/* who pays for it: server.c */

	enum conn_state state;
	TAILQ_ENTRY(conn) link;		/* server.conns */

	/* what it stands for: request.c */
	enum flp_role role;		/* READY */
	struct session *session;	/* agent: until the connection ends */
	bool attached;			/* ... it is ATTACHED */
	struct job *job;		/* control: the job that it made, a reference */
	TAILQ_HEAD(, call) calls;	/* library: not answered yet */
	unsigned int n_calls;
	struct conn_status status;
	/* Has more to send when there is room; clears itself when that was all. Nothing is read
	 * from the peer before. */
	void (*produce)(struct conn *c);

	/* transport: conn.c */
	struct loop_op in, out, timer;
	uint64_t deadline_ns;		/* 0: none */
	STAILQ_HEAD(, conn_message) outbox;
	size_t out_bytes;
	struct loop_deferred closing, dead;
	bool ended;			/* taken apart: waits for its operations to come back */
	bool dying;			/* dead is on its way */
};

/* A connection in HELLO, of which the peer is known. fd is taken over, also on failure. */
int  conn_new(struct conn **ret, struct server *server, struct loop *loop, int fd, uint64_t id);
void conn_start(struct conn *c);	/* it is in its server's list: hear it, and have patience */
struct conn *conn_free(struct conn *c);	/* one that was not started; NULL is fine */
/* Ends at the end of this round, and is freed some time after that: the caller may go on using it
 * until then. why: for the log, NULL: nothing to say. May be called again. */
void conn_close(struct conn *c, const char *why);

/*
 * Send a message now, or when the peer has read some of what it was sent. Never blocks. A failure
 * closes the connection: there is nothing for the caller to do but to return.
 */
void conn_send(struct conn *c, enum flp_type type, uint32_t cookie, const void *body);
void conn_send_error(struct conn *c, uint32_t cookie, int error, const char *text);
/* With descriptors, which stay the caller's: now, or the connection is closed. */
void conn_send_fds(struct conn *c, enum flp_type type, uint32_t cookie, const void *body,
		   const int *fds, unsigned int n);
/* Now or not at all: false. */
bool conn_send_now(struct conn *c, enum flp_type type, const void *body);
/* Room for another message without making the peer's backlog longer than it may be. */
static inline bool conn_has_room(const struct conn *c)
{
	return c->state != CONN_CLOSING && c->out_bytes < CONN_OUTBOX / 2;
}
void conn_ready(struct conn *c, enum flp_role role);	/* HELLO -> READY */

#endif

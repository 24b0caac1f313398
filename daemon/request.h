/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * request.h - what is done about the messages of a connection. See request.c.
 *
 * Control loop only, but for what says otherwise.
 */
#ifndef FAULTLINE_DAEMON_REQUEST_H
#define FAULTLINE_DAEMON_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <bsd/sys/queue.h>

#include "common/sock.h"
#include "daemon/loop.h"
#include "daemon/resv.h"

struct conn;
struct loop;
struct server;
struct session;

/* A request for a reservation that is not answered yet. */
struct call {
	struct resv_request req;
	struct calls *calls;
	struct conn *conn;		/* NULL: nobody waits for the answer any more */
	struct session *session;	/* which has it in a queue, until it is reported */
	uint32_t cookie;
	bool try;			/* a time-out means that it is busy */
	struct loop_op timer;
	bool answered;
	TAILQ_ENTRY(call) link;		/* conn.calls */

	/* under calls.lock */
	int result;
	bool reported;			/* on calls.reported, or was */
	STAILQ_ENTRY(call) reported_link;
};

/* Where answers are handed over: from workers, which know them, to the control loop. */
struct calls {
	struct loop *loop;
	pthread_mutex_t lock;
	STAILQ_HEAD(, call) reported;
	unsigned int n;			/* control loop: calls that are not freed */
};

void calls_init(struct calls *cs, struct loop *loop);
void calls_fini(struct calls *cs);		/* none may be left */
void calls_deliver(struct calls *cs);		/* send the answers that have come */

/* May the next message bring descriptors? Else they are not even taken from the socket. */
bool request_takes_fds(const struct conn *c);
/* A message has come. What is left in fds is closed by the caller. */
void request_handle(struct conn *c, const void *msg, size_t len, struct sock_fds *fds);
/* ... and it could not even be received: say why, and drop the peer. */
void request_garbage(struct conn *c, uint32_t cookie, int error, const char *why);
/* The connection is being taken apart: its session, its job, its calls. */
void request_conn_ended(struct conn *c);

#endif

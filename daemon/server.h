/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * server.h - the daemon's socket: who may connect, how many, and when the daemon may go.
 * See server.c.
 *
 * Control loop only, but for the log sink and what sessions report.
 */
#ifndef FAULTLINE_DAEMON_SERVER_H
#define FAULTLINE_DAEMON_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <bsd/sys/queue.h>

#include "daemon/conn.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/request.h"
#include "include/faultline-protocol.h"

struct config;
struct job;
struct jobs;
struct session;
struct workers;

/* What a uid has us hold. */
struct account {
	uid_t uid;
	unsigned int n_conns, n_sessions;	/* sessions that are being torn down count */
	LIST_ENTRY(account) link;
};

/* Stands for a session until its home worker has told that it is gone. */
struct ticket {
	struct server *server;
	struct account *account;
	STAILQ_ENTRY(ticket) link;
};

#define SERVER_LOG_LINES 64u

struct server {
	/* constant once made */
	struct loop *loop;
	struct jobs *jobs;
	struct workers *workers;
	bool private;
	int listen_fd;
	int uffd_fd;			/* /dev/userfaultfd, sent to agents */
	uint64_t uffd_features;
	uint32_t generation;
	uint64_t start_ns;
	uint64_t ram;			/* bytes that the machine has */
	unsigned int max_conns, max_conns_uid;

	const struct config *config;	/* changed by server_set_config() */

	TAILQ_HEAD(, conn) conns;
	unsigned int n_conns;		/* until they are freed */
	uint64_t next_conn;
	LIST_HEAD(, account) accounts;
	unsigned int n_sessions;	/* until they are gone */
	struct calls calls;

	struct loop_op accept, accept_pause, tick;
	bool accepting_ended;
	int reserve_fd;			/* given up to refuse somebody when descriptors run out */
	uint64_t n_rejected;
	struct log_limit reject_limit, garbage_limit;

	struct conn *job_conn;		/* private: the connection that made the job */
	bool had_job;
	bool stopping, done;
	uint64_t stop_told_ns;

	/* handed over by other threads, under lock */
	pthread_mutex_t lock;
	STAILQ_HEAD(, ticket) gone;
	struct {
		enum log_level level;
		char text[FLP_TEXT_SIZE];
	} log[SERVER_LOG_LINES];
	unsigned int log_head, log_tail, log_lost;
};

struct server_setup {
	struct loop *loop;
	struct jobs *jobs;
	struct workers *workers;
	const struct config *config;
	bool private;
	int listen_fd;			/* taken over; -1: none (tests) */
	int uffd_fd;			/* taken over */
	uint64_t uffd_features;
};

int  server_new(struct server **ret, const struct server_setup *setup);
/* Everybody is sent away, and waited for. */
struct server *server_free(struct server *s);
/* A connected socket, as if it had been accepted. Taken over, also on failure. */
int  server_add(struct server *s, int fd);
void server_set_config(struct server *s, const struct config *config);	/* for new jobs */
/* Refuse new clients, bring everything back, and be done when nothing is out. */
void server_stop(struct server *s);
static inline bool server_is_done(const struct server *s) { return s->done; }

/* For connections and requests. */
void server_conn_ended(struct conn *c);
void server_conn_freed(struct server *s);
void server_made_job(struct conn *c);			/* c->job is set */
bool server_admits(struct server *s, const struct conn *c);	/* may it use the memory service? */
/* A session for this connection: counted from here until server_session_gone(). -EDQUOT, -ENOMEM. */
int  server_ticket(struct server *s, struct conn *c, struct ticket **ret);
struct ticket *server_ticket_drop(struct ticket *t);	/* no session came of it */
void server_session_gone(struct session *s, void *ticket);	/* any thread */

#endif

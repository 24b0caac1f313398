/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * conn.c - one connection to the daemon's socket.
 *
 * What a peer can make it hold is bounded. It is read from only while everything that it was sent
 * has gone to the kernel, so a peer that asks and does not read stops being heard; what waits for
 * it is at most CONN_OUTBOX bytes; and it is dropped when it has read nothing for CONN_PATIENCE_NS.
 * The same patience is had with one that does not say HELLO.
 *
 * Polls are one-shot and armed anew when there is something to wait for: IN while it is read from,
 * OUT while something waits to be sent. One of the two is always armed, so an end of the
 * connection is always seen.
 *
 * It may end in the middle of anything, most of all while it is being answered. So conn_close() only
 * says that it will: at the end of the round it is taken apart, and it is freed when the last of its
 * operations has come back.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/conn.h"
#include "daemon/log.h"
#include "daemon/request.h"
#include "daemon/server.h"

#define MESSAGES_A_ROUND	16	/* then the others have their turn */

static void update_polls(struct conn *c);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void trace(const struct conn *c, const char *arrow, const void *msg, size_t len,
		  unsigned int n_fds)
{
	char line[200];

	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	wire_print(line, sizeof(line), msg, len, n_fds);
	log_debug("client %llu: %s %s", (unsigned long long)c->id, arrow, line);
}

/* ---- the end ---- */

struct conn *conn_free(struct conn *c)
{
	if (!c)
		return NULL;
	assert(!c->in.loop && !c->out.loop && !c->timer.loop);
	assert(TAILQ_EMPTY(&c->calls));
	while (!STAILQ_EMPTY(&c->outbox)) {
		struct conn_message *m = STAILQ_FIRST(&c->outbox);

		STAILQ_REMOVE_HEAD(&c->outbox, link);
		free(m);
	}
	close_fd(&c->fd);
	free(c);
	return NULL;
}
DEFINE_CLEANUP(struct conn *, conn_free);

static void on_dead(struct loop_deferred *d)
{
	struct conn *c = container_of(d, struct conn, dead);
	struct server *server = c->server;

	conn_free(c);
	server_conn_freed(server);
}

static void free_when_idle(struct conn *c)
{
	if (c->dying || c->in.loop || c->out.loop || c->timer.loop)
		return;
	c->dying = true;
	loop_defer(c->loop, &c->dead);
}

/* A unix socket that is closed with something unread tells its peer ECONNRESET, before the peer has
 * read why. */
static void discard_input(struct conn *c)
{
	union wire_buffer buf;

	for (int i = 0; i < MESSAGES_A_ROUND; i++) {
		ssize_t n = sock_recv(c->fd, &buf, sizeof(buf), NULL);

		if (n == 0 || (n < 0 && n != -EMSGSIZE && n != -EBADMSG))
			break;
	}
}

static void on_closing(struct loop_deferred *d)
{
	struct conn *c = container_of(d, struct conn, closing);

	request_conn_ended(c);
	server_conn_ended(c);
	discard_input(c);
	shutdown(c->fd, SHUT_RDWR);
	c->ended = true;
	if (c->in.loop)
		loop_cancel(c->loop, &c->in);
	if (c->out.loop)
		loop_cancel(c->loop, &c->out);
	if (c->timer.loop)
		loop_cancel(c->loop, &c->timer);
	free_when_idle(c);
}

void conn_close(struct conn *c, const char *why)
{
	if (c->state == CONN_CLOSING)
		return;
	if (why)
		log_debug("client %llu pid %d: closed: %s", (unsigned long long)c->id,
			  (int)c->peer.pid, why);
	c->state = CONN_CLOSING;
	loop_defer(c->loop, &c->closing);
}

/* ---- patience ---- */

static void set_deadline(struct conn *c)
{
	c->deadline_ns = now_ns() + CONN_PATIENCE_NS;
	/* One that runs already ends no later: it is then started again for the rest. */
	if (!c->timer.loop && loop_timer(c->loop, &c->timer, CONN_PATIENCE_NS))
		conn_close(c, "no memory for a timer");
}

/* An operation came back. True: there is nobody any more to tell. */
static bool came_too_late(struct conn *c)
{
	if (c->ended)
		free_when_idle(c);
	return c->state == CONN_CLOSING;
}

static void on_timer(struct loop_op *op, int result, bool more)
{
	struct conn *c = container_of(op, struct conn, timer);
	uint64_t now = now_ns();

	if (came_too_late(c) || !c->deadline_ns)
		return;
	if (now >= c->deadline_ns)
		conn_close(c, c->state == CONN_HELLO ? "no HELLO in time" : "it does not read");
	else if (loop_timer(c->loop, &c->timer, c->deadline_ns - now))
		conn_close(c, "no memory for a timer");
}

/* ---- out ---- */

/* Put it where it waits for room in the socket. */
static void enqueue(struct conn *c, const void *msg, size_t len)
{
	struct conn_message *m;

	if (c->out_bytes + len > CONN_OUTBOX) {
		conn_close(c, "it does not read");
		return;
	}
	m = malloc(sizeof(*m) + len);
	if (!m) {
		conn_close(c, "no memory for an answer");
		return;
	}
	m->len = len;
	memcpy(m->bytes, msg, len);
	if (STAILQ_EMPTY(&c->outbox))
		set_deadline(c);
	STAILQ_INSERT_TAIL(&c->outbox, m, link);
	c->out_bytes += len;
	update_polls(c);
}

static void send_message(struct conn *c, const void *msg, size_t len)
{
	int r = -EAGAIN;

	if (c->state == CONN_CLOSING)
		return;
	trace(c, "<-", msg, len, 0);
	if (STAILQ_EMPTY(&c->outbox))
		r = sock_send(c->fd, msg, len, NULL, 0);
	if (r == -EAGAIN)
		enqueue(c, msg, len);
	else if (r)
		conn_close(c, "it is gone");
}

void conn_send(struct conn *c, enum flp_type type, uint32_t cookie, const void *body)
{
	union wire_buffer buf;
	size_t len = wire_build(&buf, type, cookie, body);

	send_message(c, &buf, len);
}

void conn_send_error(struct conn *c, uint32_t cookie, int error, const char *text)
{
	union wire_buffer buf;
	size_t len = wire_build_error(&buf, cookie, error, text && *text ? text : NULL);

	send_message(c, &buf, len);
}

/*
 * Descriptors in flight count against the sending user, so they are never left waiting for a peer
 * that does not read. Those that need some are the first messages of a connection: there is room.
 */
void conn_send_fds(struct conn *c, enum flp_type type, uint32_t cookie, const void *body,
		   const int *fds, unsigned int n)
{
	union wire_buffer buf;
	size_t len = wire_build(&buf, type, cookie, body);
	int r = -EAGAIN;

	if (c->state == CONN_CLOSING)
		return;
	trace(c, "<-", &buf, len, n);
	if (STAILQ_EMPTY(&c->outbox))
		r = sock_send(c->fd, &buf, len, fds, n);
	if (r)
		conn_close(c, "descriptors could not be sent");
}

bool conn_send_now(struct conn *c, enum flp_type type, const void *body)
{
	union wire_buffer buf;
	size_t len = wire_build(&buf, type, 0, body);

	return c->state != CONN_CLOSING && STAILQ_EMPTY(&c->outbox) &&
	       !sock_send(c->fd, &buf, len, NULL, 0);
}

static void flush(struct conn *c)
{
	struct conn_message *m;

	while ((m = STAILQ_FIRST(&c->outbox))) {
		int r = sock_send(c->fd, m->bytes, m->len, NULL, 0);

		if (r == -EAGAIN)
			return;
		if (r) {
			conn_close(c, "it is gone");
			return;
		}
		STAILQ_REMOVE_HEAD(&c->outbox, link);
		c->out_bytes -= m->len;
		free(m);
		set_deadline(c);
	}
	c->deadline_ns = 0;
}

static void on_out(struct loop_op *op, int result, bool more)
{
	struct conn *c = container_of(op, struct conn, out);

	if (came_too_late(c))
		return;
	if (result < 0 || result & (POLLERR | POLLHUP)) {
		conn_close(c, "it is gone");
		return;
	}
	flush(c);
	if (c->produce && conn_has_room(c))
		c->produce(c);
	update_polls(c);
}

/* ---- in ---- */

static bool hears(const struct conn *c)
{
	return c->state != CONN_CLOSING && STAILQ_EMPTY(&c->outbox) && !c->produce;
}

/* One message. False: there is no more now. */
static bool receive(struct conn *c)
{
	union wire_buffer buf;
	struct sock_fds fds = SOCK_FDS_NULL;
	ssize_t n;

	n = sock_recv(c->fd, &buf, sizeof(buf), request_takes_fds(c) ? &fds : NULL);
	if (n == -EAGAIN)
		return false;
	if (n == -EMSGSIZE || n == -EBADMSG) {
		request_garbage(c, 0, -EBADMSG, n == -EMSGSIZE ? "longer than a message can be" :
				"descriptors that could not be taken");
	} else if (n <= 0) {
		conn_close(c, "it is gone");
	} else {
		trace(c, "->", &buf, (size_t)n, fds.n);
		request_handle(c, &buf, (size_t)n, &fds);
	}
	sock_fds_close(&fds);
	return true;
}

static void on_in(struct loop_op *op, int result, bool more)
{
	struct conn *c = container_of(op, struct conn, in);

	if (came_too_late(c))
		return;
	if (result < 0) {
		conn_close(c, "it cannot be polled");
		return;
	}
	for (int i = 0; i < MESSAGES_A_ROUND; i++)
		if (!hears(c) || !receive(c))
			break;
	update_polls(c);
}

static void update_polls(struct conn *c)
{
	int r = 0;

	if (c->state == CONN_CLOSING)
		return;
	if (hears(c)) {
		if (!c->in.loop)
			r = loop_poll(c->loop, &c->in, c->fd, POLLIN, false);
	} else if (!c->out.loop) {
		r = loop_poll(c->loop, &c->out, c->fd, POLLOUT, false);
	}
	if (r)
		conn_close(c, "no memory for a poll");
}

/* ---- the beginning ---- */

void conn_ready(struct conn *c, enum flp_role role)
{
	c->role = role;
	c->state = CONN_READY;
	c->deadline_ns = 0;
}

int conn_new(struct conn **ret, struct server *server, struct loop *loop, int fd, uint64_t id)
{
	_cleanup_close_ int owned = fd;
	_cleanup_(conn_freep) struct conn *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->server = server;
	c->loop = loop;
	c->id = id;
	c->fd = steal_fd(&owned);
	c->in = (struct loop_op){ .done = on_in, .name = "conn.in" };
	c->out = (struct loop_op){ .done = on_out, .name = "conn.out" };
	c->timer = (struct loop_op){ .done = on_timer, .name = "conn.timer" };
	c->closing.fn = on_closing;
	c->dead.fn = on_dead;
	STAILQ_INIT(&c->outbox);
	TAILQ_INIT(&c->calls);

	r = sock_peer(c->fd, &c->peer);
	if (r)
		return r;
	*ret = steal_ptr(&c);
	return 0;
}

void conn_start(struct conn *c)
{
	set_deadline(c);
	update_polls(c);
}

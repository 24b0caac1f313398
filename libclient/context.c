/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * context.c - a context of libfaultline: its life, its options, the text of its last error.
 *
 * A context is the application's: made, set up, connected once, freed. Its lock is held for moments
 * only, never while its holder sleeps, and with all signals blocked: a signal handler could touch a
 * page that another thread has reserved, and that thread needs the lock to unreserve it.
 *
 *	NEW --faultline_connect--> CONNECTING --> CONNECTED --the daemon is gone--> LOST
 *	 ^                             |
 *	 +----------could not----------+
 *
 * A child of fork(2) may only free what it inherited. That is told by the process's number, which is
 * looked at before the lock: in the child nobody would ever unlock it.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/align.h"
#include "libclient/internal.h"

/* ---- memory and locks ---- */

void *own_memory(size_t size)
{
	void *p = mmap(NULL, page_up(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void own_memory_free(void *p, size_t size)
{
	if (p)
		munmap(p, page_up(size));
}

void context_lock(struct faultline *ctx, sigset_t *mask)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, mask);
	pthread_mutex_lock(&ctx->lock);
}

void context_unlock(struct faultline *ctx, const sigset_t *mask)
{
	pthread_mutex_unlock(&ctx->lock);
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

int context_check(const struct faultline *ctx)
{
	if (!ctx)
		return -EINVAL;
	return ctx->pid == getpid() ? 0 : -ECHILD;
}

/* ---- errors ---- */

int context_fail(struct faultline *ctx, int error, const char *format, ...)
{
	char text[ERROR_SIZE];
	sigset_t mask;
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	context_lock(ctx, &mask);
	memcpy(ctx->error, text, sizeof(text));
	context_unlock(ctx, &mask);
	return error;
}

/* A copy of the calling thread's own: another thread's call may fail while this one reads. */
FAULTLINE_API const char *faultline_error(const struct faultline *ctx)
{
	static __thread char text[ERROR_SIZE];
	struct faultline *c = (struct faultline *)(uintptr_t)ctx;
	sigset_t mask;

	if (!ctx)
		return "the context is NULL";
	if (context_check(ctx))
		return "the context belongs to the process that this one was forked from";
	context_lock(c, &mask);
	memcpy(text, c->error, sizeof(text));
	context_unlock(c, &mask);
	return text;
}

/* ---- options ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_token(const char *s, uint8_t token[FLP_TOKEN_SIZE])
{
	if (strlen(s) != 2 * FLP_TOKEN_SIZE)
		return false;
	for (unsigned int i = 0; i < FLP_TOKEN_SIZE; i++) {
		int hi = hex(s[2 * i]), lo = hex(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		token[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

FAULTLINE_API int faultline_set_socket(struct faultline *ctx, const char *path)
{
	char copy[sizeof(ctx->socket)] = "";
	sigset_t mask;
	bool late;
	int r = context_check(ctx);

	if (r)
		return r;
	if (!path || !path[0])
		return context_fail(ctx, -EINVAL, "set_socket: no path");
	if (strlen(path) >= sizeof(copy))
		return context_fail(ctx, -ENAMETOOLONG, "set_socket: the path is longer than %zu bytes",
				    sizeof(copy) - 1);
	strcpy(copy, path);
	context_lock(ctx, &mask);
	late = ctx->state != CONTEXT_NEW;
	if (!late) {
		memcpy(ctx->socket, copy, sizeof(copy));
		if (!ctx->job_set)	/* the environment's job is one of the environment's daemon */
			memset(ctx->job, 0, sizeof(ctx->job));
	}
	context_unlock(ctx, &mask);
	return late ? context_fail(ctx, -EISCONN, "set_socket: the context is connected") : 0;
}

FAULTLINE_API int faultline_set_job(struct faultline *ctx, const char *token)
{
	uint8_t job[FLP_TOKEN_SIZE];
	sigset_t mask;
	bool late;
	int r = context_check(ctx);

	if (r)
		return r;
	if (!token || !parse_token(token, job))
		return context_fail(ctx, -EINVAL, "set_job: not a token: %d digits of lower-case hexadecimal",
				    2 * FLP_TOKEN_SIZE);
	context_lock(ctx, &mask);
	late = ctx->state != CONTEXT_NEW;
	if (!late) {
		memcpy(ctx->job, job, sizeof(job));
		ctx->job_set = true;
	}
	context_unlock(ctx, &mask);
	return late ? context_fail(ctx, -EISCONN, "set_job: the context is connected") : 0;
}

/* ---- life ---- */

/* Where faultline run says to go; else the system's service, and the user's own job there. */
static void look_at_environment(struct faultline *ctx)
{
	const char *path = secure_getenv(FLP_ENV_SOCKET);
	const char *job = secure_getenv(FLP_ENV_JOB);

	strcpy(ctx->socket, FLP_SOCKET_PATH);
	if (!path || !path[0] || strlen(path) >= sizeof(ctx->socket))
		return;
	strcpy(ctx->socket, path);
	if (!job || !parse_token(job, ctx->job))
		memset(ctx->job, 0, sizeof(ctx->job));
}

FAULTLINE_API int faultline_new(struct faultline **ret)
{
	struct faultline *ctx;

	if (!ret)
		return -EINVAL;
	ctx = own_memory(sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->pid = getpid();
	ctx->state = CONTEXT_NEW;
	ctx->fd = -1;
	for (unsigned int i = 0; i < CALLS_MAX; i++)
		ctx->call[i].wake = -1;
	pthread_mutex_init(&ctx->lock, NULL);
	look_at_environment(ctx);
	*ret = ctx;
	return 0;
}

FAULTLINE_API void faultline_free(struct faultline *ctx)
{
	struct faultline_region *region;

	if (!ctx)
		return;
	while ((region = process_region_of(ctx))) {
		/* The daemon is gone: what is in RAM is the application's, the rest blocks whoever touches
		 * it, and the handle is of no use to anybody. */
		if (faultline_region_release(region)) {
			process_forget(region);
			own_memory_free(region, sizeof(*region));
		}
	}
	connection_close(ctx);
	if (ctx->pid == getpid())
		pthread_mutex_destroy(&ctx->lock);
	own_memory_free(ctx, sizeof(*ctx));
}

FAULTLINE_API const char *faultline_version(void)
{
	return PACKAGE_VERSION;
}

/* ---- connecting ---- */

/* NEW -> CONNECTING; what it was. */
static enum context_state begin(struct faultline *ctx)
{
	enum context_state was;
	sigset_t mask;

	context_lock(ctx, &mask);
	was = ctx->state;
	if (was == CONTEXT_NEW)
		ctx->state = CONTEXT_CONNECTING;
	context_unlock(ctx, &mask);
	return was;
}

/* CONNECTING -> NEW or CONNECTED; LOST stays only where it had been connected. */
static int end(struct faultline *ctx, int result)
{
	sigset_t mask;

	context_lock(ctx, &mask);
	if (result || ctx->state == CONTEXT_CONNECTING)
		ctx->state = result ? CONTEXT_NEW : CONTEXT_CONNECTED;
	context_unlock(ctx, &mask);
	return result;
}

/* The connection first: it finds out whether a daemon is there and of this version, and leaves nothing
 * behind when not. An agent's thread is started once in the life of a process. */
static int connect_both(struct faultline *ctx)
{
	int r = connection_open(ctx);

	if (!r)
		r = process_start_agent(ctx);
	if (r)
		connection_close(ctx);
	return r;
}

FAULTLINE_API int faultline_connect(struct faultline *ctx)
{
	int r = context_check(ctx);
	_uncancelled_;

	if (r)
		return r;
	switch (begin(ctx)) {
	case CONTEXT_NEW:
		break;
	case CONTEXT_CONNECTING:
	case CONTEXT_CONNECTED:
		return context_fail(ctx, -EISCONN, "connect: the context is connected");
	case CONTEXT_LOST:
		return context_fail(ctx, -ENOTCONN, "connect: the daemon is gone: make a new context");
	}
	return end(ctx, connect_both(ctx));
}

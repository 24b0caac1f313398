/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.c - what the daemon has to say.
 *
 * A write(2) may wait for a lock of the file, pipe or terminal that it goes to, and a client
 * that writes there from a page that is out holds that lock until we have brought the page
 * back. So no thread that serves clients ever writes a line: it puts it into a ring, and the
 * writer thread, on which nothing depends, takes it from there. When that is stuck the ring
 * fills up, lines are dropped, and their number is told later. A private daemon has no
 * stderr at all, but a sink.
 *
 * Locking: ring_lock for the ring, the limit and the sink; held for the time of a copy (and of
 * the sink, which does not wait), never during a write to stderr.
 *
 * All memory is static: what there is to say about lack of memory can be said.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LIBBSD_OPENBSD_VIS
#include <bsd/vis.h>

#include "common/align.h"
#include "daemon/log.h"

#define RING_LINES	256u
#define FLUSH_SECONDS	1
#define GLOBAL_BURST	600u		/* lines a minute, debugging not counted */
#define MINUTE_NS	UINT64_C(60000000000)

struct line {
	enum log_level level;
	char text[LOG_LINE_SIZE];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more, idle;	/* idle: CLOCK_MONOTONIC */
	/* under lock */
	struct line line[RING_LINES];
	unsigned int head, tail;	/* free-running */
	unsigned int dropped;
	bool running, stopping, writing;
	struct log_limit limit;
	log_sink_fn sink;
	void *sink_ctx;
} ring = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.limit = { .burst = GLOBAL_BURST },
};

static pthread_t writer;
static bool to_journal;			/* constant after log_init() */
static enum log_level max_level = LOG_LEVEL_INFO;	/* atomic */
static _Thread_local bool in_sink;

/* ---- output ---- */

/* The service manager says which stream it gave us: stderr may have been redirected since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}

static void write_all(const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(STDERR_FILENO, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return;		/* nobody is left to be told */
		p += w;
		n -= (size_t)w;
	}
}

static void write_line(enum log_level level, const char *text)
{
	char out[LOG_LINE_SIZE + 64];
	int n;

	if (to_journal)
		n = snprintf(out, sizeof(out), "<%d>%s\n", (int)level, text);
	else
		n = snprintf(out, sizeof(out), "%s: %s\n", program_invocation_short_name, text);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(out)) {
		n = sizeof(out) - 1;
		out[n - 1] = '\n';
	}
	write_all(out, (size_t)n);
}

/* ---- the writer ---- */

/* Take one line out of the ring; what was dropped is told when the ring has been emptied. */
static bool take(struct line *ret)
{
	if (ring.head != ring.tail) {
		*ret = ring.line[ring.head++ % RING_LINES];
		return true;
	}
	if (!ring.dropped)
		return false;
	ret->level = LOG_LEVEL_WARN;
	snprintf(ret->text, sizeof(ret->text), "log: %u lines lost, they could not be written in time",
		 ring.dropped);
	ring.dropped = 0;
	return true;
}

static void *writer_main(void *arg)
{
	struct line line;

	pthread_setname_np(pthread_self(), "log");
	pthread_mutex_lock(&ring.lock);
	for (;;) {
		ring.writing = take(&line);
		if (ring.writing) {
			pthread_mutex_unlock(&ring.lock);
			write_line(line.level, line.text);
			pthread_mutex_lock(&ring.lock);
			continue;
		}
		pthread_cond_broadcast(&ring.idle);
		if (ring.stopping)
			break;
		pthread_cond_wait(&ring.more, &ring.lock);
	}
	pthread_mutex_unlock(&ring.lock);
	return NULL;
}

void log_init(void)
{
	pthread_condattr_t attr;

	to_journal = stderr_is_journal();
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ring.idle, &attr);
	pthread_condattr_destroy(&attr);
}

int log_start(void)
{
	sigset_t all, before;
	int r;

	/* Signals are others' work; and the SIGPIPE of a stderr that is gone stays pending there. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ring.stopping = false;
	r = pthread_create(&writer, NULL, writer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;

	pthread_mutex_lock(&ring.lock);
	ring.running = true;
	pthread_mutex_unlock(&ring.lock);
	return 0;
}

/* With the lock. True when all has been written. A writer that is stuck is left alone. */
static bool drain(void)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FLUSH_SECONDS;
	while (!r && (ring.head != ring.tail || ring.dropped || ring.writing)) {
		pthread_cond_signal(&ring.more);
		r = pthread_cond_timedwait(&ring.idle, &ring.lock, &until);
	}
	return !r;
}

void log_stop(void)
{
	bool drained;

	pthread_mutex_lock(&ring.lock);
	if (!ring.running) {
		pthread_mutex_unlock(&ring.lock);
		return;
	}
	drained = drain();
	ring.running = false;
	ring.stopping = true;
	pthread_cond_signal(&ring.more);
	pthread_mutex_unlock(&ring.lock);
	if (drained)
		pthread_join(writer, NULL);
	else
		pthread_detach(writer);
}

/* ---- lines ---- */

void log_set_level(enum log_level level)
{
	__atomic_store_n(&max_level, level, __ATOMIC_RELAXED);
}

bool log_enabled(enum log_level level)
{
	return level <= __atomic_load_n(&max_level, __ATOMIC_RELAXED);
}

void log_set_sink(log_sink_fn fn, void *ctx)
{
	pthread_mutex_lock(&ring.lock);
	ring.sink = fn;
	ring.sink_ctx = ctx;
	pthread_mutex_unlock(&ring.lock);
}

bool log_limit(struct log_limit *l, uint32_t *ret_suppressed)
{
	struct timespec now;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (!l->window_ns || ns - l->window_ns >= MINUTE_NS) {
		l->window_ns = ns;
		l->used = 0;
	}
	if (l->used >= l->burst) {
		l->suppressed++;
		return false;
	}
	l->used++;
	*ret_suppressed = l->suppressed;
	l->suppressed = 0;
	return true;
}

/* With the lock. Where lines go. Before there is a writer, nothing is served that could make us
 * wait; the lock is let go all the same. */
static void put(enum log_level level, const char *text)
{
	struct line *line;

	if (ring.sink) {
		in_sink = true;
		ring.sink(ring.sink_ctx, level, text);
		in_sink = false;
		return;
	}
	if (!ring.running) {
		pthread_mutex_unlock(&ring.lock);
		write_line(level, text);
		pthread_mutex_lock(&ring.lock);
		return;
	}
	if (ring.tail - ring.head == RING_LINES) {
		ring.dropped++;
		return;
	}
	line = &ring.line[ring.tail++ % RING_LINES];
	line->level = level;
	memcpy(line->text, text, strlen(text) + 1);
	pthread_cond_signal(&ring.more);
}

/* A line is one line, whatever got into it. */
static void make_harmless(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

static void format_line(char text[static LOG_LINE_SIZE], int error, const char *format, va_list ap)
{
	int n = vsnprintf(text, LOG_LINE_SIZE, format, ap);

	if (n < 0)
		snprintf(text, LOG_LINE_SIZE, "log: a line that cannot be formatted");
	else if (error && n < LOG_LINE_SIZE) {
		const char *why = strerrordesc_np(error);	/* no locale, no memory */

		if (why)
			snprintf(text + n, LOG_LINE_SIZE - (size_t)n, ": %s", why);
		else
			snprintf(text + n, LOG_LINE_SIZE - (size_t)n, ": error %d", error);
	}
	make_harmless(text);
}

static void emit(enum log_level level, const char *text, bool limited)
{
	char note[64];
	uint32_t suppressed = 0;

	if (in_sink)
		return;
	pthread_mutex_lock(&ring.lock);
	if (!limited || log_limit(&ring.limit, &suppressed)) {
		if (suppressed) {
			snprintf(note, sizeof(note), "log: %u lines left out, too many", suppressed);
			put(LOG_LEVEL_WARN, note);
		}
		put(level, text);
	}
	pthread_mutex_unlock(&ring.lock);
}

void log_line(enum log_level level, int error, const char *format, ...)
{
	char text[LOG_LINE_SIZE];
	int saved = errno;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, format);
	format_line(text, error, format, ap);
	va_end(ap);
	emit(level, text, level < LOG_LEVEL_DEBUG);
	errno = saved;
}

static _Noreturn void die(int error, const char *format, va_list ap)
{
	char text[LOG_LINE_SIZE];

	format_line(text, error, format, ap);
	emit(LOG_LEVEL_ERROR, text, false);
	pthread_mutex_lock(&ring.lock);
	if (ring.running)
		drain();
	_exit(EXIT_FAILURE);
}

void fatal(const char *format, ...)
{
	int error = errno;
	va_list ap;

	va_start(ap, format);
	die(error, format, ap);
}

void fatalx(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	die(0, format, ap);
}

const char *log_vis(char *dst, size_t size, const char *src, size_t max)
{
	const size_t n = strnlen(src, max);
	char *p = dst;

	if (!size)
		return "";
	*p = '\0';
	for (size_t i = 0; i < n; i++) {
		char one[8];
		size_t len = (size_t)(vis(one, (unsigned char)src[i], VIS_CSTYLE | VIS_NL | VIS_TAB,
					  i + 1 < n ? (unsigned char)src[i + 1] : 0) - one);

		if (len >= size - (size_t)(p - dst))
			break;
		memcpy(p, one, len + 1);
		p += len;
	}
	return dst;
}

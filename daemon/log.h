/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.h - what the daemon has to say: one event, one line, the subject first
 * ("session 12 pid 4711: ..."). See log.c.
 *
 * Any thread. No call waits for anything outside of the daemon, allocates memory or changes
 * errno. Not from a signal handler.
 */
#ifndef FAULTLINE_DAEMON_LOG_H
#define FAULTLINE_DAEMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {			/* as syslog(3), and FLP_LOG */
	LOG_LEVEL_ERROR	= 3,
	LOG_LEVEL_WARN	= 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO	= 6,
	LOG_LEVEL_DEBUG	= 7,
};

#define LOG_LINE_SIZE 512		/* longer ones are cut off */

/* Once, first of all: is stderr the journal? Lines are written at once until log_start(). */
void log_init(void);
/* From here on a thread of its own writes the lines, and nobody else waits for stderr. Before the
 * first client is let in. 0, -errno. */
int  log_start(void);
void log_stop(void);			/* what is queued is written, if that takes no second */

void log_set_level(enum log_level level);	/* INFO at the start; each -v is one more */
bool log_enabled(enum log_level level);

/* Instead of stderr. fn must not wait and not log; the line has no newline. After
 * log_set_sink(NULL, NULL) has returned, it is not called any more. */
typedef void (*log_sink_fn)(void *ctx, enum log_level level, const char *line);
void log_set_sink(log_sink_fn fn, void *ctx);

/* error: an errno, whose text is appended, or 0. */
void log_line(enum log_level level, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_err(...)	log_line(LOG_LEVEL_ERROR, errno, __VA_ARGS__)
#define log_errx(...)	log_line(LOG_LEVEL_ERROR, 0, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_LEVEL_WARN, errno, __VA_ARGS__)
#define log_warnx(...)	log_line(LOG_LEVEL_WARN, 0, __VA_ARGS__)
#define log_notice(...)	log_line(LOG_LEVEL_NOTICE, 0, __VA_ARGS__)
#define log_info(...)	log_line(LOG_LEVEL_INFO, 0, __VA_ARGS__)
#define log_debug(...)								\
	do {									\
		if (log_enabled(LOG_LEVEL_DEBUG))				\
			log_line(LOG_LEVEL_DEBUG, 0, __VA_ARGS__);		\
	} while (0)

/* Say it, and end the process at once, as kill -9 would: what must survive lives in descriptors. */
_Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));	/* errno */
_Noreturn void fatalx(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A limit of one's own, for what a client can provoke: burst lines, then burst a minute. False:
 * say nothing; what was left out is added up, and told with the next line that is allowed. All
 * zero but for burst at the start; under the lock of its owner.
 */
struct log_limit {
	uint32_t burst;
	uint32_t used, suppressed;
	uint64_t window_ns;
};
bool log_limit(struct log_limit *l, uint32_t *ret_suppressed);

/* Text that a client gave, so that it can stand in a line: vis(3) encoding, cut off to fit. Returns
 * dst. max: of src, which need not end in a NUL. */
#define LOG_VIS_SIZE(n) (4 * (n) + 1)
const char *log_vis(char *dst, size_t size, const char *src, size_t max);

#endif

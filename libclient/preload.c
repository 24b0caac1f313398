/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * preload.c - what `faultline run` loads into an unmodified program.
 *
 * The constructor starts the agent when the environment names a daemon and a job, and does nothing,
 * silently, otherwise: set-user-ID programs, no daemon, a kernel that lacks something. It changes nothing
 * about how the program allocates. What it interposes:
 *
 *	pthread_create	the stack and the control block of each thread are never adopted
 *	mmap		a hint to look at the map of the process again
 *	madvise		MADV_FREE becomes MADV_DONTNEED: a freed page that is written again comes alive
 *			with no event; DONTFORK by the program is remembered
 *	fork		everything comes back first, and nothing leaves until it is over
 *
 * Threads: any of the program's. Pass-through is by raw system calls, or by the next definition, which
 * is looked up once.
 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/gate.h"
#include "libclient/agent.h"

#define EXPORT	__attribute__((visibility("default")))
#define HINT_BYTES	(1u << 20)	/* a smaller mapping is found by the next look */

static int (*next_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
static pid_t (*next_fork)(void);
static size_t default_stack;

static void look_up(void)
{
	*(void **)&next_pthread_create = dlsym(RTLD_NEXT, "pthread_create");
	*(void **)&next_fork = dlsym(RTLD_NEXT, "fork");
}

/* ---- threads ---- */

struct thread_start {
	void *(*fn)(void *);
	void *arg;
	uint64_t stack_start, stack_end;	/* given by the program; 0: the C library's own */
	size_t stack_size;
};

/*
 * The C library puts the control block at the top of the stack's mapping: what lies from there down for
 * the size of the stack is the mapping.
 */
static void know_own_stack(const struct thread_start *t)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t top = ((uint64_t)(uintptr_t)pthread_self() + 2 * page) & ~(page - 1);

	if (t->stack_start)
		agent_stack_add(t->stack_start, t->stack_end);
	else
		agent_stack_add((top - t->stack_size - page) & ~(page - 1), top);
	agent_stack_end();
}

static void *thread_main(void *arg)
{
	struct thread_start t = *(struct thread_start *)arg;

	free(arg);
	know_own_stack(&t);
	return t.fn(t.arg);
}

EXPORT int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	struct thread_start *t;
	void *at = NULL;
	size_t size = 0;
	int r;

	if (!next_pthread_create)
		look_up();
	if (!agent_running())
		return next_pthread_create(ret, attr, fn, arg);
	t = malloc(sizeof(*t));
	if (!t)
		return EAGAIN;
	*t = (struct thread_start){ .fn = fn, .arg = arg, .stack_size = default_stack };
	if (attr && !pthread_attr_getstack(attr, &at, &size) && size) {
		t->stack_size = size;
		if (at && at != (void *)-size) {
			t->stack_start = (uint64_t)(uintptr_t)at;
			t->stack_end = t->stack_start + size;
		}
	}
	agent_stack_begin();
	r = next_pthread_create(ret, attr, thread_main, t);
	if (r) {
		agent_stack_end();
		free(t);
	}
	return r;
}

/* ---- memory ---- */

static void *map(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *p = (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);

	if (p != MAP_FAILED && (flags & MAP_ANONYMOUS) && (flags & MAP_PRIVATE) &&
	    (prot & PROT_WRITE) && len >= HINT_BYTES)
		agent_hint(len);
	return p;
}

EXPORT void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return map(at, len, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t offset)
{
	return map(at, len, prot, flags, fd, offset);
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	int r;

	if (advice == MADV_FREE && agent_running())
		advice = MADV_DONTNEED;
	r = (int)syscall(SYS_madvise, addr, len, advice);
	if (!r && (advice == MADV_DONTFORK || advice == MADV_DOFORK))
		agent_note_dontfork((uint64_t)(uintptr_t)addr, (uint64_t)(uintptr_t)addr + len,
				    advice == MADV_DONTFORK);
	return r;
}

/* ---- fork ---- */

static void before_fork(void)
{
	(void)agent_fork_prepare();
}

EXPORT pid_t fork(void)
{
	pid_t pid;

	if (!next_fork)
		look_up();
	if (agent_fork_prepare()) {
		agent_fork_parent();
		errno = ENOMEM;
		return -1;
	}
	pid = next_fork();		/* the handlers below run in it, as in every fork of the C library */
	if (pid)
		agent_fork_parent();
	return pid;
}

/* ---- the start ---- */

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

#ifdef FL_TEST_HOOKS
static void map_gates(void)
{
	const char *path = getenv("FAULTLINE_GATES");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(struct gate_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		gate_board = p;
}
#else
static void map_gates(void)
{
}
#endif

__attribute__((constructor)) static void start(void)
{
	const char *socket = secure_getenv(FLP_ENV_SOCKET);
	const char *job = secure_getenv(FLP_ENV_JOB);
	struct agent_config c = { .now = secure_getenv("FAULTLINE_AGENT_NOW") != NULL };
	pthread_attr_t attr;

	look_up();
	if (!socket || !job || strlen(socket) >= sizeof(c.socket) || !parse_token(job, c.job))
		return;
	strcpy(c.socket, socket);
	if (!pthread_getattr_default_np(&attr)) {
		pthread_attr_getstacksize(&attr, &default_stack);
		pthread_attr_destroy(&attr);
	}
	if (!default_stack)
		default_stack = 8u << 20;
	map_gates();
	if (pthread_atfork(before_fork, agent_fork_parent, agent_fork_child))
		return;
	(void)agent_start(&c);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gate.c - where a test holds the daemon, in programs compiled with FL_TEST_HOOKS.
 *
 * Nothing but atomics on the board and one system call, and that through a macro: whoever may
 * not use libc includes this file after defining GATE_FUTEX, and takes gate_arrive() from it.
 */
#include <config.h>

#ifdef FL_TEST_HOOKS

#include <fcntl.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/gate.h"

/* Not FUTEX_PRIVATE: the test, the daemon and its clients are different processes. */
#ifndef GATE_FUTEX
#define GATE_FUTEX(word, op, value)	syscall(SYS_futex, (word), (op), (value), NULL, NULL, 0)
#define GATE_GETPID()			getpid()
#define GATE_WANT_MAP
#endif

struct gate_board *gate_board;

/* One of those that are to be held? */
static int take_ticket(uint32_t *armed)
{
	uint32_t n = __atomic_load_n(armed, __ATOMIC_ACQUIRE);

	while (n && !__atomic_compare_exchange_n(armed, &n, n - 1, 0, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE))
		;
	return n > 0;
}

void gate_arrive(enum gate_id id)
{
	struct gate_board *b = gate_board;
	uint32_t ticket, opened;

	if (!b || !take_ticket(&b->armed[id]))
		return;

	__atomic_store_n(&b->pid[id], (uint32_t)GATE_GETPID(), __ATOMIC_RELAXED);
	ticket = __atomic_add_fetch(&b->arrived[id], 1, __ATOMIC_ACQ_REL);
	GATE_FUTEX(&b->arrived[id], FUTEX_WAKE, INT32_MAX);

	/* opened counts how many may go, in the order in which they came. */
	for (;;) {
		opened = __atomic_load_n(&b->opened[id], __ATOMIC_ACQUIRE);
		if ((int32_t)(opened - ticket) >= 0)
			return;
		GATE_FUTEX(&b->opened[id], FUTEX_WAIT, opened);
	}
}

#ifdef GATE_WANT_MAP
/* A test that names a board which cannot be mapped would wait for ever: better to die. */
void gate_map(const char *path)
{
	struct stat st;
	void *p;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		_exit(99);
	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(struct gate_board))
		_exit(99);
	p = mmap(NULL, sizeof(struct gate_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		_exit(99);
	close(fd);
	gate_board = p;
}
#endif

#else
/* An empty translation unit is not C. */
struct gate_board;
#endif

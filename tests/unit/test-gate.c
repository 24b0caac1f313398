/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-gate.c - the gates that other tests rely on. Includes the hooked gate.c. */
#include <config.h>

#define FL_TEST_HOOKS
#include "common/gate.c"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/harness.h"

#define ID GATE_DAEMON_AFTER_READ

static struct gate_board *board(void)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/board", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_sys(ftruncate(fd, sizeof(struct gate_board)));
	close(fd);
	gate_map(path);
	return gate_board;
}

static void without_a_board_nothing_happens(void)
{
	GATE(ID);
	t_assert(RULE(RULE_LOCK));
}

static void gate_that_is_not_armed_holds_nobody(void)
{
	struct gate_board *b = board();

	GATE(ID);
	t_eq(b->arrived[ID], 0);
}

static void rule_can_be_switched_off(void)
{
	struct gate_board *b = board();

	t_assert(RULE(RULE_LOCK));
	b->rule_off[RULE_LOCK] = 1;
	t_assert(!RULE(RULE_LOCK));
	t_assert(RULE(RULE_EPOCH_CHECK));
}

static uint32_t passed;			/* atomic */

static void *pass(void *arg)
{
	GATE(ID);
	__atomic_add_fetch(&passed, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void armed_arrivals_wait_until_opened_in_their_order(void)
{
	struct gate_board *b = board();
	pthread_t t[3];

	b->armed[ID] = 2;
	for (int i = 0; i < 3; i++)
		t_eq(pthread_create(&t[i], NULL, pass, NULL), 0);
	t_until(__atomic_load_n(&b->arrived[ID], __ATOMIC_ACQUIRE) == 2);
	t_until(__atomic_load_n(&passed, __ATOMIC_ACQUIRE) == 1);	/* the third was not armed for */
	t_eq(b->armed[ID], 0);
	t_eq(b->pid[ID], getpid());

	__atomic_store_n(&b->opened[ID], 1, __ATOMIC_RELEASE);
	GATE_FUTEX(&b->opened[ID], FUTEX_WAKE, INT32_MAX);
	t_until(__atomic_load_n(&passed, __ATOMIC_ACQUIRE) == 2);
	__atomic_store_n(&b->opened[ID], 2, __ATOMIC_RELEASE);
	GATE_FUTEX(&b->opened[ID], FUTEX_WAKE, INT32_MAX);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	t_eq(passed, 3);
}

static void another_process_is_held_by_the_same_board(void)
{
	struct gate_board *b = board();
	int status;
	pid_t pid;

	b->armed[ID] = 1;
	pid = t_sys(fork());
	if (!pid) {
		GATE(ID);
		_exit(7);
	}
	t_until(__atomic_load_n(&b->arrived[ID], __ATOMIC_ACQUIRE) == 1);
	t_eq(b->pid[ID], pid);
	t_eq(waitpid(pid, &status, WNOHANG), 0);
	__atomic_store_n(&b->opened[ID], 1, __ATOMIC_RELEASE);
	GATE_FUTEX(&b->opened[ID], FUTEX_WAKE, INT32_MAX);
	t_eq(t_sys(waitpid(pid, &status, 0)), pid);
	t_eq(WEXITSTATUS(status), 7);
}

static void gate_opened_ahead_does_not_hold(void)
{
	struct gate_board *b = board();

	b->armed[ID] = 1;
	b->opened[ID] = 1;
	GATE(ID);
	t_eq(b->arrived[ID], 1);
}

static void board_that_cannot_be_mapped_ends_the_process(void)
{
	int status;
	pid_t pid = t_sys(fork());

	if (!pid) {
		gate_map("/nonexistent/board");
		_exit(0);
	}
	t_eq(t_sys(waitpid(pid, &status, 0)), pid);
	t_eq(WEXITSTATUS(status), 99);
}

static const struct t_test tests[] = {
	T(without_a_board_nothing_happens),
	T(gate_that_is_not_armed_holds_nobody),
	T(rule_can_be_switched_off),
	T(armed_arrivals_wait_until_opened_in_their_order),
	T(another_process_is_held_by_the_same_board),
	T(gate_opened_ahead_does_not_hold),
	T(board_that_cannot_be_mapped_ends_the_process),
	{0}
};

static const struct t_suite suites[] = { { "gate", tests }, {0} };

HARNESS_MAIN(suites)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gated.c - see gated.h.
 *
 * Between the test and its client there is one shared mapping: a mailbox for each actor. An actor sleeps
 * on its mailbox's futex, calls the function that it finds there (the client is a fork of the test: the
 * addresses are the same), and puts the result back.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/sock.h"
#include "common/wire.h"
#include "libclient/agent-internal.h"
#include "tests/functional/gated.h"
#include "tests/harness.h"

#define MIB		(UINT64_C(1) << 20)
#define WORDS		(PAGE / sizeof(uint64_t))
#define WAIT_S		10
#define ROOM		(16 * MIB)	/* of address space around fresh memory */

struct mailbox {
	uint32_t asked, done;		/* futexes: numbers of steps */
	step_fn *fn;
	uint64_t arg[4], result;
	pid_t tid;
};

struct shared {
	struct mailbox actor[N_ACTORS];
	pid_t agent_tid;
};

struct test_daemon the_daemon = { .control = -1 };
pid_t the_client;

static struct shared *shared;
static uint32_t held_so_far[GATE_N];
static int library = -1;		/* the client's connection, on which the test speaks */
static uint32_t cookie;

static void futex_wait(uint32_t *word, uint32_t value)
{
	struct timespec ts = { .tv_nsec = 10 * 1000 * 1000 };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &ts, NULL, 0);
}

static void futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static uint32_t load(uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* ---- steps, in the client ---- */

static __thread sigjmp_buf on_signal;

static void gone(int sig)
{
	siglongjmp(on_signal, sig);
}

static uint64_t result(long r)
{
	return r < 0 ? (uint64_t)(int64_t)-errno : (uint64_t)r;
}

static void *at(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

uint64_t step_map(uint64_t va, uint64_t pages, uint64_t c, uint64_t d)
{
	(void)c;
	(void)d;
	return result((long)mmap(at(va), pages * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | (va ? MAP_FIXED_NOREPLACE : 0), -1, 0));
}

/* An area with nothing on either side, so that it stays one and can grow. */
uint64_t step_map_apart(uint64_t pages, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t len = pages * PAGE + 2 * ROOM;
	uint8_t *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)b;
	(void)c;
	(void)d;
	if (p == MAP_FAILED || munmap(p, len))
		return result(-1);
	return step_map((uintptr_t)p + ROOM, pages, 0, 0);
}

uint64_t step_adopt(uint64_t va, uint64_t pages, uint64_t c, uint64_t d)
{
	(void)c;
	(void)d;
	return (uint64_t)(int64_t)agent_adopt(va, pages * PAGE);
}

/* Every eighth word is noise: it compresses, but not to nothing. */
static uint64_t value(uint64_t tag, uint64_t page, uint64_t word)
{
	uint64_t x = (tag << 32 ^ page << 9 ^ word) * UINT64_C(0x9e3779b97f4a7c15);

	if (word % 8 && tag < NOISE)
		return tag << 32 | page;
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

uint64_t step_fill(uint64_t va, uint64_t pages, uint64_t tag, uint64_t d)
{
	volatile uint64_t *p = at(va);

	(void)d;
	for (uint64_t i = 0; i < pages; i++)
		for (uint64_t w = 0; w < WORDS; w++)
			p[i * WORDS + w] = value(tag, i, w);
	return 0;
}

uint64_t step_bad(uint64_t va, uint64_t pages, uint64_t tag, uint64_t d)
{
	volatile uint64_t *p = at(va);
	uint64_t n = 0;

	(void)d;
	for (uint64_t i = 0; i < pages; i++)
		for (uint64_t w = 0; w < WORDS; w++)
			if (p[i * WORDS + w] != value(tag, i, w)) {
				n++;
				break;
			}
	return n;
}

uint64_t step_nonzero(uint64_t va, uint64_t pages, uint64_t c, uint64_t d)
{
	volatile uint64_t *p = at(va);
	uint64_t n = 0;

	(void)c;
	(void)d;
	for (uint64_t i = 0; i < pages; i++)
		for (uint64_t w = 0; w < WORDS; w++)
			if (p[i * WORDS + w]) {
				n++;
				break;
			}
	return n;
}

uint64_t step_read(uint64_t va, uint64_t b, uint64_t c, uint64_t d)
{
	(void)b;
	(void)c;
	(void)d;
	return *(volatile uint64_t *)at(va);
}

uint64_t step_write(uint64_t va, uint64_t v, uint64_t c, uint64_t d)
{
	(void)c;
	(void)d;
	*(volatile uint64_t *)at(va) = v;
	return 0;
}

uint64_t step_discard(uint64_t va, uint64_t bytes, uint64_t c, uint64_t d)
{
	(void)c;
	(void)d;
	return result(madvise(at(va), bytes, MADV_DONTNEED));
}

uint64_t step_unmap(uint64_t va, uint64_t bytes, uint64_t c, uint64_t d)
{
	(void)c;
	(void)d;
	return result(munmap(at(va), bytes));
}

uint64_t step_remap(uint64_t va, uint64_t old, uint64_t new, uint64_t to)
{
	if (to == va)
		return result((long)mremap(at(va), old, new, 0));
	return result((long)mremap(at(va), old, new, MREMAP_MAYMOVE | (to ? MREMAP_FIXED : 0), at(to)));
}

uint64_t step_protect(uint64_t va, uint64_t bytes, uint64_t prot, uint64_t d)
{
	(void)d;
	return result(mprotect(at(va), bytes, (int)prot));
}

uint64_t step_present(uint64_t va, uint64_t pages, uint64_t c, uint64_t d)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t n = 0, entry;

	(void)c;
	(void)d;
	for (uint64_t i = 0; i < pages; i++)
		if (pread(fd, &entry, sizeof(entry), (off_t)((va / PAGE + i) * sizeof(entry))) ==
		    sizeof(entry))
			n += entry >> 63;
	return n;
}

/* ---- the client ---- */

static void do_step(struct mailbox *m)
{
	if (sigsetjmp(on_signal, 1))
		m->result = GONE;
	else
		m->result = m->fn(m->arg[0], m->arg[1], m->arg[2], m->arg[3]);
}

static void *actor_main(void *arg)
{
	struct mailbox *m = arg;

	m->tid = (pid_t)syscall(SYS_gettid);
	for (;;) {
		while (load(&m->asked) == m->done)
			syscall(SYS_futex, &m->asked, FUTEX_WAIT, m->done, NULL, NULL, 0);
		do_step(m);
		__atomic_add_fetch(&m->done, 1, __ATOMIC_RELEASE);
		futex_wake(&m->done);
	}
	return NULL;
}

static void read_token(uint8_t token[FLP_TOKEN_SIZE])
{
	for (unsigned int i = 0; i < FLP_TOKEN_SIZE; i++)
		sscanf(the_daemon.token + 2 * (size_t)i, "%2hhx", &token[i]);
}

/* A library's connection: the daemon knows it as this process's. */
static int connect_library(void)
{
	struct flp_hello hello = {
		.version = FLP_VERSION, .role = FLP_ROLE_LIBRARY, .name = "client",
	};
	int fd = t_ok(sock_connect(the_daemon.socket, 0));
	union wire_buffer m;

	read_token(hello.job);
	t_ok(sock_send(fd, &m, wire_build(&m, FLP_HELLO, 1, &hello), NULL, 0));
	t_gt(sock_recv(fd, &m, sizeof(m), NULL), 0);
	t_eq(m.h.type, FLP_WELCOME);
	return fd;
}

static _Noreturn void client_main(int to_test)
{
	struct agent_config c = { .library = true, .now = true };
	struct sigaction sa = { .sa_handler = gone };
	pthread_t thread;
	int fd;

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	close(the_daemon.control);
	snprintf(c.socket, sizeof(c.socket), "%s", the_daemon.socket);
	read_token(c.job);
	t_ok(agent_start(&c));
	t_ok(agent_wait(10000));
	shared->agent_tid = (pid_t)agent_shared.tid;
	for (unsigned int i = 0; i < N_ACTORS; i++)
		t_eq(pthread_create(&thread, NULL, actor_main, &shared->actor[i]), 0);
	fd = connect_library();
	t_ok(sock_send(to_test, "", 1, &fd, 1));
	for (;;)
		pause();
}

static void start_client(void)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	int pair[2];
	char c;

	t_ok(sock_pair(pair, 0));
	the_client = t_sys(fork());
	if (!the_client) {
		close(pair[0]);
		client_main(pair[1]);
	}
	close(pair[1]);
	if (sock_recv(pair[0], &c, 1, &fds) != 1)
		t_fail("the client did not start");
	library = sock_fds_take(&fds, 0);
	close(pair[0]);
}

static void make_board(void)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/board", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	t_sys(ftruncate(fd, sizeof(struct gate_board)));
	close(fd);
	gate_map(path);
	setenv("FAULTLINE_GATES", path, 1);
}

void gated_start(const struct gated *how)
{
	struct flp_job_create job = daemon_job(how->budget ? how->budget : 256 * MIB);

	job.prefetch = 0;
	if (how->swap)
		job.pool_max = 4 * MIB;
	else
		job.flags |= FLP_JOB_NO_SWAP, job.swap_max = 0;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_assert(shared != MAP_FAILED);
	make_board();
	/* Its reads of the swap file are then in a thread that a gate can hold. */
	setenv("FAULTLINE_ENGINE", "threads", 1);
	daemon_start_as(&the_daemon, "FAULTLINED_HOOKED", &job);
	start_client();
}

void gated_stop(void)
{
	kill(the_client, SIGKILL);
	t_eq(waitpid(the_client, NULL, 0), the_client);
	close_fd(&library);
	daemon_kill(&the_daemon);
}

/* ---- gates ---- */

void hold(enum gate_id id)
{
	held_so_far[id]++;
	__atomic_fetch_add(&gate_board->armed[id], 1, __ATOMIC_ACQ_REL);
}

bool is_held(enum gate_id id)
{
	return load(&gate_board->arrived[id]) == held_so_far[id];
}

static void check_alive(void)
{
	int status;

	if (waitpid(the_daemon.pid, &status, WNOHANG) == the_daemon.pid) {
		the_daemon.pid = 0;
		t_fail("faultlined has ended, wait status 0x%x", (unsigned int)status);
	}
	if (waitpid(the_client, &status, WNOHANG) == the_client)
		t_fail("the client has ended, wait status 0x%x", (unsigned int)status);
}

void wait_held(enum gate_id id)
{
	uint64_t deadline = t_deadline_(WAIT_S);

	while (!is_held(id)) {
		check_alive();
		futex_wait(&gate_board->arrived[id], load(&gate_board->arrived[id]));
		if (!is_held(id) && !t_pause_(deadline))
			t_fail("nobody came to gate %d", (int)id);
	}
}

void let_go(enum gate_id id)
{
	__atomic_fetch_add(&gate_board->opened[id], 1, __ATOMIC_ACQ_REL);
	futex_wake(&gate_board->opened[id]);
}

void rule_off(enum rule_id id)
{
	__atomic_store_n(&gate_board->rule_off[id], 1, __ATOMIC_RELEASE);
}

/* ---- actors ---- */

void begin(unsigned int actor, step_fn *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct mailbox *m = &shared->actor[actor];

	t_assert(is_done(actor));
	m->fn = fn;
	m->arg[0] = a;
	m->arg[1] = b;
	m->arg[2] = c;
	m->arg[3] = d;
	__atomic_fetch_add(&m->asked, 1, __ATOMIC_RELEASE);
	futex_wake(&m->asked);
}

bool is_done(unsigned int actor)
{
	return load(&shared->actor[actor].done) == load(&shared->actor[actor].asked);
}

uint64_t end(unsigned int actor)
{
	struct mailbox *m = &shared->actor[actor];
	uint64_t deadline = t_deadline_(WAIT_S);

	while (!is_done(actor)) {
		check_alive();
		futex_wait(&m->done, load(&m->done));
		if (!is_done(actor) && !t_pause_(deadline))
			t_fail("actor %c has not ended its step", 'A' + (int)actor);
	}
	return m->result;
}

uint64_t act(unsigned int actor, step_fn *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	begin(actor, fn, a, b, c, d);
	return end(actor);
}

static bool sleeps_in_userfault(pid_t tid)
{
	char path[64], text[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", (int)the_client, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "userfault") != NULL;
}

bool is_blocked(unsigned int actor)
{
	return !is_done(actor) && sleeps_in_userfault(shared->actor[actor].tid);
}

void wait_blocked(unsigned int actor)
{
	t_until_s(is_blocked(actor), WAIT_S);
}

void wait_settled(unsigned int actor)
{
	t_until_s(is_done(actor) || is_blocked(actor), WAIT_S);
}

bool agent_is_blocked(void)
{
	return sleeps_in_userfault(shared->agent_tid);
}

/* ---- what is evicted ---- */

uint64_t untouched(uint64_t pages)
{
	uint64_t va = act(A, step_map_apart, pages, 0, 0, 0);

	t_eq(va % PAGE, 0);
	t_eq(act(A, step_adopt, va, pages, 0, 0), 0);
	return va;
}

uint64_t fresh(uint64_t pages, uint64_t tag)
{
	uint64_t va = untouched(pages);

	t_eq(act(A, step_fill, va, pages, tag, 0), 0);
	return va;
}

/* False: refused. */
static bool ask(enum flp_type type, const void *body, enum flp_type answer, void *ret, size_t size)
{
	union wire_buffer m;

	t_ok(sock_send(library, &m, wire_build(&m, type, ++cookie, body), NULL, 0));
	t_gt(sock_recv(library, &m, sizeof(m), NULL), 0);
	if (m.h.type == FLP_ERROR)
		return false;
	t_eq(m.h.type, answer);
	if (size)
		memcpy(ret, wire_body(&m), size);
	return true;
}

struct flp_range_status pages_of(uint64_t va, uint64_t pages)
{
	struct flp_range range = { .addr = va, .len = pages * PAGE };
	struct flp_range_status st = { 0 };

	ask(FLP_RANGE_STAT, &range, FLP_RANGE_STATUS, &st, sizeof(st));
	return st;
}

struct flp_counters counters(void)
{
	return daemon_status(&the_daemon).c;
}

void evict(uint64_t va, uint64_t pages)
{
	struct flp_advise advise = { .addr = va, .len = pages * PAGE, .advice = FLP_ADVICE_EVICT };

	/* A thread runs before the daemon has noted that its page is there. */
	t_until_s(!pages_of(va, pages).moving, WAIT_S);
	t_assert(ask(FLP_ADVISE, &advise, FLP_OK, NULL, 0));
}

void evict_ended(void)
{
	t_until_s(!counters().staging, WAIT_S);
}

void evict_all(uint64_t va, uint64_t pages)
{
	uint64_t deadline = t_deadline_(WAIT_S);

	/* What there was no room for came back. */
	for (evict(va, pages); pages_of(va, pages).stored != pages; evict(va, pages)) {
		evict_ended();
		if (pages_of(va, pages).stored == pages)
			return;
		if (!t_pause_(deadline))
			t_fail("%d of %d pages could be evicted", (int)pages_of(va, pages).stored, (int)pages);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * agent.c - the life of the agent: its start, its connection, its loop, its lock and rings.
 *
 * The agent is a thread of the client that only the kernel knows of: made with clone(2), with its own
 * descriptor table (nothing of the program's is in it: a copy of a pipe's end would delay an EOF), its
 * own working directory and mask, its own stack and thread pointer, every signal blocked, no
 * capabilities, and a filter that allows the few system calls that it makes. It uses no function of the
 * C library beyond memcpy and its like, and memory of its own only: it never loads from or stores to an
 * address of the program, except through the userfaultfd ioctls and MADV_POPULATE_WRITE.
 *
 * It never ends while something of the program may be out: its descriptor table holds the userfaultfd,
 * and the last reference to that must not go, or evicted pages would read as zeros. When the daemon is
 * gone it stays, and does nothing.
 *
 *	OFF --agent_start--> STARTING --attached--> ATTACHED --the daemon is gone--> LOST
 *	                        +--could not: nothing was adopted--> FAILED
 */
#include <config.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <fcntl.h>

#define LZ4_STATIC_LINKING_ONLY
#include <lz4.h>

#include "common/gate.h"
#include "common/procmap-abi.h"
#include "common/slice.h"
#include "common/uffd-abi.h"
#include "libclient/agent-internal.h"
#include "libclient/agent-sys.h"

#define START_LOOKS_US	1000		/* first look at the size of the program; doubles .. */
#define START_PAUSE_US	4000		/* .. up to this */
#define START_BYTES	(2u << 20)	/* connect when it has this much anonymous memory, or .. */
#define START_US	100000		/* .. is this old */
#define IDLE_US		20000
#define LOCK_TRIES	20		/* of a millisecond each */
#define GUARD		FLS_PAGE

struct agent_shared agent_shared;
struct agent *agent_self;

/* ---- the lock and the rings ---- */

bool agent_lock(struct agent *a)
{
	uint32_t *word = &a->mem->lock;

	for (int tries = 0; tries < LOCK_TRIES;) {
		uint32_t v = __atomic_load_n(word, __ATOMIC_RELAXED);

		if (!(v & FLS_LOCK_OWNER)) {
			if (__atomic_compare_exchange_n(word, &v, v | FLS_LOCK_AGENT, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return true;
			continue;
		}
		if (!(v & FLS_LOCK_SLEEP) &&
		    !__atomic_compare_exchange_n(word, &v, v | FLS_LOCK_SLEEP, false,
						 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		if (sys_futex_wait(word, v | FLS_LOCK_SLEEP, 0, 1000) == -ETIMEDOUT)
			tries++;
	}
	return false;
}

static void kick(struct agent *a)
{
	uint64_t one = 1;

	sys3(SYS_write, a->kick, &one, sizeof(one));
}

void agent_unlock(struct agent *a)
{
	uint32_t old = __atomic_fetch_and(&a->mem->lock, FLS_LOCK_GEN, __ATOMIC_RELEASE);

	if (old & FLS_LOCK_KICK)
		kick(a);
}

static void check_daemon(struct agent *a)
{
	char c;
	long r = sys6(SYS_recvfrom, a->sock, (long)&c, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0);

	if (r == 0 || (r < 0 && r != -EAGAIN && r != -EINTR))
		a->lost = true;
}

void agent_report(struct agent *a, enum fls_rp what, uint32_t slot, uint64_t x, uint64_t y, uint64_t z)
{
	struct fls_memory *m = a->mem;
	uint32_t tail = m->rep_tail;

	while (tail - __atomic_load_n(&m->rep_head, __ATOMIC_ACQUIRE) >= FLS_REPORTS) {
		kick(a);
		sys_sleep_us(100);
		check_daemon(a);
		if (a->lost)
			return;
	}
	m->reports[tail % FLS_REPORTS] = (struct fls_report){
		.what = what, .slot = slot, .a = x, .b = y, .c = z,
	};
	__atomic_store_n(&m->rep_tail, tail + 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&m->daemon_asleep, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&m->daemon_asleep, 0, __ATOMIC_SEQ_CST))
		kick(a);
}

/* ---- looking at the process ---- */

static uint64_t number(const uint8_t **p)
{
	uint64_t v = 0;

	while (**p == ' ')
		(*p)++;
	while (**p >= '0' && **p <= '9')
		v = v * 10 + (uint64_t)(*(*p)++ - '0');
	return v;
}

/* Bytes of anonymous memory that are resident: statm's resident less its shared part. */
static uint64_t rss_anon(struct agent *a)
{
	uint8_t text[128];
	const uint8_t *p = text;
	uint64_t resident, shared;
	long n = sys4(SYS_pread64, a->statm, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	number(&p);
	resident = number(&p);
	shared = number(&p);
	return resident > shared ? (resident - shared) * FLS_PAGE : 0;
}

static void sample(struct agent *a, bool now)
{
	uint64_t t = sys_now_us(), rss;

	if (!now && t < a->next_sample_us)
		return;
	rss = rss_anon(a);
	__atomic_store_n(&a->mem->rss_anon, rss, __ATOMIC_RELAXED);
	__atomic_fetch_add(&a->mem->samples, 1, __ATOMIC_RELEASE);
	a->next_sample_us = t + a->mem->sample_us;
	if (!a->library && !a->adopt_asked && rss >= a->mem->adopt_bytes) {
		a->adopt_asked = true;
		agent_adopt_areas(a);
	}
}

static void settle_on_cpu(struct agent *a)
{
	int32_t cpu = __atomic_load_n(&a->mem->agent_cpu, __ATOMIC_RELAXED);
	uint64_t mask[16] = { 0 };

	if ((uint32_t)cpu == a->cpu_now)
		return;
	a->cpu_now = (uint32_t)cpu;
	if (cpu >= 0 && cpu < 1024 && (a->cpus[cpu / 64] >> (cpu % 64) & 1))
		mask[cpu / 64] = UINT64_C(1) << (cpu % 64);
	else
		memcpy(mask, a->cpus, sizeof(mask));
	sys3(SYS_sched_setaffinity, 0, sizeof(mask), mask);
}

/* ---- the loop ---- */

static uint32_t fork_state(void)
{
	return __atomic_load_n(&agent_shared.fork, __ATOMIC_SEQ_CST) & FORK_STATE;
}

/* Take the state from one value to another; the number of holds stays. False: it was another. */
static bool fork_step(uint32_t from, uint32_t to)
{
	uint32_t v = __atomic_load_n(&agent_shared.fork, __ATOMIC_SEQ_CST);

	while ((v & FORK_STATE) == from)
		if (__atomic_compare_exchange_n(&agent_shared.fork, &v, (v & ~(uint32_t)FORK_STATE) | to,
						false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			sys_futex_wake(&agent_shared.fork, INT32_MAX, 1);
			return true;
		}
	return false;
}

static void quiesced(int error)
{
	agent_shared.fork_result = -error;
	fork_step(FORK_SENT, FORK_READY);
}

/*
 *	NONE --a thread forks--> ASKED --agent--> SENT --the daemon has brought everything back--> READY
 *	READY, nobody holds it --agent--> NONE
 *
 * From READY to NONE only in one step with "no holds": a fork that begins in between finds NONE, and asks.
 */
static void fork_advance(struct agent *a)
{
	uint32_t ready = FORK_READY;

	if (fork_step(FORK_ASKED, FORK_SENT)) {
		if (a->n_adopted)
			agent_report(a, FLS_RP_QUIESCE, 0, 1, 0, 0);
		else
			quiesced(0);
	}
	if (__atomic_compare_exchange_n(&agent_shared.fork, &ready, FORK_NONE, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST) && a->n_adopted)
		agent_report(a, FLS_RP_QUIESCE, 0, 0, 0, 0);
}

static void request_done(int result)
{
	struct agent_shared *sh = &agent_shared;

	sh->request_result = result;
	__atomic_store_n(&sh->request, REQ_DONE, __ATOMIC_SEQ_CST);
	sys_futex_wake(&sh->request, INT32_MAX, 1);
}

static void request_advance(struct agent *a)
{
	struct agent_shared *sh = &agent_shared;
	uint64_t start = sh->request_addr, end = start + sh->request_len;

	if (__atomic_load_n(&sh->request, __ATOMIC_ACQUIRE) != REQ_POSTED)
		return;
	if (sh->request_kind == 1) {
		int r = agent_adopt_range(a, start, end);

		if (r != -EAGAIN)
			request_done(r);
		else
			a->next_sample_us = 0;
		return;
	}
	__atomic_store_n(&sh->request, REQ_SENT, __ATOMIC_SEQ_CST);
	agent_report(a, FLS_RP_RELEASE, 0, start, end - start, 0);
}

/*
 * madvise(2) says ENOMEM both for a hole in the range and when it could not split an area: so each area
 * is told on its own, and an error means that this one is not marked.
 */
static long advise_areas(struct agent *a, uint64_t start, uint64_t end, int advice)
{
	struct procmap_query q;

	while (start < end) {
		uint64_t from, to;
		long e;

		memset(&q, 0, sizeof(q));
		q.size = sizeof(q);
		q.query_addr = start;
		q.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA;
		if (sys_ioctl(a->maps, PROCMAP_QUERY, &q) || q.vma_start >= end)
			return 0;
		from = q.vma_start > start ? q.vma_start : start;
		to = q.vma_end < end ? q.vma_end : end;
		e = q.inode ? 0 : sys_madvise(from, to - from, advice);
		if (e && e != -EINVAL)		/* EINVAL: not an area that this can be said of */
			return e;
		start = to;
	}
	return 0;
}

/* As a fork's child is to find it, or not. -errno: it is not marked everywhere. */
static long mark_forkable(struct agent *a, uint64_t start, uint64_t len, bool on)
{
	long e = advise_areas(a, start, start + len, on ? MADV_DOFORK : MADV_DONTFORK);

	for (uint32_t i = 0; on && i < agent_shared.n_nofork && i < AGENT_NOFORK; i++) {
		const struct agent_range *r = &agent_shared.nofork[i];
		uint64_t from = r->start > start ? r->start : start;
		uint64_t to = r->end < start + len ? r->end : start + len;

		if (from < to)
			sys_madvise(from, to - from, MADV_DONTFORK);
	}
	return e;
}

static void forkable(struct agent *a, uint64_t start, uint64_t len, bool on)
{
	long e = mark_forkable(a, start, len, on);

	/* What is not marked must not be evicted: a raw clone's child would read zeros. */
	if (e && !on)
		a->unmarked = true;
	agent_report(a, FLS_RP_FORKABLE, 0, start, len, (uint64_t)-e);
}

/* All of it is resident: from here on it is as any other memory of the program, for a fork as well. */
static void unregister(struct agent *a, uint64_t start, uint64_t len)
{
	struct uffdio_range r = { .start = start, .len = len };
	long e = sys_ioctl(a->uffd, UFFDIO_UNREGISTER, &r);

	mark_forkable(a, start, len, true);
	agent_report(a, FLS_RP_UNREGISTERED, 0, start, len, (uint64_t)-e);
	if (agent_shared.request == REQ_SENT && agent_shared.request_kind == 2)
		request_done((int)e);
}

static void obey(struct agent *a, const struct fls_cmd *c)
{
	switch (c->op) {
	case FLS_OP_NONE:
		break;
	case FLS_OP_EVICT:
		if (c->slot < FLS_SLOTS)
			agent_evict(a, c->slot);
		break;
	case FLS_OP_RETURN:
		if (c->slot < FLS_SLOTS)
			agent_return(a, c->slot);
		break;
	case FLS_OP_DROP:
		if (c->slot < FLS_SLOTS)
			agent_drop(a, c->slot);
		break;
	case FLS_OP_GRANT:
		agent_grant(a, c->a, c->b);
		break;
	case FLS_OP_ADOPT:
		a->min_size = c->a;
		a->adopt_asked = true;
		agent_adopt_areas(a);
		break;
	case FLS_OP_SCAN:
		agent_scan(a, c->a, c->a + c->b, c->c);
		break;
	case FLS_OP_UNREGISTER:
		unregister(a, c->a, c->b);
		break;
	case FLS_OP_FORKABLE:
		forkable(a, c->a, c->b, c->c != 0);
		break;
	case FLS_OP_QUIESCED:
		quiesced((int)c->a);
		break;
	}
}

static bool next_command(struct agent *a, struct fls_cmd *ret)
{
	struct fls_memory *m = a->mem;
	uint32_t head = m->cmd_head;

	if (head == __atomic_load_n(&m->cmd_tail, __ATOMIC_ACQUIRE))
		return false;
	*ret = m->cmds[head % FLS_CMDS];
	__atomic_store_n(&m->cmd_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* Until there is a command, somebody rings, or it is time for a sample. */
static void sleep_on_bell(struct agent *a)
{
	struct fls_memory *m = a->mem;
	uint32_t bell = __atomic_load_n(&m->cmd_bell, __ATOMIC_SEQ_CST);
	uint64_t most = m->sample_us ? m->sample_us : IDLE_US;

	__atomic_store_n(&m->agent_asleep, 1, __ATOMIC_SEQ_CST);
	if (m->cmd_head == __atomic_load_n(&m->cmd_tail, __ATOMIC_SEQ_CST) &&
	    fork_state() != FORK_ASKED && agent_shared.fork != FORK_READY && agent_shared.request != REQ_POSTED)
		if (sys_futex_wait(&m->cmd_bell, bell, 0, a->want_adopt ? 1000 : most) == -ETIMEDOUT)
			check_daemon(a);
	__atomic_store_n(&m->agent_asleep, 0, __ATOMIC_SEQ_CST);
}

/* No daemon will answer: forks under way end now, later ones see it in life. */
static void give_up_on_forks(int error)
{
	fork_step(FORK_ASKED, FORK_SENT);
	quiesced(error);
}

static void serve(struct agent *a)
{
	struct agent_shared *sh = &agent_shared;
	struct fls_cmd c;

	while (!a->lost) {
		while (next_command(a, &c)) {
			obey(a, &c);
			sample(a, false);
		}
		settle_on_cpu(a);
		fork_advance(a);
		request_advance(a);
		if (__atomic_exchange_n(&sh->hint_bytes, 0, __ATOMIC_RELAXED) && a->adopt_asked)
			a->want_adopt = true;
		if (a->want_adopt && !a->library)
			agent_adopt_areas(a);
		sample(a, false);
		sleep_on_bell(a);
	}
	__atomic_store_n(&sh->life, AGENT_LOST, __ATOMIC_SEQ_CST);
	give_up_on_forks(a->n_adopted ? ENOMEM : 0);
	if (sh->request == REQ_POSTED || sh->request == REQ_SENT)
		request_done(-ENOTCONN);
	/* Nobody answers faults now. They must block: keep the userfaultfd for as long as the
	 * process lives. */
	for (;;)
		sys_sleep_us(UINT64_C(3600) * 1000000);
}

/* ---- the connection ---- */

static long send_message(int fd, uint16_t type, const void *body, size_t len, const int *fds, int n_fds)
{
	uint8_t msg[512], control[CMSG_SPACE(sizeof(int) * FLP_MAX_FDS)] = { 0 };
	struct flp_header h = {
		.magic = FLP_MAGIC, .version = FLP_VERSION, .type = type,
		.len = (uint32_t)(sizeof(h) + len), .cookie = type,
	};
	struct iovec iov = { .iov_base = msg, .iov_len = h.len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	long r;

	memcpy(msg, &h, sizeof(h));
	memcpy(msg + sizeof(h), body, len);
	if (n_fds) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n_fds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n_fds);
	}
	do
		r = sys3(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
	while (r == -EINTR);
	return r < 0 ? r : 0;
}

/* A message of exactly this type, this size and this many descriptors; or what error it was. */
static long receive_message(int fd, uint16_t type, void *body, size_t len, int *fds, int n_fds)
{
	uint8_t msg[1024], control[CMSG_SPACE(sizeof(int) * FLP_MAX_FDS)];
	struct iovec iov = { .iov_base = msg, .iov_len = sizeof(msg) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct flp_header h;
	struct cmsghdr *c;
	long r;
	int got = 0;

	do
		r = sys3(SYS_recvmsg, fd, &m, MSG_CMSG_CLOEXEC);
	while (r == -EINTR);
	if (r < (long)sizeof(h))
		return r < 0 ? r : -ECONNRESET;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		got = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		if (got <= n_fds)
			memcpy(fds, CMSG_DATA(c), sizeof(int) * (size_t)got);
	}
	memcpy(&h, msg, sizeof(h));
	if (h.magic == FLP_MAGIC && h.type == FLP_ERROR && r >= (long)(sizeof(h) + 4)) {
		int32_t e;

		memcpy(&e, msg + sizeof(h), sizeof(e));
		return e < 0 ? e : -EPROTO;
	}
	if (h.magic != FLP_MAGIC || h.type != type || r != (long)(sizeof(h) + len) || got != n_fds)
		return -EPROTO;
	memcpy(body, msg + sizeof(h), len);
	return 0;
}

static void program_name(char *name, size_t len)
{
	int fd = (int)sys4(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);
	long n = fd < 0 ? 0 : sys3(SYS_read, fd, name, len - 1);

	if (fd >= 0)
		sys_close(fd);
	if (n > 0 && name[n - 1] == '\n')
		n--;
	name[n > 0 ? n : 0] = 0;
}

/* An area with guard pages on both sides, so that it never grows together with the program's. */
static uint8_t *guarded(struct agent *a, uint64_t len, int flags)
{
	uint8_t *p = sys_mmap(0, len + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

	if (sys_failed(p))
		return NULL;
	if (sys3(SYS_mprotect, p + GUARD, len, PROT_READ | PROT_WRITE))
		return NULL;
	sys_madvise(p, len + 2 * GUARD, MADV_DONTFORK);
	sys_madvise(p + GUARD, len, MADV_DONTDUMP);
	if (flags)
		sys_madvise(p + GUARD, len, flags);
	a->own[a->n_own].start = (uint64_t)(uintptr_t)p;
	a->own[a->n_own++].end = (uint64_t)(uintptr_t)p + len + 2 * GUARD;
	return p + GUARD;
}

static long map_memory(struct agent *a, int fd, uint64_t size)
{
	void *p;

	if (size < sizeof(*a->mem))
		return -EPROTO;
	p = sys_mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	sys_close(fd);
	if (sys_failed(p))
		return (long)p;
	sys_madvise(p, size, MADV_DONTFORK);
	a->mem = p;
	return a->mem->magic == FLS_MAGIC && a->mem->version == FLS_VERSION ? 0 : -EPROTO;
}

static long open_proc(struct agent *a)
{
	a->statm = (int)sys4(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY | O_CLOEXEC, 0);
	a->maps = (int)sys4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	a->pagemap = (int)sys4(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	return a->statm < 0 ? a->statm : a->maps < 0 ? a->maps : a->pagemap < 0 ? a->pagemap : 0;
}

static long connect_daemon(struct agent *a, const struct agent_config *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	long r;

	memcpy(sun.sun_path, c->socket, sizeof(sun.sun_path) - 1);
	a->sock = (int)sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (a->sock < 0)
		return a->sock;
	do
		r = sys3(SYS_connect, a->sock, &sun, sizeof(sun));
	while (r == -EINTR);
	return r;
}

static long new_uffd(int device)
{
	return sys_ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
}

static long handshake(struct agent *a, const struct agent_config *c)
{
	struct flp_hello hello = { .version = FLP_VERSION, .role = FLP_ROLE_AGENT };
	struct flp_welcome welcome;
	struct flp_attach attach = { .flags = c->library ? FLP_ATTACH_LIBRARY : 0 };
	struct flp_attached attached;
	int device, fds[3];
	long r;

	memcpy(hello.job, c->job, sizeof(hello.job));
	hello.agent_tid = (uint32_t)sys1(SYS_gettid, 0);
	program_name(hello.name, sizeof(hello.name));
	r = send_message(a->sock, FLP_HELLO, &hello, sizeof(hello), NULL, 0);
	if (!r)
		r = receive_message(a->sock, FLP_WELCOME, &welcome, sizeof(welcome), &device, 1);
	if (r)
		return r;
	a->uffd = (int)new_uffd(device);
	a->staging_uffd = (int)new_uffd(device);
	sys_close(device);
	if (a->uffd < 0 || a->staging_uffd < 0)
		return a->uffd < 0 ? a->uffd : a->staging_uffd;

	attach.s1 = (uint64_t)(uintptr_t)a->s1;
	attach.s2 = (uint64_t)(uintptr_t)a->s2;
	fds[0] = a->uffd;
	fds[1] = a->staging_uffd;
	r = send_message(a->sock, FLP_ATTACH, &attach, sizeof(attach), fds, 2);
	if (!r)
		r = receive_message(a->sock, FLP_ATTACHED, &attached, sizeof(attached), fds, 3);
	if (r)
		return r;
	a->pool = fds[1];
	a->kick = fds[2];
	return map_memory(a, fds[0], attached.memory_size);
}

static long register_staging(struct agent *a)
{
	uint64_t len = (uint64_t)FLS_SLOTS * FLS_SLOT_PAGES * FLS_PAGE;
	struct uffdio_register r = {
		.range = { .start = (uint64_t)(uintptr_t)a->s1, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	long e = sys_ioctl(a->uffd, UFFDIO_REGISTER, &r);

	if (e)
		return e;
	r.range.start = (uint64_t)(uintptr_t)a->s2;
	return sys_ioctl(a->staging_uffd, UFFDIO_REGISTER, &r);
}

/* ---- giving up what it does not need ---- */

static void drop_capabilities(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	memset(d, 0, sizeof(d));
	sys2(SYS_capset, &h, d);
}

static void filter_calls(void)
{
#if defined(__x86_64__)
	const uint32_t arch = AUDIT_ARCH_X86_64;
#else
	const uint32_t arch = AUDIT_ARCH_AARCH64;
#endif
	static const uint16_t allowed[] = {
		SYS_ioctl, SYS_futex, SYS_pread64, SYS_pwrite64, SYS_write, SYS_madvise, SYS_nanosleep,
		SYS_clock_gettime, SYS_sched_setaffinity, SYS_recvfrom, SYS_close, SYS_exit,
		SYS_restart_syscall,
	};
	enum { N = sizeof(allowed) / sizeof(allowed[0]) };
	struct sock_filter f[N + 6];
	struct sock_fprog prog = { .len = N + 6, .filter = f };
	unsigned int i = 0;

	f[i++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	f[i++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 1, 0);
	f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	f[i++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned int k = 0; k < N; k++)
		f[i++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[k],
						      (uint8_t)(N - k), 0);
	f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	sys5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

/* ---- the start ---- */

/* A program that stays small or ends at once is left alone. */
static void wait_until_worth_it(struct agent *a, const struct agent_config *c)
{
	uint64_t start = sys_now_us(), pause = START_LOOKS_US;

	if (c->now)
		return;
	while (rss_anon(a) < START_BYTES && sys_now_us() - start < START_US) {
		fork_advance(a);
		sys_futex_wait(&agent_shared.fork, agent_shared.fork, 1, pause);
		pause = pause < START_PAUSE_US ? pause * 2 : pause;
	}
}

static long attach(struct agent *a, const struct agent_config *c)
{
	uint64_t len = (uint64_t)FLS_SLOTS * FLS_SLOT_PAGES * FLS_PAGE;
	long r = open_proc(a);

	if (r)
		return r;
	wait_until_worth_it(a, c);
	r = connect_daemon(a, c);
	if (r)
		return r;
	a->s1 = guarded(a, len, MADV_NOHUGEPAGE);
	a->s2 = guarded(a, len, MADV_NOHUGEPAGE);
	if (!a->s1 || !a->s2)
		return -ENOMEM;
	r = handshake(a, c);
	if (r)
		return r;
	r = register_staging(a);
	if (r)
		return r;
	filter_calls();
	return 0;
}

static int agent_main(void *arg)
{
	struct agent *a = arg;
	struct agent_shared *sh = &agent_shared;
	struct slice_attr attr = SLICE_ATTR;
	long r;

	sys3(SYS_close_range, 0, ~0U, 2 /* CLOSE_RANGE_UNSHARE */);
	drop_capabilities();
	attr.nice = (int32_t)(20 - sys2(SYS_getpriority, 0, 0));
	sys3(SYS_sched_setattr, 0, &attr, 0);
	sys5(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0);
	sys3(SYS_sched_getaffinity, 0, sizeof(a->cpus), a->cpus);
	r = attach(a, &sh->config);
	if (!r) {
		a->library = sh->config.library;
		a->min_size = 256u << 10;
		a->cpu_now = UINT32_MAX;
		sh->bell = &a->mem->cmd_bell;
		__atomic_store_n(&sh->life, AGENT_ATTACHED, __ATOMIC_SEQ_CST);
		sys_futex_wake(&sh->life, INT32_MAX, 1);
		sample(a, true);
		serve(a);
	}
	sh->result = (int32_t)r;
	__atomic_store_n(&sh->life, AGENT_FAILED, __ATOMIC_SEQ_CST);
	sys_futex_wake(&sh->life, INT32_MAX, 1);
	give_up_on_forks(0);
	return 0;
}

/*
 * The control block of the main thread and the static thread-local memory around it: the kernel writes
 * there when a thread ends, without a fault (robust list, clear_child_tid).
 */
static void know_main_thread(struct agent *a)
{
	uint64_t tp = (uint64_t)(uintptr_t)pthread_self();

	a->own[a->n_own].start = (tp - (128u << 10)) & ~(uint64_t)(FLS_PAGE - 1);
	a->own[a->n_own++].end = (tp + 3 * FLS_PAGE) & ~(uint64_t)(FLS_PAGE - 1);
}

static struct agent *make_agent(void)
{
	struct agent *a;
	uint64_t len = (sizeof(*a) + FLS_PAGE - 1) & ~(uint64_t)(FLS_PAGE - 1);
	/* Shared, and so nothing to be adopted: a process may have two agents (the preload library's and
	 * libfaultline's), and neither may ever wait for a page that the other took out. */
	uint8_t *p = sys_mmap(0, len + 2 * GUARD, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1);

	if (sys_failed(p))
		return NULL;
	if (sys3(SYS_mprotect, p + GUARD, len, PROT_READ | PROT_WRITE)) {
		sys2(SYS_munmap, p, len + 2 * GUARD);
		return NULL;
	}
	sys_madvise(p, len + 2 * GUARD, MADV_DONTFORK);
	a = (struct agent *)(void *)(p + GUARD);
	a->own[a->n_own].start = (uint64_t)(uintptr_t)p;
	a->own[a->n_own++].end = (uint64_t)(uintptr_t)p + len + 2 * GUARD;
	a->own[a->n_own].start = (uint64_t)(uintptr_t)&agent_shared & ~(uint64_t)(FLS_PAGE - 1);
	a->own[a->n_own++].end = ((uint64_t)(uintptr_t)(&agent_shared + 1) + FLS_PAGE - 1) &
				 ~(uint64_t)(FLS_PAGE - 1);
	know_main_thread(a);
	a->sock = a->uffd = a->staging_uffd = a->kick = a->pool = -1;
	a->pagemap = a->maps = a->statm = -1;
	return a;
}

/* A thread pointer of its own: what the compiler reads there (a stack canary) is in tls. */
static void *thread_pointer(struct agent *a)
{
	uint64_t *tp = (uint64_t *)(void *)(a->tls + AGENT_TLS / 2);

	tp[0] = (uint64_t)(uintptr_t)tp;
	tp[2] = (uint64_t)(uintptr_t)tp;
	return tp;
}

int agent_start(const struct agent_config *c)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t off = AGENT_OFF;
	struct agent *a;
	sigset_t all, old;
	int tid;

	if (!__atomic_compare_exchange_n(&sh->life, &off, AGENT_STARTING, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return -EALREADY;
	a = make_agent();
	if (!a) {
		sh->life = AGENT_OFF;
		return -ENOMEM;
	}
	sh->config = *c;
	agent_self = a;
	LZ4_initStream(a->lz4, sizeof(a->lz4));

	sigfillset(&all);
	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	tid = clone(agent_main, a->stack + AGENT_STACK,
		    CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_SYSVSEM | CLONE_FILES |
		    CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
		    a, &sh->tid, thread_pointer(a), &sh->tid);
	sys4(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
	if (tid < 0) {
		sh->life = AGENT_OFF;
		return -EAGAIN;
	}
	return 0;
}

/* ---- what the program's threads call ---- */

static void ring(void)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t *bell = __atomic_load_n(&sh->bell, __ATOMIC_ACQUIRE);

	if (__atomic_load_n(&sh->life, __ATOMIC_ACQUIRE) != AGENT_ATTACHED || !bell)
		return;
	__atomic_fetch_add(bell, 1, __ATOMIC_SEQ_CST);
	sys_futex_wake(bell, 1, 0);
}

bool agent_running(void)
{
	uint32_t life = __atomic_load_n(&agent_shared.life, __ATOMIC_ACQUIRE);

	return life == AGENT_STARTING || life == AGENT_ATTACHED || life == AGENT_LOST;
}

int agent_wait(int timeout_ms)
{
	struct agent_shared *sh = &agent_shared;
	uint64_t end = sys_now_us() + (uint64_t)timeout_ms * 1000;

	for (;;) {
		uint32_t life = __atomic_load_n(&sh->life, __ATOMIC_ACQUIRE);

		if (life == AGENT_ATTACHED)
			return 0;
		if (life == AGENT_FAILED)
			return sh->result ? sh->result : -EIO;
		if (life != AGENT_STARTING)
			return -ENOTCONN;
		if (timeout_ms >= 0 && sys_now_us() >= end)
			return -ETIMEDOUT;
		sys_futex_wait(&sh->life, life, 1, timeout_ms < 0 ? 1000000 : end - sys_now_us());
	}
}

void agent_hint(uint64_t bytes)
{
	if (__atomic_load_n(&agent_shared.life, __ATOMIC_RELAXED) != AGENT_ATTACHED)
		return;
	__atomic_fetch_add(&agent_shared.hint_bytes, bytes, __ATOMIC_RELAXED);
	ring();
}

static int request(uint32_t kind, uint64_t addr, uint64_t len)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t free, state;
	int result;

	for (;;) {
		free = 0;
		if (__atomic_compare_exchange_n(&sh->request_lock, &free, 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			break;
		sys_futex_wait(&sh->request_lock, 1, 1, 10000);
	}
	if (__atomic_load_n(&sh->life, __ATOMIC_SEQ_CST) != AGENT_ATTACHED) {
		result = -ENOTCONN;
		goto out;
	}
	sh->request_kind = kind;
	sh->request_addr = addr;
	sh->request_len = len;
	__atomic_store_n(&sh->request, REQ_POSTED, __ATOMIC_SEQ_CST);
	ring();
	while ((state = __atomic_load_n(&sh->request, __ATOMIC_SEQ_CST)) != REQ_DONE) {
		if (__atomic_load_n(&sh->life, __ATOMIC_SEQ_CST) == AGENT_LOST)
			break;
		sys_futex_wait(&sh->request, state, 1, 1000000);
	}
	result = state == REQ_DONE ? sh->request_result : -ENOTCONN;
	__atomic_store_n(&sh->request, REQ_NONE, __ATOMIC_SEQ_CST);
out:
	__atomic_store_n(&sh->request_lock, 0, __ATOMIC_SEQ_CST);
	sys_futex_wake(&sh->request_lock, 1, 1);
	return result;
}

int agent_adopt(uint64_t addr, uint64_t len)
{
	return request(1, addr, len);
}

int agent_release(uint64_t addr, uint64_t len)
{
	return request(2, addr, len);
}

void agent_stack_begin(void)
{
	struct agent_shared *sh = &agent_shared;

	__atomic_fetch_add(&sh->creating, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&sh->scanning, __ATOMIC_SEQ_CST))
		sys_futex_wait(&sh->scanning, 1, 1, 10000);
}

void agent_stack_end(void)
{
	__atomic_fetch_sub(&agent_shared.creating, 1, __ATOMIC_SEQ_CST);
}

void agent_stack_add(uint64_t start, uint64_t end)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t n = __atomic_load_n(&sh->n_stacks, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n && i < AGENT_STACKS; i++)
		if (sh->stack[i].start == start && sh->stack[i].end == end)
			return;
	n = __atomic_load_n(&sh->n_stacks, __ATOMIC_RELAXED);
	for (;;) {
		if (n >= AGENT_STACKS) {
			sh->stacks_full = 1;
			return;
		}
		/* n_stacks is read after a thread's creation has ended (creating), so that an entry
		 * that is counted but not written yet is never looked at. */
		if (__atomic_compare_exchange_n(&sh->n_stacks, &n, n + 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			break;
	}
	sh->stack[n].end = end;
	__atomic_store_n(&sh->stack[n].start, start, __ATOMIC_RELEASE);
}

void agent_stack_dead(uint64_t start)
{
	/* The C library keeps the stacks of ended threads and gives them to new ones: they stay out. */
	(void)start;
}

/*
 * Everything is resident when this returns 0, and stays so until agent_fork_parent(). When the daemon is
 * gone and something may be out: -ENOMEM, do not fork.
 */
int agent_fork_prepare(void)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t v;

	if (!agent_running())
		return 0;
	__atomic_fetch_add(&sh->fork, FORK_HOLD, __ATOMIC_SEQ_CST);
	while (((v = __atomic_load_n(&sh->fork, __ATOMIC_SEQ_CST)) & FORK_STATE) != FORK_READY) {
		uint32_t life = __atomic_load_n(&sh->life, __ATOMIC_SEQ_CST);

		if (life == AGENT_FAILED)
			return 0;
		if (life == AGENT_LOST && (v & FORK_STATE) != FORK_SENT)
			return agent_self && agent_self->n_adopted ? -ENOMEM : 0;
		if ((v & FORK_STATE) == FORK_NONE) {
			fork_step(FORK_NONE, FORK_ASKED);
			ring();
			continue;
		}
		sys_futex_wait(&sh->fork, v, 1, 100000);
	}
	return sh->fork_result;
}

void agent_fork_parent(void)
{
	if (__atomic_load_n(&agent_shared.fork, __ATOMIC_SEQ_CST) < FORK_HOLD)
		return;
	__atomic_fetch_sub(&agent_shared.fork, FORK_HOLD, __ATOMIC_SEQ_CST);
	ring();
}

void agent_note_dontfork(uint64_t start, uint64_t end, bool dontfork)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t n = __atomic_load_n(&sh->n_nofork, __ATOMIC_RELAXED);

	if (dontfork && n < AGENT_NOFORK) {
		n = __atomic_fetch_add(&sh->n_nofork, 1, __ATOMIC_SEQ_CST);
		if (n < AGENT_NOFORK)
			sh->nofork[n] = (struct agent_range){ .start = start, .end = end };
		return;
	}
	for (uint32_t i = 0; !dontfork && i < n && i < AGENT_NOFORK; i++)
		if (sh->nofork[i].start >= start && sh->nofork[i].end <= end)
			sh->nofork[i].end = sh->nofork[i].start;
}

/* The child has no agent and no userfaultfd; everything it inherited is resident. It starts anew. */
void agent_fork_child(void)
{
	struct agent_shared *sh = &agent_shared;
	struct agent_config c = sh->config;
	bool started = sh->life != AGENT_OFF && sh->life != AGENT_FAILED;

	sh->life = AGENT_OFF;
	sh->tid = 0;
	sh->bell = NULL;
	sh->fork = FORK_NONE;
	sh->creating = 0;
	sh->scanning = 0;
	sh->request = REQ_NONE;
	sh->request_lock = 0;
	agent_self = NULL;
	if (started && !c.library)
		agent_start(&c);
}

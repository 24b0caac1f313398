/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * agent-adopt.c - which of the program's memory becomes managed, and what of it is there already.
 *
 * Runs on the agent's thread. An area is adopted when it is private anonymous memory, readable and
 * writable and nothing else, big enough, and none of: the agent's own, a thread's stack with its
 * control block, named by the kernel for a purpose of its own ([stack], [vvar]). What the kernel
 * refuses to register (another userfaultfd has it) stays as it is.
 *
 * Order. ADOPTING is published under the lock, before REGISTER: so every event and every fault of a
 * range is read after the daemon can know the range. What is present is looked at after that, and
 * reported with the epoch from before the registration: a report that an event has overtaken is
 * recognised by it, and the daemon asks again.
 */
#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/gate.h"
#include "common/procmap-abi.h"
#include "common/uffd-abi.h"
#include "libclient/agent-internal.h"
#include "libclient/agent-sys.h"

/* 1: already registered with our userfaultfd; 0: not; -EAGAIN: an event is on its way. */
static int is_registered(struct agent *a, uint64_t va)
{
	struct uffdio_continue c = { .range = { .start = va, .len = FLS_PAGE } };
	long r = sys_ioctl(a->uffd, UFFDIO_CONTINUE, &c);

	return r == -ENOENT ? 0 : r == -EAGAIN ? -EAGAIN : 1;
}

static long register_range(struct agent *a, uint64_t start, uint64_t end)
{
	struct uffdio_register r = {
		.range = { .start = start, .len = end - start },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return sys_ioctl(a->uffd, UFFDIO_REGISTER, &r);
}

/* Report what of the range is there, found after epoch. */
void agent_scan(struct agent *a, uint64_t start, uint64_t end, uint64_t epoch)
{
	struct page_region *found = (struct page_region *)(void *)a->regions;
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .vec = (uint64_t)(uintptr_t)found, .vec_len = AGENT_MAPS,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	for (uint64_t at = start; at < end;) {
		long n;

		arg.start = at;
		arg.end = end;
		arg.walk_end = 0;
		n = sys_ioctl(a->pagemap, PAGEMAP_SCAN, &arg);
		GATE(GATE_AGENT_PRESENT_SEEN);
		if (n < 0)
			break;
		for (long i = 0; i < n; i++)
			agent_report(a, FLS_RP_PRESENT, 0, found[i].start,
				     found[i].end - found[i].start, epoch);
		if (arg.walk_end <= at)
			break;
		at = arg.walk_end;
	}
	agent_report(a, FLS_RP_SCANNED, 0, start, end - start, epoch);
}

int agent_adopt_range(struct agent *a, uint64_t start, uint64_t end)
{
	uint64_t epoch;
	long r;

	/* A fork is under way: its child would have the area without a userfaultfd. */
	if (__atomic_load_n(&agent_shared.fork, __ATOMIC_SEQ_CST) & FORK_STATE)
		return -EAGAIN;
	if (!agent_lock(a))
		return -EAGAIN;
	epoch = a->mem->epoch;
	agent_report(a, FLS_RP_ADOPTING, 0, start, end - start, epoch);
	GATE(GATE_AGENT_ADOPT_PUBLISHED);
	r = register_range(a, start, end);
	agent_unlock(a);
	if (r) {
		agent_report(a, FLS_RP_ADOPT_FAILED, 0, start, end - start, (uint64_t)-r);
		return (int)r;
	}
	a->n_adopted++;
	GATE(GATE_AGENT_ADOPT_REGISTERED);
	agent_scan(a, start, end, epoch);
	return 0;
}

/* The first forbidden range that overlaps [start, end), lowest first. */
static bool first_forbidden(struct agent *a, uint64_t start, uint64_t end, struct agent_range *ret)
{
	struct agent_shared *sh = &agent_shared;
	uint32_t n = __atomic_load_n(&sh->n_stacks, __ATOMIC_ACQUIRE);
	bool found = false;

	for (uint32_t i = 0; i < a->n_own + n; i++) {
		struct agent_range r = i < a->n_own ? a->own[i] : sh->stack[i - a->n_own];

		if (r.start >= end || r.end <= start || (found && r.start >= ret->start))
			continue;
		*ret = r;
		found = true;
	}
	return found;
}

static void adopt_part(struct agent *a, uint64_t start, uint64_t end)
{
	int r;

	if (end - start < a->min_size)
		return;
	r = is_registered(a, start);
	if (!r)
		r = agent_adopt_range(a, start, end);
	if (r == -EAGAIN)
		a->want_adopt = true;
}

/* What of an area is left between stacks and the like. */
static void adopt_area(struct agent *a, uint64_t start, uint64_t end)
{
	struct agent_range bad = { 0, 0 };

	while (end - start >= a->min_size && first_forbidden(a, start, end, &bad)) {
		if (bad.start > start)
			adopt_part(a, start, bad.start);
		if (bad.end >= end)
			return;
		start = bad.end;
	}
	adopt_part(a, start, end);
}

static bool worth_it(const struct agent *a, const struct procmap_query *q)
{
	const char *name = (const char *)a->text;

	if (q->inode || q->dev_major || q->dev_minor || q->vma_end - q->vma_start < a->min_size)
		return false;
	if (q->vma_flags != (PROCMAP_QUERY_VMA_READABLE | PROCMAP_QUERY_VMA_WRITABLE) ||
	    q->vma_page_size != FLS_PAGE)
		return false;
	return !q->vma_name_size || !memcmp(name, "[heap]", 7) || !memcmp(name, "[anon:", 6);
}

void agent_adopt_areas(struct agent *a)
{
	struct agent_shared *sh = &agent_shared;
	struct procmap_query q;
	uint64_t at = 0;

	a->want_adopt = false;
	__atomic_store_n(&sh->scanning, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&sh->creating, __ATOMIC_SEQ_CST) || sh->stacks_full) {
		a->want_adopt = !sh->stacks_full;
		goto done;
	}
	for (;;) {
		memset(&q, 0, sizeof(q));
		q.size = sizeof(q);
		q.query_addr = at;
		q.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA | PROCMAP_QUERY_VMA_READABLE |
				PROCMAP_QUERY_VMA_WRITABLE;
		q.vma_name_size = sizeof(a->text);
		q.vma_name_addr = (uint64_t)(uintptr_t)a->text;
		if (sys_ioctl(a->maps, PROCMAP_QUERY, &q))
			break;
		if (worth_it(a, &q))
			adopt_area(a, q.vma_start, q.vma_end);
		at = q.vma_end;
	}
done:
	__atomic_store_n(&sh->scanning, 0, __ATOMIC_SEQ_CST);
	sys_futex_wake(&sh->scanning, INT32_MAX, 1);
	if (!a->want_adopt)
		agent_report(a, FLS_RP_ADOPT_END, 0, 0, 0, 0);
}

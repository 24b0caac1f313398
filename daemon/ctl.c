/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl.c - see ctl.h. Nothing here waits for the client, and whatever it reads of its memory is read
 * once.
 */
#include <config.h>

#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/gate.h"
#include "daemon/ctl.h"
#include "daemon/session.h"

static void wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

bool ctl_trylock(struct session *s)
{
	uint32_t *word = &s->mem->lock;
	uint32_t v = __atomic_load_n(word, __ATOMIC_RELAXED);

	/* Bounded: a hostile client could change the word for ever. */
	for (int tries = 0; tries < 64; tries++) {
		bool taken = v & FLS_LOCK_OWNER;
		uint32_t want = taken ? v | FLS_LOCK_KICK : v | FLS_LOCK_DAEMON;

		if (taken && (v & FLS_LOCK_KICK))
			return false;
		if (__atomic_compare_exchange_n(word, &v, want, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) {
			if (!taken)
				return true;
			return false;
		}
	}
	return false;
}

void ctl_unlock(struct session *s)
{
	uint32_t old = __atomic_fetch_and(&s->mem->lock, FLS_LOCK_GEN, __ATOMIC_RELEASE);

	if (old & FLS_LOCK_SLEEP)
		wake(&s->mem->lock);
}

static bool touches(const struct slot *slot, uint64_t start, uint64_t end)
{
	if (slot->end <= start || slot->start >= end)
		return false;
	for (uint32_t i = 0; i < slot->n; i++)
		if ((slot->left >> i & 1) && slot->page[i].va < end &&
		    slot->page[i].va + FLS_PAGE > start)
			return true;
	return false;
}

void ctl_raise_epoch(struct session *s, uint64_t start, uint64_t end)
{
	struct reclaim *r = &s->reclaim;
	uint64_t epoch = ++r->epoch;

	r->past[epoch % RECLAIM_PAST].epoch = epoch;
	r->past[epoch % RECLAIM_PAST].start = start;
	r->past[epoch % RECLAIM_PAST].end = end;
	for (unsigned int i = 0; RULE(RULE_RESTAMP) && i < FLS_SLOTS; i++)
		if (r->slot[i].state != SLOT_FREE && r->slot[i].epoch == epoch - 1 &&
		    !touches(&r->slot[i], start, end)) {
			r->slot[i].epoch = epoch;
			__atomic_store_n(&s->mem->slots[i].epoch, epoch, __ATOMIC_RELAXED);
		}
	__atomic_store_n(&s->mem->epoch, epoch, __ATOMIC_RELAXED);
}

bool ctl_overtaken(const struct session *s, uint64_t epoch, uint64_t start, uint64_t end)
{
	const struct reclaim *r = &s->reclaim;

	if (epoch > r->epoch || r->epoch - epoch >= RECLAIM_PAST)
		return true;
	for (uint64_t e = epoch + 1; e <= r->epoch; e++)
		if (r->past[e % RECLAIM_PAST].start < end && r->past[e % RECLAIM_PAST].end > start)
			return true;
	return false;
}

bool ctl_command(struct session *s, enum fls_op op, uint32_t slot, uint64_t a, uint64_t b, uint64_t c)
{
	struct fls_memory *m = s->mem;
	uint32_t tail = s->reclaim.cmd_tail;

	if (tail - __atomic_load_n(&m->cmd_head, __ATOMIC_ACQUIRE) >= FLS_CMDS)
		return false;
	m->cmds[tail % FLS_CMDS] = (struct fls_cmd){ .op = op, .slot = slot, .a = a, .b = b, .c = c };
	s->reclaim.cmd_tail = tail + 1;
	__atomic_store_n(&m->cmd_tail, tail + 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&m->cmd_bell, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&m->agent_asleep, __ATOMIC_SEQ_CST))
		wake(&m->cmd_bell);
	return true;
}

bool ctl_has_report(const struct session *s)
{
	return s->reclaim.rep_head != __atomic_load_n(&s->mem->rep_tail, __ATOMIC_ACQUIRE);
}

bool ctl_report(struct session *s, struct fls_report *ret)
{
	struct fls_memory *m = s->mem;
	uint32_t head = s->reclaim.rep_head;

	if (!ctl_has_report(s))
		return false;
	*ret = m->reports[head % FLS_REPORTS];
	s->reclaim.rep_head = head + 1;
	__atomic_store_n(&m->rep_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

void ctl_arm_kick(struct session *s)
{
	__atomic_store_n(&s->mem->daemon_asleep, 1, __ATOMIC_SEQ_CST);
}

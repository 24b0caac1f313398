/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl.h - the daemon's side of the memory that it shares with an agent: lock, epoch, rings.
 *
 * faultline-shared.h has the layout and the rules. The lock is only ever tried; all but ctl_command()
 * is for the session's home worker.
 */
#ifndef FAULTLINE_DAEMON_CTL_H
#define FAULTLINE_DAEMON_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "include/faultline-shared.h"

struct session;

/* False: the agent has it, and will kick when it lets go. */
bool ctl_trylock(struct session *s);
void ctl_unlock(struct session *s);

/* Raise the epoch, and stamp anew each slot under way that [start, end) does not touch. Lock held. */
void ctl_raise_epoch(struct session *s, uint64_t start, uint64_t end);
/* Has an event of a later epoch touched [start, end)? True as well when that is not known any more. */
bool ctl_overtaken(const struct session *s, uint64_t epoch, uint64_t start, uint64_t end);

/* Post a command to the agent and ring; false: the ring is full. s->lock held. */
bool ctl_command(struct session *s, enum fls_op op, uint32_t slot, uint64_t a, uint64_t b, uint64_t c);
/* The next report, copied; false: none. */
bool ctl_report(struct session *s, struct fls_report *ret);
bool ctl_has_report(const struct session *s);
/* From now on the agent kicks when it reports. */
void ctl_arm_kick(struct session *s);

#endif

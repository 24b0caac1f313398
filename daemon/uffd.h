/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uffd.h - the only place of the daemon that issues userfaultfd ioctls.
 *
 * Thin, no policy: each call is one ioctl and says in one line what its errors mean. All may block
 * on the client's mmap lock, so only that client's home worker makes them.
 */
#ifndef FAULTLINE_DAEMON_UFFD_H
#define FAULTLINE_DAEMON_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/uffd-abi.h"

/* What a session's userfaultfd must have, and its staging one. */
#define UFFD_FEATURES_NEEDED	(UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
				 UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_THREAD_ID | \
				 UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE)
#define UFFD_FEATURES_STAGING	UFFD_FEATURE_MOVE

int  uffd_open_device(void);			/* /dev/userfaultfd; -errno */
int  uffd_new(int device);			/* one of this process; -errno */
bool uffd_is(int fd);				/* is it a userfaultfd at all? */
int  uffd_api(int fd, uint64_t features);	/* 0, -EINVAL (done before, or not had), -EPERM */
/* The features of this kernel: 0 and *ret, or -errno with nothing known. */
int  uffd_probe(int device, uint64_t *ret);

/*
 * Events, as many as fit: bytes, or -errno; -EAGAIN: none. Never waits, also when the client, whose
 * file it is too, has switched O_NONBLOCK off behind our back; before Linux 6.10 that is -EPERM, as far
 * as it can be seen.
 */
ssize_t uffd_read(int fd, struct uffd_msg *msg, unsigned int n);

/*
 * Install n pages; ret_done: how many were. 0: all. -EEXIST: the first is there (nobody was woken).
 * -EAGAIN: an event is on its way, or after some pages one was there. -ENOENT: not registered.
 * -ESRCH: the client is gone. -ENOMEM: its cgroup is full.
 */
int  uffd_copy(int fd, uint64_t va, const void *src, unsigned int n, bool wake, unsigned int *ret_done);
int  uffd_zero(int fd, uint64_t va, unsigned int n, bool wake, unsigned int *ret_done);
int  uffd_wake(int fd, uint64_t va, uint64_t len);
int  uffd_poison(int fd, uint64_t va, unsigned int n);
/* Without a side effect on private memory: -EINVAL registered and quiet, -ENOENT not registered,
 * -EAGAIN an event is pending, -ESRCH. */
int  uffd_look(int fd, uint64_t va);

#endif

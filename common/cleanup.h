/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cleanup.h - locals that are released when they go out of scope.
 *
 * A function that can fail puts what it builds into such a local, and hands it out with
 * steal_ptr() or steal_fd() once nothing can fail any more. So every exit goes through the
 * destructor. The helpers keep errno: an error path may still look at it.
 */
#ifndef FAULTLINE_COMMON_CLEANUP_H
#define FAULTLINE_COMMON_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn)	__attribute__((__cleanup__(fn)))

/*
 * DEFINE_CLEANUP(struct bo *, bo_free) makes bo_freep(), for _cleanup_(bo_freep). The value
 * that compares false (NULL, 0) is the empty one: fn is not called for it.
 */
#define DEFINE_CLEANUP(type, fn)						\
	static inline void fn##p(type *cleanup_p)				\
	{									\
		int cleanup_errno = errno;					\
										\
		if (*cleanup_p)							\
			fn(*cleanup_p);						\
		errno = cleanup_errno;						\
	}									\
	struct cleanup_needs_semicolon

static inline void close_fdp(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void free_ptrp(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

#define _cleanup_close_	_cleanup_(close_fdp)	/* int fd; -1: none */
#define _cleanup_free_	_cleanup_(free_ptrp)	/* any pointer from malloc; NULL is fine */

/* The value of a pointer variable, which becomes NULL: ownership moves to the caller. */
#define steal_ptr(pp) ({							\
	__typeof__(pp) steal_pp_ = (pp);					\
	__typeof__(*steal_pp_) steal_v_ = *steal_pp_;				\
	*steal_pp_ = NULL;							\
	steal_v_;								\
})

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* Close what is open and forget it; in destructors that may run twice. */
static inline void close_fd(int *fd)
{
	close_fdp(fd);
	*fd = -1;
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * align.h - arithmetic that must not go wrong: rounding, bounds, checked sums.
 *
 * Rounding up wraps at the top of the address space like any unsigned sum: a value that a
 * peer gave is checked with add_checked() first. The checked operations are true when the
 * result is right, and leave *ret alone otherwise.
 */
#ifndef FAULTLINE_COMMON_ALIGN_H
#define FAULTLINE_COMMON_ALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FL_PAGE_SHIFT	12
#define FL_PAGE_SIZE	(UINT64_C(1) << FL_PAGE_SHIFT)
#define FL_PAGE_MASK	(FL_PAGE_SIZE - 1)

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]) +				\
	0 * sizeof(struct { _Static_assert(!__builtin_types_compatible_p(	\
		__typeof__(a), __typeof__(&(a)[0])), "not an array"); int x_; }))

#define container_of(ptr, type, member) ({					\
	const __typeof__(((type *)0)->member) *container_m_ = (ptr);		\
	(type *)((uintptr_t)container_m_ - offsetof(type, member));		\
})

#define MIN_MAX_(a, b, op, id) ({						\
	__typeof__(a) a_##id = (a);						\
	__typeof__(b) b_##id = (b);						\
	a_##id op b_##id ? a_##id : b_##id;					\
})
#define MIN_MAX_ID_(a, b, op, id)	MIN_MAX_(a, b, op, id)
/* Each argument is evaluated once. Both should be of one type. */
#define min(a, b)	MIN_MAX_ID_(a, b, <, __COUNTER__)
#define max(a, b)	MIN_MAX_ID_(a, b, >, __COUNTER__)

static inline bool is_power_of_two(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* to: a power of two */
static inline uint64_t round_down_to(uint64_t x, uint64_t to)
{
	return x & ~(to - 1);
}

static inline uint64_t round_up_to(uint64_t x, uint64_t to)
{
	return (x + to - 1) & ~(to - 1);
}

static inline bool is_aligned(uint64_t x, uint64_t to)
{
	return !(x & (to - 1));
}

static inline uint64_t page_down(uint64_t x)
{
	return round_down_to(x, FL_PAGE_SIZE);
}

static inline uint64_t page_up(uint64_t x)
{
	return round_up_to(x, FL_PAGE_SIZE);
}

static inline bool page_aligned(uint64_t x)
{
	return is_aligned(x, FL_PAGE_SIZE);
}

static inline bool add_checked(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t v;

	if (__builtin_add_overflow(a, b, &v))
		return false;
	*ret = v;
	return true;
}

static inline bool mul_checked(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t v;

	if (__builtin_mul_overflow(a, b, &v))
		return false;
	*ret = v;
	return true;
}

/* Is [addr, addr + len) made of whole pages, at least one, and inside of the address space? */
static inline bool page_range_ok(uint64_t addr, uint64_t len)
{
	uint64_t end;

	return len && page_aligned(addr) && page_aligned(len) && add_checked(addr, len, &end);
}

#endif

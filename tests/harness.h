/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * harness.h - what a test program is written with: CUnit underneath, TAP out.
 *
 * A test program has explicit tables and one HARNESS_MAIN:
 *
 *	static void a_size_with_a_sign_is_refused(void)
 *	{
 *		uint64_t n;
 *
 *		t_fails(size_parse("-1", &n), EINVAL);
 *	}
 *
 *	static const struct t_test tests[] = {
 *		T(a_size_with_a_sign_is_refused),
 *		T_TIMEOUT(a_slow_one, 120),
 *		{0}
 *	};
 *
 *	static const struct t_suite suites[] = { { "size", tests }, {0} };
 *
 *	HARNESS_MAIN(suites)
 *
 * Each test runs in a process and a process group of its own. It fails when an assertion fails
 * (ours, or one of CUnit's), when it crashes or exits, when its time is up, when it leaves a
 * descriptor open, and when it leaves a process behind. Whatever it started is killed, what it
 * registered with t_cleanup() is done, also when it dies.
 *
 *	test-size [--list] [--no-fork] [PATTERN...]	only tests whose suite/name matches
 *	FAULTLINE_TEST_SEED=N		what t_seed() returns
 *	FAULTLINE_TEST_TIMEOUT=F	all times are multiplied by F (0: no time-outs)
 *
 * A program below tests/functional/ takes a lock for as long as it runs: functional tests run
 * one after the other, whatever make does.
 */
#ifndef FAULTLINE_TESTS_HARNESS_H
#define FAULTLINE_TESTS_HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <CUnit/CUnit.h>

#ifdef NDEBUG
#error "tests assert: build them without NDEBUG"
#endif

struct t_test {
	const char *name;
	void (*fn)(void);
	unsigned int timeout_s;		/* 0: 30 seconds */
};

struct t_suite {
	const char *name;
	const struct t_test *tests;	/* up to one without a name */
};

#define T(name_)		{ .name = #name_, .fn = name_ }
#define T_TIMEOUT(name_, s_)	{ .name = #name_, .fn = name_, .timeout_s = (s_) }

#define HARNESS_MAIN(suites_)						\
	int main(int argc, char **argv)					\
	{								\
		return harness_main(argc, argv, (suites_));		\
	}

int harness_main(int argc, char **argv, const struct t_suite *suites);

/*
 * Assertions. The first that fails ends the test: it says what was expected and what was there.
 * In another thread than the test's own it ends the test's process.
 */

/* x is true. */
#define t_assert(x)							\
	do {								\
		if (!(x))						\
			t_fail("%s", #x);				\
	} while (0)

/* Integers and pointers; both are taken as intmax_t. */
#define t_eq(a, b)	T_COMPARE_(a, ==, b)
#define t_ne(a, b)	T_COMPARE_(a, !=, b)
#define t_lt(a, b)	T_COMPARE_(a, <, b)
#define t_le(a, b)	T_COMPARE_(a, <=, b)
#define t_gt(a, b)	T_COMPARE_(a, >, b)
#define t_ge(a, b)	T_COMPARE_(a, >=, b)

/* r is 0 or positive, our functions' success; its value is the expression's. */
#define t_ok(r)								\
	({								\
		__auto_type t_r_ = (r);					\
		if ((intmax_t)t_r_ < 0)					\
			t_fail_error_(__FILE__, __LINE__, #r, -(intmax_t)t_r_); \
		t_r_;							\
	})

/* The same for a system call, which says -1 and errno. */
#define t_sys(r)							\
	({								\
		__auto_type t_r_ = (r);					\
		if ((intmax_t)t_r_ == -1)				\
			t_fail_error_(__FILE__, __LINE__, #r, errno);	\
		t_r_;							\
	})

/* r is -error: t_fails(size_parse("x", &n), EINVAL). */
#define t_fails(r, error)						\
	do {								\
		intmax_t t_r_ = (intmax_t)(r);				\
		if (t_r_ != -(error))					\
			t_fail_expected_(__FILE__, __LINE__, #r, t_r_, -(error)); \
	} while (0)

#define t_streq(a, b)	t_streq_(__FILE__, __LINE__, #a, #b, (a), (b))
#define t_memeq(a, b, len)	t_memeq_(__FILE__, __LINE__, #a, #b, (a), (b), (len))

/* Wait, looking every millisecond, until x is true; fail after s seconds. For what another
 * process does and tells nobody. */
#define t_until_s(x, s)							\
	do {								\
		uint64_t t_end_ = t_deadline_(s);			\
		while (!(x))						\
			if (!t_pause_(t_end_))				\
				t_fail("%s: not within %d seconds", #x, (int)(s)); \
	} while (0)
#define t_until(x)	t_until_s(x, 10)

/* Fail in so many words. */
#define t_fail(...)	t_fail_(__FILE__, __LINE__, __VA_ARGS__)

/* This machine cannot run the test: say what it lacks. Skips are counted, see scripts/check-skips. */
#define t_skip(...)	t_skip_(__VA_ARGS__)

/* A line for the reader of the log. */
void t_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A new empty directory, removed with all that is in it when the test has ended. The string
 * lives as long as the test. */
const char *t_tmpdir(void);

/* One seed a test, printed when it is first asked for, and numbers that follow from it. */
uint64_t t_seed(void);
uint64_t t_random(void);
uint64_t t_random_below(uint64_t bound);

/*
 * Have fn(arg) called when the test has ended, however it ended; the last registered first. arg
 * is copied (at most T_CLEANUP_ARG - 1 bytes). When the test died it is called in another
 * process, with all processes of the test gone: fn may use nothing but arg and what outlives the
 * test (files, cgroups).
 */
#define T_CLEANUP_ARG	240
void t_cleanup(void (*fn)(const char *arg), const char *arg);

/* All times of this run are multiplied by this: sanitizers and valgrind are slow. */
double t_time_scale(void);

/* How the macros do it. */
#define T_COMPARE_(a, op, b)						\
	do {								\
		intmax_t t_a_ = (intmax_t)(a), t_b_ = (intmax_t)(b);	\
		if (!(t_a_ op t_b_))					\
			t_fail_compare_(__FILE__, __LINE__, #a " " #op " " #b, t_a_, t_b_); \
	} while (0)

_Noreturn void t_fail_(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void t_fail_compare_(const char *file, int line, const char *what, intmax_t a, intmax_t b);
_Noreturn void t_fail_error_(const char *file, int line, const char *what, intmax_t error);
_Noreturn void t_fail_expected_(const char *file, int line, const char *what,
				intmax_t result, intmax_t expected);
_Noreturn void t_skip_(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void t_streq_(const char *file, int line, const char *a_what, const char *b_what,
	      const char *a, const char *b);
void t_memeq_(const char *file, int line, const char *a_what, const char *b_what,
	      const void *a, const void *b, size_t len);
uint64_t t_deadline_(double seconds);
bool t_pause_(uint64_t deadline);

#endif

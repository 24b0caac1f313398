/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-page.c - the state of one page: what may follow what, and what is kept in 16 bytes. */
#include <config.h>

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/page.h"
#include "tests/harness.h"

/* The rule in another form than page.c has it: one line a state, the first of it and its successors. */
static const char *const rule[PAGE_STATES] = {
	[PAGE_UNKNOWN]	= "FRE",
	[PAGE_EMPTY]	= "F",
	[PAGE_FILLING]	= "RESUP",
	[PAGE_RESIDENT]	= "LE",
	[PAGE_LEAVING]	= "SREP",
	[PAGE_STORED]	= "FE",
	[PAGE_POISONED]	= "E",
};
static const char letter[PAGE_STATES] = {
	[PAGE_UNKNOWN] = 'U', [PAGE_EMPTY] = 'E', [PAGE_FILLING] = 'F', [PAGE_RESIDENT] = 'R',
	[PAGE_LEAVING] = 'L', [PAGE_STORED] = 'S', [PAGE_POISONED] = 'P',
};

static struct page page_in(enum page_state s)
{
	struct page p = { .word = s };

	return p;
}

/* The assertion in fn(arg) must end the process. */
static bool dies(void (*fn)(const void *arg), const void *arg)
{
	int status;
	pid_t pid = t_sys(fork());

	if (!pid) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		fn(arg);
		_exit(0);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

struct step {
	enum page_state is, from, to;
	enum page_kind kind;
};

static void take_step(const void *arg)
{
	const struct step *s = arg;
	struct page p = page_in(s->is);

	p.word |= (uint64_t)s->kind << 3;
	page_set_state(&p, s->from, s->to);
}

static void a_page_of_zero_bits_is_unknown(void)
{
	struct page p;

	memset(&p, 0, sizeof(p));
	t_eq(page_state(&p), PAGE_UNKNOWN);
	t_eq(page_kind(&p), KIND_NONE);
	t_assert(!page_discarded(&p) && !page_removed(&p) && !page_cold(&p) && !page_prefetched(&p));
	t_assert(!page_in_ram(&p));
}

static void every_transition_is_legal_or_fatal(void)
{
	for (int from = 0; from < PAGE_STATES; from++) {
		for (int to = 0; to < PAGE_STATES; to++) {
			const bool expected = strchr(rule[from], letter[to]);
			const struct step step = {
				.is = from, .from = from, .to = to,
				.kind = to == PAGE_STORED ? KIND_ZERO : KIND_NONE,
			};

			if (page_state_legal(from, to) != expected)
				t_fail("%s -> %s", page_state_name(from), page_state_name(to));
			t_eq(dies(take_step, &step), !expected);
		}
	}
}

static void a_change_from_another_state_than_it_has_is_fatal(void)
{
	const struct step step = { .is = PAGE_EMPTY, .from = PAGE_UNKNOWN, .to = PAGE_FILLING };

	t_assert(dies(take_step, &step));
}

static void a_page_is_stored_only_with_a_copy(void)
{
	const struct step step = { .is = PAGE_LEAVING, .from = PAGE_LEAVING, .to = PAGE_STORED };

	t_assert(dies(take_step, &step));
}

static void a_page_with_a_copy_is_never_empty_unknown_or_poisoned(void)
{
	for (int i = 0; i < 3; i++) {
		const enum page_state to[] = { PAGE_EMPTY, PAGE_UNKNOWN, PAGE_POISONED };
		const struct step step = {
			.is = PAGE_FILLING, .from = PAGE_FILLING, .to = to[i], .kind = KIND_POOL,
		};

		t_assert(dies(take_step, &step));
	}
}

static void in_ram_is_what_is_charged(void)
{
	for (int s = 0; s < PAGE_STATES; s++) {
		struct page p = page_in(s);

		t_eq(page_in_ram(&p), s == PAGE_FILLING || s == PAGE_RESIDENT || s == PAGE_LEAVING);
	}
}

#define LOC_MAX		(((UINT64_C(1) << 36) - 1) * 8)
#define SIZE_MAX_8	(1023u * 8)

static void a_copy_is_read_back_as_it_was_set(void)
{
	static const struct {
		uint64_t loc;
		uint32_t size;
		uint8_t gen;
	} v[] = { { 0, 8, 0 }, { 8, 4128, 1 }, { LOC_MAX, SIZE_MAX_8, 255 } };

	for (unsigned int i = 0; i < 3; i++) {
		struct page p = page_in(PAGE_LEAVING);

		page_set_cold(&p, true);
		page_set_stored(&p, KIND_POOL, v[i].loc, v[i].size, UINT64_MAX - i, v[i].gen);
		t_eq(page_kind(&p), KIND_POOL);
		t_eq(page_loc(&p), v[i].loc);
		t_eq(page_size_stored(&p), v[i].size);
		t_eq(page_gen(&p), v[i].gen);
		t_assert(p.sum == UINT64_MAX - i);
		t_eq(page_state(&p), PAGE_LEAVING);
		t_assert(page_cold(&p) && !page_prefetched(&p) && !page_discarded(&p) && !page_removed(&p));
	}
}

struct copy {
	enum page_state state;
	enum page_kind had, kind;
	uint64_t loc;
	uint32_t size;
};

static void set_copy(const void *arg)
{
	const struct copy *c = arg;
	struct page p = page_in(c->state);

	p.word |= (uint64_t)c->had << 3;
	page_set_stored(&p, c->kind, c->loc, c->size, 0, 0);
}

static void a_copy_that_cannot_be_is_fatal(void)
{
	static const struct copy bad[] = {
		{ PAGE_LEAVING, KIND_NONE, KIND_POOL, 4, 64 },		/* place not a multiple of 8 */
		{ PAGE_LEAVING, KIND_NONE, KIND_POOL, 0, 65 },		/* size neither */
		{ PAGE_LEAVING, KIND_NONE, KIND_POOL, LOC_MAX + 8, 64 },
		{ PAGE_LEAVING, KIND_NONE, KIND_SWAP, 0, SIZE_MAX_8 + 8 },
		{ PAGE_LEAVING, KIND_NONE, KIND_POOL, 0, 0 },		/* a record of nothing */
		{ PAGE_LEAVING, KIND_NONE, KIND_ZERO, 0, 64 },		/* zeros take no room */
		{ PAGE_LEAVING, KIND_NONE, KIND_NONE, 0, 0 },
		{ PAGE_LEAVING, KIND_SWAP, KIND_POOL, 0, 64 },		/* the old one is still there */
		{ PAGE_EMPTY, KIND_NONE, KIND_POOL, 0, 64 },
	};
	static const struct copy good = { PAGE_LEAVING, KIND_NONE, KIND_POOL, 8, 64 };

	t_assert(!dies(set_copy, &good));
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!dies(set_copy, &bad[i]))
			t_fail("copy %u was taken", i);
}

static void dropping_a_copy_keeps_the_generation(void)
{
	struct page p = page_in(PAGE_RESIDENT);

	page_set_stored(&p, KIND_SWAP, 4096, 512, 7, 99);
	page_drop_stored(&p);
	t_eq(page_kind(&p), KIND_NONE);
	t_eq(page_gen(&p), 99);
	t_eq(page_state(&p), PAGE_RESIDENT);
	t_eq(p.word, (uint64_t)99 << 8 | PAGE_RESIDENT);
	t_eq(p.sum, 0);
}

static void a_moved_copy_is_the_same_record_elsewhere(void)
{
	struct page p = page_in(PAGE_RESIDENT);

	page_set_stored(&p, KIND_POOL, 4096, 512, 7, 99);
	page_relocate(&p, KIND_SWAP, LOC_MAX);
	t_eq(page_kind(&p), KIND_SWAP);
	t_eq(page_loc(&p), LOC_MAX);
	t_eq(page_size_stored(&p), 512);
	t_eq(page_gen(&p), 99);
	t_eq(p.sum, 7);
}

static void flags_do_not_touch_each_other(void)
{
	static void (*const set[])(struct page *, bool) = {
		page_set_discarded, page_set_removed, page_set_prefetched, page_set_cold,
	};

	for (unsigned int bits = 0; bits < 16; bits++) {
		struct page p = page_in(PAGE_FILLING);

		page_set_stored(&p, KIND_POOL, LOC_MAX, SIZE_MAX_8, 1, 255);
		for (unsigned int i = 0; i < 4; i++)
			set[i](&p, true);
		for (unsigned int i = 0; i < 4; i++)
			set[i](&p, bits >> i & 1);
		t_eq(page_discarded(&p), bits & 1);
		t_eq(page_removed(&p), bits >> 1 & 1);
		t_eq(page_prefetched(&p), bits >> 2 & 1);
		t_eq(page_cold(&p), bits >> 3 & 1);
		t_eq(page_state(&p), PAGE_FILLING);
		t_eq(page_loc(&p), LOC_MAX);
		t_eq(page_gen(&p), 255);
	}
}

static void discard_resident(const void *arg)
{
	struct page p = page_in(*(const enum page_state *)arg);

	page_set_discarded(&p, true);
}

static void only_a_reserved_page_remembers_a_discard(void)
{
	for (enum page_state s = 0; s < PAGE_STATES; s++)
		t_eq(dies(discard_resident, &s), s != PAGE_FILLING && s != PAGE_LEAVING);
}

static void every_state_has_a_name(void)
{
	for (int a = 0; a < PAGE_STATES; a++)
		for (int b = 0; b < a; b++)
			t_assert(strcmp(page_state_name(a), page_state_name(b)));
	t_streq(page_state_name(PAGE_STATES), "?");
}

static const struct t_test tests[] = {
	T(a_page_of_zero_bits_is_unknown),
	T(every_transition_is_legal_or_fatal),
	T(a_change_from_another_state_than_it_has_is_fatal),
	T(a_page_is_stored_only_with_a_copy),
	T(a_page_with_a_copy_is_never_empty_unknown_or_poisoned),
	T(in_ram_is_what_is_charged),
	T(a_copy_is_read_back_as_it_was_set),
	T(a_copy_that_cannot_be_is_fatal),
	T(dropping_a_copy_keeps_the_generation),
	T(a_moved_copy_is_the_same_record_elsewhere),
	T(flags_do_not_touch_each_other),
	T(only_a_reserved_page_remembers_a_discard),
	T(every_state_has_a_name),
	{0}
};

static const struct t_suite suites[] = { { "page", tests }, {0} };

HARNESS_MAIN(suites)

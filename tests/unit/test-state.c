/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-state.c - page table chunks and the event ring in a memfd that outlives its maker. */
#include <config.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/state.h"
#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"

#define CHUNK_BYTES	(STATE_CHUNK_PAGES * sizeof(struct page))

static uint64_t bytes_used(const struct state *st)
{
	struct stat sb;

	t_sys(fstat(st->fd, &sb));
	return (uint64_t)sb.st_blocks * 512;
}

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	return !b[0] && !memcmp(b, b + 1, n - 1);
}

static void a_new_state_says_what_it_is(void)
{
	struct state st;

	t_ok(state_init(&st, 77));
	t_eq(st.header->magic, STATE_MAGIC);
	t_eq(st.header->version, STATE_VERSION);
	t_eq(st.header->event_size, sizeof(struct uffd_msg));
	t_eq(st.header->chunk_pages, STATE_CHUNK_PAGES);
	t_eq(st.header->session, 77);
	t_eq(st.header->read, 0);
	t_eq(st.header->applied, 0);
	t_eq(st.header->n_chunks, 0);
	state_fini(&st);
}

static void it_is_sparse(void)
{
	struct state st;

	t_ok(state_init(&st, 1));
	t_le(bytes_used(&st), 64 << 10);
	state_fini(&st);
}

static void its_size_is_sealed(void)
{
	struct state st;

	t_ok(state_init(&st, 1));
	t_eq(ftruncate(st.fd, 4096), -1);
	t_eq(errno, EPERM);
	state_fini(&st);
}

static void events_are_read_straight_into_the_ring(void)
{
	struct uffd_msg msg[STATE_EVENTS];
	struct state st;
	int p[2];

	memset(msg, 0x5a, sizeof(msg));
	t_ok(state_init(&st, 1));
	t_sys(pipe(p));
	t_eq(write(p[1], msg, sizeof(msg)), sizeof(msg));
	t_eq(read(p[0], st.events, sizeof(msg)), sizeof(msg));
	t_memeq(st.events, msg, sizeof(msg));
	t_eq(st.header->magic, STATE_MAGIC);
	close(p[0]);
	close(p[1]);
	state_fini(&st);
}

static void a_chunk_says_whose_it_is(void)
{
	struct state st;
	uint32_t a, b;

	t_ok(state_init(&st, 1));
	t_ok(state_chunk_new(&st, 3, 9, &a));
	t_ok(state_chunk_new(&st, 4, 0, &b));
	t_ne(a, b);
	t_eq(st.desc[a].bo, 3);
	t_eq(st.desc[a].first, 9);
	t_eq(st.desc[b].bo, 4);
	t_eq(st.header->n_chunks, 2);
	state_chunk_free(&st, a);
	t_eq(st.desc[a].bo, 0);
	t_eq(st.header->n_chunks, 2);
	state_fini(&st);
}

static void another_mapping_of_the_descriptor_finds_it_all(void)
{
	struct state st;
	struct stat sb;
	uint32_t chunk;
	uint8_t *map;

	t_ok(state_init(&st, 5));
	t_ok(state_chunk_new(&st, 3, 9, &chunk));
	page_set_removed(state_chunk_pages(&st, chunk) + 511, true);
	st.header->read = 12;

	t_sys(fstat(st.fd, &sb));
	map = mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, st.fd, 0);
	t_assert(map != MAP_FAILED);
	t_memeq(map, st.header, sizeof(*st.header));
	t_memeq(map + ((uint8_t *)&st.desc[chunk] - (uint8_t *)st.header), &st.desc[chunk],
		sizeof(st.desc[chunk]));
	t_memeq(map + ((uint8_t *)state_chunk_pages(&st, chunk) - (uint8_t *)st.header),
		state_chunk_pages(&st, chunk), CHUNK_BYTES);
	munmap(map, (size_t)sb.st_size);
	state_fini(&st);
}

static void chunks_do_not_overlap(void)
{
	struct state st;
	uint32_t c[40];

	t_ok(state_init(&st, 1));
	for (unsigned int i = 0; i < 40; i++) {
		t_ok(state_chunk_new(&st, 1, i, &c[i]));
		t_assert(all_zero(state_chunk_pages(&st, c[i]), CHUNK_BYTES));
		memset(state_chunk_pages(&st, c[i]), (int)i + 1, CHUNK_BYTES);
	}
	for (unsigned int i = 0; i < 40; i++) {
		const uint8_t *b = (const uint8_t *)state_chunk_pages(&st, c[i]);

		t_eq(b[0], i + 1);
		t_assert(!memcmp(b, b + 1, CHUNK_BYTES - 1));
		t_eq(st.desc[c[i]].first, i);
	}
	state_fini(&st);
}

static void a_chunk_used_again_is_unknown(void)
{
	struct state st;
	uint32_t a, b;

	t_ok(state_init(&st, 1));
	t_ok(state_chunk_new(&st, 1, 0, &a));
	memset(state_chunk_pages(&st, a), 0xff, CHUNK_BYTES);
	state_chunk_free(&st, a);
	t_ok(state_chunk_new(&st, 2, 0, &b));
	t_eq(a, b);
	t_eq(st.n_chunks, 1);
	t_assert(all_zero(state_chunk_pages(&st, b), CHUNK_BYTES));
	state_fini(&st);
}

static void freed_chunks_take_no_memory(void)
{
	enum { N = 1000 };
	struct state st;
	uint32_t c[N];
	uint64_t before;

	t_ok(state_init(&st, 1));
	for (unsigned int i = 0; i < N; i++)
		t_ok(state_chunk_new(&st, 1, i, &c[i]));
	before = bytes_used(&st);
	for (unsigned int i = 0; i < N; i++)
		state_chunk_free(&st, c[i]);
	t_le(bytes_used(&st), before - N * CHUNK_BYTES);
	state_fini(&st);
}

static void when_no_chunk_is_left_it_says_so(void)
{
	struct state st;
	uint32_t c = 0;

	t_ok(state_init(&st, 1));
	st.max_chunks = 2;
	t_ok(state_chunk_new(&st, 1, 0, &c));
	t_ok(state_chunk_new(&st, 1, 1, &c));
	t_fails(state_chunk_new(&st, 1, 2, &c), ENOSPC);
	state_chunk_free(&st, c);
	t_ok(state_chunk_new(&st, 1, 2, &c));
	state_fini(&st);
}

static void without_memory_nothing_has_changed(void)
{
	struct state st = STATE_NULL;
	uint32_t a = 99, c = 99;
	bool failed = true;
	unsigned int n;
	int r;

	for (n = 0; failed; n++) {
		state_fini(&st);
		t_ok(state_init(&st, 1));
		failed = fail_alloc(n, state_chunk_new(&st, 1, 0, &a), &r);
		t_eq(r, failed ? -ENOMEM : 0);
		t_eq(a, failed ? 99 : 0);
		t_eq(st.n_chunks, failed ? 0 : 1);
		t_eq(st.header->n_chunks, st.n_chunks);
	}
	t_eq(n - 1, 3);		/* the stack, the descriptors' page, the chunk's pages */

	state_chunk_free(&st, a);
	t_assert(fail_alloc(0, state_chunk_new(&st, 1, 0, &c), &r));
	t_fails(r, ENOMEM);
	t_eq(c, 99);
	t_eq(st.n_free, 1);
	t_ok(state_chunk_new(&st, 1, 0, &c));
	t_eq(c, a);
	state_fini(&st);
}

static void a_chunk_is_clean_again_also_when_no_hole_can_be_punched(void)
{
	struct state st;
	uint32_t a, b;

	t_ok(state_init(&st, 1));
	t_ok(state_chunk_new(&st, 1, 0, &a));
	memset(state_chunk_pages(&st, a), 0xff, CHUNK_BYTES);
	fail_alloc_arm(0);
	state_chunk_free(&st, a);
	t_assert(fail_alloc_disarm());
	t_ok(state_chunk_new(&st, 1, 0, &b));
	t_assert(all_zero(state_chunk_pages(&st, b), CHUNK_BYTES));
	state_fini(&st);
}

static void what_could_not_be_made_leaves_nothing(void)
{
	struct state st;
	int r;

	t_assert(fail_alloc(0, state_init(&st, 1), &r));
	t_fails(r, ENOMEM);
	t_eq(st.fd, -1);
	state_fini(&st);
}

static void ending_it_twice_is_fine(void)
{
	struct state st = STATE_NULL;

	state_fini(&st);
	t_ok(state_init(&st, 1));
	state_fini(&st);
	state_fini(&st);
}

static const struct t_test tests[] = {
	T(a_new_state_says_what_it_is),
	T(it_is_sparse),
	T(its_size_is_sealed),
	T(events_are_read_straight_into_the_ring),
	T(a_chunk_says_whose_it_is),
	T(another_mapping_of_the_descriptor_finds_it_all),
	T(chunks_do_not_overlap),
	T(a_chunk_used_again_is_unknown),
	T(freed_chunks_take_no_memory),
	T(when_no_chunk_is_left_it_says_so),
	T(without_memory_nothing_has_changed),
	T(a_chunk_is_clean_again_also_when_no_hole_can_be_punched),
	T(what_could_not_be_made_leaves_nothing),
	T(ending_it_twice_is_fine),
	{0}
};

static const struct t_suite suites[] = { { "state", tests }, {0} };

HARNESS_MAIN(suites)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-store-compressed.c - the pool of a session: what an agent may claim, reading, giving memory
 * back, and cleaning; with a client that scribbles on everything.
 *
 * The tests play the agent: they map the memfd for writing, and append records whose bytes follow
 * from (page, generation). And the session: a table says where each page's record is.
 */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/align.h"
#include "daemon/store.h"
#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"

#define N_PAGES		4000u
#define NOWHERE		UINT64_MAX

struct place {
	uint64_t loc;
	uint32_t size;
	uint8_t gen;
};

static struct pool pool = POOL_NULL;
static uint8_t *agent;				/* its mapping */
static struct place table[N_PAGES];
static uint64_t extent = NOWHERE;		/* that the agent appends to */
static uint32_t appended;			/* bytes of it */

static void start(uint64_t size)
{
	t_ok(pool_init(&pool, size));
	agent = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, pool.fd, 0);
	t_assert(agent != MAP_FAILED);
	for (uint32_t i = 0; i < N_PAGES; i++)
		table[i] = (struct place){ .loc = NOWHERE };
}

static void stop(void)
{
	munmap(agent, pool.size);
	pool_fini(&pool);
}

static uint16_t payload_of(uint32_t index, uint8_t gen)
{
	return (uint16_t)(1 + (fls_mix(index * 256u + gen) % FLS_PAGE));
}

static uint8_t byte_of(uint32_t index, uint8_t gen, uint32_t at)
{
	return (uint8_t)(index * 31 + gen * 7 + at);
}

static uint32_t size_of(uint32_t index, uint8_t gen)
{
	return store_record_size(payload_of(index, gen));
}

static void write_record(uint64_t loc, uint32_t index, uint8_t gen)
{
	struct fls_record r = {
		.bo = 1, .index = index, .len = payload_of(index, gen),
		.codec = FLS_CODEC_LZ4, .gen = gen,
	};

	memcpy(agent + loc, &r, sizeof(r));
	for (uint32_t k = 0; k < r.len; k++)
		agent[loc + sizeof(r) + k] = byte_of(index, gen, k);
}

static void forget(uint32_t index)
{
	if (table[index].loc != NOWHERE)
		pool_kill(&pool, table[index].loc, table[index].size);
	table[index].loc = NOWHERE;
}

static void finish_extent(void)
{
	if (extent != NOWHERE)
		pool_close(&pool, extent);
	extent = NOWHERE;
}

/* As an agent and its session would: false if the pool is full. */
static bool put(uint32_t index, uint8_t gen)
{
	uint32_t size = size_of(index, gen);

	if (extent != NOWHERE && FLS_EXTENT - appended < size)
		finish_extent();
	if (extent == NOWHERE) {
		if (pool_grant(&pool, &extent) < 0)
			return false;
		appended = 0;
	}
	write_record(extent + appended, index, gen);
	t_ok(pool_add(&pool, extent + appended, size));
	forget(index);
	table[index] = (struct place){ extent + appended, size, gen };
	appended += size;
	return true;
}

static bool reads_right(uint32_t index)
{
	uint8_t buf[FLS_RECORD_MAX + 8];
	const struct place *p = &table[index];
	struct fls_record r;

	if (pool_read(&pool, p->loc, p->size, buf, sizeof(buf)) < 0)
		return false;
	memcpy(&r, buf, sizeof(r));
	if (r.index != index || r.gen != p->gen || r.len != payload_of(index, p->gen))
		return false;
	for (uint32_t k = 0; k < r.len; k++)
		if (buf[sizeof(r) + k] != byte_of(index, p->gen, k))
			return false;
	return true;
}

static void all_read_right(void)
{
	for (uint32_t i = 0; i < N_PAGES; i++)
		if (table[i].loc != NOWHERE && !reads_right(i))
			t_fail("page %u at %ju reads wrong", i, (uintmax_t)table[i].loc);
}

static bool is_live(void *ctx, const struct fls_record *r, uint64_t loc)
{
	(void)ctx;
	return r->bo == 1 && r->index < N_PAGES && table[r->index].loc == loc &&
	       table[r->index].size == store_record_size(r->len);
}

static uint32_t n_moved, n_moved_wrong;
static uint32_t refuse_index = UINT32_MAX;

static bool moved(void *ctx, const struct fls_record *r, uint64_t from, uint64_t to)
{
	(void)ctx;
	n_moved++;
	n_moved_wrong += table[r->index].loc != from;
	if (r->index == refuse_index) {
		table[r->index].loc = NOWHERE;
		return false;
	}
	table[r->index].loc = to;
	return true;
}

static const struct store_owner owner = { .is_live = is_live, .moved = moved };

static uint64_t live_in_table(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < N_PAGES; i++)
		if (table[i].loc != NOWHERE)
			n += table[i].size;
	return n;
}

static uint64_t allocated(void)
{
	struct stat st;

	t_sys(fstat(pool.fd, &st));
	return (uint64_t)st.st_blocks * 512;
}

/* ---- the object ---- */

static void the_memfd_is_sealed_private_and_sparse(void)
{
	struct stat st;
	char c = 0;

	start(UINT64_C(64) << 30);
	t_sys(fstat(pool.fd, &st));
	t_eq(st.st_size, INT64_C(64) << 30);
	t_eq(st.st_blocks, 0);
	t_eq(st.st_mode & 07777, 0600);
	t_eq(fcntl(pool.fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	t_eq(ftruncate(pool.fd, 4096), -1);
	t_eq(pool.units.n_max, 65536);
	t_eq(pool_bytes(&pool), 0);
	/* The daemon's mapping is not for writing: the kernel refuses to. */
	t_eq(pread(pool.fd, (void *)(uintptr_t)pool.map, 1, 0), -1);
	t_eq(errno, EFAULT);
	t_sys(pread(pool.fd, &c, 1, 0));
	stop();
	pool_fini(&pool);
}

static void a_size_that_is_no_number_of_extents_is_refused(void)
{
	struct pool p;

	t_fails(pool_init(&p, 0), EINVAL);
	t_fails(pool_init(&p, FLS_EXTENT - 1), EINVAL);
	t_fails(pool_init(&p, FLS_EXTENT + 4096), EINVAL);
	t_fails(pool_init(&p, UINT64_MAX - FLS_EXTENT + 1), EINVAL);
	t_eq(p.fd, -1);
	pool_fini(&p);
}

static void without_descriptors_or_address_space_there_is_no_pool(void)
{
	struct rlimit was, none;
	struct pool p;
	int r;

	t_sys(getrlimit(RLIMIT_NOFILE, &was));
	none = (struct rlimit){ 0, was.rlim_max };
	t_sys(setrlimit(RLIMIT_NOFILE, &none));
	r = pool_init(&p, FLS_EXTENT);
	t_sys(setrlimit(RLIMIT_NOFILE, &was));
	t_fails(r, EMFILE);
	pool_fini(&p);

	t_sys(getrlimit(RLIMIT_AS, &was));
	none = (struct rlimit){ 0, was.rlim_max };
	t_sys(setrlimit(RLIMIT_AS, &none));
	r = pool_init(&p, FLS_EXTENT);
	t_sys(setrlimit(RLIMIT_AS, &was));
	t_fails(r, ENOMEM);
	t_eq(p.fd, -1);
	pool_fini(&p);
}

/* ---- what the agent says ---- */

static void extents_are_granted_until_the_memfd_is_full(void)
{
	uint64_t a, b, c = 77;

	start(2 * FLS_EXTENT);
	t_ok(pool_grant(&pool, &a));
	t_ok(pool_grant(&pool, &b));
	t_eq(a, 0);
	t_eq(b, FLS_EXTENT);
	t_fails(pool_grant(&pool, &c), ENOSPC);
	t_eq(c, 77);
	pool_close(&pool, a);
	t_ok(pool_grant(&pool, &c));
	t_eq(c, a);
	stop();
}

static void claims_that_cannot_be_are_refused(void)
{
	uint64_t a;

	start(4 * FLS_EXTENT);
	t_fails(pool_add(&pool, 0, 80), EINVAL);		/* nothing was granted */
	t_ok(pool_grant(&pool, &a));
	t_ok(pool_add(&pool, a + 800, 80));
	t_fails(pool_add(&pool, a + 800, 80), EINVAL);		/* twice */
	t_fails(pool_add(&pool, a + 872, 80), EINVAL);		/* overlaps */
	t_fails(pool_add(&pool, a, 80), EINVAL);		/* before it */
	t_fails(pool_add(&pool, a + 884, 80), EINVAL);		/* not aligned */
	t_fails(pool_add(&pool, a + 880, 84), EINVAL);		/* no size of a record */
	t_fails(pool_add(&pool, a + 880, 0), EINVAL);
	t_fails(pool_add(&pool, a + 880, sizeof(struct fls_record)), EINVAL);
	t_fails(pool_add(&pool, a + 880, FLS_RECORD_MAX + 8), EINVAL);
	t_fails(pool_add(&pool, a + 880, UINT32_MAX - 7), EINVAL);
	t_fails(pool_add(&pool, a + FLS_EXTENT - 72, 80), EINVAL);	/* crosses the end */
	t_fails(pool_add(&pool, FLS_EXTENT, 80), EINVAL);	/* not granted */
	t_fails(pool_add(&pool, 4 * FLS_EXTENT, 80), EINVAL);	/* outside */
	t_fails(pool_add(&pool, UINT64_MAX - 7, 80), EINVAL);
	t_fails(pool_add(&pool, (UINT64_C(1) << 52) + 880, 80), EINVAL);	/* unit 2^32 is not 0 */
	t_eq(pool.units.live_bytes, 80);
	t_ok(pool_add(&pool, a + 880, FLS_RECORD_MAX));
	t_ok(pool_add(&pool, a + FLS_EXTENT - 80, 80));
	pool_close(&pool, a);
	t_fails(pool_add(&pool, a + 8000, 80), EINVAL);		/* closed */
	stop();
}

static void what_was_skipped_is_dead(void)
{
	uint64_t a;

	start(FLS_EXTENT);
	t_ok(pool_grant(&pool, &a));
	t_ok(pool_add(&pool, a + 4096, 80));
	t_eq(pool.units.unit[0].used, 4176);
	t_eq(pool.units.unit[0].live, 80);
	pool_close(&pool, a);
	pool_kill(&pool, a + 4096, 80);
	t_eq(pool.units.unit[0].state, UNIT_FREE);
	stop();
}

static void closing_what_is_not_open_is_ignored(void)
{
	uint64_t a;

	start(4 * FLS_EXTENT);
	pool_close(&pool, 0);
	t_ok(pool_grant(&pool, &a));
	t_ok(pool_add(&pool, a, 80));
	pool_close(&pool, a + 8);
	pool_close(&pool, FLS_EXTENT);
	pool_close(&pool, UINT64_MAX);
	pool_close(&pool, UINT64_C(1) << 52);
	t_eq(pool.units.unit[0].state, UNIT_OPEN);
	pool_close(&pool, a);
	t_eq(pool.units.unit[0].state, UNIT_FULL);
	pool_close(&pool, a);
	t_eq(pool.units.unit[0].state, UNIT_FULL);
	stop();
}

/* ---- reading ---- */

static void a_record_reads_back(void)
{
	start(4 * FLS_EXTENT);
	for (uint32_t i = 0; i < 500; i++)
		t_assert(put(i, 3));
	all_read_right();
	stop();
}

static void reading_stops_at_the_room_that_there_is(void)
{
	uint8_t buf[sizeof(struct fls_record) + 9];

	start(FLS_EXTENT);
	memset(buf, 0xee, sizeof(buf));
	t_assert(put(1, 3));
	t_assert(table[1].size > sizeof(buf));
	t_ok(pool_read(&pool, table[1].loc, table[1].size, buf, sizeof(buf) - 1));
	t_eq(buf[sizeof(struct fls_record) + 7], byte_of(1, 3, 7));
	t_eq(buf[sizeof(struct fls_record) + 8], 0xee);
	stop();
}

static void a_length_that_does_not_fit_is_a_bad_message(void)
{
	uint8_t buf[FLS_RECORD_MAX + 8];
	struct fls_record *r;
	void *at;

	start(FLS_EXTENT);
	t_assert(put(1, 3));
	at = agent + table[1].loc;
	r = at;
	r->len = (uint16_t)(table[1].size - sizeof(*r));
	t_ok(pool_read(&pool, table[1].loc, table[1].size, buf, sizeof(buf)));
	r->len++;
	t_fails(pool_read(&pool, table[1].loc, table[1].size, buf, sizeof(buf)), EBADMSG);
	r->len = UINT16_MAX;
	t_fails(pool_read(&pool, table[1].loc, table[1].size, buf, sizeof(buf)), EBADMSG);
	stop();
}

/* ---- memory ---- */

static void bytes_are_those_allocated(void)
{
	uint64_t a, b;

	start(4 * FLS_EXTENT);
	t_ok(pool_grant(&pool, &a));
	t_eq(pool_bytes(&pool), 0);
	write_record(a, 1, 1);
	t_ok(pool_add(&pool, a, size_of(1, 1)));
	t_eq(pool_bytes(&pool), page_up(size_of(1, 1)));
	pool_close(&pool, a);
	t_eq(pool_bytes(&pool), FLS_EXTENT);
	pool_kill(&pool, a, size_of(1, 1));
	t_eq(pool_bytes(&pool), FLS_EXTENT);		/* warm */
	t_ok(pool_grant(&pool, &b));
	t_eq(b, a);
	t_eq(pool_bytes(&pool), FLS_EXTENT);
	pool_close(&pool, b);
	t_eq(pool_trim(&pool, 0), FLS_EXTENT);
	t_eq(pool_bytes(&pool), 0);
	t_eq(allocated(), 0);
	stop();
}

static void trimming_keeps_what_it_was_told_to(void)
{
	uint64_t at[8];

	start(8 * FLS_EXTENT);
	for (int k = 0; k < 8; k++) {
		t_ok(pool_grant(&pool, &at[k]));
		memset(agent + at[k], 1, FLS_EXTENT);
	}
	for (int k = 0; k < 8; k++)
		pool_close(&pool, at[k]);
	t_eq(allocated(), 8 * FLS_EXTENT);
	t_eq(pool_trim(&pool, 8), 0);
	t_eq(pool_trim(&pool, 3), 5 * FLS_EXTENT);
	t_eq(allocated(), 3 * FLS_EXTENT);
	t_eq(pool_bytes(&pool), 3 * FLS_EXTENT);
	t_eq(agent[at[0]], 0);			/* freed first, given back first */
	t_eq(agent[at[7]], 1);
	t_eq(pool_trim(&pool, 3), 0);
	stop();
}

/* ---- walking ---- */

struct walked {
	uint32_t offset[8], n;
	int say_at_2;
};

static int note(void *ctx, uint32_t offset, const struct fls_record *r)
{
	struct walked *w = ctx;

	(void)r;
	w->offset[w->n++] = offset;
	return w->n == 2 ? w->say_at_2 : 0;
}

static void lay(uint8_t *buf, uint32_t at, uint16_t len)
{
	struct fls_record r = { .len = len };

	memcpy(buf + at, &r, sizeof(r));
}

static void a_walk_meets_each_record_in_order(void)
{
	_Alignas(8) uint8_t buf[16384] = {0};
	struct walked w = {0};

	lay(buf, 0, 1);
	lay(buf, 40, 4096);
	lay(buf, 4168, 9);
	t_ok(store_walk(buf, 4216, note, &w));
	t_eq(w.n, 3);
	t_eq(w.offset[1], 40);
	t_eq(w.offset[2], 4168);
	t_ok(store_walk(buf, 0, note, &w));
	t_eq(w.n, 3);

	w = (struct walked){ .say_at_2 = -ECANCELED };
	t_fails(store_walk(buf, 4216, note, &w), ECANCELED);
	t_eq(w.n, 2);
	w = (struct walked){ .say_at_2 = 5 };
	t_eq(store_walk(buf, 4216, note, &w), 5);
}

static void a_walk_ends_at_a_header_that_cannot_be(void)
{
	static const uint16_t bad[] = { 0, 4097, 65535, 3000 };
	_Alignas(8) uint8_t buf[4096] = {0};

	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++) {
		struct walked w = {0};

		lay(buf, 0, 8);
		lay(buf, 40, bad[k]);
		t_fails(store_walk(buf, 2000, note, &w), EBADMSG);
		t_eq(w.n, 1);
	}
	for (uint32_t used = 41; used < 80; used++) {
		struct walked w = {0};

		lay(buf, 40, 8);
		t_fails(store_walk(buf, used, note, &w), EBADMSG);	/* cut off */
		t_eq(w.n, 1);
	}
}

/* ---- cleaning ---- */

/* Pages 0..n-1 in closed extents, all but one in `keep` of them dead. */
static void fill(uint32_t n, uint32_t keep)
{
	for (uint32_t i = 0; i < n; i++)
		t_assert(put(i, 1));
	finish_extent();
	for (uint32_t i = 0; i < n; i++)
		if (i % keep)
			forget(i);
}

static void cleaning_moves_what_lives_and_frees_the_unit(void)
{
	struct unit *x;
	uint32_t cleaned = 0;

	start(16 * FLS_EXTENT);
	fill(N_PAGES, 4);
	while ((x = units_emptiest(&pool.units, FLS_EXTENT / 2))) {
		t_ok(pool_clean(&pool, x, &owner));
		t_eq(x->state, UNIT_FREE);
		all_read_right();
		t_eq(pool.units.live_bytes, live_in_table());
		if (++cleaned == 7)
			break;
	}
	t_assert(cleaned >= 4);		/* fewer than are emptied by appending: holes took some */
	t_eq(n_moved_wrong, 0);
	t_gt(n_moved, 500);
	t_le(pool.units.used_bytes, 4 * FLS_EXTENT);
	stop();
}

static void a_unit_without_live_records_is_freed_by_cleaning_it(void)
{
	start(4 * FLS_EXTENT);
	fill(100, 1);
	units_hold(&pool.units, 0);
	for (uint32_t i = 0; i < 100; i++)
		forget(i);
	t_eq(pool.units.unit[0].state, UNIT_FULL);
	t_assert(units_release(&pool.units, 0));
	t_eq(pool.units.used_bytes, 0);
	stop();
}

static void cleaning_fills_one_unit_and_opens_another(void)
{
	struct unit *x;

	start(16 * FLS_EXTENT);
	fill(3000, 2);
	while ((x = units_emptiest(&pool.units, FLS_EXTENT * 3 / 4)))
		t_ok(pool_clean(&pool, x, &owner));
	t_ne(pool.cleaning, UINT32_MAX);
	t_eq(pool.units.live_bytes, live_in_table());
	/* As tight as whole records allow. */
	t_le(pool.units.used_bytes, page_up(live_in_table()) + 2 * FLS_EXTENT);
	all_read_right();
	stop();
}

static void the_agent_has_no_say_about_the_unit_that_is_cleaned_into(void)
{
	uint64_t at;
	uint32_t used;

	start(16 * FLS_EXTENT);
	fill(800, 4);
	t_ok(pool_clean(&pool, units_emptiest(&pool.units, FLS_EXTENT), &owner));
	at = (uint64_t)pool.cleaning * FLS_EXTENT;
	used = pool.units.unit[pool.cleaning].used;
	t_fails(pool_add(&pool, at + used, 80), EINVAL);
	pool_close(&pool, at);
	t_eq(pool.units.unit[pool.cleaning].state, UNIT_OPEN);
	stop();
}

static void without_a_unit_to_write_to_nothing_is_lost(void)
{
	struct unit *x;
	uint64_t live;

	start(2 * FLS_EXTENT);
	fill(800, 4);
	t_eq(pool.units.used_bytes, 2 * FLS_EXTENT);
	x = units_emptiest(&pool.units, FLS_EXTENT);
	live = live_in_table();
	t_fails(pool_clean(&pool, x, &owner), ENOSPC);
	t_eq(x->state, UNIT_FULL);
	t_eq(x->busy, 0);
	t_eq(pool.units.live_bytes, live);
	t_assert(units_emptiest(&pool.units, FLS_EXTENT) == x);
	all_read_right();
	stop();
}

/* The unit that is cleaned into gets full in the middle, and there is no other. */
static void what_fits_is_moved_when_space_runs_out_halfway(void)
{
	struct unit *x;
	uint64_t taken;
	int r = 0;

	start(5 * FLS_EXTENT);
	fill(1900, 1);
	for (uint32_t i = 0; i < 1900; i++)
		if (i % 10 == 0)
			forget(i);
	while (!r && (x = units_emptiest(&pool.units, FLS_EXTENT))) {
		r = pool_clean(&pool, x, &owner);
		/* Somebody takes what was freed. */
		while (pool_grant(&pool, &taken) == 0)
			;
	}
	t_fails(r, ENOSPC);
	t_gt(n_moved, 0);
	t_gt(x->live, 0);
	t_eq(x->state, UNIT_FULL);
	t_eq(pool.units.live_bytes, live_in_table());
	all_read_right();
	stop();
}

static void a_record_that_nobody_wants_any_more_dies(void)
{
	start(16 * FLS_EXTENT);
	fill(400, 4);
	refuse_index = 8;
	t_ok(pool_clean(&pool, units_emptiest(&pool.units, FLS_EXTENT), &owner));
	t_eq(table[8].loc, NOWHERE);
	t_eq(pool.units.live_bytes, live_in_table());
	all_read_right();
	stop();
}

static void corrupt_header_leaves_the_unit_as_it_is(void)
{
	struct unit *x;
	struct fls_record r;
	uint32_t victim = 100;

	start(16 * FLS_EXTENT);
	fill(300, 4);
	t_eq(units_index(&pool.units, units_oldest(&pool.units)), 0);
	x = &pool.units.unit[table[victim].loc / FLS_EXTENT];
	memcpy(&r, agent + table[victim].loc, sizeof(r));
	r.len = 0;
	memcpy(agent + table[victim].loc, &r, sizeof(r));

	t_fails(pool_clean(&pool, x, &owner), EBADMSG);
	t_eq(n_moved, 0);
	t_eq(x->busy, 1);
	t_assert(units_emptiest(&pool.units, UINT32_MAX) != x);
	t_assert(units_oldest(&pool.units) != x);
	for (uint32_t i = 0; i < 300; i++)
		t_eq(table[i].loc != NOWHERE && i != victim ? reads_right(i) : 1, 1);
	/* It goes when its records do. */
	for (uint32_t i = 0; i < 300; i++)
		forget(i);
	t_eq(x->state, UNIT_FREE);
	t_eq(pool.units.live_bytes, 0);
	stop();
}

/* The walk goes well, but steps over a record that lives. */
static void a_forged_length_that_hides_a_record_moves_nothing(void)
{
	struct unit *x;
	struct fls_record r;

	start(16 * FLS_EXTENT);
	fill(200, 1);
	for (uint32_t i = 0; i < 200; i++)
		if (i != 20 && i != 22)
			forget(i);
	x = &pool.units.unit[0];
	/* 21, dead, now reaches over 22 to 23. */
	memcpy(&r, agent + table[20].loc + table[20].size, sizeof(r));
	r.len = (uint16_t)(size_of(21, 1) + size_of(22, 1) - sizeof(r));
	if (r.len > FLS_PAGE)
		r.len = FLS_PAGE;
	memcpy(agent + table[20].loc + table[20].size, &r, sizeof(r));
	t_fails(pool_clean(&pool, x, &owner), EBADMSG);
	t_eq(n_moved, 0);
	t_assert(reads_right(20));
	t_assert(reads_right(22));
	stop();
}

static bool all_live(void *ctx, const struct fls_record *r, uint64_t loc)
{
	(void)ctx, (void)r, (void)loc;
	return true;
}

/* An owner that believes the bytes: the accounts are not hurt. */
static void more_live_records_than_the_unit_has_are_not_believed(void)
{
	const struct store_owner gullible = { .is_live = all_live, .moved = moved };

	start(16 * FLS_EXTENT);
	fill(300, 4);
	t_fails(pool_clean(&pool, &pool.units.unit[0], &gullible), EBADMSG);
	t_eq(n_moved, 0);
	all_read_right();
	stop();
}

static void without_memory_cleaning_can_be_tried_again(void)
{
	struct unit *x;
	int r;

	start(16 * FLS_EXTENT);
	fill(800, 4);
	x = units_emptiest(&pool.units, FLS_EXTENT);
	for (unsigned int n = 0; fail_alloc(n, pool_clean(&pool, x, &owner), &r); n++) {
		t_fails(r, ENOMEM);
		t_eq(x->busy, 0);
		t_eq(n_moved, 0);
		all_read_right();
	}
	t_ok(r);
	t_gt(n_moved, 0);
	all_read_right();
	stop();
}

/* The kernel refuses the write: the new copy does not exist, so the old one stays. */
static void a_write_that_fails_loses_nothing(void)
{
	const struct rlimit small = { 4096, RLIM_INFINITY };
	struct rlimit was;
	struct unit *x;
	int r;

	t_sys(getrlimit(RLIMIT_FSIZE, &was));
	if (was.rlim_max != RLIM_INFINITY)
		t_skip("the size of files is limited already");
	signal(SIGXFSZ, SIG_IGN);
	start(16 * FLS_EXTENT);
	fill(800, 4);
	x = units_emptiest(&pool.units, FLS_EXTENT);
	t_sys(setrlimit(RLIMIT_FSIZE, &small));
	r = pool_clean(&pool, x, &owner);
	t_sys(setrlimit(RLIMIT_FSIZE, &was));
	t_fails(r, EFBIG);
	t_eq(x->busy, 0);
	all_read_right();
	t_ok(pool_clean(&pool, x, &owner));
	all_read_right();
	stop();
}

/* ---- long random lives ---- */

static void random_step(uint32_t *generation)
{
	uint32_t i = (uint32_t)t_random_below(N_PAGES);
	uint64_t what = t_random_below(1000);
	struct unit *x;

	if (what < 600) {
		++*generation;
		put(i, (uint8_t)*generation);
	} else if (what < 985) {
		forget(i);
	} else if (what < 990) {
		pool_trim(&pool, (uint32_t)t_random_below(3));
	} else if (what < 992) {
		finish_extent();
	} else {
		x = units_emptiest(&pool.units, FLS_EXTENT * 3 / 4);
		if (x)
			pool_clean(&pool, x, &owner);
	}
}

static void a_long_random_life_loses_nothing(void)
{
	uint32_t generation = 0;

	t_seed();
	start(10 * FLS_EXTENT);
	for (int k = 0; k < 200000; k++) {
		random_step(&generation);
		if (k % 1000)
			continue;
		t_eq(pool.units.live_bytes, live_in_table());
		t_le(allocated(), pool_bytes(&pool) + FLS_EXTENT);	/* one record ahead of add */
		all_read_right();
	}
	t_gt(n_moved, 0);
	t_eq(n_moved_wrong, 0);
	for (uint32_t i = 0; i < N_PAGES; i++)
		forget(i);
	finish_extent();
	t_le(pool.units.used_bytes, FLS_EXTENT);	/* the one that is cleaned into */
	t_eq(pool.units.live_bytes, 0);
	stop();
}

static void scribble(void)
{
	uint64_t at = t_random_below(pool.size - 64);

	switch (t_random_below(4)) {
	case 0:
		agent[at] ^= (uint8_t)(1 + t_random_below(255));
		break;
	case 1:
		memset(agent + at, (int)t_random_below(256), 64);
		break;
	case 2:		/* another record's header: a header that can be one, in the wrong place */
		memcpy(agent + round_down_to(at, 8), agent + round_down_to(t_random_below(pool.size - 64), 8),
		       sizeof(struct fls_record));
		break;
	default:
		fallocate(pool.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)page_down(at), 4096);
		break;
	}
}

/* Bytes may be anything then; the accounts and the daemon are what they were. */
static void a_client_that_scribbles_hurts_only_its_bytes(void)
{
	uint8_t buf[FLS_RECORD_MAX + 8];
	uint32_t generation = 0;

	t_seed();
	start(10 * FLS_EXTENT);
	for (int k = 0; k < 100000; k++) {
		uint32_t i = (uint32_t)t_random_below(N_PAGES);

		random_step(&generation);
		if (t_random_below(20) == 0)
			scribble();
		if (table[i].loc != NOWHERE)
			pool_read(&pool, table[i].loc, table[i].size, buf, sizeof(buf));
		if (k % 1000 == 0)
			t_eq(pool.units.live_bytes, live_in_table());
	}
	for (uint32_t i = 0; i < N_PAGES; i++)
		forget(i);
	finish_extent();
	t_eq(pool.units.live_bytes, 0);
	t_le(pool.units.used_bytes, FLS_EXTENT);
	stop();
}

static const struct t_test tests[] = {
	T(the_memfd_is_sealed_private_and_sparse),
	T(a_size_that_is_no_number_of_extents_is_refused),
	T(without_descriptors_or_address_space_there_is_no_pool),
	T(extents_are_granted_until_the_memfd_is_full),
	T(claims_that_cannot_be_are_refused),
	T(what_was_skipped_is_dead),
	T(closing_what_is_not_open_is_ignored),
	T(a_record_reads_back),
	T(reading_stops_at_the_room_that_there_is),
	T(a_length_that_does_not_fit_is_a_bad_message),
	T(bytes_are_those_allocated),
	T(trimming_keeps_what_it_was_told_to),
	T(a_walk_meets_each_record_in_order),
	T(a_walk_ends_at_a_header_that_cannot_be),
	T(cleaning_moves_what_lives_and_frees_the_unit),
	T(a_unit_without_live_records_is_freed_by_cleaning_it),
	T(cleaning_fills_one_unit_and_opens_another),
	T(the_agent_has_no_say_about_the_unit_that_is_cleaned_into),
	T(without_a_unit_to_write_to_nothing_is_lost),
	T(what_fits_is_moved_when_space_runs_out_halfway),
	T(a_record_that_nobody_wants_any_more_dies),
	T(corrupt_header_leaves_the_unit_as_it_is),
	T(a_forged_length_that_hides_a_record_moves_nothing),
	T(more_live_records_than_the_unit_has_are_not_believed),
	T(without_memory_cleaning_can_be_tried_again),
	T(a_write_that_fails_loses_nothing),
	T_TIMEOUT(a_long_random_life_loses_nothing, 120),
	T_TIMEOUT(a_client_that_scribbles_hurts_only_its_bytes, 120),
	{0}
};

static const struct t_suite suites[] = { { "store-compressed", tests }, {0} };

HARNESS_MAIN(suites)

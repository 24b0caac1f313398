/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-store-swap.c - the swap file: what is written reads back, with the right neighbours; and
 * every way in which a disk says no.
 *
 * Each byte of a segment follows from the tag that the test gave it and from its offset, so any
 * byte that is read can be checked. Errors come from hooks that replace the results of real I/O;
 * time stands still unless a test moves it.
 */
#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/align.h"
#include "daemon/loop.h"
#include "daemon/store-internal.h"
#include "daemon/store.h"
#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"

#define MIB		((uint64_t)FLS_EXTENT)
#define GIB		(UINT64_C(1) << 30)
#define METADATA	12288		/* of a file on disk, that its blocks count */
#define SECOND		UINT64_C(1000000000)

static struct swap *swap;
static struct loop *loop;
static struct swap_hooks hooks;

/* ---- hooks ---- */

static struct {
	int error;			/* what transfers end with */
	unsigned int n;			/* ... the next n of them */
	bool reads, writes;		/* ... of these */
	uint64_t from, to;		/* ... that touch this range */
	unsigned int hit;
} inject;

static struct {
	uint64_t now;
	uint64_t available, total;
	unsigned int looked;
	unsigned int punched;
	int punch_error;
	int start_error;
} fake;

static bool injects(bool write, uint64_t offset, size_t len)
{
	if (!inject.n || !(write ? inject.writes : inject.reads))
		return false;
	return offset < inject.to && offset + len > inject.from;
}

static int inject_result(bool write, uint64_t offset, size_t len, int result)
{
	if (!injects(write, offset, len))
		return result;
	inject.n--;
	inject.hit++;
	return inject.error;
}

static uint64_t fake_now(void)
{
	return fake.now;
}

static int fake_space(int fd, uint64_t *ret_available, uint64_t *ret_total)
{
	(void)fd;
	fake.looked++;
	*ret_available = fake.available;
	*ret_total = fake.total;
	return 0;
}

static int count_punch(int fd, uint64_t offset, uint64_t len)
{
	fake.punched++;
	return fake.punch_error ? fake.punch_error : swap_hooks_real.punch(fd, offset, len);
}

static int refuse_read(struct loop *l, struct loop_op *op, int fd, void *buf, size_t len, uint64_t offset)
{
	return fake.start_error ? fake.start_error : loop_read(l, op, fd, buf, len, offset);
}

static int refuse_write(struct loop *l, struct loop_op *op, int fd, const void *buf, size_t len,
			uint64_t offset)
{
	return fake.start_error ? fake.start_error : loop_write(l, op, fd, buf, len, offset);
}

static void inject_errors(bool reads, bool writes, int error, unsigned int n)
{
	inject.reads = reads;
	inject.writes = writes;
	inject.error = error;
	inject.n = n;
	inject.from = 0;
	inject.to = UINT64_MAX;
	inject.hit = 0;
}

/* ---- the swap under test ---- */

static void start_with(int fd, uint64_t max)
{
	fake.now = 1000 * SECOND;
	hooks = swap_hooks_real;
	hooks.result = inject_result;
	hooks.now_ns = fake_now;
	hooks.punch = count_punch;
	hooks.read = refuse_read;
	hooks.write = refuse_write;
	swap_set_hooks(&hooks);
	t_ok(loop_new(&loop, 64));
	t_ok(swap_new(&swap, fd, max));
}

static void start(uint64_t max)
{
	start_with(t_ok(swap_open_unnamed(t_tmpdir())), max);
}

static void stop(void)
{
	swap = swap_free(swap);
	loop = loop_free(loop);
}

static uint8_t byte_of(uint32_t tag, uint32_t at)
{
	return (uint8_t)(tag * 37 + at + (at >> 8) * 11);
}

struct write {
	struct swap_write w;
	uint32_t tag;
	bool done;
	int result;
	uint64_t loc;
	struct write *next;		/* to be started by done() */
};

static void write_done(struct swap_write *w, int result, uint64_t loc)
{
	struct write *x = container_of(w, struct write, w);

	t_assert(!x->done);
	x->done = true;
	x->result = result;
	x->loc = loc;
	if (x->next)
		t_ok(swap_write(swap, loop, &x->next->w));
}

static void write_init(struct write *x, uint64_t owner, uint32_t tag, uint32_t used)
{
	uint8_t *buf = aligned_alloc(4096, FLS_EXTENT);

	t_assert(buf);
	for (uint32_t k = 0; k < used; k++)
		buf[k] = byte_of(tag, k);
	*x = (struct write){
		.w = { .done = write_done, .buf = buf, .used = used, .owner = owner },
		.tag = tag,
	};
}

static void write_fini(struct write *x)
{
	free(x->w.buf);
}

static void run_until(const bool *done)
{
	while (!*done)
		t_ok(loop_round(loop, -1));
}

/* Write a segment and wait for it. */
static int put(uint64_t owner, uint32_t tag, uint32_t used, uint64_t *ret_loc)
{
	struct write x;
	int r;

	write_init(&x, owner, tag, used);
	r = swap_write(swap, loop, &x.w);
	if (!r) {
		run_until(&x.done);
		r = x.result;
		*ret_loc = x.loc;
	} else {
		t_assert(!x.done);
	}
	write_fini(&x);
	return r;
}

struct read {
	struct swap_read r;
	bool done;
	int result;
};

static void read_done(struct swap_read *r, int result)
{
	struct read *x = container_of(r, struct read, r);

	t_assert(!x->done);
	x->done = true;
	x->result = result;
}

/* Read with neighbours, check every byte that came; what came is left in got. */
static int get(uint64_t loc, uint32_t size, uint32_t before, uint32_t after, uint32_t cap, uint32_t tag,
	       struct read *got)
{
	uint8_t *buf = aligned_alloc(4096, page_up(max(cap, 4096u)));
	int r;

	t_assert(buf);
	*got = (struct read){
		.r = { .done = read_done, .loc = loc, .size = size, .before = before, .after = after,
		       .buf = buf, .cap = cap, .base = 77, .got = 77 },
	};
	r = swap_read(swap, loop, &got->r);
	if (!r) {
		run_until(&got->done);
		r = got->result;
	} else {
		t_assert(!got->done);
	}
	if (!r) {
		t_assert(page_aligned(got->r.base) && page_aligned(got->r.got));
		t_assert(got->r.base <= loc && got->r.base + got->r.got >= loc + size);
		t_le(got->r.got, cap);
		for (uint32_t k = 0; k < size; k++)
			t_eq(buf[loc - got->r.base + k], byte_of(tag, (uint32_t)(loc % MIB) + k));
	} else {
		t_eq(got->r.base, 77);
	}
	free(buf);
	return r;
}

static int get_alone(uint64_t loc, uint32_t size, uint32_t tag)
{
	struct read x;

	return get(loc, size, 0, 0, 12288, tag, &x);
}

static struct swap_stat stat_now(void)
{
	struct swap_stat st;

	swap_stat(swap, &st);
	return st;
}

static uint64_t disk_bytes(int fd)
{
	struct stat st;

	t_sys(fstat(fd, &st));
	return (uint64_t)st.st_blocks * 512;
}

/* ---- being made ---- */

static void an_unnamed_file_is_private_and_has_no_name(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir()));
	struct stat st;

	t_sys(fstat(fd, &st));
	t_eq(st.st_nlink, 0);
	t_eq(st.st_mode & 07777, 0600);
	t_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	t_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static int no_tmpfile(const char *dir)
{
	(void)dir;
	return -EOPNOTSUPP;
}

static void without_o_tmpfile_a_file_is_made_and_unlinked(void)
{
	struct stat st;
	int fd;

	hooks = swap_hooks_real;
	hooks.tmpfile = no_tmpfile;
	swap_set_hooks(&hooks);
	fd = t_ok(swap_open_unnamed(t_tmpdir()));
	t_sys(fstat(fd, &st));
	t_eq(st.st_nlink, 0);
	t_eq(st.st_mode & 07777, 0600);
	t_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	t_sys(rmdir(t_tmpdir()));		/* nothing is left in it */
	t_fails(swap_open_unnamed(t_tmpdir()), ENOENT);
	t_sys(mkdir(t_tmpdir(), 0700));
}

static void no_directory_no_file(void)
{
	t_fails(swap_open_unnamed("/nonexistent/faultline"), ENOENT);
	t_fails(swap_open_unnamed("/dev/null"), ENOTDIR);
}

static void what_cannot_be_a_swap_file_is_refused_and_closed(void)
{
	struct swap *s = NULL;
	char path[200];
	int fd, p[2];

	t_fails(swap_new(&s, -1, 8 * MIB), EBADF);

	t_sys(pipe2(p, O_CLOEXEC));
	t_fails(swap_new(&s, p[0], 8 * MIB), EINVAL);
	t_eq(fcntl(p[0], F_GETFD), -1);
	close(p[1]);

	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	fd = t_sys(open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
	t_fails(swap_new(&s, fd, 8 * MIB), EBADF);
	t_eq(fcntl(fd, F_GETFD), -1);

	fd = t_ok(swap_open_unnamed(t_tmpdir()));
	t_fails(swap_new(&s, fd, MIB - 1), EINVAL);
	t_eq(fcntl(fd, F_GETFD), -1);
	t_assert(!s);
	t_assert(!swap_free(NULL));
}

static void a_file_for_appending_is_written_where_it_should(void)
{
	char path[200];
	uint64_t loc;

	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	start_with(t_sys(open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)), 8 * MIB);
	t_ok(put(1, 1, 8000, &loc));
	t_ok(put(1, 2, 8000, &loc));
	t_eq(loc, MIB);
	t_ok(get_alone(loc + 80, 800, 2));
	stop();
}

static void a_file_with_contents_is_not_touched_before_the_first_write(void)
{
	char path[200], text[5] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_eq(write(fd, "mine", 4), 4);
	start_with(fd, 8 * MIB);
	fd = t_sys(open(path, O_RDONLY | O_CLOEXEC));
	t_eq(read(fd, text, sizeof(text)), 4);
	t_streq(text, "mine");
	close(fd);
	stop();
}

static void an_empty_file_is_still_empty_when_it_was_probed(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd));
	struct stat st;

	start_with(fd, 8 * MIB);
	t_sys(fstat(copy, &st));
	t_eq(st.st_size, 0);
	close(copy);
	stop();
}

static void making_one_survives_each_failing_allocation(void)
{
	struct swap *s = NULL;
	int r = -1;

	for (unsigned int n = 0; fail_alloc(n, swap_new(&s, t_ok(swap_open_unnamed(t_tmpdir())), 8 * MIB), &r); n++) {
		if (r)
			t_fails(r, ENOMEM);
		s = swap_free(r ? NULL : s);
	}
	t_ok(r);
	swap_free(s);
}

/* ---- writing and reading ---- */

static void records_read_back(void)
{
	uint64_t loc[5];

	start(8 * MIB);
	for (uint32_t k = 0; k < 5; k++)
		t_ok(put(1, k, 8 * (100 + 20000 * k), &loc[k]));
	for (uint32_t k = 0; k < 5; k++) {
		uint32_t used = 8 * (100 + 20000 * k);

		t_ok(get_alone(loc[k], 80, k));
		t_ok(get_alone(loc[k] + used - 800, 800, k));
		t_ok(get_alone(loc[k] + used / 16 * 8, 40, k));
	}
	stop();
}

static void the_largest_record_lies_on_three_pages(void)
{
	uint64_t loc;
	struct read x;

	start(8 * MIB);
	t_ok(put(1, 9, FLS_EXTENT, &loc));
	t_ok(get(loc + 4088, FLS_RECORD_MAX, 0, 0, 12288, 9, &x));
	t_eq(x.r.base, loc);
	t_eq(x.r.got, 12288);
	t_fails(get(loc + 4088, FLS_RECORD_MAX, 0, 0, 8192, 9, &x), EINVAL);
	t_fails(get(loc + 4088, FLS_RECORD_MAX, 0, 0, 12287, 9, &x), EINVAL);
	stop();
}

static void neighbours_are_read_as_far_as_buffer_and_segment_go(void)
{
	uint64_t a, loc;
	struct read x;

	start(8 * MIB);
	t_ok(put(1, 1, FLS_EXTENT, &a));
	t_ok(put(1, 2, 100000, &loc));		/* 25 pages, the last not full */
	t_ok(put(1, 3, FLS_EXTENT, &a));

	t_ok(get(loc + 40960, 80, 8192, 8192, 65536, 2, &x));
	t_eq(x.r.base, loc + 32768);
	t_eq(x.r.got, 5 * 4096);			/* 8192 after the record's end, whole pages */
	t_ok(get(loc + 40960, 80, 1, 1, 65536, 2, &x));
	t_eq(x.r.base, loc + 36864);
	t_eq(x.r.got, 8192);
	t_ok(get(loc + 4096, 80, UINT32_MAX, UINT32_MAX, FLS_EXTENT, 2, &x));
	t_eq(x.r.base, loc);			/* not into the segment before */
	t_eq(x.r.got, 25 * 4096);		/* nor behind what was written */
	t_ok(get(loc + 40960, 80, 65536, 65536, 5 * 4096, 2, &x));
	t_eq(x.r.base, loc + 32768);		/* half of the room each */
	t_eq(x.r.got, 5 * 4096);
	t_ok(get(loc + 40960, 80, 0, 65536, 5 * 4096, 2, &x));
	t_eq(x.r.base, loc + 40960);
	t_eq(x.r.got, 5 * 4096);
	t_ok(get(loc + 40960, 80, 65536, 0, 5 * 4096, 2, &x));
	t_eq(x.r.base, loc + 24576);
	t_eq(x.r.got, 5 * 4096);
	t_ok(get(loc + 40960, 80, 65536, 65536, 2 * 4096 - 1, 2, &x));
	t_eq(x.r.got, 4096);
	t_ok(get(0, 80, 65536, 0, 65536, 1, &x));
	t_eq(x.r.base, 0);
	t_ok(get(loc, 100000, 0, 0, 25 * 4096, 2, &x));	/* a whole segment, to clean it */
	stop();
}

static void reads_of_what_is_not_there_are_refused(void)
{
	uint64_t loc;
	struct read x;

	start(8 * MIB);
	t_fails(get_alone(0, 80, 1), EINVAL);
	t_ok(put(1, 1, 8000, &loc));
	t_fails(get_alone(loc + 4, 80, 1), EINVAL);
	t_fails(get_alone(loc, 0, 1), EINVAL);
	t_fails(get_alone(loc + 7928, 80, 1), EINVAL);
	t_fails(get_alone(loc + 8000, 8, 1), EINVAL);
	t_fails(get_alone(loc, UINT32_MAX, 1), EINVAL);
	t_fails(get_alone(loc + MIB, 80, 1), EINVAL);
	t_fails(get_alone(UINT64_MAX - 7, 80, 1), EINVAL);
	t_fails(get_alone(UINT64_C(1) << 52, 80, 1), EINVAL);
	t_fails(get(loc, 80, 0, 0, 0, 1, &x), EINVAL);
	x.r.buf = (uint8_t *)(uintptr_t)8;
	t_fails(swap_read(swap, loop, &x.r), EINVAL);
	swap_kill(swap, loc, 8000);
	t_fails(get_alone(loc, 80, 1), EINVAL);
	stop();
}

static void writes_that_cannot_be_are_refused(void)
{
	struct write x;

	start(8 * MIB);
	write_init(&x, 1, 1, 800);
	x.w.used = 0;
	t_fails(swap_write(swap, loop, &x.w), EINVAL);
	x.w.used = 804;
	t_fails(swap_write(swap, loop, &x.w), EINVAL);
	x.w.used = FLS_EXTENT + 8;
	t_fails(swap_write(swap, loop, &x.w), EINVAL);
	x.w.used = 800;
	x.w.buf = (uint8_t *)x.w.buf + 8;
	t_fails(swap_write(swap, loop, &x.w), EINVAL);
	x.w.buf = (uint8_t *)x.w.buf - 8;
	t_eq(stat_now().used, 0);
	write_fini(&x);
	stop();
}

static void counters_are_exact(void)
{
	struct swap_stat st;
	struct write x;
	struct read y;
	uint64_t a, b;

	start(8 * MIB);
	t_ok(put(1, 1, 8000, &a));
	t_ok(put(1, 2, FLS_EXTENT, &b));
	t_ok(get(a, 80, 0, 8192, 65536, 1, &y));
	t_ok(get_alone(b + 4088, 80, 2));
	write_init(&x, 1, 3, 800);
	t_ok(swap_write(swap, loop, &x.w));
	st = stat_now();
	t_eq(st.writes_in_flight, 1);
	t_eq(st.used, 3 * MIB);
	run_until(&x.done);
	write_fini(&x);
	st = stat_now();
	t_eq(st.writes_in_flight, 0);
	t_eq(st.written, 8192 + MIB + 4096);
	t_eq(st.read, 8192 + 8192);
	t_eq(st.live, 8000 + MIB + 800);
	t_eq(st.file, 2 * MIB + 4096);
	t_eq(st.health, SWAP_OK);
	t_eq(st.error, 0);
	swap_kill(swap, b, 800);
	t_eq(stat_now().live, 8000 + MIB);
	swap_kill(swap, a, 8000);
	t_eq(stat_now().used, 2 * MIB);
	stop();
}

static void four_writes_are_in_flight_at_most(void)
{
	struct write x[SWAP_WRITES + 1];

	start(8 * MIB);
	for (uint32_t k = 0; k <= SWAP_WRITES; k++)
		write_init(&x[k], 1, k, 80000);
	for (uint32_t k = 0; k < SWAP_WRITES; k++)
		t_ok(swap_write(swap, loop, &x[k].w));
	t_eq(stat_now().writes_in_flight, SWAP_WRITES);
	t_fails(swap_write(swap, loop, &x[SWAP_WRITES].w), EBUSY);
	for (uint32_t k = 0; k < SWAP_WRITES; k++)
		run_until(&x[k].done);
	t_assert(!x[SWAP_WRITES].done);
	t_ok(swap_write(swap, loop, &x[SWAP_WRITES].w));
	run_until(&x[SWAP_WRITES].done);
	for (uint32_t k = 0; k <= SWAP_WRITES; k++) {
		t_ok(x[k].result);
		t_ok(get_alone(x[k].loc + 40000, 800, k));
		write_fini(&x[k]);
	}
	stop();
}

static void a_write_may_be_started_where_one_is_done(void)
{
	struct write x[3];

	start(8 * MIB);
	for (uint32_t k = 0; k < 3; k++) {
		write_init(&x[k], 1, k, 80000);
		x[k].next = k < 2 ? &x[k + 1] : NULL;
	}
	t_ok(swap_write(swap, loop, &x[0].w));
	run_until(&x[2].done);
	for (uint32_t k = 0; k < 3; k++) {
		t_ok(get_alone(x[k].loc, 80, k));
		write_fini(&x[k]);
	}
	stop();
}

/* Behind the records there is what the heap had: it does not go to the disk. */
static void the_rest_of_the_last_page_is_cleared(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd));
	uint8_t *page = aligned_alloc(4096, 4096);
	struct write x;

	start_with(fd, 8 * MIB);
	write_init(&x, 1, 1, 800);
	memset((uint8_t *)x.w.buf + 800, 0xee, 8192);
	t_ok(swap_write(swap, loop, &x.w));
	run_until(&x.done);
	t_eq(pread(copy, page, 4096, 0), 4096);
	for (int k = 800; k < 4096; k++)
		t_eq(page[k], 0);
	write_fini(&x);
	free(page);
	close(copy);
	stop();
}

static void freed_segments_are_used_again_before_the_file_grows(void)
{
	uint64_t loc[6], again;

	start(8 * MIB);
	for (uint32_t k = 0; k < 6; k++) {
		t_ok(put(k % 2, k, 8000, &loc[k]));
		t_eq(loc[k], k * MIB);
	}
	swap_kill(swap, loc[1], 8000);
	swap_kill(swap, loc[3], 7920);
	swap_kill(swap, loc[3] + 7920, 80);
	t_ok(put(5, 33, 8000, &again));
	t_eq(again, loc[3]);
	t_ok(put(5, 11, 8000, &again));
	t_eq(again, loc[1]);
	t_eq(stat_now().file, 5 * MIB + 8192);
	t_ok(get_alone(loc[3], 80, 33));
	t_ok(get_alone(loc[1], 80, 11));
	t_ok(get_alone(loc[2], 80, 2));
	stop();
}

/* ---- cleaning ---- */

static void a_segment_to_clean_is_the_owners_and_its_emptiest(void)
{
	uint64_t a, b, c, loc = 77;
	uint32_t used = 77;

	start(8 * MIB);
	t_ok(put(1, 1, 80000, &a));
	t_ok(put(2, 2, 80000, &b));
	t_ok(put(1, 3, 80000, &c));
	swap_kill(swap, a, 40000);
	swap_kill(swap, b, 79000);
	swap_kill(swap, c, 60000);
	t_assert(!swap_clean_begin(swap, 3, UINT32_MAX, &loc, &used));
	t_assert(!swap_clean_begin(swap, 1, 19992, &loc, &used));
	t_eq(loc, 77);
	t_assert(swap_clean_begin(swap, 1, 20000, &loc, &used));
	t_eq(loc, c);
	t_eq(used, 80000);
	t_assert(swap_clean_begin(swap, 1, UINT32_MAX, &loc, &used));
	t_eq(loc, a);
	t_assert(!swap_clean_begin(swap, 1, UINT32_MAX, &loc, &used));
	swap_clean_end(swap, a);
	swap_clean_end(swap, c);
	t_assert(swap_clean_begin(swap, 2, UINT32_MAX, &loc, &used));
	t_eq(loc, b);
	swap_clean_end(swap, b);
	t_eq(stat_now().used, 3 * MIB);
	stop();
}

/* Were it used anew, its reader would take the new bytes for the old ones. */
static void a_segment_that_is_being_cleaned_is_not_reused(void)
{
	uint64_t a, b, loc;
	uint32_t used;

	start(2 * MIB);
	t_ok(put(1, 1, 80000, &a));
	t_ok(put(1, 2, 80000, &b));
	t_fails(put(1, 3, 80000, &loc), ENOSPC);
	t_assert(swap_clean_begin(swap, 1, UINT32_MAX, &loc, &used));
	swap_kill(swap, loc, 80000);
	t_eq(stat_now().health, SWAP_FULL);
	t_ok(get_alone(loc + 8000, 80, loc == a ? 1 : 2));
	swap_clean_end(swap, loc);
	t_eq(stat_now().health, SWAP_OK);
	t_eq(stat_now().used, MIB);
	t_ok(put(1, 3, 80000, &b));
	t_eq(b, loc);
	stop();
}

/* ---- full ---- */

static void a_full_swap_says_so_at_once_and_heals_when_a_segment_is_freed(void)
{
	uint64_t a, b, c = 77;

	start(2 * MIB + 4096);
	t_ok(put(1, 1, 8000, &a));
	t_ok(put(1, 2, 8000, &b));
	t_fails(put(1, 3, 8000, &c), ENOSPC);
	t_eq(c, 77);
	t_eq(stat_now().health, SWAP_FULL);
	t_eq(stat_now().error, -ENOSPC);
	swap_kill(swap, a, 8000);
	t_eq(stat_now().health, SWAP_OK);
	t_eq(stat_now().error, 0);
	t_ok(put(1, 3, 8000, &c));
	t_eq(c, a);
	stop();
}

static void unmount(const char *path)
{
	umount2(path, MNT_DETACH);
}

static void a_full_file_system_is_not_an_error_that_loses_anything(void)
{
	uint64_t loc[16], again;
	uint32_t n = 0;
	int r, fd, copy;

	if (geteuid())
		t_skip("only root can mount a file system");
	if (mount("faultline-test", t_tmpdir(), "tmpfs", MS_NOSUID | MS_NODEV, "size=8704k,mode=0700") < 0)
		t_skip("cannot mount a tmpfs: %s", strerror(errno));
	t_cleanup(unmount, t_tmpdir());
	fd = t_ok(swap_open_unnamed(t_tmpdir()));
	copy = t_sys(dup(fd));
	start_with(fd, 64 * MIB);
	while ((r = put(1, n, FLS_EXTENT, &again)) == 0) {
		t_lt(n, 8);
		loc[n++] = again;
	}
	t_fails(r, ENOSPC);			/* after half of it */
	t_eq(n, 8);
	t_eq(stat_now().health, SWAP_FULL);
	t_eq(stat_now().error, -ENOSPC);
	t_eq(stat_now().used, n * MIB);
	t_le(disk_bytes(copy), n * MIB);		/* what was half written is given back */
	t_fails(put(1, 99, FLS_EXTENT, &again), ENOSPC);	/* the back-off */
	for (uint32_t k = 0; k < n; k++)
		t_ok(get_alone(loc[k] + 8 * 12345, 800, k));

	swap_kill(swap, loc[3], FLS_EXTENT);
	t_ok(put(1, 33, FLS_EXTENT, &again));
	t_eq(again, loc[3]);
	t_ok(get_alone(again, 800, 33));
	t_eq(stat_now().health, SWAP_OK);
	close(copy);
	stop();
}

static void the_back_off_doubles_up_to_a_minute(void)
{
	static const unsigned int wait[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
	uint64_t loc;

	start(8 * MIB);
	for (unsigned int k = 0; k < ARRAY_SIZE(wait); k++) {
		inject_errors(false, true, -ENOSPC, 1);
		t_fails(put(1, 1, 8000, &loc), ENOSPC);
		t_eq(inject.hit, 1);
		fake.now += wait[k] * SECOND - 1;
		t_fails(put(1, 1, 8000, &loc), ENOSPC);
		t_eq(stat_now().used, 0);
		fake.now++;
	}
	inject_errors(false, true, -EDQUOT, 1);
	t_fails(put(1, 1, 8000, &loc), ENOSPC);
	t_eq(stat_now().error, -EDQUOT);
	fake.now += 60 * SECOND;
	t_ok(put(1, 1, 8000, &loc));
	t_eq(stat_now().health, SWAP_OK);
	inject_errors(false, true, -EFBIG, 1);
	t_fails(put(1, 1, 8000, &loc), ENOSPC);
	fake.now += SECOND;			/* from the start again */
	t_ok(put(1, 1, 8000, &loc));
	stop();
}

/* Those in flight when the first one failed tell nothing new. */
static void writes_that_fail_together_back_off_once(void)
{
	struct write x[SWAP_WRITES];
	uint64_t loc;

	start(8 * MIB);
	inject_errors(false, true, -ENOSPC, SWAP_WRITES);
	for (uint32_t k = 0; k < SWAP_WRITES; k++) {
		write_init(&x[k], 1, k, 8000);
		t_ok(swap_write(swap, loop, &x[k].w));
	}
	for (uint32_t k = 0; k < SWAP_WRITES; k++) {
		run_until(&x[k].done);
		t_fails(x[k].result, ENOSPC);
		write_fini(&x[k]);
	}
	t_eq(stat_now().used, 0);
	fake.now += SECOND;
	t_ok(put(1, 1, 8000, &loc));
	stop();
}

static void the_file_system_keeps_its_reserve(void)
{
	uint64_t loc, freed;

	fake.total = 10 * GIB;			/* reserve: 1 GiB */
	fake.available = 2 * GIB;
	hooks = swap_hooks_real;
	start(64 * MIB);			/* with a limit nobody looks */
	hooks.space = fake_space;
	t_ok(put(1, 1, 8000, &loc));
	t_eq(fake.looked, 0);
	stop();

	start(64 * MIB);
	stop();
	hooks.space = fake_space;
	t_ok(loop_new(&loop, 64));
	t_ok(swap_new(&swap, t_ok(swap_open_unnamed(t_tmpdir())), UINT64_MAX));
	fake.available = GIB + 2 * MIB + 4096;
	t_ok(put(1, 1, 8000, &freed));
	t_ok(put(1, 2, 8000, &loc));
	fake.available -= 2 * MIB;
	t_fails(put(1, 3, 8000, &loc), ENOSPC);
	t_eq(stat_now().health, SWAP_FULL);
	/* A segment that has its blocks can be used all the same. */
	swap_kill(swap, freed, 8000);
	t_ok(put(1, 4, 8000, &loc));
	t_eq(loc, freed);
	t_fails(put(1, 5, 8000, &loc), ENOSPC);
	fake.available = 9 * GIB;
	t_fails(put(1, 5, 8000, &loc), ENOSPC);
	fake.now += SECOND;
	t_ok(put(1, 5, 8000, &loc));

	/* The answer holds for 64 segments. */
	fake.looked = 0;
	for (uint32_t k = 0; k < 63; k++)
		t_ok(put(1, k, 800, &loc));
	t_eq(fake.looked, 0);
	t_ok(put(1, 1, 800, &loc));
	t_eq(fake.looked, 1);

	/* Unless the file system says otherwise. */
	inject_errors(false, true, -ENOSPC, 1);
	t_fails(put(1, 1, 800, &loc), ENOSPC);
	fake.now += SECOND;
	t_ok(put(1, 1, 800, &loc));
	t_eq(fake.looked, 2);
	stop();
}

static void the_reserve_of_a_large_file_system_is_a_twentieth(void)
{
	uint64_t loc;

	start(64 * MIB);
	stop();
	hooks.space = fake_space;
	fake.total = 100 * GIB;
	fake.available = 5 * GIB + MIB;
	t_ok(loop_new(&loop, 64));
	t_ok(swap_new(&swap, t_ok(swap_open_unnamed(t_tmpdir())), UINT64_MAX));
	t_ok(put(1, 1, 8000, &loc));
	fake.available -= MIB;
	t_fails(put(1, 1, 8000, &loc), ENOSPC);
	fake.available = 4 * GIB;		/* others have used some of the reserve */
	fake.now += SECOND;
	t_fails(put(1, 1, 8000, &loc), ENOSPC);
	stop();
}

/* ---- giving disk space back ---- */

static void make_warm(uint32_t n)
{
	uint64_t *loc = calloc(n, sizeof(*loc));

	t_assert(loc);
	for (uint32_t k = 0; k < n; k++)
		t_ok(put(1, k, 4096, &loc[k]));
	for (uint32_t k = 0; k < n; k++)
		swap_kill(swap, loc[k], 4096);
	free(loc);
}

static void free_segments_give_their_blocks_back_when_there_are_many(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd));
	uint64_t loc;

	start_with(fd, 512 * MIB);
	make_warm(40);
	t_eq(fake.punched, 0);
	t_ge(disk_bytes(copy), 40 * 4096);
	t_eq(swap_trim(swap, 3), 3);
	t_eq(swap_trim(swap, 100), 5);
	t_eq(swap_trim(swap, 100), 0);
	t_le(disk_bytes(copy), 32 * 4096 + METADATA);

	/* Writing does so too, ... */
	make_warm(60);
	fake.punched = 0;
	t_ok(put(1, 1, 4096, &loc));
	t_eq(fake.punched, 4);

	/* ... and killing, only when there are very many. */
	fake.punched = 0;
	while (swap_trim(swap, 100))
		;
	fake.punched = 0;
	make_warm(128);
	t_eq(fake.punched, 0);
	make_warm(140);
	t_gt(fake.punched, 0);
	t_le(fake.punched, 140);
	t_le(disk_bytes(copy), 129 * 4096 + METADATA);
	close(copy);
	stop();
}

static void where_holes_cannot_be_punched_nobody_tries_twice(void)
{
	start(512 * MIB);
	make_warm(40);
	fake.punch_error = -EIO;
	t_eq(swap_trim(swap, 100), 0);
	t_eq(fake.punched, 1);
	fake.punch_error = -EOPNOTSUPP;
	t_eq(swap_trim(swap, 100), 0);
	t_eq(fake.punched, 2);
	t_eq(swap_trim(swap, 100), 0);
	t_eq(fake.punched, 2);
	stop();
}

/* ---- errors of writing ---- */

static void a_write_error_that_passes_is_not_seen(void)
{
	uint64_t loc;

	start(2 * MIB);
	inject_errors(false, true, -EIO, 3);
	t_ok(put(1, 1, 80000, &loc));
	t_eq(inject.hit, 3);
	t_eq(stat_now().health, SWAP_OK);
	t_eq(loc, 0);
	t_ok(get_alone(loc + 8000, 800, 1));
	t_eq(stat_now().used, MIB);
	t_eq(stat_now().written, page_up(80000));
	stop();
}

static void a_bad_segment_is_left_alone_for_good(void)
{
	uint64_t loc[3], other;

	start(4 * MIB);
	inject_errors(false, true, -EIO, UINT32_MAX);
	inject.from = MIB + 40960;			/* one page of the second segment */
	inject.to = MIB + 45056;
	t_ok(put(1, 0, 80000, &loc[0]));
	t_ok(put(1, 1, 80000, &loc[1]));
	t_eq(loc[1], 2 * MIB);
	t_eq(inject.hit, 4);
	t_eq(stat_now().health, SWAP_OK);
	t_eq(stat_now().used, 2 * MIB);
	inject_errors(false, true, 0, 0);
	t_ok(put(1, 2, 80000, &loc[2]));
	t_eq(loc[2], 3 * MIB);
	t_fails(put(1, 3, 80000, &other), ENOSPC);	/* not the second, though it works now */
	for (uint32_t k = 0; k < 3; k++) {
		t_ok(get_alone(loc[k] + 40960, 800, k));
		swap_kill(swap, loc[k], 80000);
	}
	for (uint32_t k = 0; k < 3; k++) {
		t_ok(put(1, k, 80000, &other));
		t_ne(other, MIB);
	}
	t_fails(put(1, 3, 80000, &other), ENOSPC);
	stop();
}

static void a_device_that_fails_heals_and_has_lost_no_segment(void)
{
	uint64_t loc;

	start(3 * MIB);
	for (uint32_t k = 0; k < 5; k++) {
		inject_errors(false, true, -EIO, UINT32_MAX);
		t_fails(put(1, 1, 80000, &loc), EIO);
		t_ge(inject.hit, 4);
		t_eq(stat_now().health, SWAP_FAILED);
		t_eq(stat_now().error, -EIO);
		t_eq(stat_now().used, 0);
		inject.hit = 0;
		t_fails(put(1, 1, 80000, &loc), EIO);		/* at once */
		t_eq(inject.hit, 0);
		fake.now += 60 * SECOND;
	}
	inject_errors(false, true, 0, 0);
	for (uint32_t k = 0; k < 3; k++) {
		t_ok(put(1, k, 80000, &loc));
		t_eq(stat_now().health, SWAP_OK);
		t_ok(get_alone(loc, 80, k));
	}
	t_eq(stat_now().used, 3 * MIB);
	t_fails(put(1, 3, 80000, &loc), ENOSPC);
	stop();
}

/* With one segment there is nothing to compare with: it may be the device. */
static void the_only_segment_is_not_given_up(void)
{
	uint64_t loc;

	start(MIB);
	inject_errors(false, true, -EIO, 4);
	t_fails(put(1, 1, 80000, &loc), EIO);
	t_eq(inject.hit, 4);
	fake.now += SECOND;
	t_ok(put(1, 1, 80000, &loc));
	t_ok(get_alone(loc, 80, 1));
	stop();
}

static void other_errors_count_as_failures_of_the_device(void)
{
	uint64_t loc;

	start(8 * MIB);
	inject_errors(false, true, -ENXIO, UINT32_MAX);
	t_fails(put(1, 1, 80000, &loc), EIO);
	t_eq(stat_now().error, -ENXIO);
	t_eq(stat_now().health, SWAP_FAILED);
	inject_errors(false, true, 0, UINT32_MAX);		/* wrote nothing, and no error */
	fake.now += SECOND;
	t_fails(put(1, 1, 80000, &loc), EIO);
	t_eq(stat_now().error, -EIO);
	stop();
}

/* An error, then no space for the second try. */
static void an_error_and_no_space_lose_no_segment(void)
{
	uint64_t loc;

	start(2 * MIB);
	inject_errors(false, true, -EIO, 4);
	inject.to = MIB;
	hooks.result = inject_result;
	t_ok(put(1, 1, 80000, &loc));
	t_eq(loc, MIB);
	swap_kill(swap, loc, 80000);
	stop();

	start(2 * MIB);
	inject_errors(false, true, -EIO, 4);
	t_ok(put(1, 7, 800, &loc));			/* the first goes to the second place */
	t_eq(loc, MIB);
	t_fails(put(1, 1, 80000, &loc), ENOSPC);	/* the first place is bad */
	swap_kill(swap, MIB, 800);
	t_ok(put(1, 1, 80000, &loc));
	stop();
}

static void cancelled_writes_leave_no_trace(void)
{
	uint64_t loc;

	start(2 * MIB);
	inject_errors(false, true, -ECANCELED, 1);
	t_fails(put(1, 1, 80000, &loc), ECANCELED);
	t_eq(stat_now().health, SWAP_OK);
	t_eq(stat_now().used, 0);
	t_ok(put(1, 1, 80000, &loc));
	t_ok(put(1, 2, 80000, &loc));
	stop();
}

static void what_cannot_be_started_returns_at_once(void)
{
	uint64_t loc, other;

	start(2 * MIB);
	t_ok(put(1, 1, 80000, &loc));
	fake.start_error = -ENOMEM;
	t_fails(put(1, 1, 80000, &other), ENOMEM);
	t_fails(get_alone(loc, 80, 1), ENOMEM);
	t_eq(stat_now().used, MIB);
	t_eq(stat_now().writes_in_flight, 0);
	t_eq(stat_now().health, SWAP_OK);
	fake.start_error = 0;
	t_ok(put(1, 1, 80000, &other));
	t_ok(get_alone(loc, 80, 1));
	stop();
}

static void each_failing_allocation_is_an_error_and_no_more(void)
{
	struct write x;
	struct read y;
	int r = -1;

	start(8 * MIB);
	write_init(&x, 1, 1, 80000);
	for (unsigned int n = 0; fail_alloc(n, swap_write(swap, loop, &x.w), &r); n++) {
		t_fails(r, ENOMEM);
		t_eq(stat_now().writes_in_flight, 0);
		t_eq(stat_now().used, 0);
	}
	t_ok(r);
	run_until(&x.done);
	t_ok(x.result);
	y.r = (struct swap_read){ .done = read_done, .loc = x.loc, .size = 800, .buf = x.w.buf, .cap = 12288 };
	y.done = false;
	for (unsigned int n = 0; fail_alloc(n, swap_read(swap, loop, &y.r), &r); n++)
		t_fails(r, ENOMEM);
	t_ok(r);
	run_until(&y.done);
	t_ok(y.result);
	write_fini(&x);
	stop();
}

/* ---- transfers that take several goes ---- */

static int split_result(bool write, uint64_t offset, size_t len, int result)
{
	static unsigned int n;

	(void)write;
	(void)offset;
	switch (n++ % 4) {
	case 0:
		return -EINTR;
	case 1:
		return -EAGAIN;
	case 2:
		return len > 4096 ? 4096 + 100 : result;
	default:
		return result;
	}
}

static void short_and_interrupted_transfers_are_completed(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd)), flags;
	uint64_t loc;
	struct read x;

	start_with(fd, 8 * MIB);
	flags = fcntl(copy, F_GETFL);
	hooks.result = split_result;
	t_ok(put(1, 1, 80000, &loc));
	t_ok(get(loc + 8000, 800, 40000, 80000, 80 * 1024, 1, &x));
	t_ge(x.r.got, 80000);
	hooks.result = inject_result;
	t_ok(get(loc, 80000, 0, 0, 80 * 1024, 1, &x));		/* it is on the disk, too */
	t_eq(fcntl(copy, F_GETFL), flags);			/* nothing was ever unaligned */
	close(copy);
	stop();
}

static int crumbs(bool write, uint64_t offset, size_t len, int result)
{
	(void)offset;
	(void)len;
	return write ? result : 512;
}

/* Less than a page each time: a direct read that makes no way is an error, not a loop. */
static void transfers_that_make_no_progress_end(void)
{
	uint64_t loc;
	int r;

	start(8 * MIB);
	t_ok(put(1, 1, 80000, &loc));
	hooks.result = crumbs;
	r = get_alone(loc, 800, 1);
	if (r)			/* direct; else the crumbs add up */
		t_fails(r, EIO);
	stop();
}

/* ---- O_DIRECT ---- */

static bool not_direct(int fd)
{
	(void)fd;
	return false;
}

static void without_o_direct_all_is_the_same(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd));
	uint64_t loc[4];
	struct read x;

	start(MIB);
	stop();
	hooks.direct_works = not_direct;
	t_ok(loop_new(&loop, 64));
	t_ok(swap_new(&swap, fd, 8 * MIB));
	t_eq(fcntl(copy, F_GETFL) & O_DIRECT, 0);
	for (uint32_t k = 0; k < 4; k++)
		t_ok(put(1, k, 80000, &loc[k]));
	for (uint32_t k = 0; k < 4; k++)
		t_ok(get(loc[k] + 8000, 800, 4096, 4096, 65536, k, &x));
	hooks.result = split_result;
	t_ok(put(1, 5, 80000, &loc[0]));
	t_ok(get(loc[0], 80000, 0, 0, 80 * 1024, 5, &x));
	close(copy);
	stop();
}

static void a_file_system_that_refuses_o_direct_late_is_written_without(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd));
	uint64_t loc;

	start_with(fd, 8 * MIB);
	if (!(fcntl(copy, F_GETFL) & O_DIRECT))
		t_skip("%s is on a file system without O_DIRECT", t_tmpdir());
	inject_errors(false, true, -EINVAL, 1);
	t_ok(put(1, 1, 80000, &loc));
	t_eq(inject.hit, 1);
	t_eq(fcntl(copy, F_GETFL) & O_DIRECT, 0);
	t_ok(get_alone(loc + 8000, 800, 1));
	t_eq(stat_now().health, SWAP_OK);
	close(copy);
	stop();
}

/* ---- errors of reading ---- */

static void a_read_error_that_passes_is_not_seen(void)
{
	uint64_t loc;

	start(8 * MIB);
	t_ok(put(1, 1, 80000, &loc));
	inject_errors(true, false, -EIO, 3);
	t_ok(get_alone(loc + 8000, 800, 1));
	t_eq(inject.hit, 3);
	t_eq(stat_now().health, SWAP_OK);
	stop();
}

static void a_page_that_cannot_be_read_is_an_error(void)
{
	uint64_t loc;

	start(8 * MIB);
	t_ok(put(1, 1, 80000, &loc));
	inject_errors(true, false, -EIO, UINT32_MAX);
	inject.from = loc + 8192;
	inject.to = loc + 12288;
	t_fails(get_alone(loc + 8192, 800, 1), EIO);
	t_eq(inject.hit, 4);
	t_eq(stat_now().read, 0);
	t_ok(get_alone(loc + 12288, 800, 1));
	t_eq(stat_now().health, SWAP_OK);	/* that is about writing */
	stop();
}

static void a_neighbour_that_cannot_be_read_does_not_matter(void)
{
	uint64_t loc;
	struct read x;

	start(8 * MIB);
	t_ok(put(1, 1, 80000, &loc));
	inject_errors(true, false, -EIO, UINT32_MAX);
	inject.from = loc + 16384;
	inject.to = loc + 20480;
	t_ok(get(loc + 8192, 800, 65536, 65536, FLS_EXTENT, 1, &x));
	t_eq(x.r.base, loc + 8192);
	t_eq(x.r.got, 4096);
	stop();
}

/* It may be a client's file: that is its loss. */
static void a_file_that_was_cut_is_an_error(void)
{
	int fd = t_ok(swap_open_unnamed(t_tmpdir())), copy = t_sys(dup(fd));
	uint64_t loc;
	struct read x;

	start_with(fd, 8 * MIB);
	t_ok(put(1, 1, 80000, &loc));
	t_sys(ftruncate(copy, 40960));
	t_fails(get_alone(loc + 40960, 80, 1), EIO);
	t_fails(get(loc + 36864, 8000, 0, 0, 65536, 1, &x), EIO);
	t_ok(get(loc + 36864, 80, 65536, 65536, FLS_EXTENT, 1, &x));
	t_eq(x.r.base + x.r.got, loc + 40960);
	close(copy);
	stop();
}

/* ---- a long random life ---- */

#define LIFE_SEGMENTS	24u
#define LIFE_RECORD	4000u			/* bytes; they cross pages */
#define LIFE_USED	(LIFE_RECORD * 40)

struct life {			/* of one owner, with a thread and a loop of its own */
	uint64_t owner, seed;
	struct loop *loop;
	struct {
		bool full;
		uint64_t loc;
		uint32_t tag, n;	/* records that live: the last n */
	} segment[LIFE_SEGMENTS];
	uint64_t n_written, n_read, n_refused, n_cleaned;
	int bad;			/* line at which it went wrong */
};

static uint64_t life_random(struct life *f, uint64_t below)
{
	f->seed += UINT64_C(0x9e3779b97f4a7c15);
	return fls_mix(f->seed) % below;
}

struct life_write {
	struct swap_write w;
	bool done;
	int result;
	uint64_t loc;
};

static void life_written(struct swap_write *w, int result, uint64_t loc)
{
	struct life_write *x = container_of(w, struct life_write, w);

	x->done = true;
	x->result = result;
	x->loc = loc;
}

static void life_write(struct life *f, uint32_t k, uint8_t *buf)
{
	struct life_write x = {
		.w = { .done = life_written, .buf = buf, .used = LIFE_USED, .owner = f->owner },
	};
	uint32_t tag = (uint32_t)life_random(f, UINT32_MAX);

	for (uint32_t i = 0; i < LIFE_USED; i++)
		buf[i] = byte_of(tag, i);
	if (swap_write(swap, f->loop, &x.w) < 0) {
		f->n_refused++;
		return;
	}
	while (!x.done)
		loop_round(f->loop, -1);
	if (x.result) {
		f->n_refused++;
		return;
	}
	f->n_written++;
	f->segment[k].full = true;
	f->segment[k].loc = x.loc;
	f->segment[k].tag = tag;
	f->segment[k].n = LIFE_USED / LIFE_RECORD;
}

static void life_kill(struct life *f, uint32_t k)
{
	uint32_t first = LIFE_USED / LIFE_RECORD - f->segment[k].n;
	uint32_t n = 1 + (uint32_t)life_random(f, f->segment[k].n);

	for (uint32_t i = 0; i < n; i++)
		swap_kill(swap, f->segment[k].loc + (first + i) * LIFE_RECORD, LIFE_RECORD);
	f->segment[k].n -= n;
	f->segment[k].full = f->segment[k].n;
}

static bool life_read(struct life *f, uint32_t k, uint8_t *buf)
{
	uint32_t n = LIFE_USED / LIFE_RECORD;
	uint32_t i = n - 1 - (uint32_t)life_random(f, f->segment[k].n);
	uint64_t loc = f->segment[k].loc;
	struct read x = {
		.r = { .done = read_done, .loc = loc + i * LIFE_RECORD, .size = LIFE_RECORD,
		       .before = (uint32_t)life_random(f, 40000), .after = (uint32_t)life_random(f, 40000),
		       .buf = buf, .cap = 12288 + (uint32_t)life_random(f, 60000) },
	};
	uint64_t end;

	if (swap_read(swap, f->loop, &x.r) < 0)
		return false;
	while (!x.done)
		loop_round(f->loop, -1);
	if (x.result == -EIO)
		return true;		/* injected four times in a row */
	if (x.result)
		return false;
	/* The record and all its neighbours of this segment. */
	end = min(x.r.base + x.r.got, loc + LIFE_USED);
	if (x.r.base < loc || x.r.base > x.r.loc || end < x.r.loc + LIFE_RECORD)
		return false;
	for (uint64_t at = x.r.base; at < end; at++)
		if (buf[at - x.r.base] != byte_of(f->segment[k].tag, (uint32_t)(at - loc)))
			return false;
	f->n_read++;
	return true;
}

static bool life_clean(struct life *f)
{
	uint32_t used, k;
	uint64_t loc;
	bool mine = false;

	if (!swap_clean_begin(swap, f->owner, FLS_EXTENT, &loc, &used))
		return true;
	for (k = 0; k < LIFE_SEGMENTS && !mine; k++)
		mine = f->segment[k].full && f->segment[k].loc == loc;
	if (mine && life_random(f, 2)) {
		f->segment[k - 1].full = false;
		swap_kill(swap, loc + LIFE_USED - f->segment[k - 1].n * LIFE_RECORD,
			  f->segment[k - 1].n * LIFE_RECORD);
	}
	swap_clean_end(swap, loc);
	f->n_cleaned++;
	return mine && used == LIFE_USED;
}

static void *live(void *arg)
{
	struct life *f = arg;
	uint8_t *buf = aligned_alloc(4096, FLS_EXTENT);

	for (int i = 0; i < 4000 && !f->bad; i++) {
		uint32_t k = (uint32_t)life_random(f, LIFE_SEGMENTS);

		if (!f->segment[k].full)
			life_write(f, k, buf);
		else if (life_random(f, 3) && !life_read(f, k, buf))
			f->bad = __LINE__;
		else if (life_random(f, 2))
			life_kill(f, k);
		else if (!life_random(f, 8) && !life_clean(f))
			f->bad = __LINE__;
	}
	free(buf);
	return NULL;
}

static _Atomic uint64_t life_calls, life_clock;

/* Every kind of bad luck, one transfer in eight; from two threads. */
static int bad_luck(bool write, uint64_t offset, size_t len, int result)
{
	uint64_t n = fls_mix(atomic_fetch_add(&life_calls, 1) * 77 + 5);

	(void)offset;
	if (n % 8)
		return result;
	switch (n / 8 % 6) {
	case 0:
		return -EINTR;
	case 1:
		return -EAGAIN;
	case 2:
		return len > 4096 ? 4096 : result;
	case 3:
		return write ? -ENOSPC : -EIO;
	default:
		return -EIO;
	}
}

/* Two seconds with every look: back-offs are over soon. */
static uint64_t fast_clock(void)
{
	return atomic_fetch_add(&life_clock, 2 * SECOND);
}

static void life_of_two(uint64_t max)
{
	struct life f[2] = { { .owner = 1, .seed = t_seed() }, { .owner = 2, .seed = t_random() } };
	pthread_t t[2];
	uint64_t live_bytes = 0;

	start(max);
	hooks.result = bad_luck;
	hooks.now_ns = fast_clock;
	hooks.punch = swap_hooks_real.punch;
	for (int k = 0; k < 2; k++) {
		t_ok(loop_new(&f[k].loop, 64));
		t_eq(pthread_create(&t[k], NULL, live, &f[k]), 0);
	}
	for (int k = 0; k < 2; k++)
		pthread_join(t[k], NULL);
	for (int k = 0; k < 2; k++) {
		t_eq(f[k].bad, 0);
		t_gt(f[k].n_written, 50);
		t_gt(f[k].n_read, 500);
		t_gt(f[k].n_cleaned, 10);
		for (uint32_t i = 0; i < LIFE_SEGMENTS; i++)
			if (f[k].segment[i].full)
				live_bytes += f[k].segment[i].n * (uint64_t)LIFE_RECORD;
		loop_free(f[k].loop);
	}
	t_eq(stat_now().live, live_bytes);
	t_eq(stat_now().writes_in_flight, 0);
	for (int k = 0; k < 2; k++)
		for (uint32_t i = 0; i < LIFE_SEGMENTS; i++)
			if (f[k].segment[i].full)
				swap_kill(swap, f[k].segment[i].loc + LIFE_USED - f[k].segment[i].n * LIFE_RECORD,
					  f[k].segment[i].n * LIFE_RECORD);
	t_eq(stat_now().live, 0);
	t_eq(stat_now().used, 0);
	stop();
}

static void two_owners_with_bad_luck_lose_nothing(void)
{
	life_of_two(64 * MIB);
}

static void two_owners_with_bad_luck_and_threads_lose_nothing(void)
{
	t_sys(setenv("FAULTLINE_ENGINE", "threads", 1));
	life_of_two(64 * MIB);
}

static const struct t_test tests[] = {
	T(an_unnamed_file_is_private_and_has_no_name),
	T(without_o_tmpfile_a_file_is_made_and_unlinked),
	T(no_directory_no_file),
	T(what_cannot_be_a_swap_file_is_refused_and_closed),
	T(a_file_for_appending_is_written_where_it_should),
	T(a_file_with_contents_is_not_touched_before_the_first_write),
	T(an_empty_file_is_still_empty_when_it_was_probed),
	T(making_one_survives_each_failing_allocation),
	T(records_read_back),
	T(the_largest_record_lies_on_three_pages),
	T(neighbours_are_read_as_far_as_buffer_and_segment_go),
	T(reads_of_what_is_not_there_are_refused),
	T(writes_that_cannot_be_are_refused),
	T(counters_are_exact),
	T(four_writes_are_in_flight_at_most),
	T(a_write_may_be_started_where_one_is_done),
	T(the_rest_of_the_last_page_is_cleared),
	T(freed_segments_are_used_again_before_the_file_grows),
	T(a_segment_to_clean_is_the_owners_and_its_emptiest),
	T(a_segment_that_is_being_cleaned_is_not_reused),
	T(a_full_swap_says_so_at_once_and_heals_when_a_segment_is_freed),
	T(a_full_file_system_is_not_an_error_that_loses_anything),
	T(the_back_off_doubles_up_to_a_minute),
	T(writes_that_fail_together_back_off_once),
	T(the_file_system_keeps_its_reserve),
	T(the_reserve_of_a_large_file_system_is_a_twentieth),
	T(free_segments_give_their_blocks_back_when_there_are_many),
	T(where_holes_cannot_be_punched_nobody_tries_twice),
	T(a_write_error_that_passes_is_not_seen),
	T(a_bad_segment_is_left_alone_for_good),
	T(a_device_that_fails_heals_and_has_lost_no_segment),
	T(the_only_segment_is_not_given_up),
	T(other_errors_count_as_failures_of_the_device),
	T(an_error_and_no_space_lose_no_segment),
	T(cancelled_writes_leave_no_trace),
	T(what_cannot_be_started_returns_at_once),
	T(each_failing_allocation_is_an_error_and_no_more),
	T(short_and_interrupted_transfers_are_completed),
	T(transfers_that_make_no_progress_end),
	T(without_o_direct_all_is_the_same),
	T(a_file_system_that_refuses_o_direct_late_is_written_without),
	T(a_read_error_that_passes_is_not_seen),
	T(a_page_that_cannot_be_read_is_an_error),
	T(a_neighbour_that_cannot_be_read_does_not_matter),
	T(a_file_that_was_cut_is_an_error),
	T_TIMEOUT(two_owners_with_bad_luck_lose_nothing, 120),
	T_TIMEOUT(two_owners_with_bad_luck_and_threads_lose_nothing, 120),
	{0}
};

static const struct t_suite suites[] = { { "store-swap", tests }, {0} };

HARNESS_MAIN(suites)

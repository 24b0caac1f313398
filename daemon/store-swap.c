/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store-swap.c - the swap file of one job: segments of records, written whole, read piecewise.
 *
 * The job owns it. It is called from the threads of all of the job's sessions, each with a loop of
 * its own, so it has a lock: that guards the book-keeping and is never held over I/O on the file
 * or a callback (a look at the file system's free space, once in GROWTH segments, is the
 * exception). An operation belongs to the thread of the loop that it was started with.
 *
 * The file is scratch: nothing in it is believed before the owner of a record has checked its
 * sum. It may even be a client's own file. So no decision here depends on its bytes.
 *
 * A segment's way:
 *
 *   FREE --take--> OPEN (being written) --written--> FULL --all killed--> FREE, warm --punched--> FREE
 *                    |    |
 *                    |    +-- no space --> FREE; the swap is FULL
 *                    +-- errors: SUSPECT; the same bytes go to another segment
 *                            |-- and that works: the segment is at fault: BAD
 *                            +-- and that fails too: the device is at fault: FAILED. Suspects wait on
 *                                a list of their own and are tried when nothing else is left.
 *
 * Health. FULL and FAILED make swap_write() refuse at once until a back-off is over, 1 s at first
 * and twice as long each time, up to 60 s; then the next write is the probe. A write that
 * succeeds ends either. A segment that becomes free ends FULL.
 *
 * Space. With no limit by the caller the file system keeps a reserve: no segment is written to a
 * place that has no blocks yet when that would touch it. Free segments are warm: they keep their
 * blocks and are used first; when there are many their blocks are given back, a few at a time, by
 * writers and swap_trim(), and by swap_kill() only when there are very many.
 *
 * O_DIRECT where it works: pages on their way out should not turn into page cache. Elsewhere
 * the cache is told to drop what was written and read.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <bsd/sys/queue.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/store-internal.h"
#include "daemon/store.h"

#define NS_PER_S	UINT64_C(1000000000)
#define NS_PER_MS	UINT64_C(1000000)
#define SEGMENTS_MAX	(1u << 19)		/* 512 GiB */
#define GROWTH		64u			/* segments, between looks at the file system */
#define RESERVE_MIN	(UINT64_C(1) << 30)
#define WARM_KEEP	32u			/* segments */
#define WARM_MANY	(4 * WARM_KEEP)
#define PUNCH_BATCH	4u
#define TRIES		3u			/* again, after an error */
#define PAUSES		10000u			/* of a millisecond, while the kernel says EAGAIN */
#define BACKOFF_MIN	(1 * NS_PER_S)
#define BACKOFF_MAX	(60 * NS_PER_S)
#define NO_SEGMENT	UINT32_MAX

struct swap {
	int fd;				/* constant, as is limited */
	bool limited;			/* the caller said how much it may be */

	pthread_mutex_t lock;		/* all that follows */
	struct units units;
	struct unit_list suspects;	/* OPEN; by their link */
	uint32_t n_suspects;
	uint32_t may_grow;		/* segments that may still get blocks, before another look */
	uint32_t writes, reads;		/* in flight */
	bool direct, no_punch;
	enum swap_health health;
	int error;
	uint64_t retry_ns, wait_ns;	/* the back-off */
	uint64_t file, written, read;
	uint64_t dirty;			/* start of the segment written before; UINT64_MAX: none */
};

/*
 * A transfer: buf to or from the file at start, as often as it takes. It is the common part of a
 * read and a write, whose finish() gets the result: 0, or why it had to be given up.
 */
struct io {
	struct loop_op op;
	struct swap *swap;
	struct loop *loop;
	void (*finish)(struct io *io, int result);
	bool write;
	bool direct;			/* as it was when last started */
	uint8_t *buf;
	uint64_t start;
	uint32_t len, done;
	uint32_t tries, pauses;
};

/* ---- the system ---- */

static int real_result(bool write, uint64_t offset, size_t len, int result)
{
	return result;
}

static int real_punch(int fd, uint64_t offset, uint64_t len)
{
	int r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);

	return r < 0 ? -errno : 0;
}

static int real_space(int fd, uint64_t *ret_available, uint64_t *ret_total)
{
	struct statvfs v;

	if (fstatvfs(fd, &v) < 0)
		return -errno;
	*ret_available = (uint64_t)v.f_bavail * v.f_frsize;
	*ret_total = (uint64_t)v.f_blocks * v.f_frsize;
	return 0;
}

static bool page_reads_back(int fd, uint8_t *out, uint8_t *in)
{
	ssize_t n;

	memset(out, 0x5a, FL_PAGE_SIZE);
	memset(in, 0, FL_PAGE_SIZE);
	n = pwrite(fd, out, FL_PAGE_SIZE, 0);
	if (n < 0)
		return errno == ENOSPC;		/* it would have */
	return pread(fd, in, FL_PAGE_SIZE, 0) == n && !memcmp(out, in, (size_t)n);
}

/*
 * Some file systems take the flag and refuse the transfers. A file that has contents is not
 * written to: it could be somebody's, or that of a daemon before us.
 */
static bool real_direct_works(int fd)
{
	_cleanup_free_ uint8_t *pages = aligned_alloc(FL_PAGE_SIZE, 2 * FL_PAGE_SIZE);
	struct stat st;
	bool works;

	if (!pages || fstat(fd, &st) < 0)
		return false;
	if (st.st_size)
		return pread(fd, pages, FL_PAGE_SIZE, 0) >= 0;
	works = page_reads_back(fd, pages, pages + FL_PAGE_SIZE);
	return ftruncate(fd, 0) == 0 && works;
}

static int real_tmpfile(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static uint64_t real_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

const struct swap_hooks swap_hooks_real = {
	.read = loop_read,
	.write = loop_write,
	.result = real_result,
	.punch = real_punch,
	.space = real_space,
	.direct_works = real_direct_works,
	.tmpfile = real_tmpfile,
	.now_ns = real_now_ns,
};

static const struct swap_hooks *hooks = &swap_hooks_real;

void swap_set_hooks(const struct swap_hooks *h)
{
	hooks = h ? h : &swap_hooks_real;
}

/* ---- birth and death ---- */

static int open_and_unlink(const char *dir)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/.faultline-swap-XXXXXX", dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(path, O_CLOEXEC);		/* mode 0600, O_EXCL */
	if (fd < 0)
		return -errno;
	if (unlink(path) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int swap_open_unnamed(const char *dir)
{
	int fd = hooks->tmpfile(dir);

	/* What file systems and kernels without O_TMPFILE say. */
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
		return open_and_unlink(dir);
	return fd;
}

static int check_file(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((flags & O_ACCMODE) != O_RDWR)
		return -EBADF;
	if (flags & O_APPEND && fcntl(fd, F_SETFL, flags & ~O_APPEND) < 0)
		return -errno;		/* every pwrite() would go to the end */
	return 0;
}

static void set_direct(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static bool try_direct(int fd)
{
	int flags;

	set_direct(fd, true);
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && flags & O_DIRECT && hooks->direct_works(fd))
		return true;
	set_direct(fd, false);
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);	/* we say ourselves what else to read */
	return false;
}

static int count_segments(int fd, uint64_t max, uint32_t *ret)
{
	uint64_t available, total;
	int r;

	if (max == UINT64_MAX) {
		r = hooks->space(fd, &available, &total);
		if (r < 0)
			return r;
		max = total;
	}
	if (max < FLS_EXTENT)
		return -EINVAL;
	*ret = (uint32_t)min(max / FLS_EXTENT, (uint64_t)SEGMENTS_MAX);
	return 0;
}

int swap_new(struct swap **ret, int fd_given, uint64_t max)
{
	_cleanup_close_ int fd = fd_given;
	struct swap *s;
	uint32_t n;
	int r;

	r = check_file(fd);
	if (r < 0)
		return r;
	r = count_segments(fd, max, &n);
	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;

	pthread_mutex_init(&s->lock, NULL);
	units_init(&s->units, n);
	TAILQ_INIT(&s->suspects);
	s->limited = max != UINT64_MAX;
	s->direct = try_direct(fd);
	s->dirty = UINT64_MAX;
	s->fd = steal_fd(&fd);
	*ret = s;
	return 0;
}

struct swap *swap_free(struct swap *s)
{
	if (!s)
		return NULL;
	assert(!s->writes && !s->reads);
	/* Of a file with a name nothing is to be found later. */
	if (ftruncate(s->fd, 0) < 0)
		log_debug("cannot empty a swap file: %s", strerror(errno));
	units_fini(&s->units);
	close_fd(&s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static void lock(struct swap *s)
{
	pthread_mutex_lock(&s->lock);
}

static void unlock(struct swap *s)
{
	pthread_mutex_unlock(&s->lock);
}

static uint64_t segment_start(uint32_t i)
{
	return (uint64_t)i * FLS_EXTENT;
}

/* ---- health; under the lock ---- */

static void fell_ill(struct swap *s, enum swap_health health, int error)
{
	uint64_t now = hooks->now_ns();

	if (s->health != health)
		s->wait_ns = BACKOFF_MIN;
	else if (now >= s->retry_ns)
		s->wait_ns = min(2 * s->wait_ns, BACKOFF_MAX);
	else
		return;		/* started before the failure that we know of */
	s->health = health;
	s->error = error;
	s->retry_ns = now + s->wait_ns;
}

static void got_well(struct swap *s)
{
	s->health = SWAP_OK;
	s->error = 0;
	s->retry_ns = s->wait_ns = 0;
}

static int refuses(const struct swap *s)
{
	if (s->health == SWAP_OK || hooks->now_ns() >= s->retry_ns)
		return 0;
	return s->health == SWAP_FULL ? -ENOSPC : -EIO;
}

static void segment_freed(struct swap *s)
{
	if (s->health == SWAP_FULL)
		got_well(s);
}

/* ---- taking segments and giving them back; under the lock ---- */

/* How many segments more may be given blocks by the file system. */
static int look_at_space(struct swap *s)
{
	uint64_t available, total, reserve;
	int r = hooks->space(s->fd, &available, &total);

	if (r < 0)
		return r;
	reserve = max(RESERVE_MIN, total / 20);
	if (available > reserve)
		s->may_grow = (uint32_t)min((available - reserve) / FLS_EXTENT, (uint64_t)GROWTH);
	return 0;
}

static int check_growth(struct swap *s)
{
	int r;

	if (s->limited || s->units.n_warm || s->may_grow)
		return 0;
	r = look_at_space(s);
	if (r < 0)
		return r;
	return s->may_grow ? 0 : -ENOSPC;
}

static int take_suspect(struct swap *s, uint32_t *ret)
{
	struct unit *x = TAILQ_FIRST(&s->suspects);

	if (!x)
		return -ENOSPC;
	TAILQ_REMOVE(&s->suspects, x, link);
	s->n_suspects--;
	*ret = units_index(&s->units, x);
	return 0;
}

static void add_suspect(struct swap *s, uint32_t i)
{
	TAILQ_INSERT_TAIL(&s->suspects, &s->units.unit[i], link);
	s->n_suspects++;
}

static int take_segment(struct swap *s, uint32_t *ret)
{
	int r = check_growth(s);

	if (r < 0)
		return r;
	r = units_open(&s->units, ret);
	if (r == -ENOSPC)
		return take_suspect(s, ret);
	if (!r && !s->limited && !s->units.unit[*ret].warm)
		s->may_grow--;
	return r;
}

/* Nothing was stored in it. touched: but it may have got blocks. */
static void give_back(struct swap *s, uint32_t i, bool touched)
{
	if (touched || s->units.unit[i].warm)
		units_close(&s->units, i);
	else
		units_abandon(&s->units, i);
}

/* ---- giving disk space back ---- */

/* At most n segments, while more than keep are warm. Not under the lock. */
static unsigned int punch_some(struct swap *s, unsigned int n, uint32_t keep)
{
	unsigned int done = 0;
	uint32_t i;
	int r = 0;

	lock(s);
	while (!r && done < n && !s->no_punch && s->units.n_warm > keep &&
	       units_take_warm(&s->units, &i)) {
		unlock(s);
		r = hooks->punch(s->fd, segment_start(i), FLS_EXTENT);
		lock(s);
		units_give_cold(&s->units, i, !r);
		done += !r;
	}
	if (r == -EOPNOTSUPP || r == -ENOSYS)
		s->no_punch = true;
	unlock(s);
	return done;
}

unsigned int swap_trim(struct swap *s, unsigned int n)
{
	return punch_some(s, n, WARM_KEEP);
}

/* ---- transfers ---- */

static void io_start(struct io *io);
static void io_done(struct loop_op *op, int result, bool more);

static bool is_direct(struct swap *s)
{
	bool direct;

	lock(s);
	direct = s->direct;
	unlock(s);
	return direct;
}

static int io_try_start(struct io *io)
{
	uint8_t *buf = io->buf + io->done;
	uint64_t at = io->start + io->done;
	size_t len = io->len - io->done;

	io->direct = is_direct(io->swap);
	io->op.done = io_done;
	io->op.name = io->write ? "swap.write" : "swap.read";
	return io->write ? hooks->write(io->loop, &io->op, io->swap->fd, buf, len, at) :
			   hooks->read(io->loop, &io->op, io->swap->fd, buf, len, at);
}

static void io_start(struct io *io)
{
	int r = io_try_start(io);

	if (r < 0)
		io->finish(io, r);
}

static void io_waited(struct loop_op *op, int result, bool more)
{
	struct io *io = container_of(op, struct io, op);

	if (result < 0)
		io->finish(io, result);
	else
		io_start(io);
}

static void io_pause(struct io *io)
{
	int r;

	if (++io->pauses > PAUSES) {
		io->finish(io, -EIO);
		return;
	}
	io->op.done = io_waited;
	io->op.name = "swap.wait";
	r = loop_timer(io->loop, &io->op, NS_PER_MS);
	if (r < 0)
		io->finish(io, r);
}

static void io_again_after_error(struct io *io, int error)
{
	if (io->tries++ < TRIES)
		io_start(io);
	else
		io->finish(io, error);
}

/* The file system took O_DIRECT for the probe, and does not for this. */
static void io_without_direct(struct io *io)
{
	struct swap *s = io->swap;

	lock(s);
	if (s->direct)
		set_direct(s->fd, false);
	s->direct = false;
	unlock(s);
	io->done = 0;
	io_start(io);
}

/* Some bytes went over. The rest of a direct transfer has to begin on a page again. */
static void io_progress(struct io *io, uint32_t bytes)
{
	uint32_t before = io->done;

	io->done += min(bytes, io->len - io->done);
	if (io->direct && io->done < io->len)
		io->done = (uint32_t)page_down(io->done);
	if (io->done == io->len)
		io->finish(io, 0);
	else if (io->done > before)
		io_start(io);
	else
		io_again_after_error(io, -EIO);
}

static bool means_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

static void io_done(struct loop_op *op, int result, bool more)
{
	struct io *io = container_of(op, struct io, op);

	result = hooks->result(io->write, io->start + io->done, io->len - io->done, result);
	if (result > 0)
		io_progress(io, (uint32_t)result);
	else if (result == -EINTR)
		io_start(io);
	else if (result == -EAGAIN)
		io_pause(io);
	else if (result == -EINVAL && io->direct)
		io_without_direct(io);
	else if (result == 0 && !io->write)
		io->finish(io, -ENODATA);	/* the file is shorter: no use to try again */
	else if (result == -ECANCELED || means_full(result))
		io->finish(io, result);
	else
		io_again_after_error(io, result ? result : -EIO);
}

/* Without O_DIRECT: the bytes need not stay in RAM. This also starts to write dirty ones out. */
static void drop_cache(const struct io *io)
{
	if (!io->direct)
		posix_fadvise(io->swap->fd, (off_t)io->start, io->len, POSIX_FADV_DONTNEED);
}

/* ---- writing ---- */

struct write_op {
	struct io io;
	struct swap_write *w;
	uint32_t segment;
	uint32_t suspect;		/* where it failed before, or NO_SEGMENT */
};

static void write_finished(struct io *io, int result);

/*
 * The end of a write: the caller hears of it last. The bytes of a segment that was written a
 * moment ago are on disk by now, and can be dropped.
 */
static void write_end(struct write_op *op, int result, uint64_t dirty)
{
	struct swap_write *w = op->w;
	struct swap *s = op->io.swap;
	uint64_t loc = op->io.start;

	if (!op->io.direct && dirty != UINT64_MAX)
		posix_fadvise(s->fd, (off_t)dirty, FLS_EXTENT, POSIX_FADV_DONTNEED);
	punch_some(s, PUNCH_BATCH, WARM_KEEP);
	lock(s);
	s->writes--;
	unlock(s);
	free(op);
	w->priv = NULL;
	w->done(w, result, result ? 0 : loc);
}

static void write_succeeded(struct write_op *op)
{
	struct swap *s = op->io.swap;
	struct unit *x = &s->units.unit[op->segment];
	uint64_t dirty;

	drop_cache(&op->io);
	lock(s);
	units_append(&s->units, op->segment, op->w->used);
	x->owner = op->w->owner;
	units_close(&s->units, op->segment);
	if (op->suspect != NO_SEGMENT)
		units_discard(&s->units, op->suspect);
	s->written += op->io.len;
	s->file = max(s->file, op->io.start + op->io.len);
	dirty = s->dirty;
	s->dirty = op->io.direct ? UINT64_MAX : op->io.start;
	got_well(s);
	unlock(s);
	write_end(op, 0, dirty);
}

/* The blocks that it got before there were no more are given back: others have a use for them. */
static void write_found_no_space(struct write_op *op, int error)
{
	struct swap *s = op->io.swap;
	bool cold = !s->units.unit[op->segment].warm && !hooks->punch(s->fd, op->io.start, FLS_EXTENT);

	lock(s);
	give_back(s, op->segment, !cold);
	if (op->suspect != NO_SEGMENT)
		add_suspect(s, op->suspect);
	s->may_grow = 0;
	fell_ill(s, SWAP_FULL, error);
	unlock(s);
	write_end(op, -ENOSPC, UINT64_MAX);
}

static void write_cancelled(struct write_op *op, int result)
{
	struct swap *s = op->io.swap;

	lock(s);
	give_back(s, op->segment, true);
	if (op->suspect != NO_SEGMENT)
		add_suspect(s, op->suspect);
	unlock(s);
	write_end(op, result, UINT64_MAX);
}

/* Two segments failed, or there is no other: it is not the segments. */
static void write_failed(struct write_op *op, int error)
{
	struct swap *s = op->io.swap;

	lock(s);
	add_suspect(s, op->segment);
	if (op->suspect != NO_SEGMENT)
		add_suspect(s, op->suspect);
	fell_ill(s, SWAP_FAILED, error);
	unlock(s);
	write_end(op, -EIO, UINT64_MAX);
}

static void write_elsewhere(struct write_op *op, int error)
{
	struct swap *s = op->io.swap;
	uint32_t other;
	int r = -EIO;

	if (op->suspect == NO_SEGMENT) {
		lock(s);
		r = take_segment(s, &other);
		unlock(s);
	}
	if (r < 0) {
		write_failed(op, error);
		return;
	}
	op->suspect = op->segment;
	op->segment = other;
	op->io.start = segment_start(other);
	op->io.done = op->io.tries = 0;
	io_start(&op->io);
}

static void write_finished(struct io *io, int result)
{
	struct write_op *op = container_of(io, struct write_op, io);

	if (!result)
		write_succeeded(op);
	else if (result == -ECANCELED)
		write_cancelled(op, result);
	else if (means_full(result))
		write_found_no_space(op, result);
	else
		write_elsewhere(op, result);
}

/* Under the lock: a segment for one more write, or why there may be none now. */
static int admit_write(struct swap *s, uint32_t *ret)
{
	int r;

	if (s->writes == SWAP_WRITES)
		return -EBUSY;
	r = refuses(s);
	if (r)
		return r;
	r = take_segment(s, ret);
	if (r == -ENOSPC)
		fell_ill(s, SWAP_FULL, r);
	if (!r)
		s->writes++;
	return r;
}

static int begin_write(struct write_op *op, struct swap_write *w)
{
	struct swap *s = op->io.swap;
	int r;

	lock(s);
	r = admit_write(s, &op->segment);
	unlock(s);
	if (r < 0)
		return r;

	op->io.start = segment_start(op->segment);
	memset(op->io.buf + w->used, 0, op->io.len - w->used);
	r = io_try_start(&op->io);
	if (r < 0) {
		lock(s);
		give_back(s, op->segment, false);
		s->writes--;
		unlock(s);
	}
	return r;
}

int swap_write(struct swap *s, struct loop *l, struct swap_write *w)
{
	_cleanup_free_ struct write_op *op = NULL;
	int r;

	if (!w->used || w->used > FLS_EXTENT || !is_aligned(w->used, 8) ||
	    !page_aligned((uintptr_t)w->buf))
		return -EINVAL;
	op = calloc(1, sizeof(*op));
	if (!op)
		return -ENOMEM;
	op->io = (struct io){
		.swap = s, .loop = l, .finish = write_finished, .write = true,
		.buf = w->buf, .len = (uint32_t)page_up(w->used),
	};
	op->w = w;
	op->suspect = NO_SEGMENT;

	r = begin_write(op, w);
	if (r < 0)
		return r;
	w->priv = steal_ptr(&op);
	return 0;
}

void swap_kill(struct swap *s, uint64_t loc, uint32_t size)
{
	bool freed, many;

	lock(s);
	freed = units_kill(&s->units, (uint32_t)(loc / FLS_EXTENT), size);
	if (freed)
		segment_freed(s);
	many = freed && s->units.n_warm > WARM_MANY;
	unlock(s);
	if (many)
		punch_some(s, 1, WARM_MANY);
}

/* ---- reading ---- */

struct read_op {
	struct io io;
	struct swap_read *r;
	uint64_t lo, hi;		/* the pages of the record itself */
};

/* Under the lock. Is there a record of this size, as far as a store can know? */
static bool is_stored(const struct swap *s, uint64_t loc, uint32_t size)
{
	uint64_t i = loc / FLS_EXTENT;
	uint32_t at = (uint32_t)(loc % FLS_EXTENT);

	return i < s->units.n && s->units.unit[i].state == UNIT_FULL && is_aligned(loc, 8) &&
	       size && at < s->units.unit[i].used && size <= s->units.unit[i].used - at;
}

/*
 * What to read: the record's pages, and of the wanted bytes on both sides what the segment has
 * and the buffer holds. When it does not hold both sides, each may have half of the room.
 */
static int choose_window(const struct swap *s, struct read_op *op)
{
	const struct swap_read *r = op->r;
	uint64_t start, end, room, before, after;

	if (!is_stored(s, r->loc, r->size))
		return -EINVAL;
	op->lo = page_down(r->loc);
	op->hi = page_up(r->loc + r->size);
	if (op->hi - op->lo > r->cap)
		return -EINVAL;
	start = round_down_to(r->loc, FLS_EXTENT);
	end = start + page_up(s->units.unit[r->loc / FLS_EXTENT].used);

	room = page_down(r->cap) - (op->hi - op->lo);
	before = op->lo - max(start, page_down(r->loc - min((uint64_t)r->before, r->loc)));
	after = min(end, page_up(r->loc + r->size + r->after)) - op->hi;
	after = min(after, room - min(before, page_down(room / 2)));
	before = min(before, room - after);

	op->io.start = op->lo - before;
	op->io.len = (uint32_t)(op->hi + after - op->io.start);
	return 0;
}

static bool covers_record(const struct read_op *op)
{
	return op->io.start + op->io.done >= op->r->loc + op->r->size;
}

static void read_end(struct read_op *op, int result)
{
	struct swap_read *r = op->r;
	struct swap *s = op->io.swap;

	drop_cache(&op->io);
	lock(s);
	s->reads--;
	if (!result)
		s->read += op->io.done;
	unlock(s);
	if (!result) {
		r->base = op->io.start;
		r->got = op->io.done;
	}
	free(op);
	r->priv = NULL;
	r->done(r, result);
}

/* A page that cannot be read may be a neighbour's: then ask for the record alone. */
static void read_less(struct read_op *op)
{
	op->io.start = op->lo;
	op->io.len = (uint32_t)(op->hi - op->lo);
	op->io.done = op->io.tries = 0;
	io_start(&op->io);
}

static void read_finished(struct io *io, int result)
{
	struct read_op *op = container_of(io, struct read_op, io);

	if (covers_record(op))
		read_end(op, 0);
	else if (result == -ECANCELED)
		read_end(op, result);
	else if (result == -ENODATA)
		read_end(op, -EIO);
	else if (io->len > op->hi - op->lo)
		read_less(op);
	else
		read_end(op, result);
}

static int begin_read(struct read_op *op)
{
	struct swap *s = op->io.swap;
	int r;

	lock(s);
	r = choose_window(s, op);
	if (!r)
		s->reads++;
	unlock(s);
	if (r < 0)
		return r;
	r = io_try_start(&op->io);
	if (r < 0) {
		lock(s);
		s->reads--;
		unlock(s);
	}
	return r;
}

int swap_read(struct swap *s, struct loop *l, struct swap_read *r)
{
	_cleanup_free_ struct read_op *op = NULL;
	int ret;

	if (!page_aligned((uintptr_t)r->buf))
		return -EINVAL;
	op = calloc(1, sizeof(*op));
	if (!op)
		return -ENOMEM;
	op->io = (struct io){ .swap = s, .loop = l, .finish = read_finished, .buf = r->buf };
	op->r = r;

	ret = begin_read(op);
	if (ret < 0)
		return ret;
	r->priv = steal_ptr(&op);
	return 0;
}

/* ---- the rest ---- */

void swap_stat(struct swap *s, struct swap_stat *ret)
{
	lock(s);
	*ret = (struct swap_stat){
		.used = s->units.used_bytes - (uint64_t)s->n_suspects * FLS_EXTENT,
		.live = s->units.live_bytes,
		.file = s->file,
		.written = s->written,
		.read = s->read,
		.writes_in_flight = s->writes,
		.health = s->health,
		.error = s->error,
	};
	unlock(s);
}

bool swap_clean_begin(struct swap *s, uint64_t owner, uint32_t max_live, uint64_t *loc, uint32_t *used)
{
	struct unit *x;

	lock(s);
	x = units_emptiest_of(&s->units, owner, max_live);
	if (x) {
		units_hold(&s->units, units_index(&s->units, x));
		*loc = segment_start(units_index(&s->units, x));
		*used = x->used;
	}
	unlock(s);
	return x;
}

void swap_clean_end(struct swap *s, uint64_t loc)
{
	lock(s);
	if (units_release(&s->units, (uint32_t)(loc / FLS_EXTENT)))
		segment_freed(s);
	unlock(s);
}

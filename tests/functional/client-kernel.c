/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * client-kernel.c - a program for tests: "client-kernel DIRECTORY MIB".
 *
 * The kernel reads and writes its memory for it, all over MIB of it: by write(2) and read(2), writev and
 * readv, O_DIRECT, and io_uring with fixed buffers; while the rest of the memory is used, so that what the
 * kernel is to touch is out, and what it holds pinned is wanted out. Says one line for each: "NAME ok",
 * "NAME skipped: why", or "NAME bad: what".
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE	4096u
#define CHUNK	(256u << 10)		/* of one call */
#define ROUNDS	3

static uint8_t *memory, *pressure;
static size_t size;			/* of each of the two */
static char path[4096];

static uint64_t word(size_t i, uint64_t tag)
{
	return i % 8 ? i / 512 + tag : (i ^ tag << 40) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(uint8_t *p, size_t len, uint64_t tag)
{
	for (size_t i = 0; i < len / 8; i++)
		((volatile uint64_t *)(void *)p)[i] = word(i, tag);
}

static int is_right(const uint8_t *p, size_t len, uint64_t tag)
{
	for (size_t i = 0; i < len / 8; i++)
		if (((const volatile uint64_t *)(const void *)p)[i] != word(i, tag)) {
			fprintf(stderr, "byte %zu of %zu, tag %llu\n", i * 8, len, (unsigned long long)tag);
			return 0;
		}
	return 1;
}

/* Use other memory until that which is to be touched is out. */
static void press(void)
{
	for (size_t i = 0; i < size; i += PAGE)
		(*(volatile uint64_t *)(void *)(pressure + i))++;
}

static int say(const char *name, const char *what)
{
	printf("%s %s\n", name, what);
	fflush(stdout);
	return 0;
}

static int say_bad(const char *name, const char *call)
{
	printf("%s bad: %s: %s\n", name, call, strerror(errno));
	fflush(stdout);
	return 0;
}

static int open_file(int flags)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
}

/* ---- the calls ---- */

static ssize_t do_plain(int fd, int out, uint8_t *p, size_t len, off_t at)
{
	return out ? pwrite(fd, p, len, at) : pread(fd, p, len, at);
}

/* Odd pieces, not in order of addresses. */
static ssize_t do_vector(int fd, int out, uint8_t *p, size_t len, off_t at)
{
	size_t a = len / 3 - 5, b = len / 2 + 13;
	struct iovec v[3] = {
		{ .iov_base = p + b, .iov_len = len - b },
		{ .iov_base = p, .iov_len = a },
		{ .iov_base = p + a, .iov_len = b - a },
	};

	return out ? pwritev(fd, v, 3, at) : preadv(fd, v, 3, at);
}

typedef ssize_t transfer(int fd, int out, uint8_t *p, size_t len, off_t at);

static int transfer_all(int fd, int out, transfer *fn)
{
	for (size_t at = 0; at < size; at += CHUNK)
		if (fn(fd, out, memory + at, CHUNK, (off_t)at) != CHUNK)
			return -1;
	return 0;
}

/* To the file from memory that is out, and back into memory that is out. */
static int try_file(const char *name, int flags, transfer *fn)
{
	int fd = open_file(flags);

	if (fd < 0 && flags && errno == EINVAL)
		return say(name, "skipped: this file system has no O_DIRECT");
	if (fd < 0)
		return say_bad(name, "open");
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		fill(memory, size, round);
		press();
		if (transfer_all(fd, 1, fn))
			return say_bad(name, "writing");
		fill(memory, size, 100);
		press();
		if (transfer_all(fd, 0, fn))
			return say_bad(name, "reading");
		press();
		if (!is_right(memory, size, round))
			return say(name, "bad: other bytes came back");
	}
	close(fd);
	unlink(path);
	return say(name, "ok");
}

/* A pipe: each end's pages are touched while the pipe's lock is held. */
static int try_pipe(void)
{
	uint8_t *half = memory + size / 2;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return say_bad("pipe", "pipe2");
	fill(memory, size / 2, 1);
	fill(half, size / 2, 2);
	press();
	for (size_t at = 0; at < size / 2; at += 16 * PAGE) {
		if (write(fds[1], memory + at, 16 * PAGE) != 16 * PAGE)
			return say_bad("pipe", "write");
		if (read(fds[0], half + at, 16 * PAGE) != 16 * PAGE)
			return say_bad("pipe", "read");
	}
	press();
	close(fds[0]);
	close(fds[1]);
	return say("pipe", is_right(half, size / 2, 1) ? "ok" : "bad: other bytes came through");
}

/* ---- io_uring ---- */

static int one(struct io_uring *ring, int fd, int out, int buffer, off_t at)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	uint8_t *p = memory + (size_t)buffer * CHUNK;
	int r;

	if (out)
		io_uring_prep_write_fixed(sqe, fd, p, CHUNK, (uint64_t)at, buffer);
	else
		io_uring_prep_read_fixed(sqe, fd, p, CHUNK, (uint64_t)at, buffer);
	r = io_uring_submit_and_wait(ring, 1);
	if (r >= 0)
		r = io_uring_wait_cqe(ring, &cqe);
	if (r < 0) {
		errno = -r;
		return -1;
	}
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	errno = r < 0 ? -r : EIO;
	return r == CHUNK ? 0 : -1;
}

/* Buffers that stay pinned: the kernel goes on using the very pages, wherever ours went. */
static int try_fixed(const char *name, int flags)
{
	enum { BUFFERS = 8 };
	struct iovec v[BUFFERS];
	struct io_uring ring;
	int fd = open_file(flags), r;

	if (fd < 0)
		return flags ? say(name, "skipped: this file system has no O_DIRECT") :
			       say_bad(name, "open");
	r = io_uring_queue_init(8, &ring, 0);
	if (r < 0)
		return say(name, "skipped: io_uring is not allowed here");
	fill(memory, size, 1);
	press();
	for (unsigned int i = 0; i < BUFFERS; i++)
		v[i] = (struct iovec){ .iov_base = memory + (size_t)i * CHUNK, .iov_len = CHUNK };
	r = io_uring_register_buffers(&ring, v, BUFFERS);
	if (r < 0) {
		errno = -r;
		return r == -ENOMEM ? say(name, "skipped: RLIMIT_MEMLOCK") : say_bad(name, "register");
	}
	for (uint64_t round = 1; round <= 3 * ROUNDS; round++) {
		for (int i = 0; i < BUFFERS; i++)
			fill(memory + (size_t)i * CHUNK, CHUNK, round * 16 + (uint64_t)i);
		press();
		for (int i = 0; i < BUFFERS; i++)
			if (one(&ring, fd, 1, i, (off_t)i * CHUNK))
				return say_bad(name, "writing");
		/* Into another buffer than it came from. */
		for (int i = 0; i < BUFFERS; i++)
			if (one(&ring, fd, 0, i, (off_t)(BUFFERS - 1 - i) * CHUNK))
				return say_bad(name, "reading");
		press();
		for (int i = 0; i < BUFFERS; i++)
			if (!is_right(memory + (size_t)i * CHUNK, CHUNK,
				      round * 16 + (uint64_t)(BUFFERS - 1 - i)))
				return say(name, "bad: other bytes came back");
	}
	io_uring_queue_exit(&ring);
	close(fd);
	unlink(path);
	return say(name, "ok");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	snprintf(path, sizeof(path), "%s/file", argv[1]);
	size = (size_t)strtoul(argv[2], NULL, 10) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pressure = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || pressure == MAP_FAILED)
		return 2;
	fill(pressure, size, 7);
	return try_file("read-write", 0, do_plain) || try_file("vectors", 0, do_vector) ||
	       try_file("direct", O_DIRECT, do_plain) || try_pipe() || try_fixed("fixed", 0) ||
	       try_fixed("fixed-direct", O_DIRECT);
}

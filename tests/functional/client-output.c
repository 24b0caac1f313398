/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * client-output.c - a program for tests: "client-output MIB ROUNDS".
 *
 * Writes MIB of memory to its standard output and its standard error in turn, again and again, while a
 * second thread uses as much again: what write(2) takes is out, and whatever the kernel locks for a write
 * stays locked until it is back. All bytes are above 127, so that they can be told from log lines.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	4096u
#define CHUNK	(7 * PAGE + 100)

static uint8_t *memory, *pressure;
static size_t size;
static int stop;

static void *press(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		for (size_t i = 0; i < size; i += PAGE)
			(*(volatile uint64_t *)(void *)(pressure + i))++;
	return arg;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -1;
		p += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

static int round_of_writes(void)
{
	int fd = 1;

	for (size_t at = 0; at < size; at += CHUNK, fd ^= 3)
		if (write_all(fd, memory + at, size - at < CHUNK ? size - at : CHUNK))
			return -1;
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t id;

	if (argc != 3)
		return 2;
	size = (size_t)strtoul(argv[1], NULL, 10) << 20;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pressure = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || pressure == MAP_FAILED)
		return 2;
	/* output-locks.c knows these bytes. */
	for (size_t i = 0; i < size; i++)
		memory[i] = (uint8_t)(0x80 | ((i * 7 + i / PAGE) & 0x7f));
	if (pthread_create(&id, NULL, press, NULL))
		return 2;
	for (long n = strtol(argv[2], NULL, 10); n; n--)
		if (round_of_writes())
			return 3;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(id, NULL);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * replay.c - runs a fuzz target over its corpus, when no fuzzer does.
 *
 * For each file: the bytes as they are, every shorter beginning of them, and some hundreds of copies
 * with a few bytes changed. The changes follow from the file's name, so that a failure comes back.
 * All of it is one test, in TAP: a target that dies leaves the plan unfulfilled, and a line on
 * standard error says which input it was.
 *
 *	fuzz-wire [FILE...]	without files: fuzz/corpus/wire/ of the source tree
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

#define LONGEST_INPUT	65536
#define MAX_FILES	4096
#define N_CHANGED	400

static const char *current_file;
static unsigned int current_variant;
static uint64_t state;

static uint64_t next_random(void)
{
	state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = state;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void on_death(int signo)
{
	dprintf(STDERR_FILENO, "# died of signal %d in %s, variant %u\n", signo, current_file,
		current_variant);
	raise(signo);
}

/* A copy on the heap, of just this length: what reads beyond it is seen by a sanitizer. */
static void run_one(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	current_variant++;
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void change(uint8_t *data, size_t size)
{
	unsigned int n = 1 + (unsigned int)(next_random() % 4);

	while (n--) {
		uint64_t r = next_random();

		switch (r % 3) {
		case 0:
			data[(r >> 8) % size] ^= (uint8_t)(1u << ((r >> 40) % 8));
			break;
		case 1:
			data[(r >> 8) % size] = (uint8_t)(r >> 40);
			break;
		case 2:
			data[(r >> 8) % size] = r >> 40 & 1 ? 0xff : 0;
			break;
		}
	}
}

static void run_variants(const uint8_t *data, size_t size)
{
	static uint8_t changed[LONGEST_INPUT];

	current_variant = 0;
	run_one(data, size);
	for (size_t shorter = 0; shorter < size; shorter++)
		run_one(data, shorter);
	for (unsigned int i = 0; size && i < N_CHANGED; i++) {
		memcpy(changed, data, size);
		change(changed, size);
		run_one(changed, size);
	}
}

static int replay(const char *path)
{
	static uint8_t data[LONGEST_INPUT];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, data, sizeof(data));
	close(fd);
	if (n < 0)
		return -EIO;
	current_file = path;
	state = 0;
	for (const char *p = strrchr(path, '/'); p && *p; p++)
		state = state * 31 + (uint8_t)*p;
	run_variants(data, (size_t)n);
	return 0;
}

/* The names below the corpus directory of this program, fuzz-wire: corpus/wire. */
static int list_corpus(const char *program, char **files)
{
	const char *srcdir = getenv("FAULTLINE_SRCDIR"), *name = strrchr(program, '-');
	char dir[2048];
	struct dirent **entries;
	int n, kept = 0;

	snprintf(dir, sizeof(dir), "%s/fuzz/corpus/%s", srcdir ? srcdir : ".", name ? name + 1 : "");
	n = scandir(dir, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.' && kept < MAX_FILES &&
		    asprintf(&files[kept], "%s/%s", dir, entries[i]->d_name) > 0)
			kept++;
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return kept;
}

int main(int argc, char **argv)
{
	static char *found[MAX_FILES];
	char **files = argv + 1;
	int n = argc - 1, failed = 0;

	if (!n) {
		files = found;
		n = list_corpus(argv[0], found);
	}
	signal(SIGABRT, on_death);
	signal(SIGSEGV, on_death);
	printf("1..1\n");
	fflush(stdout);
	for (int i = 0; i < n; i++) {
		int r = replay(files[i]);

		if (r < 0) {
			printf("# %s: %s\n", files[i], strerror(-r));
			failed = 1;
		}
	}
	if (!n)
		printf("# there is no input\n");
	failed |= !n;
	printf("%s 1 - %d inputs, as they are, shortened and changed\n", failed ? "not ok" : "ok", n);
	for (int i = 0; i < n && files == found; i++)
		free(found[i]);
	return failed;
}

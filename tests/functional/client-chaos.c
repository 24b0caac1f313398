/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * client-chaos.c - a program for tests: "client-chaos SECONDS THREADS PRESSURE_MIB SEED".
 *
 * Threads map areas, fill them with words of their own, and unmap, move, grow, shrink, discard and protect
 * parts of them; so that an address that one has given up is soon another's. One more thread reads and
 * writes PRESSURE_MIB all the time, so that pages leave. Every word is what it must be. The deeds follow
 * from the seed; how the threads meet does not. Prints "rounds N bad N"; status 1 if any was bad.
 */
#include <config.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE		4096u
#define WORDS		512u
#define AREA_PAGES	4096u

static uint64_t seed, pressure_pages;
static uint64_t bad, rounds;
static int stop;

struct thread {
	pthread_t id;
	uint64_t n, random;
};

struct area {
	volatile uint64_t *p;
	uint64_t n, tag;		/* pages */
};

static uint64_t next(struct thread *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random >> 8;
}

static void is_bad(const char *what, uint64_t page, uint64_t is, uint64_t must)
{
	fprintf(stderr, "%s: page %llu is %llx, must be %llx\n", what, (unsigned long long)page,
		(unsigned long long)is, (unsigned long long)must);
	__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
}

static void fill(const struct area *a, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		a->p[i * WORDS] = a->tag + i;
		a->p[i * WORDS + 100] = (a->tag + i) * 7;
		a->p[i * WORDS + 511] = ~(a->tag + i);
	}
}

static void check(const char *what, const struct area *a, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		if (a->p[i * WORDS] != a->tag + i)
			is_bad(what, i, a->p[i * WORDS], a->tag + i);
		else if (a->p[i * WORDS + 511] != ~(a->tag + i))
			is_bad(what, i, a->p[i * WORDS + 511], ~(a->tag + i));
		else if (a->p[i * WORDS + 100] != (a->tag + i) * 7)
			is_bad(what, i, a->p[i * WORDS + 100], (a->tag + i) * 7);
	}
}

static void check_zero(const char *what, const struct area *a, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		if (a->p[i * WORDS] || a->p[i * WORDS + 100] || a->p[i * WORDS + 511])
			is_bad(what, i, a->p[i * WORDS], 0);
}

static uint8_t *page_of(const struct area *a, uint64_t i)
{
	return (uint8_t *)(uintptr_t)a->p + i * PAGE;
}

static void discard(struct area *a)
{
	uint64_t half = a->n / 2;

	if (madvise(page_of(a, 0), half * PAGE, MADV_DONTNEED))
		return;
	check_zero("discarded", a, 0, half);
	check("beside what was discarded", a, half, a->n);
	fill(a, 0, half);
	check("filled again", a, 0, half);
}

/* To where the kernel likes, and larger. */
static void grow(struct area *a)
{
	void *p = mremap(page_of(a, 0), a->n * PAGE, a->n * 2 * PAGE, MREMAP_MAYMOVE);

	if (p == MAP_FAILED)
		return;
	a->p = p;
	check("grown", a, 0, a->n);
	check_zero("the tail of what has grown", a, a->n, a->n * 2);
	fill(a, a->n, a->n * 2);
	a->n *= 2;
	check("the tail that was filled", a, 0, a->n);
}

static void shrink(struct area *a)
{
	uint64_t keep = a->n / 2;

	munmap(page_of(a, keep), (a->n - keep) * PAGE);
	a->n = keep;
	check("shrunk", a, 0, a->n);
}

/* A hole in the middle, at once filled by a new area, or by who else comes. */
static void punch(struct area *a)
{
	uint64_t third = a->n / 3;
	struct area hole = { .n = third, .tag = ~a->tag };
	void *p;

	munmap(page_of(a, third), third * PAGE);
	p = mmap(page_of(a, third), third * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p != MAP_FAILED) {
		hole.p = p;
		check_zero("mapped anew", &hole, 0, third);
		fill(&hole, 0, third);
	}
	check("before the hole", a, 0, third);
	check("behind the hole", a, 2 * third, a->n);
	if (p != MAP_FAILED) {
		check("in the hole", &hole, 0, third);
		munmap(p, third * PAGE);
	}
	munmap(page_of(a, 2 * third), (a->n - 2 * third) * PAGE);
	a->n = third;
}

static void protect(struct area *a)
{
	mprotect(page_of(a, 0), a->n * PAGE, PROT_READ);
	check("read-only", a, 0, a->n);
	mprotect(page_of(a, 0), a->n * PAGE, PROT_READ | PROT_WRITE);
	fill(a, 0, a->n / 4);
	check("writable again", a, 0, a->n);
}

/*
 * One thread gives a piece up, another takes the address the moment it is free: before the first is back
 * from munmap(2), whose event has not been read by then.
 */
struct giver {
	pthread_mutex_t lock;
	pthread_cond_t more;
	uint8_t *piece;			/* to be given up; NULL: nothing */
};

#define PIECE	(8 * PAGE)

static __thread struct giver giver;

static void *give(void *arg)
{
	struct giver *g = arg;

	pthread_mutex_lock(&g->lock);
	for (;;) {
		while (!g->piece)
			pthread_cond_wait(&g->more, &g->lock);
		munmap(g->piece, PIECE);
		g->piece = NULL;
		pthread_cond_signal(&g->more);
	}
	return NULL;
}

static void start_giver(void)
{
	pthread_t id;

	pthread_mutex_init(&giver.lock, NULL);
	pthread_cond_init(&giver.more, NULL);
	if (pthread_create(&id, NULL, give, &giver))
		exit(2);
}

static void take(struct area *a)
{
	for (uint64_t i = 0; i + PIECE / PAGE <= a->n; i += a->n / 8 + 1) {
		uint8_t *piece = page_of(a, i);

		pthread_mutex_lock(&giver.lock);
		giver.piece = piece;
		pthread_cond_signal(&giver.more);
		pthread_mutex_unlock(&giver.lock);
		while (mmap(piece, PIECE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
			;
		fill(a, i, i + PIECE / PAGE);
		check("taken", a, i, i + PIECE / PAGE);
		pthread_mutex_lock(&giver.lock);
		while (giver.piece)
			pthread_cond_wait(&giver.more, &giver.lock);
		pthread_mutex_unlock(&giver.lock);
		check("taken, and given", a, i, i + PIECE / PAGE);
	}
	check("with pieces taken", a, 0, a->n);
}

static void leave(struct area *a)
{
	check("left alone", a, 0, a->n);
}

static void (*const deeds[])(struct area *) = {
	discard, grow, shrink, punch, protect, take, take, leave,
};

static void *chaos(void *arg)
{
	struct thread *t = arg;

	start_giver();
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct area a = { .n = AREA_PAGES / (1 + next(t) % 8), .tag = next(t) };
		void *p = mmap(NULL, a.n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);

		if (p == MAP_FAILED)
			continue;
		a.p = p;
		fill(&a, 0, a.n);
		for (uint64_t n = 1 + next(t) % 3; n; n--)
			deeds[next(t) % (sizeof(deeds) / sizeof(deeds[0]))](&a);
		munmap(page_of(&a, 0), a.n * PAGE);
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *press(void *arg)
{
	struct thread *t = arg;
	struct area a = { .n = pressure_pages, .tag = 1 };

	a.p = mmap(NULL, a.n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(&a, 0, a.n);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t i = next(t) % a.n;

		check("under pressure", &a, i, i + 1);
		fill(&a, i, i + 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct thread thread[33];
	struct timespec ts = { 0, 0 };
	uint64_t n;

	if (argc != 5)
		return 2;
	ts.tv_sec = atol(argv[1]);
	n = strtoull(argv[2], NULL, 10);
	pressure_pages = strtoull(argv[3], NULL, 10) << 8;
	seed = strtoull(argv[4], NULL, 10);
	if (!n || n > 32 || !pressure_pages)
		return 2;
	for (uint64_t i = 0; i <= n; i++) {
		thread[i].random = (seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
		if (pthread_create(&thread[i].id, NULL, i ? chaos : press, &thread[i]))
			return 2;
	}
	nanosleep(&ts, NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (uint64_t i = 0; i <= n; i++)
		pthread_join(thread[i].id, NULL);
	printf("rounds %llu bad %llu\n", (unsigned long long)rounds, (unsigned long long)bad);
	return bad != 0;
}

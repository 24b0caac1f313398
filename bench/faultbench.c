/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * faultbench.c - what a userfault costs at the least: the bare handler that Faultline is
 * measured against.
 *
 * The program touches pages of a registered area, one word each, at random. A child process
 * blocks in read(2) on the userfaultfd, makes the page's bytes and installs them by UFFDIO_COPY;
 * there is no table, no lock, no check and no eviction. The bytes are zeros (work=zero) or come
 * out of LZ4 (work=lz4): the least that any handler has to do whose pages are kept compressed.
 * membench's touch pattern times the same touch in the same way, under faultline run.
 *
 * The place of the handler decides more than anything else: on the CPU of the thread that
 * faults (same), on another (other), or where the scheduler puts it (free). The area is
 * emptied with MADV_DONTNEED between rounds; the first round does not count.
 *
 * Exit status: 0, 1 failure, 2 usage, 77 no userfaultfd here.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <lz4.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define BLOB_MAX	LZ4_COMPRESSBOUND(BENCH_PAGE)

enum work { WORK_ZERO, WORK_LZ4, N_WORKS };
enum place { PLACE_SAME, PLACE_OTHER, PLACE_FREE, N_PLACES };

static const char * const work_names[N_WORKS] = { "zero", "lz4" };
static const char * const place_names[N_PLACES] = { "same", "other", "free" };

struct blob {
	uint32_t len;
	char bytes[BLOB_MAX];
};

struct faultbench {
	uint64_t n_pages, n_rounds;
	int cpu;			/* of the touching thread, but for free */
	int other;			/* a CPU that is not cpu, or -1 */
	int uffd;
	struct bench_page *area;
	struct blob *blobs;		/* one a page, for lz4 */
	struct bench_hist hist;
	double foreign, steal;		/* of the last run, in percent of one CPU */
};

/* What the machine and this program and its children have used so far, in seconds. */
struct usage {
	double busy, steal, own;
	uint64_t wall;
};

static struct faultbench bench;

static void __attribute__((__noreturn__)) die(const char *what)
{
	fprintf(stderr, "faultbench: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void *get_memory(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void set_cpus(const cpu_set_t *set)
{
	if (sched_setaffinity(0, sizeof(*set), set))
		die("sched_setaffinity");
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	set_cpus(&set);
}

/* ---- was anybody else at work? ---- */

static double seconds_of(const struct rusage *r)
{
	return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) +
	       (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6;
}

static struct usage usage_now(void)
{
	unsigned long long t[8] = { 0 };	/* user nice system idle iowait irq softirq steal */
	FILE *f = fopen("/proc/stat", "re");
	double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
	struct rusage self, children;
	struct usage u;

	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
			 &t[4], &t[5], &t[6], &t[7]) != 8)
		die("/proc/stat");
	fclose(f);
	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	u.busy = (double)(t[0] + t[1] + t[2] + t[5] + t[6]) * tick;
	u.steal = (double)t[7] * tick;
	u.own = seconds_of(&self) + seconds_of(&children);
	u.wall = bench_now();
	return u;
}

static void note_usage(struct faultbench *b, const struct usage *before)
{
	struct usage now = usage_now();
	double wall = (double)(now.wall - before->wall) / 1e9;
	double foreign = (now.busy - before->busy) - (now.own - before->own);

	b->foreign = foreign > 0 ? 100 * foreign / wall : 0;
	b->steal = 100 * (now.steal - before->steal) / wall;
}

/* ---- the userfaultfd ---- */

static int open_uffd(void)
{
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (dev >= 0) {
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC);
		close(dev);
	} else {
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	}
	return fd;
}

static void set_up_area(struct faultbench *b)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	b->uffd = open_uffd();
	if (b->uffd < 0 || ioctl(b->uffd, UFFDIO_API, &api)) {
		fprintf(stderr, "faultbench: userfaultfd: %s: may this user open /dev/userfaultfd?\n",
			strerror(errno));
		exit(77);
	}
	b->area = get_memory(b->n_pages * BENCH_PAGE);
	reg.range.start = (uintptr_t)b->area;
	reg.range.len = b->n_pages * BENCH_PAGE;
	if (ioctl(b->uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER");
}

static void compress_pages(struct faultbench *b)
{
	static struct bench_page page;
	uint64_t i;
	int len;

	b->blobs = get_memory(b->n_pages * sizeof(*b->blobs));
	for (i = 0; i < b->n_pages; i++) {
		bench_page_fill(&page, i, 1);
		len = LZ4_compress_default((const char *)&page, b->blobs[i].bytes,
					   (int)sizeof(page), BLOB_MAX);
		if (len <= 0)
			die("LZ4_compress_default");
		b->blobs[i].len = (uint32_t)len;
	}
}

/* ---- the handler, in the child ---- */

static void answer(const struct faultbench *b, enum work work, uint64_t addr)
{
	static struct bench_page page;
	struct uffdio_copy copy = { .src = (uintptr_t)&page, .len = BENCH_PAGE };
	uint64_t i = (addr - (uintptr_t)b->area) / BENCH_PAGE;
	int len;

	if (work == WORK_LZ4) {
		len = LZ4_decompress_safe(b->blobs[i].bytes, (char *)&page,
					  (int)b->blobs[i].len, (int)sizeof(page));
		if (len != (int)sizeof(page))
			die("LZ4_decompress_safe");
	}
	copy.dst = (uintptr_t)&b->area[i];
	if (ioctl(b->uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
		die("UFFDIO_COPY");
}

static void __attribute__((__noreturn__)) handle(const struct faultbench *b, enum work work,
						  enum place place)
{
	struct uffd_msg msg;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (place != PLACE_FREE)
		pin(place == PLACE_SAME ? b->cpu : b->other);
	for (;;) {
		if (read(b->uffd, &msg, sizeof(msg)) != (ssize_t)sizeof(msg))
			die("read of the userfaultfd");
		if (msg.event == UFFD_EVENT_PAGEFAULT)
			answer(b, work, msg.arg.pagefault.address);
	}
}

/* ---- the touching ---- */

static void touch(struct faultbench *b, enum work work, uint64_t i, bool counts)
{
	uint64_t start = bench_now(), number, took;

	number = *(volatile uint64_t *)&b->area[i].footer.page;
	took = bench_now() - start;
	if (counts)
		bench_hist_add(&b->hist, took);
	if (number != (work == WORK_LZ4 ? i : 0)) {
		fprintf(stderr, "faultbench: page %" PRIu64 ": wrong bytes\n", i);
		exit(EXIT_FAILURE);
	}
}

/* Every page once (an odd stride is coprime to a power of two), in another order each round. */
static void touch_all(struct faultbench *b, enum work work, bool counts, uint64_t *random)
{
	uint64_t stride = bench_random(random) | 1, at = bench_random(random), i;

	if (madvise(b->area, b->n_pages * BENCH_PAGE, MADV_DONTNEED))
		die("madvise");
	for (i = 0; i < b->n_pages; i++, at += stride)
		touch(b, work, at & (b->n_pages - 1), counts);
}

static void print_result(const struct faultbench *b, enum work work, enum place place)
{
	printf("result bench=fault work=%s place=%s ops=%" PRIu64 " mean_ns=%.0f p50_ns=%" PRIu64
	       " p99_ns=%" PRIu64 " p999_ns=%" PRIu64 " max_ns=%" PRIu64
	       " foreign=%.1f steal=%.1f\n",
	       work_names[work], place_names[place], b->hist.n, bench_hist_mean(&b->hist),
	       bench_hist_quantile(&b->hist, 0.5), bench_hist_quantile(&b->hist, 0.99),
	       bench_hist_quantile(&b->hist, 0.999), b->hist.max, b->foreign, b->steal);
	fflush(stdout);
}

static void run(struct faultbench *b, enum work work, enum place place, const cpu_set_t *all)
{
	struct usage before = usage_now();
	uint64_t random = 1, round;
	pid_t child;

	memset(&b->hist, 0, sizeof(b->hist));
	if (place == PLACE_FREE)
		set_cpus(all);
	else
		pin(b->cpu);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child)
		handle(b, work, place);
	for (round = 0; round <= b->n_rounds; round++)
		touch_all(b, work, round > 0, &random);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	note_usage(b, &before);
	print_result(b, work, place);
}

static void print_ratio(const struct faultbench *b)
{
	uint64_t i, sum = 0;

	for (i = 0; i < b->n_pages; i++)
		sum += b->blobs[i].len;
	printf("ratio codec=lz4 page=%u pages=%" PRIu64 " ratio=%.3f\n", BENCH_PAGE, b->n_pages,
	       (double)(b->n_pages * BENCH_PAGE) / (double)sum);
}

/* ---- options ---- */

static const char help_text[] =
"Usage: faultbench [OPTION]...\n"
"Measure the round trip of a userfault with a bare blocking handler.\n\n"
"  -w, --work NAME    zero or lz4 (default: both)\n"
"  -p, --place NAME   same, other or free (default: each)\n"
"  -n, --pages N      touched in a round, a power of two (default 4096)\n"
"  -r, --rounds N     (default 5)\n"
"  -c, --cpu N        where the touching thread runs (default: the first allowed)\n"
"      --ratio        print how well the pages compress, and stop\n"
"  -h, --help\n";

static void __attribute__((__noreturn__)) usage(const char *option, const char *value)
{
	fprintf(stderr, "faultbench: %s %s: not understood; see faultbench --help\n", option, value);
	exit(2);
}

static uint64_t parse_count(const char *option, const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n > UINT32_MAX)
		usage(option, text);
	return n;
}

static int parse_name(const char *option, const char *text, const char * const *names, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(names[i], text))
			return i;
	usage(option, text);
}

static const struct option options[] = {
	{ "work",	required_argument,	NULL, 'w' },
	{ "place",	required_argument,	NULL, 'p' },
	{ "pages",	required_argument,	NULL, 'n' },
	{ "rounds",	required_argument,	NULL, 'r' },
	{ "cpu",	required_argument,	NULL, 'c' },
	{ "ratio",	no_argument,		NULL, 'R' },
	{ "help",	no_argument,		NULL, 'h' },
	{ NULL,		0,			NULL, 0 }
};

struct choice {
	int work, place;		/* -1: all */
	bool ratio;
};

static void parse(struct faultbench *b, struct choice *ch, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "w:p:n:r:c:h", options, NULL)) != -1) {
		switch (c) {
		case 'w': ch->work = parse_name("--work", optarg, work_names, N_WORKS); break;
		case 'p': ch->place = parse_name("--place", optarg, place_names, N_PLACES); break;
		case 'n': b->n_pages = parse_count("--pages", optarg); break;
		case 'r': b->n_rounds = parse_count("--rounds", optarg); break;
		case 'c': b->cpu = (int)parse_count("--cpu", optarg); break;
		case 'R': ch->ratio = true; break;
		case 'h': fputs(help_text, stdout); exit(EXIT_SUCCESS);
		default: exit(2);
		}
	}
	if (optind < argc)
		usage("argument", argv[optind]);
	if (!b->n_pages || (b->n_pages & (b->n_pages - 1)))
		usage("--pages", "(not a power of two)");
}

static void choose_cpus(struct faultbench *b, const cpu_set_t *all)
{
	int cpu;

	b->other = -1;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET((size_t)cpu, all))
			continue;
		if (b->cpu < 0)
			b->cpu = cpu;
		else if (cpu != b->cpu && b->other < 0)
			b->other = cpu;
	}
}

static void run_all(struct faultbench *b, const struct choice *ch, const cpu_set_t *all)
{
	int work, place;

	for (work = 0; work < N_WORKS; work++) {
		for (place = 0; place < N_PLACES; place++) {
			if (ch->work >= 0 && ch->work != work)
				continue;
			if (ch->place >= 0 && ch->place != place)
				continue;
			if (place == PLACE_OTHER && b->other < 0)
				continue;
			run(b, (enum work)work, (enum place)place, all);
		}
	}
}

int main(int argc, char **argv)
{
	struct choice choice = { .work = -1, .place = -1 };
	struct faultbench *b = &bench;
	cpu_set_t all;

	b->n_pages = 4096;
	b->n_rounds = 5;
	b->cpu = -1;
	parse(b, &choice, argc, argv);
	if (sched_getaffinity(0, sizeof(all), &all))
		die("sched_getaffinity");
	choose_cpus(b, &all);
	compress_pages(b);
	if (choice.ratio) {
		print_ratio(b);
		return EXIT_SUCCESS;
	}
	set_up_area(b);
	run_all(b, &choice, &all);
	return EXIT_SUCCESS;
}

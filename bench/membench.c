/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * membench.c - a program that uses much memory, checks what it reads, and says how fast it went.
 *
 * It knows nothing of what keeps its memory: bench/run-bench runs it in a memory cgroup with
 * zram swap, under faultline run, and alone. One thread. The data is one private anonymous
 * mapping (join: two), of the contents that bench.h describes.
 *
 * A run has phases: fill, warmup, measure, verify, done. Each begins with the line
 * "phase NAME" on stdout; with --wait the program then waits for a line on stdin, so that a
 * driver can read or reset counters exactly between two phases. Only measure is timed. The
 * result is one line of key=value pairs, "result ...".
 *
 * Every operation is timed by one reading of the clock after it: the time includes drawing the
 * random number and checking the bytes, and the reading itself. What is not checked when it is
 * read is checked in verify: every page's check, and that the pages together saw exactly as
 * many writes as were made, so that a lost write shows and not only a torn one.
 *
 * Exit status: 0, 1 wrong bytes or no memory, 2 usage.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/bench.h"

#define MAX_CPUS	1024
#define ZIPF_THETA	0.99

struct zipf {
	uint64_t n;
	double zeta, alpha, eta;
	uint64_t stride;		/* odd, near 0.618 n, coprime to n: rank to page */
};

struct bench {
	/* constant after the options are read */
	uint64_t data;			/* bytes, in all */
	uint64_t n_pages;		/* of the part that is made of pages */
	uint64_t seed;
	uint64_t max_ops;		/* 0: the pattern's own amount */
	double	 seconds;		/* 0: no limit */
	int	 cpu;			/* pinned there; -1: left to the scheduler */
	bool	 wait, verify, release;
	const struct pattern *pattern;

	struct bench_page *pages;	/* seq, random, zipf, touch */
	struct bench_row *rows;		/* sort: the table; join: the side that is streamed */
	uint64_t n_rows;
	struct bench_row *table;	/* join: open addressing, id 0 is empty */
	uint64_t n_slots, n_keys;

	struct zipf zipf;
	uint64_t random;		/* state of the generator */
	uint64_t next;			/* page or row that comes next, of a sequence */
	uint64_t writes;		/* pages changed since fill */
	uint64_t sum;			/* sort: of all checks, before; join: of the amounts */

	struct bench_hist hist;
	uint64_t elapsed;		/* ns of measure */
	uint64_t bytes;			/* that measure went through */
	uint64_t fill_ns;
	uint64_t on_cpu[MAX_CPUS];	/* operations, every 16th looked at */
};

struct pattern {
	const char *name;
	void (*fill)(struct bench *b);
	void (*op)(struct bench *b);		/* one operation; NULL: measure does it all */
	void (*warmup)(struct bench *b);
	void (*measure)(struct bench *b);	/* NULL: op, as often as was said */
	void (*verify)(struct bench *b);
	uint64_t (*amount)(const struct bench *b);	/* operations of measure, by default */
	uint64_t op_bytes;			/* that an operation goes through */
};

static struct bench bench;

static void __attribute__((__noreturn__, __format__(__printf__, 1, 2))) die(const char *format, ...)
{
	va_list ap;

	fputs("membench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

static void *get_memory(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %" PRIu64 " bytes: %s", size, strerror(errno));
	return p;
}

static void phase(struct bench *b, const char *name)
{
	char line[16];

	printf("phase %s\n", name);
	fflush(stdout);
	if (b->wait && !fgets(line, sizeof(line), stdin))
		die("--wait: end of file on stdin in phase %s", name);
}

/* ---- measuring ---- */

static void note_cpu(struct bench *b)
{
	int cpu = sched_getcpu();

	if (cpu >= 0 && cpu < MAX_CPUS)
		b->on_cpu[cpu]++;
}

/* Runs op n times, or for as long as --seconds says; the histogram may be NULL. */
static uint64_t repeat(struct bench *b, uint64_t n, struct bench_hist *hist)
{
	uint64_t start = bench_now(), last = start, now, i;
	uint64_t limit = b->seconds > 0 ? (uint64_t)(b->seconds * 1e9) : UINT64_MAX;

	for (i = 0; i < n && last - start < limit; i++) {
		b->pattern->op(b);
		now = bench_now();
		if (hist)
			bench_hist_add(hist, now - last);
		if (hist && i % 16 == 0)
			note_cpu(b);
		last = now;
	}
	if (hist)
		b->elapsed = last - start;
	return i;
}

static void measure_ops(struct bench *b)
{
	uint64_t n = b->max_ops ? b->max_ops : b->seconds > 0 ? UINT64_MAX : b->pattern->amount(b);

	b->bytes = repeat(b, n, &b->hist) * b->pattern->op_bytes;
}

/* ---- pages ---- */

static void fill_pages(struct bench *b)
{
	uint64_t i;

	b->n_pages = b->data / BENCH_PAGE;
	b->pages = get_memory(b->data);
	for (i = 0; i < b->n_pages; i++)
		bench_page_fill(&b->pages[i], i, b->seed);
}

static void read_page(struct bench *b, uint64_t i)
{
	if (!bench_page_good(&b->pages[i], i))
		die("page %" PRIu64 " is not what was written (it says %" PRIu64 ")",
		    i, b->pages[i].footer.page);
}

static void write_row(struct bench *b, struct bench_page *page, uint64_t row, uint64_t random)
{
	size_t word = BENCH_AMOUNT_WORD(row);
	const bench_word *w = (const bench_word *)page;

	bench_page_set(page, word, w[word] ^ (random & 0xffff));
}

static void count_write(struct bench *b, struct bench_page *page)
{
	bench_page_set(page, BENCH_WRITES_WORD, page->footer.writes + 1);
	b->writes++;
}

static uint64_t next_page(struct bench *b)
{
	uint64_t i = b->next;

	b->next = i + 1 < b->n_pages ? i + 1 : 0;
	return i;
}

static void op_seqread(struct bench *b)
{
	read_page(b, next_page(b));
}

/* Changes every row of the page; the check follows, so that a bad page stays bad. */
static void op_seqwrite(struct bench *b)
{
	struct bench_page *page = &b->pages[next_page(b)];
	uint64_t random = bench_random(&b->random), row;

	for (row = 0; row < BENCH_ROWS; row++)
		write_row(b, page, row, random >> (row % 40));
	count_write(b, page);
}

static void op_random(struct bench *b)
{
	read_page(b, bench_below(&b->random, b->n_pages));
}

static void warmup_once(struct bench *b)
{
	repeat(b, b->n_pages, NULL);
}

static void verify_pages(struct bench *b)
{
	uint64_t i, writes = 0;

	for (i = 0; i < b->n_pages; i++) {
		read_page(b, i);
		writes += b->pages[i].footer.writes;
	}
	if (writes != b->writes)
		die("%" PRIu64 " writes were made, %" PRIu64 " are there", b->writes, writes);
}

static uint64_t amount_two_passes(const struct bench *b)
{
	return 2 * b->n_pages;
}

/* ---- zipf: ranks as YCSB draws them, scattered over the pages by a multiplication ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
	return b ? gcd(b, a % b) : a;
}

static void zipf_init(struct zipf *z, uint64_t n)
{
	double zeta2 = 1 + pow(0.5, ZIPF_THETA);
	uint64_t i;

	z->n = n;
	z->zeta = 0;
	for (i = 1; i <= n; i++)
		z->zeta += pow(1.0 / (double)i, ZIPF_THETA);
	z->alpha = 1 / (1 - ZIPF_THETA);
	z->eta = (1 - pow(2.0 / (double)n, 1 - ZIPF_THETA)) / (1 - zeta2 / z->zeta);
	z->stride = (uint64_t)((double)n * 0.6180339887) | 1;
	while (gcd(z->stride, n) != 1)
		z->stride += 2;
}

static uint64_t zipf_draw(const struct zipf *z, uint64_t random)
{
	double u = (double)(random >> 11) * 0x1p-53, uz = u * z->zeta;
	uint64_t rank;

	if (uz < 1)
		rank = 0;
	else if (uz < 1 + pow(0.5, ZIPF_THETA))
		rank = 1;
	else
		rank = (uint64_t)((double)z->n * pow(z->eta * u - z->eta + 1, z->alpha));
	return (rank < z->n ? rank : z->n - 1) * z->stride % z->n;
}

static void fill_zipf(struct bench *b)
{
	fill_pages(b);
	zipf_init(&b->zipf, b->n_pages);
}

static void op_zipf(struct bench *b)
{
	uint64_t i = zipf_draw(&b->zipf, bench_random(&b->random));
	uint64_t random = bench_random(&b->random);

	read_page(b, i);
	if (random % 10)
		return;
	write_row(b, &b->pages[i], bench_scale(random, BENCH_ROWS), random >> 8);
	count_write(b, &b->pages[i]);
}

static void warmup_zipf(struct bench *b)
{
	repeat(b, 4 * b->n_pages, NULL);
}

static uint64_t amount_zipf(const struct bench *b)
{
	return 16 * b->n_pages;
}

/* ---- touch: one word of pages that are not in memory, at random ---- */

static bool present(const struct bench_page *page)
{
	unsigned char vec = 0;

	if (mincore((void *)(uintptr_t)page, BENCH_PAGE, &vec))
		die("mincore: %s", strerror(errno));
	return vec & 1;
}

/*
 * With --release, the pages of the second half are given back to the kernel first: whoever
 * keeps the budget then has room, and a touch of an evicted page of the first half needs no
 * eviction to go with it. The touch alone is timed, by the clock's difference of two readings.
 */
static void warmup_touch(struct bench *b)
{
	uint64_t half = b->n_pages / 2;

	if (!b->release)
		return;
	if (madvise(&b->pages[half], (b->n_pages - half) * BENCH_PAGE, MADV_DONTNEED))
		die("madvise: %s", strerror(errno));
	b->n_pages = half;
}

static void touch(struct bench *b, uint64_t i)
{
	uint64_t start = bench_now(), number;

	number = *(volatile uint64_t *)&b->pages[i].footer.page;
	bench_hist_add(&b->hist, bench_now() - start);
	note_cpu(b);
	if (number != i)
		die("page %" PRIu64 " is not what was written", i);
	read_page(b, i);
}

static uint64_t amount_touch(const struct bench *b)
{
	return b->n_pages / 4;
}

static void measure_touch(struct bench *b)
{
	uint64_t n = b->max_ops ? b->max_ops : amount_touch(b), tries = 16 * b->n_pages, i;
	uint64_t start = bench_now();

	for (; b->hist.n < n && tries; tries--) {
		i = bench_below(&b->random, b->n_pages);
		if (!present(&b->pages[i]))
			touch(b, i);
	}
	b->elapsed = bench_now() - start;
	b->bytes = b->hist.n * BENCH_PAGE;
}

/* ---- sort: quicksort in place, by the random key ---- */

static void fill_sort(struct bench *b)
{
	uint64_t i;

	b->n_rows = b->data / sizeof(*b->rows);
	b->rows = get_memory(b->data);
	for (i = 0; i < b->n_rows; i++) {
		bench_row_make(&b->rows[i], i + 1, b->seed);
		b->sum += bench_mix(b->rows[i].check + b->rows[i].id);
	}
}

static void swap_rows(struct bench_row *a, struct bench_row *b)
{
	struct bench_row t = *a;

	*a = *b;
	*b = t;
}

static void sort_few(struct bench_row *rows, uint64_t n)
{
	struct bench_row t;
	uint64_t i, j;

	for (i = 1; i < n; i++) {
		t = rows[i];
		for (j = i; j > 0 && rows[j - 1].key > t.key; j--)
			rows[j] = rows[j - 1];
		rows[j] = t;
	}
}

static uint32_t median(uint32_t a, uint32_t b, uint32_t c)
{
	if (a > b)
		return b > c ? b : a > c ? c : a;
	return a > c ? a : b > c ? c : b;
}

/* Hoare's: both sides are walked towards each other, each a sequential pass. */
static uint64_t partition(struct bench_row *rows, uint64_t n)
{
	uint32_t pivot = median(rows[0].key, rows[n / 2].key, rows[n - 1].key);
	uint64_t i = 0, j = n - 1;

	for (;; i++, j--) {
		while (rows[i].key < pivot)
			i++;
		while (rows[j].key > pivot)
			j--;
		if (i >= j)
			return i == j ? i + 1 : i;
		swap_rows(&rows[i], &rows[j]);
	}
}

/* The smaller part by recursion: its depth stays below log2(n). */
static void sort_rows(struct bench_row *rows, uint64_t n)
{
	uint64_t left;

	while (n > 16) {
		left = partition(rows, n);
		if (left < n - left) {
			sort_rows(rows, left);
			rows += left;
			n -= left;
		} else {
			sort_rows(rows + left, n - left);
			n = left;
		}
	}
	sort_few(rows, n);
}

static void measure_sort(struct bench *b)
{
	uint64_t start = bench_now();

	note_cpu(b);
	sort_rows(b->rows, b->n_rows);
	note_cpu(b);
	b->elapsed = bench_now() - start;
	b->bytes = b->n_rows * sizeof(*b->rows);
}

static void verify_sort(struct bench *b)
{
	uint64_t i, sum = 0;

	for (i = 0; i < b->n_rows; i++) {
		const struct bench_row *row = &b->rows[i];

		if (bench_row_check(row) != row->check)
			die("row %" PRIu64 " is not as it was made", i);
		if (i && row[-1].key > row->key)
			die("row %" PRIu64 " is out of order", i);
		sum += bench_mix(row->check + row->id);
	}
	if (sum != b->sum)
		die("the rows are not the rows that were sorted");
}

/* ---- join: a hash table of a quarter of the data, probed by rows streamed from the rest ---- */

static uint64_t slot_of(const struct bench *b, uint64_t id)
{
	return bench_scale(bench_mix(id), b->n_slots);
}

static void fill_join(struct bench *b)
{
	uint64_t i, table = b->data / 4 / BENCH_PAGE * BENCH_PAGE;

	b->n_slots = table / sizeof(*b->table);
	b->n_keys = b->n_slots * 7 / 10;
	b->n_rows = (b->data - table) / sizeof(*b->rows);
	b->rows = get_memory(b->data - table);
	for (i = 0; i < b->n_rows; i++) {
		bench_row_make(&b->rows[i], i + 1, b->seed);
		b->rows[i].customer = (uint32_t)(1 + bench_below(&b->random, b->n_keys));
		b->rows[i].check = bench_row_check(&b->rows[i]);
	}
	b->table = get_memory(table);
}

/* Builds the table. */
static void warmup_join(struct bench *b)
{
	uint64_t id, i;

	for (id = 1; id <= b->n_keys; id++) {
		i = slot_of(b, id);
		while (b->table[i].id)
			i = i + 1 < b->n_slots ? i + 1 : 0;
		bench_row_make(&b->table[i], id, ~b->seed);
	}
}

static void op_join(struct bench *b)
{
	const struct bench_row *row = &b->rows[b->next], *hit;
	uint64_t i = slot_of(b, row->customer);

	if (bench_row_check(row) != row->check)
		die("row %" PRIu64 " is not as it was made", b->next);
	while (b->table[i].id != row->customer) {
		if (!b->table[i].id)
			die("key %" PRIu32 " is not in the table", row->customer);
		i = i + 1 < b->n_slots ? i + 1 : 0;
	}
	hit = &b->table[i];
	if (bench_row_check(hit) != hit->check)
		die("slot %" PRIu64 " is not as it was made", i);
	b->sum += (uint64_t)hit->amount * row->quantity;
	b->next = b->next + 1 < b->n_rows ? b->next + 1 : 0;
}

static uint64_t amount_join(const struct bench *b)
{
	return b->n_rows;
}

static void verify_join(struct bench *b)
{
	static const struct bench_row empty;
	uint64_t i, keys = 0;

	for (i = 0; i < b->n_rows; i++)
		if (bench_row_check(&b->rows[i]) != b->rows[i].check)
			die("row %" PRIu64 " is not as it was made", i);
	for (i = 0; i < b->n_slots; i++) {
		const struct bench_row *row = &b->table[i];

		if (row->id ? bench_row_check(row) != row->check : memcmp(row, &empty, sizeof(empty)))
			die("slot %" PRIu64 " is not as it was made", i);
		keys += row->id != 0;
	}
	if (keys != b->n_keys)
		die("%" PRIu64 " keys were put in, %" PRIu64 " are there", b->n_keys, keys);
}

/* ---- the table of patterns, and the run ---- */

static void nothing(struct bench *b)
{
}

static const struct pattern patterns[] = {
	{ "seqread", fill_pages, op_seqread, warmup_once, measure_ops, verify_pages,
	  amount_two_passes, BENCH_PAGE },
	{ "seqwrite", fill_pages, op_seqwrite, warmup_once, measure_ops, verify_pages,
	  amount_two_passes, BENCH_PAGE },
	{ "random", fill_pages, op_random, warmup_once, measure_ops, verify_pages,
	  amount_two_passes, BENCH_PAGE },
	{ "zipf", fill_zipf, op_zipf, warmup_zipf, measure_ops, verify_pages,
	  amount_zipf, BENCH_PAGE },
	{ "touch", fill_pages, NULL, warmup_touch, measure_touch, verify_pages,
	  amount_touch, BENCH_PAGE },
	{ "sort", fill_sort, NULL, nothing, measure_sort, verify_sort, NULL, 0 },
	{ "join", fill_join, op_join, warmup_join, measure_ops, verify_join,
	  amount_join, sizeof(struct bench_row) },
};

#define N_PATTERNS	(sizeof(patterns) / sizeof(patterns[0]))

static void print_cpus(const struct bench *b)
{
	uint64_t all = 0;
	size_t i;
	const char *sep = "";

	for (i = 0; i < MAX_CPUS; i++)
		all += b->on_cpu[i];
	fputs(" cpus=", stdout);
	for (i = 0; i < MAX_CPUS; i++) {
		if (!b->on_cpu[i])
			continue;
		printf("%s%zu:%.0f%%", sep, i, 100.0 * (double)b->on_cpu[i] / (double)all);
		sep = ",";
	}
	printf("%s\n", all ? "" : "-");
}

static void print_result(const struct bench *b)
{
	double s = (double)b->elapsed / 1e9;
	uint64_t ops = b->hist.n;

	printf("result pattern=%s data=%" PRIu64 " ops=%" PRIu64 " seconds=%.6f ops_per_s=%.1f"
	       " bytes_per_s=%.0f fill_bytes_per_s=%.0f mean_ns=%.0f p50_ns=%" PRIu64
	       " p99_ns=%" PRIu64 " p999_ns=%" PRIu64 " max_ns=%" PRIu64,
	       b->pattern->name, b->data, ops, s, (double)ops / s, (double)b->bytes / s,
	       (double)b->data / ((double)b->fill_ns / 1e9), bench_hist_mean(&b->hist),
	       bench_hist_quantile(&b->hist, 0.5), bench_hist_quantile(&b->hist, 0.99),
	       bench_hist_quantile(&b->hist, 0.999), b->hist.max);
	print_cpus(b);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("--cpu %d: %s", cpu, strerror(errno));
}

static void run(struct bench *b)
{
	uint64_t start;

	phase(b, "fill");
	start = bench_now();
	b->pattern->fill(b);
	b->fill_ns = bench_now() - start;
	phase(b, "warmup");
	b->pattern->warmup(b);
	phase(b, "measure");
	b->pattern->measure(b);
	phase(b, "verify");
	if (b->verify)
		b->pattern->verify(b);
	print_result(b);
	phase(b, "done");
}

/* ---- options ---- */

static const char help_text[] =
"Usage: membench [OPTION]...\n"
"Use much memory in a known pattern, check what is read, print how fast it went.\n\n"
"  -d, --data SIZE      how much (default 512M)\n"
"  -p, --pattern NAME   seqread, seqwrite, random, zipf, sort, join or touch\n"
"  -n, --ops N          operations of the measured phase (default: the pattern's own)\n"
"  -t, --seconds S      or for so long\n"
"  -s, --seed N         of contents and choices (default 1)\n"
"  -c, --cpu N          pin the thread there\n"
"  -w, --wait           at each \"phase\" line, wait for a line on standard input\n"
"  -r, --release        touch: give half of the data back before measuring\n"
"      --no-verify      do not check everything again at the end\n"
"  -h, --help\n";

static void __attribute__((__noreturn__)) usage(const char *option, const char *value)
{
	fprintf(stderr, "membench: %s %s: not understood; see membench --help\n", option, value);
	exit(2);
}

static uint64_t parse_size(const char *option, const char *text)
{
	static const char units[] = "KMGT";
	char *end;
	double n = strtod(text, &end);
	const char *unit;

	if (end == text || !(n > 0) || n > 1e15)
		usage(option, text);
	if (*end) {
		unit = strchr(units, *end & ~0x20);
		if (!unit)
			usage(option, text);
		n *= (double)(UINT64_C(1) << (10 * (unit - units + 1)));
		end++;
	}
	if (*end && strcmp(end, "iB") && strcmp(end, "B"))
		usage(option, text);
	return (uint64_t)n;
}

static uint64_t parse_count(const char *option, const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-')
		usage(option, text);
	return n;
}

static double parse_seconds(const char *option, const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s > 0) || s > 1e6)
		usage(option, text);
	return s;
}

static const struct pattern *parse_pattern(const char *option, const char *text)
{
	size_t i;

	for (i = 0; i < N_PATTERNS; i++)
		if (!strcmp(patterns[i].name, text))
			return &patterns[i];
	usage(option, text);
}

enum { OPT_NO_VERIFY = 256 };

static const struct option options[] = {
	{ "data",	required_argument,	NULL, 'd' },
	{ "pattern",	required_argument,	NULL, 'p' },
	{ "ops",	required_argument,	NULL, 'n' },
	{ "seconds",	required_argument,	NULL, 't' },
	{ "seed",	required_argument,	NULL, 's' },
	{ "cpu",	required_argument,	NULL, 'c' },
	{ "wait",	no_argument,		NULL, 'w' },
	{ "release",	no_argument,		NULL, 'r' },
	{ "no-verify",	no_argument,		NULL, OPT_NO_VERIFY },
	{ "help",	no_argument,		NULL, 'h' },
	{ NULL,		0,			NULL, 0 }
};

static void parse(struct bench *b, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "d:p:n:t:s:c:wrh", options, NULL)) != -1) {
		switch (c) {
		case 'd': b->data = parse_size("--data", optarg); break;
		case 'p': b->pattern = parse_pattern("--pattern", optarg); break;
		case 'n': b->max_ops = parse_count("--ops", optarg); break;
		case 't': b->seconds = parse_seconds("--seconds", optarg); break;
		case 's': b->seed = parse_count("--seed", optarg); break;
		case 'c': b->cpu = (int)parse_count("--cpu", optarg); break;
		case 'w': b->wait = true; break;
		case 'r': b->release = true; break;
		case OPT_NO_VERIFY: b->verify = false; break;
		case 'h': fputs(help_text, stdout); exit(EXIT_SUCCESS);
		default: exit(2);
		}
	}
	if (optind < argc)
		usage("argument", argv[optind]);
	if (b->data < 64 * BENCH_PAGE || b->cpu >= CPU_SETSIZE)
		usage(b->cpu >= CPU_SETSIZE ? "--cpu" : "--data", "(out of range)");
}

int main(int argc, char **argv)
{
	struct bench *b = &bench;

	b->data = UINT64_C(512) << 20;
	b->seed = 1;
	b->cpu = -1;
	b->verify = true;
	b->pattern = &patterns[2];
	parse(b, argc, argv);
	b->data -= b->data % BENCH_PAGE;
	b->random = bench_mix(b->seed);
	if (b->cpu >= 0)
		pin(b->cpu);
	run(b);
	return EXIT_SUCCESS;
}

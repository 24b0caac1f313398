/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * real-programs.c - programs that know nothing of Faultline give the same bytes in a third of
 * the memory that they take.
 *
 * Each test runs a program on real text twice, alone and by faultline run, and compares standard
 * output. What the job took is sampled from /proc (tests/cost.h), so that the daemon's own idea
 * of it is under test as well; and the summary must speak of pages taken out and brought back, or
 * the test would have shown nothing.
 *
 * The text is this machine's own: its headers, manuals and sources, in one fixed order.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "tests/cost.h"
#include "tests/harness.h"

#define MIB		(UINT64_C(1) << 20)
#define TOLERANCE	(4 * MIB)	/* what the kernel gives between two looks of the daemon */
#define INTERVAL_MS	5
#define SHARE		3		/* the budget is 1/SHARE of the peak */

static const char *const text_dirs[] = {
	"/usr/include", "/usr/share/doc", "/usr/share/perl", "/usr/lib/python3", "/usr/share",
	"/usr/lib", "/var/lib/dpkg/info", NULL
};

static void close_ftsp(FTS **fts)
{
	if (*fts)
		fts_close(*fts);
}

static void close_filep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void need_machine(void)
{
	_cleanup_close_ int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		t_skip("/dev/userfaultfd: %s", strerror(errno));
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	t_skip("a preload library with a sanitizer in it cannot be loaded into strangers");
#endif
}

/* ---- text ---- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* At most left bytes of a file that looks like text; returns how many. */
static uint64_t append_file(FILE *out, const char *path, uint64_t left)
{
	static char buf[1 << 16];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t done = 0;
	ssize_t n;

	while (fd >= 0 && done < left && (n = read(fd, buf, sizeof(buf))) > 0) {
		size_t want = min((uint64_t)n, left - done);

		if (memchr(buf, '\0', want))
			break;
		t_eq(fwrite(buf, 1, want, out), want);
		done += want;
	}
	return done;
}

static uint64_t append_dir(FILE *out, const char *dir, uint64_t left)
{
	char *const paths[] = { (char *)(uintptr_t)dir, NULL };
	_cleanup_(close_ftsp) FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	uint64_t done = 0;
	FTSENT *e;

	while (fts && done < left && (e = fts_read(fts)))
		if (e->fts_info == FTS_F && e->fts_statp->st_size > 0)
			done += append_file(out, e->fts_path, left - done);
	return done;
}

/* The path of a file of so many bytes; lives as long as the test. */
static const char *make_text(uint64_t size)
{
	static char path[4096];
	uint64_t left = size;

	snprintf(path, sizeof(path), "%s/text", t_tmpdir());
	_cleanup_(close_filep) FILE *out = fopen(path, "we");
	t_assert(out);
	for (const char *const *dir = text_dirs; *dir && left; dir++)
		left -= append_dir(out, *dir, left);
	if (left)
		t_skip("this machine has only %" PRIu64 " MiB of text in /usr/include and /usr/share",
		       (size - left) / MIB);
	t_eq(fflush(out), 0);
	return path;
}

/* ---- runs ---- */

struct result {
	char out[4096], err[4096];	/* files */
	struct cost peak;
	int status;
};

static void redirect(const char *path, int flags, int to)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0 || dup2(fd, to) < 0)
		_exit(125);
}

/* argv with text as its standard input. */
static void run(const char *name, const char *const *argv, const char *text, struct result *ret)
{
	pid_t pid;

	snprintf(ret->out, sizeof(ret->out), "%s/%s.out", t_tmpdir(), name);
	snprintf(ret->err, sizeof(ret->err), "%s/%s.err", t_tmpdir(), name);
	pid = t_sys(fork());
	if (pid == 0) {
		redirect(text, O_RDONLY, 0);
		redirect(ret->out, O_WRONLY | O_CREAT | O_TRUNC, 1);
		redirect(ret->err, O_WRONLY | O_CREAT | O_TRUNC, 2);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	t_ok(cost_watch(pid, INTERVAL_MS, NULL, &ret->peak, &ret->status));
}

static void note_file(const char *path)
{
	_cleanup_(close_filep) FILE *f = fopen(path, "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		t_note("%s", line);
	}
}

static void expect_success(const struct result *r, const char *what)
{
	if (WIFEXITED(r->status) && WEXITSTATUS(r->status) == 0)
		return;
	note_file(r->err);
	t_fail("%s ended with wait status 0x%x", what, (unsigned int)r->status);
}

static void run_budgeted(const char *const *argv, uint64_t budget, const char *text,
			 struct result *ret)
{
	const char *faultline = getenv("FAULTLINE");
	char size[32];
	const char *all[32] = {
		faultline ? faultline : "faultline", "run", "-v", "--budget", size, "--",
	};
	size_t n = 6;

	snprintf(size, sizeof(size), "%" PRIu64, budget);
	while (*argv) {
		t_lt(n, ARRAY_SIZE(all) - 1);
		all[n++] = *argv++;
	}
	run("budget", all, text, ret);
}

/* ---- what is expected ---- */

static void expect_same_file(const char *a_path, const char *b_path)
{
	static char a[1 << 16], b[1 << 16];
	_cleanup_(close_filep) FILE *fa = fopen(a_path, "re");
	_cleanup_(close_filep) FILE *fb = fopen(b_path, "re");
	uint64_t at = 0;
	size_t n;

	t_assert(fa && fb);
	do {
		n = fread(a, 1, sizeof(a), fa);
		t_eq(fread(b, 1, sizeof(b), fb), n);
		if (memcmp(a, b, n) != 0)
			t_fail("the outputs differ after byte %" PRIu64, at);
		at += n;
	} while (n);
	t_gt(at, 0);
}

/* The number behind word in the summary of faultline run -v; 0 when there is none. */
static uint64_t summary_number(const char *path, const char *word)
{
	_cleanup_(close_filep) FILE *f = fopen(path, "re");
	char line[512];
	uint64_t n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strncmp(line, "faultline run: ", 15) ? NULL : strstr(line, word);

		if (at && sscanf(at + strlen(word), " %" SCNu64, &n) == 1)
			return n;
	}
	return 0;
}

static void compare(const char *const *argv, const char *text)
{
	struct result alone = { 0 }, kept = { 0 };
	uint64_t budget;

	need_machine();
	run("alone", argv, text, &alone);
	if (WIFEXITED(alone.status) && WEXITSTATUS(alone.status) == 127)
		t_skip("%s is not installed", argv[0]);
	expect_success(&alone, "the program alone");
	t_gt(alone.peak.anon, 30 * MIB);	/* else the budget would be too small to mean much */

	budget = alone.peak.anon / SHARE;
	run_budgeted(argv, budget, text, &kept);
	expect_success(&kept, "the program in its budget");
	expect_same_file(alone.out, kept.out);
	t_note("alone %" PRIu64 " MiB, budget %" PRIu64 " MiB, cost %" PRIu64 " MiB, of it pool %"
	       PRIu64 " MiB; swap file %" PRIu64 " MiB", alone.peak.anon / MIB, budget / MIB,
	       kept.peak.total / MIB, kept.peak.pool / MIB, kept.peak.swap / MIB);
	note_file(kept.err);
	t_le(kept.peak.total, budget + TOLERANCE);
	t_gt(summary_number(kept.err, "evicted"), 1000);
	t_gt(summary_number(kept.err, "refaults"), 100);
}

/* Where there are several python3, take the one that is a program and no wrapper. */
static const char *python(void)
{
	return access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3";
}

#define COMPARE(text_mib, ...)							\
	compare((const char *[]){ __VA_ARGS__, NULL }, make_text((text_mib) * MIB))

static void sort_sorts_the_same(void)
{
	COMPARE(40, "sort", "--parallel=2", "-S", "400M");
}

static void python3_builds_the_same_index(void)
{
	COMPARE(8, python(), "-c",
		"import sys\n"
		"index = {}\n"
		"for n, line in enumerate(sys.stdin.buffer):\n"
		"    index.setdefault(line.strip(), []).append(n)\n"
		"for line, where in sorted(index.items()):\n"
		"    print(len(where), where[0], where[-1], line)\n");
}

static void sqlite3_joins_the_same(void)
{
	COMPARE(32, "sqlite3", "-batch", ":memory:",
		"PRAGMA temp_store = memory",
		"CREATE TABLE line (text TEXT)",
		".mode ascii", ".separator \"\\037\" \"\\n\"",
		".import /dev/stdin line",
		"CREATE INDEX line_text ON line (text)",
		"SELECT a.text, count(*), sum(b.rowid) FROM line a JOIN line b"
		" ON b.text = a.text AND b.rowid BETWEEN a.rowid AND a.rowid + 1000"
		" GROUP BY a.text HAVING count(*) > 1 ORDER BY 2 DESC, 1");
}

static void xz_compresses_to_the_same(void)
{
	COMPARE(24, "xz", "--stdout", "--threads=1", "--lzma2=preset=0,dict=32MiB");
}

static void perl_sorts_the_same(void)
{
	COMPARE(24, "perl", "-ne", "push @l, $_; END { print sort @l }");
}

static void awk_counts_the_same(void)
{
	COMPARE(24, "awk", "{ n[$0]++; line[NR] = $0 }"
			   " END { for (i = 1; i <= NR; i++) print n[line[i]], line[i] }");
}

static const struct t_test tests[] = {
	T_TIMEOUT(sort_sorts_the_same, 180),
	T_TIMEOUT(python3_builds_the_same_index, 180),
	T_TIMEOUT(sqlite3_joins_the_same, 180),
	T_TIMEOUT(xz_compresses_to_the_same, 180),
	T_TIMEOUT(perl_sorts_the_same, 180),
	T_TIMEOUT(awk_counts_the_same, 180),
	{0}
};

static const struct t_suite suites[] = { { "real-programs", tests }, {0} };

int main(int argc, char **argv)
{
	setenv("LC_ALL", "C", 1);
	unsetenv("MALLOC_PERTURB_");	/* programs as they are */
	return harness_main(argc, argv, suites);
}

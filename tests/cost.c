/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cost.c - what a running job really takes of the machine, as the kernel counts it.
 *
 * It asks /proc and no part of Faultline, so that it can find Faultline's own counters wrong.
 * The tree of processes is walked anew for each sample. Whoever watches a tree whose daemon may
 * lose its parent makes itself a subreaper first (prctl(2)).
 *
 * What is counted for whom: RssAnon of a process whose executable is faultlined goes to
 * "daemon", of faultline itself to nobody, of all others to "anon". Memfds are found among the
 * daemon's descriptors: one with "pool" in its name is the pool. A page that two processes share
 * after a fork counts twice, on the safe side.
 *
 * The pool is read before anon: what moves out meanwhile is missed for one sample rather than
 * counted twice. A process that ends while it is looked at counts as nothing.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "tests/cost.h"

#define TREE_MAX 1024

enum kind { PROGRAM, FRONT, DAEMON };

struct tree {
	pid_t pid[TREE_MAX];
	enum kind kind[TREE_MAX];
	size_t n;
	ino_t seen[TREE_MAX];		/* memfds that are counted already */
	size_t n_seen;
};

static void close_filep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void close_dirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* The executable's path says more than comm, which a program may change; some hide it. */
static void read_name(pid_t pid, char *ret_name, size_t n)
{
	char path[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	len = readlink(path, ret_name, n - 1);
	ret_name[max(len, (ssize_t)0)] = '\0';
	if (len > 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	_cleanup_(close_filep) FILE *f = fopen(path, "re");
	if (!f || !fgets(ret_name, (int)n, f))
		ret_name[0] = '\0';
	ret_name[strcspn(ret_name, "\n")] = '\0';
}

static enum kind kind_of(pid_t pid)
{
	char path[4096];
	const char *name;

	read_name(pid, path, sizeof(path));
	name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	if (strstr(name, "faultlined"))	/* also the hooked one */
		return DAEMON;
	return !strcmp(name, "faultline") ? FRONT : PROGRAM;
}

static void add_process(struct tree *t, pid_t pid)
{
	if (t->n == TREE_MAX)
		return;
	t->pid[t->n] = pid;
	t->kind[t->n] = kind_of(pid);
	t->n++;
}

/* Children belong to the thread that made them. */
static void add_children(struct tree *t, pid_t pid)
{
	char path[64];
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	_cleanup_(close_dirp) DIR *tasks = opendir(path);
	while (tasks && (e = readdir(tasks))) {
		char children[128];
		int child;

		if (e->d_name[0] == '.')
			continue;
		snprintf(children, sizeof(children), "/proc/%d/task/%.16s/children", (int)pid,
			 e->d_name);
		_cleanup_(close_filep) FILE *f = fopen(children, "re");
		while (f && fscanf(f, "%d", &child) == 1)
			add_process(t, child);
	}
}

static uint64_t read_anon(pid_t pid)
{
	char path[64], line[256];
	uint64_t kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	_cleanup_(close_filep) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
			break;
	return kib * 1024;
}

static bool seen_before(struct tree *t, ino_t inode)
{
	for (size_t i = 0; i < t->n_seen; i++)
		if (t->seen[i] == inode)
			return true;
	if (t->n_seen < TREE_MAX)
		t->seen[t->n_seen++] = inode;
	return false;
}

/* A file of the daemon's without a name is one of its memfds, or the swap file. */
static void add_file(struct tree *t, int dir, const char *fd, struct cost *now)
{
	char target[512];
	struct stat st;
	ssize_t n = readlinkat(dir, fd, target, sizeof(target) - 1);
	uint64_t bytes;

	if (n <= 0)
		return;
	target[n] = '\0';
	if (!strstr(target, " (deleted)") || fstatat(dir, fd, &st, 0) < 0 || !S_ISREG(st.st_mode))
		return;
	if (seen_before(t, st.st_ino))
		return;
	bytes = (uint64_t)st.st_blocks * 512;
	if (strncmp(target, "/memfd:", 7) != 0)
		now->swap += bytes;
	else if (strstr(target, "pool"))
		now->pool += bytes;
	else
		now->daemon += bytes;
}

static void add_files(struct tree *t, pid_t pid, struct cost *now)
{
	char path[64];
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	_cleanup_(close_dirp) DIR *fds = opendir(path);
	while (fds && (e = readdir(fds)))
		if (e->d_name[0] != '.')
			add_file(t, dirfd(fds), e->d_name, now);
}

static struct cost look_once(pid_t root)
{
	_cleanup_free_ struct tree *t = calloc(1, sizeof(*t));
	struct cost now = { .samples = 1 };

	if (!t)
		return now;
	add_process(t, root);
	for (size_t i = 0; i < t->n; i++)	/* grows as it goes */
		add_children(t, t->pid[i]);
	for (size_t i = 0; i < t->n; i++)
		if (t->kind[i] == DAEMON)
			add_files(t, t->pid[i], &now);
	for (size_t i = 0; i < t->n; i++) {
		if (t->kind[i] == DAEMON)
			now.daemon += read_anon(t->pid[i]);
		else if (t->kind[i] == PROGRAM)
			now.anon += read_anon(t->pid[i]);
	}
	now.total = now.anon + now.pool;
	return now;
}

static void raise_peak(struct cost *peak, const struct cost *now)
{
	peak->anon = max(peak->anon, now->anon);
	peak->pool = max(peak->pool, now->pool);
	peak->total = max(peak->total, now->total);
	peak->swap = max(peak->swap, now->swap);
	peak->daemon = max(peak->daemon, now->daemon);
	peak->samples += now->samples;
}

void cost_sample(pid_t root, struct cost *peak)
{
	struct cost now = look_once(root);

	raise_peak(peak, &now);
}

int cost_watch(pid_t root, int interval_ms, void (*look)(const struct cost *now),
	       struct cost *ret_peak, int *ret_status)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, root, 0);
	struct cost peak = { 0 };
	int status;

	if (pidfd < 0)
		return -errno;
	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		int r = poll(&p, 1, interval_ms);
		struct cost now;

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			break;
		now = look_once(root);
		raise_peak(&peak, &now);
		if (look)
			look(&now);
	}
	if (waitpid(root, &status, 0) < 0)
		return -errno;
	*ret_peak = peak;
	*ret_status = status;
	return 0;
}

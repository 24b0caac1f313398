/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake-faultlined.c - what faultline run starts in the tests of its private daemon.
 *
 * Understands faultlined's options for a private one, writes into $FAKE_RECORD what it was born
 * with, serves as fake-daemon.h says by $FAKE_MODE, and removes its directory at the end.
 */
#include <config.h>

#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/functional/fake-daemon.h"

enum { OPT_PRIVATE, OPT_SOCKET, OPT_UFFD, OPT_DIR };

static const struct option options[] = {
	{ "private", no_argument, NULL, OPT_PRIVATE },
	{ "socket-fd", required_argument, NULL, OPT_SOCKET },
	{ "uffd-fd", required_argument, NULL, OPT_UFFD },
	{ "private-dir", required_argument, NULL, OPT_DIR },
	{ 0 }
};

static void record_descriptors(FILE *out)
{
	DIR *d = opendir("/proc/self/fd");
	char target[256];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
		int fd = atoi(e->d_name);

		if (n < 0 || fd == dirfd(d) || fd == fileno(out))
			continue;
		target[n] = '\0';
		target[strcspn(target, ":[")] = '\0';
		fprintf(out, "fd %d %s\n", fd, target);
	}
	if (d)
		closedir(d);
}

static void record(const char *dir, int uffd)
{
	const char *path = getenv("FAKE_RECORD");
	FILE *out = path ? fopen(path, "we") : NULL;
	struct stat st = { 0 };
	char cwd[256] = "";
	sigset_t mask;

	if (!out)
		return;
	stat(dir, &st);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	fprintf(out, "pid %d\n", (int)getpid());
	fprintf(out, "leader %d\n", getsid(0) == getpid());
	fprintf(out, "dir %s mode %o\n", dir, (unsigned int)st.st_mode & 07777);
	fprintf(out, "cwd %s\n", getcwd(cwd, sizeof(cwd)) ? cwd : "?");
	fprintf(out, "device %d\n", uffd);
	fprintf(out, "blocked %d\n", sigismember(&mask, SIGTERM));
	fprintf(out, "job %s\n", getenv("FAULTLINE_JOB") ? "set" : "unset");
	record_descriptors(out);
	fclose(out);
}

int main(int argc, char **argv)
{
	const char *mode = getenv("FAKE_MODE"), *dir = NULL;
	int c, socket_fd = -1, uffd = -1, r;
	char path[512];

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case OPT_PRIVATE:
			break;
		case OPT_SOCKET:
			socket_fd = atoi(optarg);
			break;
		case OPT_UFFD:
			uffd = atoi(optarg);
			break;
		case OPT_DIR:
			dir = optarg;
			break;
		default:
			return 2;
		}
	}
	if (socket_fd < 0 || !dir)
		return 2;
	record(dir, uffd);
	r = fake_daemon_serve(socket_fd, mode ? mode : "ok", false);
	if (mode && !strcmp(mode, "exit"))
		return r;
	snprintf(path, sizeof(path), "%s/socket", dir);
	unlink(path);
	rmdir(dir);
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * program.c - finding a command, and whether a preloaded library will load in it.
 *
 * Everything here is advice for a warning: the kernel and the dynamic linker decide. What
 * cannot be read (a program may be executable and not readable) is taken to be managed.
 */
#include <config.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "cli/program.h"

#define SYSTEM_PATH	"/bin:/usr/bin"	/* what execvp(3) takes without $PATH */
#define SCRIPT_DEPTH	4		/* the kernel follows no more interpreters than that */
#define HEADERS_MAX	64		/* program headers that are looked at */
#define LINE_MAX_	256		/* of "#!": what the kernel reads (BINPRM_BUF_SIZE) */

/* 0, -EACCES, -ENOENT */
static int may_execute(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == EACCES ? -EACCES : -ENOENT;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return -EACCES;
	return 0;
}

static int hand_out(const char *path, char **ret_path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	*ret_path = copy;
	return 0;
}

/* An empty folder in the list is the current one. */
static int join(const char *folder, size_t n, const char *name, char **ret_path)
{
	if (asprintf(ret_path, "%.*s%s%s", (int)n, folder, n ? "/" : "", name) < 0)
		return -ENOMEM;
	return 0;
}

static int search(const char *name, const char *folders, char **ret_path)
{
	int result = -ENOENT;

	for (const char *p = folders; p;) {
		_cleanup_free_ char *path = NULL;
		size_t n = strcspn(p, ":");
		int r = join(p, n, name, &path);

		if (r < 0)
			return r;
		r = may_execute(path);
		if (r == 0)
			return hand_out(path, ret_path);
		if (r == -EACCES)
			result = r;
		p = p[n] ? p + n + 1 : NULL;
	}
	return result;
}

int program_find(const char *name, const char *folders, char **ret_path)
{
	int r;

	if (!name[0])
		return -ENOENT;
	if (!strchr(name, '/'))
		return search(name, folders ? folders : SYSTEM_PATH, ret_path);
	r = may_execute(name);
	return r < 0 ? r : hand_out(name, ret_path);
}

/* As the kernel decides AT_SECURE at exec, for a user without any capability to lose. */
static bool is_secure(int fd, const struct stat *st, uid_t uid, gid_t gid)
{
	struct statvfs vfs;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return false;
	if (fstatvfs(fd, &vfs) == 0 && (vfs.f_flag & ST_NOSUID))
		return false;
	if ((st->st_mode & S_ISUID) && st->st_uid != uid)
		return true;
	if ((st->st_mode & S_ISGID) && (st->st_mode & S_IXGRP) && st->st_gid != gid)
		return true;
	return uid != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

/* What this program itself was compiled for is what the library was compiled for. */
static bool same_architecture(const ElfW(Ehdr) *e)
{
	ElfW(Ehdr) own;
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, &own, sizeof(own), 0) != sizeof(own))
		return true;
	return !memcmp(own.e_ident, e->e_ident, EI_VERSION) && own.e_machine == e->e_machine;
}

static bool has_interpreter(int fd, const ElfW(Ehdr) *e)
{
	ElfW(Phdr) p;

	if (e->e_phentsize != sizeof(p))
		return true;
	for (unsigned int i = 0; i < e->e_phnum && i < HEADERS_MAX; i++) {
		if (pread(fd, &p, sizeof(p), (off_t)(e->e_phoff + i * sizeof(p))) != sizeof(p))
			return true;
		if (p.p_type == PT_INTERP)
			return true;
	}
	return false;
}

static enum program_kind inspect_elf(int fd, const ElfW(Ehdr) *e)
{
	if (!same_architecture(e))
		return PROGRAM_FOREIGN;
	return has_interpreter(fd, e) ? PROGRAM_MANAGED : PROGRAM_STATIC;
}

/* "#! interpreter argument": cut the interpreter out, in place; NULL: this is no script. */
static char *interpreter_of(char *line)
{
	char *p = line + 2;

	if (memcmp(line, "#!", 2) != 0)
		return NULL;
	p += strspn(p, " \t");
	p[strcspn(p, " \t\n")] = '\0';
	return *p ? p : NULL;
}

static enum program_kind inspect(const char *path, uid_t uid, gid_t gid, int depth)
{
	_Alignas(ElfW(Ehdr)) char head[LINE_MAX_ + 1] = { 0 };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *next;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    pread(fd, head, LINE_MAX_, 0) < 2)
		return PROGRAM_MANAGED;
	next = interpreter_of(head);	/* set-user-ID bits of a script count for nothing */
	if (next)
		return depth ? inspect(next, uid, gid, depth - 1) : PROGRAM_MANAGED;
	if (memcmp(head, ELFMAG, SELFMAG) != 0)
		return PROGRAM_MANAGED;
	if (is_secure(fd, &st, uid, gid))
		return PROGRAM_SECURE;
	return inspect_elf(fd, (const ElfW(Ehdr) *)(void *)head);
}

enum program_kind program_inspect(const char *path, uid_t uid, gid_t gid)
{
	return inspect(path, uid, gid, SCRIPT_DEPTH);
}

const char *program_why(enum program_kind kind)
{
	switch (kind) {
	case PROGRAM_MANAGED:
		return NULL;
	case PROGRAM_STATIC:
		return "is statically linked";
	case PROGRAM_SECURE:
		return "changes its privileges when it starts (set-user-ID, set-group-ID or file "
		       "capabilities)";
	case PROGRAM_FOREIGN:
		return "is of another architecture";
	}
	return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-program.c - finding a command, and whether a preloaded library will load in it. */
#include <config.h>

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/program.h"
#include "tests/harness.h"

#define NOBODY	65534

/* A file of that mode in the test's directory; its path lives until the next call but three. */
static const char *file(const char *name, const void *bytes, size_t n, mode_t mode)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];
	int fd;

	snprintf(path, sizeof(paths[0]), "%s/%s", t_tmpdir(), name);
	fd = t_sys(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	t_eq(write(fd, bytes, n), (ssize_t)n);
	t_sys(fchmod(fd, mode));
	close(fd);
	return path;
}

static const char *text_file(const char *name, const char *text, mode_t mode)
{
	return file(name, text, strlen(text), mode);
}

struct image {
	ElfW(Ehdr) e;
	ElfW(Phdr) p[2];
};

/* Headers of a program of this machine, with one segment of the type. */
static struct image image(unsigned int segment)
{
	struct image i = { 0 };
	int fd = t_sys(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

	t_eq(read(fd, &i.e, sizeof(i.e)), (ssize_t)sizeof(i.e));
	close(fd);
	i.e.e_phoff = offsetof(struct image, p);
	i.e.e_phnum = 2;
	i.p[0].p_type = PT_LOAD;
	i.p[1].p_type = segment;
	return i;
}

static enum program_kind inspect(const char *path)
{
	return program_inspect(path, NOBODY, NOBODY);
}

static void a_program_with_an_interpreter_is_managed(void)
{
	struct image i = image(PT_INTERP);

	t_eq(inspect(file("x", &i, sizeof(i), 0755)), PROGRAM_MANAGED);
	t_eq(inspect("/proc/self/exe"), PROGRAM_MANAGED);
	t_assert(!program_why(PROGRAM_MANAGED));
}

static void a_program_without_one_is_static(void)
{
	struct image i = image(PT_DYNAMIC);	/* static, position independent */

	t_eq(inspect(file("x", &i, sizeof(i), 0755)), PROGRAM_STATIC);
	t_assert(program_why(PROGRAM_STATIC));
}

static void a_program_of_another_architecture_is_foreign(void)
{
	struct image i = image(PT_INTERP);

	i.e.e_machine ^= 1;
	t_eq(inspect(file("x", &i, sizeof(i), 0755)), PROGRAM_FOREIGN);
	i = image(PT_INTERP);
	i.e.e_ident[EI_CLASS] = i.e.e_ident[EI_CLASS] == ELFCLASS64 ? ELFCLASS32 : ELFCLASS64;
	t_eq(inspect(file("y", &i, sizeof(i), 0755)), PROGRAM_FOREIGN);
}

static void needs_set_id(const char *path)
{
	struct statvfs vfs;

	t_sys(statvfs(path, &vfs));
	if (vfs.f_flag & ST_NOSUID)
		t_skip("the file system of the tests is mounted nosuid");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		t_skip("no_new_privs is set");
}

static void a_program_that_changes_its_user_or_group_is_not_managed(void)
{
	struct image i = image(PT_INTERP);
	const char *path = file("x", &i, sizeof(i), 04755);

	needs_set_id(path);
	t_eq(inspect(path), PROGRAM_SECURE);
	t_sys(chmod(path, 02755));
	t_eq(inspect(path), PROGRAM_SECURE);
}

static void set_id_bits_that_change_nothing_do_not_count(void)
{
	struct image i = image(PT_INTERP);
	const char *path = file("x", &i, sizeof(i), 06755);
	struct stat st;

	t_sys(stat(path, &st));
	t_eq(program_inspect(path, st.st_uid, st.st_gid), PROGRAM_MANAGED);
	t_sys(chmod(path, 02745));		/* without x for the group it is a lock bit */
	t_eq(program_inspect(path, st.st_uid, NOBODY), PROGRAM_MANAGED);
}

static void a_script_is_what_its_interpreter_is(void)
{
	struct image i = image(PT_NULL);
	char line[600];

	snprintf(line, sizeof(line), "#! %s -x\necho\n", file("x", &i, sizeof(i), 0755));
	t_eq(inspect(text_file("script", line, 04755)), PROGRAM_STATIC);
	t_eq(inspect(text_file("shell", "#!/bin/sh\n", 04755)), PROGRAM_MANAGED);
	t_eq(inspect(text_file("none", "#!\n", 0755)), PROGRAM_MANAGED);
}

static void scripts_that_name_each_other_come_to_an_end(void)
{
	const char *path = text_file("a", "", 0755);
	char line[600];

	snprintf(line, sizeof(line), "#!%s\n", path);
	t_eq(inspect(text_file("a", line, 0755)), PROGRAM_MANAGED);
}

static void what_cannot_be_understood_is_left_to_the_kernel(void)
{
	struct image i = image(PT_LOAD);

	t_eq(inspect("/nonexistent"), PROGRAM_MANAGED);
	t_eq(inspect("/"), PROGRAM_MANAGED);
	t_eq(inspect(text_file("empty", "", 0755)), PROGRAM_MANAGED);
	t_eq(inspect(text_file("text", "echo", 0755)), PROGRAM_MANAGED);
	t_eq(inspect(file("short", &i, sizeof(i.e), 0755)), PROGRAM_MANAGED);
	i.e.e_phentsize = 1;
	t_eq(inspect(file("odd", &i, sizeof(i), 0755)), PROGRAM_MANAGED);
	i = image(PT_LOAD);
	i.e.e_phnum = UINT16_MAX;
	i.e.e_phoff = UINT64_MAX - 3;
	t_eq(inspect(file("far", &i, sizeof(i), 0755)), PROGRAM_MANAGED);
}

static void a_name_is_looked_up_in_the_folders(void)
{
	char folders[600], expected[600];
	char *path;

	text_file("tool", "", 0755);
	snprintf(folders, sizeof(folders), "/nonexistent:%s:/bin", t_tmpdir());
	snprintf(expected, sizeof(expected), "%s/tool", t_tmpdir());
	t_ok(program_find("tool", folders, &path));
	t_streq(path, expected);
	free(path);
	t_ok(program_find("sh", NULL, &path));
	t_streq(path, "/bin/sh");
	free(path);
}

static void an_empty_folder_is_the_current_one(void)
{
	char *path;

	text_file("tool", "", 0755);
	t_sys(chdir(t_tmpdir()));
	t_ok(program_find("tool", "/bin:", &path));
	t_streq(path, "tool");
	free(path);
	t_sys(chdir("/"));
}

static void not_found_and_not_executable_are_told_apart(void)
{
	const char *plain = text_file("plain", "", 0644);
	char *path;

	t_fails(program_find("plain", t_tmpdir(), &path), EACCES);
	t_fails(program_find(plain, NULL, &path), EACCES);
	t_fails(program_find("/", NULL, &path), EACCES);	/* a folder */
	t_fails(program_find("no-such-thing", "/bin", &path), ENOENT);
	t_fails(program_find("/no/such/thing", NULL, &path), ENOENT);
	t_fails(program_find("", "/bin", &path), ENOENT);
}

static const struct t_test tests[] = {
	T(a_program_with_an_interpreter_is_managed),
	T(a_program_without_one_is_static),
	T(a_program_of_another_architecture_is_foreign),
	T(a_program_that_changes_its_user_or_group_is_not_managed),
	T(set_id_bits_that_change_nothing_do_not_count),
	T(a_script_is_what_its_interpreter_is),
	T(scripts_that_name_each_other_come_to_an_end),
	T(what_cannot_be_understood_is_left_to_the_kernel),
	T(a_name_is_looked_up_in_the_folders),
	T(an_empty_folder_is_the_current_one),
	T(not_found_and_not_executable_are_told_apart),
	{0}
};

static const struct t_suite suites[] = { { "cli-program", tests }, {0} };

HARNESS_MAIN(suites)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cli-private.c - faultline run starts a daemon of its own where no service answers: what that
 * daemon is born with, and that nothing of it is left behind.
 *
 * The daemon is fake-faultlined.c. A machine where the system's service answers is left alone.
 */
#include <config.h>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bsd/string.h>

#include "cli/cli.h"
#include "cli/machine.h"
#include "common/sock.h"
#include "include/faultline-protocol.h"
#include "tests/harness.h"

static char program[512], record_path[512], err_path[512], runtime[512], tmp[512];

static void set_stage(void)
{
	const char *build = getenv("FAULTLINE_BUILDDIR");
	struct machine m = MACHINE_NONE;
	char error[CLI_ERROR_SIZE], path[512];
	Dl_info info;
	bool fine;
	int fd;

	if (!build)
		t_fail("FAULTLINE_BUILDDIR is not set: start this through ./run");
	machine_look(&m);
	fine = machine_judge(&m, false, error) == MACHINE_OK;
	machine_done(&m);
	if (!fine)
		t_skip("%s", error);
	fd = sock_connect(FLP_SOCKET_PATH, 0);
	if (fd >= 0) {
		close(fd);
		t_skip("the system's faultlined answers on " FLP_SOCKET_PATH);
	}
	t_assert(dladdr((void *)(uintptr_t)gnu_get_libc_version, &info));
	snprintf(program, sizeof(program), "%s/cli/faultline", build);
	snprintf(path, sizeof(path), "%s/tests/functional/fake-faultlined", build);
	snprintf(record_path, sizeof(record_path), "%s/record", t_tmpdir());
	snprintf(err_path, sizeof(err_path), "%s/err", t_tmpdir());
	snprintf(runtime, sizeof(runtime), "%s/r", t_tmpdir());
	t_sys(mkdir(runtime, 0700));
	snprintf(tmp, sizeof(tmp), "%s/t", t_tmpdir());
	t_sys(mkdir(tmp, 0700));
	setenv("FAULTLINED", path, 1);
	setenv("FAULTLINE_PRELOAD", info.dli_fname, 1);
	setenv("FAKE_RECORD", record_path, 1);
	setenv("FAKE_MODE", "alone", 1);
	unsetenv("FAULTLINE_SOCKET");
	unsetenv("LD_PRELOAD");
	setenv("FAULTLINE_JOB", "00", 1);	/* as if in another job */
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	setenv("TMPDIR", tmp, 1);
}

/* faultline run -v OPTION sh -c script, in a group of its own. */
static pid_t start_with(const char *option, const char *script)
{
	pid_t pid = t_sys(fork());

	if (!pid) {
		setpgid(0, 0);
		dup2(open(err_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 2);
		execl(program, program, "run", "-v", "--budget", "64M", option, "sh", "-c", script,
		      (char *)NULL);
		_exit(99);
	}
	return pid;
}

static pid_t start(const char *script)
{
	return start_with("--", script);
}

static int finish(pid_t pid)
{
	int status;

	t_eq(waitpid(pid, &status, 0), pid);
	t_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const char *contents(const char *path)
{
	static char text[16384];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void says(const char *text, const char *word)
{
	if (!strstr(text, word))
		t_fail("'%s' does not say '%s'", text, word);
}

/* How many private directories there are below path. */
static int count(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static int left_behind(void)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/faultline", runtime);
	return count(path);
}

static void a_private_daemon_holds_nothing_of_the_callers(void)
{
	const char *text;
	int pipe_fds[2];

	set_stage();
	t_sys(pipe(pipe_fds));			/* inherited by run, and by nothing of ours */
	t_eq(finish(start("exit 3")), 3);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	text = contents(record_path);
	says(text, "leader 1\n");
	says(text, "mode 700\n");
	says(text, "cwd /\n");
	says(text, "device 4\n");
	says(text, "blocked 0\n");
	says(text, "job unset\n");
	says(text, "fd 0 /dev/null\nfd 1 /dev/null\nfd 2 /dev/null\nfd 3 socket\n"
	     "fd 4 /dev/userfaultfd\n");
	t_assert(!strstr(text, "fd 5"));
	t_assert(!strstr(text, "pipe"));
}

static void it_lives_below_the_runtime_directory_and_leaves_nothing(void)
{
	set_stage();
	t_eq(finish(start("test -S $FAULTLINE_SOCKET")), 0);
	says(contents(record_path), runtime);
	t_until(left_behind() == 0);
}

/* One line that the command wrote. */
static const char *told(void)
{
	static char line[512];
	char path[600];

	snprintf(path, sizeof(path), "%s.2", record_path);
	strlcpy(line, contents(path), sizeof(line));
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void without_a_runtime_directory_it_lives_in_the_temporary_one(void)
{
	char expected[600];

	set_stage();
	unsetenv("XDG_RUNTIME_DIR");
	snprintf(expected, sizeof(expected), "dir %s/faultline-%u.", tmp, (unsigned int)geteuid());
	t_eq(finish(start("test -S $FAULTLINE_SOCKET")), 0);
	says(contents(record_path), expected);
	t_until(count(tmp) == 0);
}

static void a_temporary_directory_with_a_long_name_is_not_used(void)
{
	char longer[600];

	set_stage();
	unsetenv("XDG_RUNTIME_DIR");
	snprintf(longer, sizeof(longer), "%s/%060d", tmp, 0);
	t_sys(mkdir(longer, 0700));
	setenv("TMPDIR", longer, 1);
	t_eq(finish(start("echo $FAULTLINE_SOCKET >$FAKE_RECORD.2")), 0);
	says(contents(record_path), "dir /tmp/faultline-");
	t_until(access(told(), F_OK) < 0);
}

static void a_runtime_directory_that_is_another_users_is_not_used(void)
{
	set_stage();
	if (geteuid() != 0)
		t_skip("only root can give a directory away");
	t_sys(chown(runtime, 65534, 65534));
	t_eq(finish(start("true")), 0);
	says(contents(record_path), tmp);
	t_until(left_behind() == 0);
}

/* Then the directory is the daemon's to remove: who still lives there needs its socket. */
static void run_does_not_wait_for_those_that_the_command_left(void)
{
	set_stage();
	setenv("FAKE_MODE", "ok", 1);
	t_eq(finish(start("exit 4")), 4);
	t_until(left_behind() == 0);
}

static void a_swap_file_is_empty_afterwards_and_can_be_used_again(void)
{
	char option[600];
	const char *path = option + sizeof("--swap=") - 1;
	struct stat st;

	set_stage();
	setenv("FAKE_MODE", "swap", 1);
	snprintf(option, sizeof(option), "--swap=%s/swap", t_tmpdir());
	setenv("SWAP", path, 1);
	for (int i = 0; i < 2; i++) {
		t_eq(finish(start_with(option, "test -s $SWAP")), 0);
		t_sys(stat(path, &st));
		t_eq(st.st_size, 0);
	}
}

static void a_daemon_that_dies_at_its_start_is_reported(void)
{
	set_stage();
	setenv("FAKE_MODE", "exit", 1);
	t_eq(finish(start("true")), RUN_FAILED);
	says(contents(err_path), "faultlined ended with status 6 before it was ready");
	t_until(left_behind() == 0);
}

static void a_daemon_that_cannot_be_started_is_named(void)
{
	set_stage();
	setenv("FAULTLINED", "/no/such/faultlined", 1);
	t_eq(finish(start("true")), RUN_FAILED);
	says(contents(err_path), "cannot start /no/such/faultlined: No such file or directory");
	t_until(left_behind() == 0);
}

static void a_daemon_that_is_killed_under_the_job_is_reported(void)
{
	set_stage();
	setenv("FAKE_ERR", err_path, 1);
	t_eq(finish(start("kill -9 $(sed -n 's/^pid //p' $FAKE_RECORD); "
			  "until grep -q 'was ended by signal 9' $FAKE_ERR; do sleep 0.01; done; exit 5")),
	     5);
	t_until(left_behind() == 0);
}

static void a_signal_before_the_end_leaves_nothing(void)
{
	pid_t pid;

	set_stage();
	pid = start("echo ready >$FAKE_RECORD.2; exec sleep 1000");
	t_until(!strcmp(told(), "ready"));
	t_sys(kill(pid, SIGTERM));
	t_eq(finish(pid), RUN_SIGNAL + SIGTERM);
	t_until(left_behind() == 0);
}

static void status_finds_the_private_daemon(void)
{
	set_stage();
	unsetenv("FAULTLINE_JOB");
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);	/* it wants to be first itself */
	t_eq(finish(start("unset FAULTLINE_SOCKET; faultline status -n -r -o job 3 >$FAKE_RECORD.2; true")),
	     0);
	if (strcmp(told(), "3") != 0)
		t_fail("it is told '%s': %s", told(), contents(err_path));
}

static const struct t_test tests[] = {
	T(a_private_daemon_holds_nothing_of_the_callers),
	T(it_lives_below_the_runtime_directory_and_leaves_nothing),
	T(without_a_runtime_directory_it_lives_in_the_temporary_one),
	T(a_temporary_directory_with_a_long_name_is_not_used),
	T(a_runtime_directory_that_is_another_users_is_not_used),
	T(run_does_not_wait_for_those_that_the_command_left),
	T(a_swap_file_is_empty_afterwards_and_can_be_used_again),
	T(a_daemon_that_dies_at_its_start_is_reported),
	T(a_daemon_that_cannot_be_started_is_named),
	T(a_daemon_that_is_killed_under_the_job_is_reported),
	T(a_signal_before_the_end_leaves_nothing),
	T(status_finds_the_private_daemon),
	{0}
};

static const struct t_suite suites[] = { { "cli-private", tests }, {0} };

HARNESS_MAIN(suites)

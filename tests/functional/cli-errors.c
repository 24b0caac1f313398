/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cli-errors.c - the command line against daemons that answer well, wrong or not at all, and the
 * transparency of faultline run: exit codes, signals, stops, descriptors, environment.
 *
 * The daemons are fakes (fake-daemon.h): nothing here needs a userfaultfd to be served, only a
 * kernel that has what faultline run checks for.
 */
#include <config.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/machine.h"
#include "common/cleanup.h"
#include "common/sock.h"
#include "tests/functional/fake-daemon.h"
#include "tests/harness.h"

#define ARGS	24

static char program[512];		/* faultline */
static char socket_path[512];		/* of the fake */
static pid_t fake;

/* ---- the stage ---- */

static const char *in_tmpdir(const char *name)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", t_tmpdir(), name);
	return path;
}

/* Something that every program has loaded anyway, for LD_PRELOAD. */
static const char *harmless_library(void)
{
	Dl_info info;

	t_assert(dladdr((void *)(uintptr_t)gnu_get_libc_version, &info));
	return info.dli_fname;
}

static void set_stage(void)
{
	const char *build = getenv("FAULTLINE_BUILDDIR");

	if (!build)
		t_fail("FAULTLINE_BUILDDIR is not set: start this through ./run");
	snprintf(program, sizeof(program), "%s/cli/faultline", build);
	snprintf(socket_path, sizeof(socket_path), "%s/socket", t_tmpdir());
	setenv("FAULTLINE_PRELOAD", harmless_library(), 1);
	unsetenv("FAULTLINE_SOCKET");
	unsetenv("FAULTLINE_JOB");
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("LD_PRELOAD");
}

/* faultline run refuses a machine that cannot do it, whatever the daemon says. */
static void needs_kernel(void)
{
	struct machine m = MACHINE_NONE;
	char error[CLI_ERROR_SIZE];
	bool fine;

	machine_look(&m);
	fine = machine_judge(&m, true, error) == MACHINE_OK;
	machine_done(&m);
	if (!fine)
		t_skip("%s", error);
}

static void start_fake(const char *mode)
{
	int fd;

	set_stage();
	fd = t_ok(sock_listen(socket_path, 0600, 0));
	fake = t_sys(fork());
	if (!fake)
		_exit(fake_daemon_serve(fd, mode, true));
	close(fd);
}

static void stop_fake(void)
{
	int status;

	t_sys(kill(fake, SIGTERM));
	t_eq(waitpid(fake, &status, 0), fake);
	if (!WIFSIGNALED(status))
		t_fail("the fake daemon ended with %d", WEXITSTATUS(status));
}

/* ---- one run of faultline ---- */

struct ran {
	int status;			/* of waitpid(2) */
	char out[16384], err[4096];
};

struct proc {
	pid_t pid;
	int in, out, err;		/* our ends */
};

/* line: words; one in '...' is kept together. S: the socket of the fake. */
static void split(char *line, char **ret_argv)
{
	int n = 0;

	ret_argv[n++] = program;
	for (char *p = line; *p;) {
		char end = *p == '\'' ? '\'' : ' ';

		p += end == '\'';
		t_lt(n, ARGS - 1);
		ret_argv[n++] = p;
		p += strcspn(p, end == '\'' ? "'" : " ");
		if (*p)
			*p++ = '\0';
		p += strspn(p, " ");
	}
	for (int i = 1; i < n; i++)
		if (!strcmp(ret_argv[i], "S"))
			ret_argv[i] = socket_path;
	ret_argv[n] = NULL;
}

static void start(struct proc *ret, const char *line)
{
	int in[2], out[2], err[2];
	char *argv[ARGS], words[1024];

	snprintf(words, sizeof(words), "%s", line);
	split(words, argv);
	t_sys(pipe2(in, O_CLOEXEC));
	t_sys(pipe2(out, O_CLOEXEC));
	t_sys(pipe2(err, O_CLOEXEC));
	ret->pid = t_sys(fork());
	if (!ret->pid) {
		setpgid(0, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execv(program, argv);
		_exit(99);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	*ret = (struct proc){ ret->pid, in[1], out[0], err[0] };
}

/* What is there now, or false at the end. */
static bool take(int fd, char *text, size_t size)
{
	size_t n = strlen(text);
	ssize_t got = read(fd, text + n, size - 1 - n);

	if (got <= 0)
		return false;
	text[n + (size_t)got] = '\0';
	return true;
}

static void read_all(struct proc *p, struct ran *ret)
{
	struct pollfd fds[2] = { { .fd = p->out, .events = POLLIN }, { .fd = p->err, .events = POLLIN } };

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		t_sys(poll(fds, 2, -1));
		if (fds[0].revents && !take(p->out, ret->out, sizeof(ret->out)))
			fds[0].fd = -1;
		if (fds[1].revents && !take(p->err, ret->err, sizeof(ret->err)))
			fds[1].fd = -1;
	}
}

static void finish(struct proc *p, struct ran *ret)
{
	close_fd(&p->in);
	read_all(p, ret);
	t_eq(waitpid(p->pid, &ret->status, 0), p->pid);
	close_fd(&p->out);
	close_fd(&p->err);
}

static struct ran *faultline(const char *line)
{
	static struct ran ran;
	struct proc p;

	memset(&ran, 0, sizeof(ran));
	start(&p, line);
	finish(&p, &ran);
	return &ran;
}

static void exits(const struct ran *ran, int code)
{
	if (!WIFEXITED(ran->status) || WEXITSTATUS(ran->status) != code)
		t_fail("status %#x where exit code %d was expected; stderr: %s", (unsigned int)ran->status,
		       code, ran->err);
}

static void says(const char *text, const char *word)
{
	if (!strstr(text, word))
		t_fail("'%s' does not say '%s'", text, word);
}

/* One line on stderr that says it, nothing on stdout, and that exit code. */
static void complains(const char *line, int code, const char *word)
{
	const struct ran *ran = faultline(line);

	exits(ran, code);
	says(ran->err, word);
	t_streq(ran->out, "");
	t_assert(strchr(ran->err, '\n') == ran->err + strlen(ran->err) - 1);
	t_assert(!strncmp(ran->err, "faultline", 9));
	t_assert(!strchr(ran->err, '\033'));
}

static void read_until(int fd, char *text, size_t size, const char *word)
{
	while (!strstr(text, word))
		if (!take(fd, text, size))
			t_fail("'%s' ended before '%s'", text, word);
}

/* ---- bad input ---- */

static void usage_errors_name_what_is_wrong(void)
{
	set_stage();
	complains("", CLI_USAGE, "no command");
	complains("frobnicate", CLI_USAGE, "'frobnicate'");
	complains("--frobnicate", CLI_USAGE, "option '--frobnicate'");
	complains("run --frobnicate true", RUN_FAILED, "'--frobnicate'");
	complains("run --budget 12x true", RUN_FAILED, "'12x'");
	complains("run --budget 7M true", RUN_FAILED, "too small");
	complains("run --budget 8E true", RUN_FAILED, "more than the RAM");
	complains("run", RUN_FAILED, "no command");
	complains("run --budget 64M --", RUN_FAILED, "no command");
	complains("status --frobnicate", CLI_USAGE, "'--frobnicate'");
	complains("status -o nonsense", CLI_USAGE, "'nonsense'");
	complains("status --json --raw", CLI_USAGE, "exclude");
	complains("status x", CLI_USAGE, "'x'");
	complains("status 1 2", CLI_USAGE, "more than one");
}

static void help_and_version_are_printed(void)
{
	static const char *const lines[] = {
		"--help", "run --help", "status --help", "-h", "run -h", "status -h",
	};
	const struct ran *ran;

	set_stage();
	for (size_t i = 0; i < 6; i++) {
		ran = faultline(lines[i]);
		exits(ran, 0);
		says(ran->out, "Usage: faultline");
		t_streq(ran->err, "");
	}
	ran = faultline("--version");
	exits(ran, 0);
	t_streq(ran->out, "faultline " PACKAGE_VERSION "\n");
	says(faultline("status --help")->out, "CHECKSUM-ERRORS");
}

static void a_command_that_is_not_there_is_127(void)
{
	set_stage();
	complains("run --socket S no-such-command", RUN_NOT_FOUND, "'no-such-command': not found");
	complains("run --socket S /no/such/command", RUN_NOT_FOUND, "not found");
}

static void a_command_that_cannot_be_executed_is_126(void)
{
	set_stage();
	complains("run --socket S /etc/passwd", RUN_NO_EXEC, "Permission denied");
	complains("run --socket S /", RUN_NO_EXEC, "Permission denied");
}

/* Nobody can tell before it is tried. */
static void a_script_whose_interpreter_cannot_be_run(void)
{
	static const char *const first_lines[] = { "#!/etc/passwd\n", "#!/no/such/interpreter\n" };
	static const int codes[] = { RUN_NO_EXEC, RUN_NOT_FOUND };

	needs_kernel();
	start_fake("ok");
	for (size_t i = 0; i < 2; i++) {
		int fd = t_sys(open(in_tmpdir("x"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700));

		t_eq(write(fd, first_lines[i], strlen(first_lines[i])), strlen(first_lines[i]));
		close(fd);
		setenv("PATH", t_tmpdir(), 1);
		complains("run --socket S x", codes[i], "cannot run 'x'");
	}
	stop_fake();
}

/* ---- bad daemons ---- */

static void no_daemon_on_a_named_socket(void)
{
	set_stage();
	complains("run --socket S true", RUN_FAILED, "no faultlined answers on");
	complains("status --socket S", CLI_NO_DAEMON, "no faultlined answers on");
	setenv("FAULTLINE_SOCKET", "/no/such/socket", 1);
	complains("run true", RUN_FAILED, "/no/such/socket");
	complains("status", CLI_NO_DAEMON, "/no/such/socket");
	complains("status --socket /etc/passwd", CLI_NO_DAEMON, "/etc/passwd");
}

static void a_daemon_that(const char *mode, const char *word)
{
	start_fake(mode);
	complains("run --socket S true", RUN_FAILED, word);
	complains("status --socket S", CLI_FAILED, word);
	stop_fake();
}

static void another_version_in_the_header(void)
{
	a_daemon_that("header", "speaks version 99 of the protocol, this program version 1");
}

static void another_version_in_the_welcome(void)
{
	a_daemon_that("body", "speaks version 99 of the protocol, this program version 1");
}

static void a_daemon_that_refuses_our_version(void)
{
	a_daemon_that("old", "this is version 99");
}

static void garbage_is_called_garbage(void)
{
	a_daemon_that("garbage", "not a faultlined of this release");
}

static void an_answer_of_another_kind(void)
{
	a_daemon_that("type", "an answer of another kind");
}

static void an_answer_to_something_else(void)
{
	a_daemon_that("cookie", "an answer to nothing");
}

static void a_daemon_that_hangs_up(void)
{
	start_fake("close");
	complains("run --socket S true", RUN_FAILED, "closed the connection");
	complains("status --socket S", CLI_NO_DAEMON, "closed the connection");
	stop_fake();
}

static void a_refused_job_says_why(void)
{
	needs_kernel();
	start_fake("refuse");
	complains("run --socket S true", RUN_FAILED, "uid 0 has too many jobs");
	stop_fake();
}

static void fallback_runs_the_command_all_the_same(void)
{
	const struct ran *ran;

	start_fake("garbage");
	ran = faultline("run --socket S --fallback sh -c 'echo $FAULTLINE_JOB-; exit 3'");
	exits(ran, 3);
	t_streq(ran->out, "-\n");
	says(ran->err, "warning");
	says(ran->err, "unmanaged");
	stop_fake();
	complains("run --socket S --fallback no-such-command", RUN_NOT_FOUND, "not found");
}

/* ---- transparency ---- */

static void the_exit_code_is_the_commands(void)
{
	needs_kernel();
	start_fake("ok");
	exits(faultline("run --socket S true"), 0);
	exits(faultline("run --socket S sh -c 'exit 42'"), 42);
	exits(faultline("run --socket S sh -c 'exit 125'"), 125);
	t_streq(faultline("run --socket S echo a b")->out, "a b\n");
	t_streq(faultline("run --socket S echo a b")->err, "");
	stop_fake();
}

static void a_signal_that_ends_the_command_is_128_and_its_number(void)
{
	needs_kernel();
	start_fake("ok");
	exits(faultline("run --socket S sh -c 'kill -KILL $$'"), RUN_SIGNAL + SIGKILL);
	exits(faultline("run --socket S sh -c 'kill -INT $$'"), RUN_SIGNAL + SIGINT);
	stop_fake();
}

/* A trap that comes just in front of the shell's read(2) would wait for input: hence no "read". */
static void signals_sent_to_run_reach_the_command(void)
{
	static const struct { int sig; const char *name; } each[] = {
		{ SIGTERM, "TERM" }, { SIGHUP, "HUP" }, { SIGUSR1, "USR1" }, { SIGUSR2, "USR2" },
		{ SIGINT, "INT" }, { SIGQUIT, "QUIT" }, { SIGALRM, "ALRM" },
	};

	needs_kernel();
	start_fake("ok");
	for (size_t i = 0; i < 7; i++) {
		struct ran ran = { 0 };
		struct proc p;
		char line[256];

		snprintf(line, sizeof(line), "run --socket S sh -c 'trap \"echo got; exit 9\" %s; "
			 "echo ready; while :; do sleep 0.01; done'", each[i].name);
		start(&p, line);
		read_until(p.out, ran.out, sizeof(ran.out), "ready\n");
		t_sys(kill(p.pid, each[i].sig));
		read_until(p.out, ran.out, sizeof(ran.out), "got\n");
		finish(&p, &ran);
		exits(&ran, 9);
	}
	stop_fake();
}

/*
 * The command leaves the terminal's group, so that what the terminal sends reaches run alone. The
 * order proves the absence: once "^C" is echoed the signal is at run, and had run passed it on, it
 * would have come before the USR1.
 */
static void the_terminals_interrupt_is_not_passed_on(void)
{
	char *argv[ARGS], words[512], text[1024] = "";
	int master, status;
	pid_t pid;

	needs_kernel();
	start_fake("ok");
	snprintf(words, sizeof(words), "run --socket S setsid sh -c 'trap \"echo i-n-t\" INT; "
		 "trap \"echo u-s-r; exit 5\" USR1; echo r-d-y; while :; do sleep 0.01; done'");
	split(words, argv);
	pid = t_sys(forkpty(&master, NULL, NULL, NULL));
	if (!pid) {
		execv(program, argv);
		_exit(99);
	}
	read_until(master, text, sizeof(text), "r-d-y");
	t_eq(write(master, "\003", 1), 1);
	read_until(master, text, sizeof(text), "^C");
	t_sys(kill(pid, SIGUSR1));
	read_until(master, text, sizeof(text), "u-s-r");
	t_assert(!strstr(text, "i-n-t"));
	t_eq(waitpid(pid, &status, 0), pid);
	t_assert(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	close(master);
	stop_fake();
}

static void run_stops_and_goes_on_with_the_command(void)
{
	static const struct { const char *name; int sig; } each[] = {
		{ "STOP", SIGSTOP }, { "TSTP", SIGTSTP },
	};

	needs_kernel();
	start_fake("ok");
	for (size_t i = 0; i < 2; i++) {
		struct ran ran = { 0 };
		struct proc p;
		char line[128];
		int status;

		snprintf(line, sizeof(line), "run --socket S sh -c 'kill -%s $$; echo on; exit 7'",
			 each[i].name);
		start(&p, line);
		t_eq(waitpid(p.pid, &status, WUNTRACED), p.pid);
		t_assert(WIFSTOPPED(status));
		t_eq(WSTOPSIG(status), each[i].sig);
		t_sys(kill(p.pid, SIGCONT));	/* to run alone: it continues the command */
		finish(&p, &ran);
		exits(&ran, 7);
		t_streq(ran.out, "on\n");
	}
	stop_fake();
}

static void a_pipe_that_the_command_closes_is_closed(void)
{
	struct ran ran = { 0 };
	struct proc p;

	needs_kernel();
	start_fake("ok");
	start(&p, "run --socket S sh -c 'echo x; exec >&-; read x; exit 4'");
	while (take(p.out, ran.out, sizeof(ran.out)))
		;				/* ends while the command still reads */
	t_streq(ran.out, "x\n");
	t_eq(waitpid(p.pid, &ran.status, WNOHANG), 0);
	finish(&p, &ran);
	exits(&ran, 4);
	stop_fake();
}

static void stdin_is_the_commands(void)
{
	struct ran ran = { 0 };
	struct proc p;

	needs_kernel();
	start_fake("ok");
	start(&p, "run --socket S cat");
	t_eq(write(p.in, "through\n", 8), 8);
	finish(&p, &ran);
	exits(&ran, 0);
	t_streq(ran.out, "through\n");
	stop_fake();
}

static void the_command_finds_its_job_in_the_environment(void)
{
	char expected[2048];

	needs_kernel();
	start_fake("ok");
	setenv("LD_PRELOAD", "libm.so.6", 1);
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);	/* it wants to be first itself */
	snprintf(expected, sizeof(expected), "%s abcd0000000000000000000000000000 %s:libm.so.6\n",
		 socket_path, harmless_library());
	t_streq(faultline("run --socket S sh -c 'echo $FAULTLINE_SOCKET $FAULTLINE_JOB $LD_PRELOAD'")->out,
		expected);
	stop_fake();
}

static void a_relative_socket_is_made_absolute(void)
{
	char expected[600];

	needs_kernel();
	start_fake("ok");
	t_sys(chdir(t_tmpdir()));
	snprintf(expected, sizeof(expected), "%s\n", socket_path);
	t_streq(faultline("run --socket socket sh -c 'cd /; echo $FAULTLINE_SOCKET'")->out, expected);
	t_sys(chdir("/"));
	stop_fake();
}

static void the_command_inherits_no_descriptor_of_ours(void)
{
	needs_kernel();
	start_fake("ok");
	t_streq(faultline("run --socket S sh -c 'for i in 3 4 5 6 7 8 9; do "
			  "test -e /proc/self/fd/$i && echo $i; done; true'")->out, "");
	stop_fake();
}

static void log_lines_are_printed_harmlessly(void)
{
	const struct ran *ran;

	needs_kernel();
	start_fake("log");
	ran = faultline("run --socket S true");
	exits(ran, 0);
	t_streq(ran->err, "faultline run: \\033[31mbefore\nfaultline run: a warning\n");
	ran = faultline("run -v --socket S true");
	says(ran->err, "faultline run: for the curious\n");
	stop_fake();
}

static void verbose_ends_with_a_summary(void)
{
	const struct ran *ran;

	needs_kernel();
	start_fake("ok");
	ran = faultline("run -v --socket S true");
	exits(ran, 0);
	says(ran->err, "faultline run: job 3 of faultlined");
	says(ran->err, "faultline run: budget 512M, peak 512M");
	says(ran->err, "pool 1234");
	stop_fake();
}

static void a_lost_daemon_does_not_end_the_command(void)
{
	const struct ran *ran;

	needs_kernel();
	start_fake("drop");
	ran = faultline("run --socket S sh -c 'read x; exit 3'");
	exits(ran, 3);
	stop_fake();
}

/* ---- the swap file ---- */

static void an_own_swap_file_is_sent(void)
{
	char line[600], text[6] = "";
	struct stat st;
	int fd;

	needs_kernel();
	start_fake("swap");
	snprintf(line, sizeof(line), "run --socket S --swap %s:1M true", in_tmpdir("swap"));
	exits(faultline(line), 0);
	fd = t_sys(open(in_tmpdir("swap"), O_RDONLY | O_CLOEXEC));
	t_eq(read(fd, text, 5), 5);
	t_streq(text, "taken");
	t_sys(fstat(fd, &st));
	t_eq(st.st_mode & 07777, 0600);
	close(fd);
	stop_fake();
}

static void a_file_with_something_in_it_is_not_overwritten(void)
{
	char line[600];
	struct stat st;
	int fd;

	needs_kernel();
	start_fake("swap");
	fd = t_sys(open(in_tmpdir("thesis"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	t_eq(write(fd, "words", 5), 5);
	snprintf(line, sizeof(line), "run --socket S --swap %s true", in_tmpdir("thesis"));
	complains(line, RUN_FAILED, "is not empty");
	t_sys(fstat(fd, &st));
	t_eq(st.st_size, 5);
	close(fd);
	stop_fake();
}

static void odd_swap_files_are_refused(void)
{
	char line[600];
	int fd;

	needs_kernel();
	start_fake("swap");
	t_sys(symlink("elsewhere", in_tmpdir("link")));
	snprintf(line, sizeof(line), "run --socket S --swap %s true", in_tmpdir("link"));
	complains(line, RUN_FAILED, "symbolic link");
	t_sys(mkfifo(in_tmpdir("fifo"), 0600));
	snprintf(line, sizeof(line), "run --socket S --swap %s true", in_tmpdir("fifo"));
	complains(line, RUN_FAILED, "not a regular file");
	snprintf(line, sizeof(line), "run --socket S --swap %s true", t_tmpdir());
	complains(line, RUN_FAILED, "Is a directory");
	fd = t_sys(open(in_tmpdir("used"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_sys(flock(fd, LOCK_EX));
	snprintf(line, sizeof(line), "run --socket S --swap %s true", in_tmpdir("used"));
	complains(line, RUN_FAILED, "in use by another job");
	close(fd);
	stop_fake();
}

/* ---- status ---- */

static void status_prints_a_table(void)
{
	const struct ran *ran;

	start_fake("ok");
	ran = faultline("status --socket S");
	exits(ran, CLI_OK);
	t_streq(ran->err, "");
	says(ran->out, "faultlined 0.1.0, process ");
	says(ran->out, "service, threads; up 1d 01:01:01; 2 jobs, 1 sessions\n");
	says(ran->out, "JOB NAME");
	says(ran->out, "evil\\033[2J\"");
	says(ran->out, "27.0us");
	t_assert(!strchr(ran->out, '\033'));
	for (const char *p = ran->out; *p; p += strcspn(p, "\n") + 1)
		t_le(strcspn(p, "\n"), 100);
	stop_fake();
}

static void status_prints_what_is_asked_for(void)
{
	start_fake("ok");
	t_streq(faultline("status --socket S -n -r -b -o job,budget,p99 3")->out, "3 536870912 27000\n");
	t_streq(faultline("status --socket S -P -o JOB,RATIO")->out,
		"JOB=\"3\" RATIO=\"3.00\"\nJOB=\"4\" RATIO=\"3.00\"\n");
	says(faultline("status --socket S --output-all")->out, "CHECKSUM-ERRORS");
	says(faultline("status --socket S --sessions")->out, "child");
	complains("status --socket S 99", CLI_FAILED, "no job 99");
	stop_fake();
}

static void status_as_json_nests_sessions_in_jobs(void)
{
	const struct ran *ran;

	start_fake("ok");
	ran = faultline("status --socket S --json -o job,name,budget,state,swap-max 3");
	exits(ran, CLI_OK);
	says(ran->out, "\"daemon\": {\n      \"version\": \"0.1.0\",");
	says(ran->out,
	     "   \"jobs\": [\n"
	     "      {\n"
	     "         \"job\": 3,\n"
	     "         \"name\": \"evil\\u001b[2J\\\"\",\n"
	     "         \"budget\": 536870912,\n"
	     "         \"state\": \"active\",\n"
	     "         \"swap_max\": null,\n"
	     "         \"sessions\": [\n"
	     "            {\n"
	     "               \"job\": 3,\n"
	     "               \"name\": \"child\"\n"
	     "            }\n"
	     "         ]\n"
	     "      }\n"
	     "   ]\n"
	     "}\n");
	says(faultline("status --socket S --json")->out, "\"checksum_errors\": 0");
	stop_fake();
}

static void a_degraded_job_is_4(void)
{
	const struct ran *ran;

	start_fake("degraded");
	ran = faultline("status --socket S -n -o job,state,reason");
	exits(ran, CLI_DEGRADED);
	says(ran->out, "swap file is full");
	exits(faultline("status --socket S --json"), CLI_DEGRADED);
	exits(faultline("status --socket S 4"), CLI_OK);
	stop_fake();
}

static void a_full_disk_is_noticed(void)
{
	int status;
	pid_t pid;

	start_fake("ok");
	pid = t_sys(fork());
	if (!pid) {
		char *argv[] = { program, (char *)(uintptr_t)"status", (char *)(uintptr_t)"--socket",
				 socket_path, NULL };

		dup2(open("/dev/full", O_WRONLY | O_CLOEXEC), 1);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		execv(program, argv);
		_exit(99);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_assert(WIFEXITED(status) && WEXITSTATUS(status) == CLI_FAILED);
	stop_fake();
}

static const struct t_test tests[] = {
	T(usage_errors_name_what_is_wrong),
	T(help_and_version_are_printed),
	T(a_command_that_is_not_there_is_127),
	T(a_command_that_cannot_be_executed_is_126),
	T(a_script_whose_interpreter_cannot_be_run),
	T(no_daemon_on_a_named_socket),
	T(another_version_in_the_header),
	T(another_version_in_the_welcome),
	T(a_daemon_that_refuses_our_version),
	T(garbage_is_called_garbage),
	T(an_answer_of_another_kind),
	T(an_answer_to_something_else),
	T(a_daemon_that_hangs_up),
	T(a_refused_job_says_why),
	T(fallback_runs_the_command_all_the_same),
	T(the_exit_code_is_the_commands),
	T(a_signal_that_ends_the_command_is_128_and_its_number),
	T(signals_sent_to_run_reach_the_command),
	T(the_terminals_interrupt_is_not_passed_on),
	T(run_stops_and_goes_on_with_the_command),
	T(a_pipe_that_the_command_closes_is_closed),
	T(stdin_is_the_commands),
	T(the_command_finds_its_job_in_the_environment),
	T(a_relative_socket_is_made_absolute),
	T(the_command_inherits_no_descriptor_of_ours),
	T(log_lines_are_printed_harmlessly),
	T(verbose_ends_with_a_summary),
	T(a_lost_daemon_does_not_end_the_command),
	T(an_own_swap_file_is_sent),
	T(a_file_with_something_in_it_is_not_overwritten),
	T(odd_swap_files_are_refused),
	T(status_prints_a_table),
	T(status_prints_what_is_asked_for),
	T(status_as_json_nests_sessions_in_jobs),
	T(a_degraded_job_is_4),
	T(a_full_disk_is_noticed),
	{0}
};

static const struct t_suite suites[] = { { "cli-errors", tests }, {0} };

HARNESS_MAIN(suites)

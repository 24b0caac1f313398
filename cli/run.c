/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.c - faultline run: a command whose memory is kept inside a budget.
 *
 * This process serves no fault and holds nothing that one needs: it makes the job, starts the
 * command and waits for it. It is the only one that writes the daemon's messages to stderr,
 * because it may wait there for a page of the command, and the daemon must not.
 *
 * The order of the steps is the order in which the user can mend things: options, the command, the
 * machine, then what has to be undone again (swap file, private daemon, job).
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "cli/child.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/environment.h"
#include "cli/machine.h"
#include "cli/private.h"
#include "cli/program.h"
#include "cli/run-options.h"
#include "cli/summary.h"
#include "include/faultline-protocol.h"

#define SWAP_MARK	"user.faultline.swap"	/* extended attribute, empty */
#define LOG_QUIET	4	/* syslog(3): warnings and worse are always shown */
#define FAREWELL_MS	2000	/* for the last questions, and for the private daemon's end */

struct run {
	struct run_options options;
	struct machine machine;
	struct signals signals;
	struct private_daemon private;
	struct control control;
	struct child child;
	char *program;			/* the file that the command is; owned */
	const char *library;
	const char *socket;		/* that control is connected to */
	char *named_socket;		/* its absolute path, when the user named it; owned */
	int swap_fd;			/* of --swap; shared with the daemon */
	struct flp_job_created job;
	bool daemon_gone;
	char error[CLI_ERROR_SIZE];
};

static const char help[] =
"Usage: faultline run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
"Run COMMAND and all that it starts within a budget of RAM.\n"
"\n"
"  -b, --budget=SIZE        RAM for the job: 512M, 1.5G, 50% of the machine (50%)\n"
"      --pool-max=SIZE      of that, for compressed pages; a percentage is of the budget\n"
"      --swap=PATH[:SIZE]   put what does not fit into this file, of at most SIZE\n"
"      --swap=none          keep everything in RAM (default: a file in /var/tmp)\n"
"      --prefetch=N         bring in up to N pages with one that is touched, 0 to 512\n"
"      --fallback           where memory cannot be managed, run COMMAND all the same\n"
"      --socket=PATH        of the faultlined to use (default: the service, else a private one)\n"
"  -v, --verbose            say what was done, with a summary at the end\n"
"  -h, --help               show this text and exit\n"
"  -V, --version            show the version and exit\n"
"\n"
"Exit status: that of COMMAND, 128+N if signal N ended it, 125 if faultline failed, 126 if COMMAND\n"
"cannot be run, 127 if it is not found. See faultline-run(1).\n";

/* ---- before anything is made ---- */

static uint64_t ram_size(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int find_command(struct run *run)
{
	const char *name = run->options.command[0];
	int r = program_find(name, getenv("PATH"), &run->program);

	if (r == 0)
		return 0;
	cli_say("cannot run '%s': %s", cli_safe(name, strlen(name)),
		r == -ENOENT ? "not found" : strerror(-r));
	return r == -ENOMEM ? RUN_FAILED : exec_exit_status(r);
}

static void warn_unmanaged(const struct run *run)
{
	const char *why = program_why(program_inspect(run->program, getuid(), getgid()));
	const char *name = run->options.command[0];

	if (why)
		cli_say("warning: %s %s: it runs unmanaged (see faultline(7), LIMITS)",
			cli_safe(name, strlen(name)), why);
}

/* Instead of a job: this process becomes the command. */
static int run_unmanaged(struct run *run)
{
	char *const *command = run->options.command;

	cli_say("warning: %s; running %s unmanaged", run->error,
		cli_safe(command[0], strlen(command[0])));
	control_close(&run->control);
	private_done(&run->private, FAREWELL_MS);
	signals_restore(&run->signals);
	execvp(command[0], command);
	cli_say("cannot run '%s': %s", cli_safe(command[0], strlen(command[0])), strerror(errno));
	return exec_exit_status(-errno);
}

/* ---- the daemon ---- */

static void print_log(const struct flp_log *line, void *ctx)
{
	const struct run *run = ctx;

	if (run->options.verbose || line->level <= LOG_QUIET)
		cli_say("%s", cli_safe(line->text, sizeof(line->text)));
}

static int open_control(struct run *run, const char *path)
{
	int r = control_open(&run->control, path, run->error);

	if (r == 0)
		run->socket = path;
	return r;
}

static int open_private(struct run *run)
{
	int r = private_start(&run->private, run->machine.device, run->error);
	char how[CLI_ERROR_SIZE];

	if (r == 0)
		r = open_control(run, run->private.socket);
	/* Refused: it was gone before we came; reset: while we waited in its queue. */
	if ((r == -ECONNRESET || r == -ECONNREFUSED) &&
	    private_wait(&run->private, FAREWELL_MS, how))
		cli_error(run->error, "%s before it was ready (faultlined(8), DIAGNOSTICS)", how);
	if (r == 0 && run->options.verbose)
		cli_say("private faultlined, process %d, on %s", (int)run->private.pid,
			run->private.socket);
	return r;
}

/* The command may change its directory, so it is given the whole path. */
static int open_named(struct run *run, const char *path)
{
	_cleanup_free_ char *cwd = path[0] == '/' || path[0] == '@' ? NULL : getcwd(NULL, 0);

	if (asprintf(&run->named_socket, "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", path) < 0) {
		run->named_socket = NULL;
		cli_error(run->error, "out of memory");
		return -ENOMEM;
	}
	return open_control(run, run->named_socket);
}

/* A daemon that was named has to answer; the service may be absent. Then *ret_service is false. */
static int open_service(struct run *run, bool *ret_service)
{
	const char *named = run->options.socket ? run->options.socket : getenv(FLP_ENV_SOCKET);
	int r;

	*ret_service = true;
	if (named && named[0])
		return open_named(run, named);
	r = open_control(run, FLP_SOCKET_PATH);
	if (!control_nobody(r))
		return r;
	*ret_service = false;
	return 0;
}

/* Everything that can be refused before something is made that has to be undone. */
static int check_means(struct run *run, bool *ret_service)
{
	int r = environment_check_library(run->library, run->error);

	if (r == 0)
		r = open_service(run, ret_service);
	if (r < 0)
		return r;
	machine_look(&run->machine);
	if (machine_judge(&run->machine, *ret_service, run->error) != MACHINE_OK)
		return -ENOTSUP;
	return 0;
}

/* ---- the job ---- */

/* Was it a swap file before? Where attributes cannot be set, only an empty file can be taken. */
static bool is_marked(int fd)
{
	return fgetxattr(fd, SWAP_MARK, NULL, 0) >= 0;
}

/*
 * The file is overwritten: a slip of the pen should not cost anybody their data, so it must be empty
 * or have served before. The lock goes with the open file to the daemon: no two jobs get one file.
 */
static int take_swap(int fd, const char *path, char *ret_error)
{
	const char *safe = cli_safe(path, strlen(path));
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		cli_error(ret_error, "--swap %s is not a regular file", safe);
		return -EINVAL;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		cli_error(ret_error, "--swap %s is in use by another job", safe);
		return -EBUSY;
	}
	if (st.st_size && !is_marked(fd)) {
		cli_error(ret_error, "--swap %s is not empty, and would be overwritten: remove it or "
			  "name another file", safe);
		return -EEXIST;
	}
	if (ftruncate(fd, 0) < 0) {
		cli_error(ret_error, "cannot empty --swap %s: %s", safe, strerror(errno));
		return -EIO;
	}
	(void)!fsetxattr(fd, SWAP_MARK, "", 0, 0);	/* for next time, where that is possible */
	return 0;
}

static int open_swap(struct run *run)
{
	const char *path = run->options.swap_path;
	_cleanup_close_ int fd = -1;
	int r;

	if (run->options.swap != RUN_SWAP_PATH)
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0) {
		r = -errno;
		cli_error(run->error, "cannot open --swap %s: %s", cli_safe(path, strlen(path)),
			  r == -ELOOP ? "it is a symbolic link" : strerror(-r));
		return r;
	}
	r = take_swap(fd, path, run->error);
	if (r == 0)
		run->swap_fd = steal_fd(&fd);
	return r;
}

static uint32_t swap_flags(enum run_swap swap)
{
	switch (swap) {
	case RUN_SWAP_NONE:
		return FLP_JOB_NO_SWAP;
	case RUN_SWAP_PATH:
		return FLP_JOB_OWN_SWAP;
	case RUN_SWAP_UNNAMED:
		break;
	}
	return 0;
}

static int create_job(struct run *run)
{
	const struct run_options *o = &run->options;
	const char *slash = strrchr(o->command[0], '/');
	struct flp_job_create create = {
		.budget = o->budget,
		.pool_max = o->pool_max,
		.swap_max = o->swap_max,
		.prefetch = o->prefetch,
		.flags = swap_flags(o->swap),
	};
	union wire_buffer answer;
	int r;

	strlcpy(create.name, slash ? slash + 1 : o->command[0], sizeof(create.name));
	r = control_request(&run->control, FLP_JOB_CREATE, &create, run->swap_fd, FLP_JOB_CREATED,
			    &answer, run->error);
	if (r < 0)
		return r;
	memcpy(&run->job, wire_body(&answer), sizeof(run->job));
	if (o->verbose)
		cli_say("job %" PRIu64 " of faultlined %u on %s", run->job.job,
			run->control.welcome.pid, run->socket);
	return 0;
}

/* ---- the command ---- */

static int prepare_command(void *ctx)
{
	struct run *run = ctx;

	return environment_for_job(run->socket, run->job.token, run->library);
}

static void other_child(pid_t pid, int status, void *ctx)
{
	struct run *run = ctx;
	char how[CLI_ERROR_SIZE];

	if (!private_ended(&run->private, pid, status, how) || run->child.ended)
		return;
	run->daemon_gone = true;
	cli_say("error: %s while the job was running: what it had taken out of memory is lost, and "
		"who touches it waits for ever (end the job with kill -9)", how);
}

static void drain(struct run *run)
{
	if (run->control.fd < 0 || control_drain(&run->control) == 0)
		return;
	if (!run->child.ended && !run->private.pid && !run->daemon_gone)
		cli_say("warning: faultlined on %s closed the connection; the job goes on",
			run->socket);
	control_close(&run->control);
}

static void follow(struct run *run)
{
	while (!run->child.ended) {
		struct pollfd p[2] = {
			{ .fd = run->signals.fd, .events = POLLIN },
			{ .fd = run->control.fd, .events = POLLIN },
		};

		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		while (!run->child.ended && child_handle_signal(&run->child, &run->signals,
								other_child, run))
			;
		if (p[1].revents)
			drain(run);
	}
}

/* ---- the end ---- */

static void print_line(const char *line, void *ctx)
{
	cli_say("%s", line);
}

/* Does anybody but the command itself still live in the job? */
static bool has_others(const struct run *run, const struct report *report)
{
	for (size_t i = 0; i < report->n_sessions; i++)
		if (report->sessions[i].job == run->job.job &&
		    report->sessions[i].pid != (uint32_t)run->child.pid)
			return true;
	return false;
}

/* Returns how long a private daemon is worth waiting for. */
static int say_goodbye(struct run *run)
{
	_cleanup_(report_done) struct report report = { 0 };

	drain(run);
	if (run->control.fd < 0)
		return FAREWELL_MS;
	run->control.timeout_ms = FAREWELL_MS;
	run->control.cancel_fd = -1;
	if (control_status(&run->control, run->job.job, &report, run->error) < 0) {
		if (run->options.verbose)
			cli_say("no summary: %s", run->error);
		return FAREWELL_MS;
	}
	for (size_t i = 0; run->options.verbose && i < report.n_jobs; i++)
		if (report.jobs[i].job == run->job.job)
			summary_format(&report.jobs[i], print_line, NULL);
	return has_others(run, &report) ? 0 : FAREWELL_MS;
}

/*
 * What the swap file held is nobody's any more once its daemon is gone. The service empties it
 * itself: it knows when the last session has ended.
 */
static void end_job(struct run *run, int wait_ms)
{
	bool private = run->private.pid || run->private.dir[0];

	control_close(&run->control);
	if (private_done(&run->private, wait_ms) && private && run->swap_fd >= 0)
		(void)!ftruncate(run->swap_fd, 0);
	run->private = (struct private_daemon)PRIVATE_NULL;
}

/*
 * The command's descriptors are the command's: whoever reads from a pipe that it closes must see
 * the end, and a lock on an inherited file must not last for longer than it wants. stderr stays.
 */
static void let_go(struct run *run)
{
	const int keep[] = { run->signals.fd, run->signals.cancel_fd, run->control.fd,
			     run->swap_fd };
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from = STDERR_FILENO + 1;

	machine_done(&run->machine);
	if (null_fd >= 0) {
		dup2(null_fd, STDIN_FILENO);
		dup2(null_fd, STDOUT_FILENO);
	}
	for (;;) {
		int next = INT_MAX;

		for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
			if (keep[i] >= from && keep[i] < next)
				next = keep[i];
		if (next > from)
			close_range((unsigned int)from, (unsigned int)next - 1, 0);
		if (next == INT_MAX)
			return;
		from = next + 1;
	}
}

static int run_command(struct run *run)
{
	int r = child_start(&run->child, run->options.command, &run->signals, prepare_command, run);

	if (r < 0) {
		cli_say("cannot run '%s': %s", cli_safe(run->options.command[0], SIZE_MAX),
			r == -ENOENT ? "its interpreter is not found" : strerror(-r));
		return r == -ENOMEM || r == -EAGAIN ? RUN_FAILED : exec_exit_status(r);
	}
	let_go(run);
	follow(run);
	end_job(run, say_goodbye(run));
	return child_exit_status(run->child.status);
}

static int fail(struct run *run, int error)
{
	int sig = signals_cancelled(&run->signals);

	if (error == -ECANCELED && sig)
		return RUN_SIGNAL + sig;
	cli_say("%s", run->error);
	return RUN_FAILED;
}

/* The job is there; what was asked of us meanwhile comes first. */
static int start(struct run *run)
{
	int r = create_job(run);

	if (r < 0)
		return fail(run, r);
	if (signals_cancelled(&run->signals))
		return fail(run, -ECANCELED);
	warn_unmanaged(run);
	return run_command(run);
}

static int run_managed(struct run *run)
{
	bool service = false;
	int r = check_means(run, &service);

	if (r == 0) {
		r = open_swap(run);
		if (r < 0)
			return fail(run, r);
		if (!service)
			r = open_private(run);
	}
	if (r == 0)
		return start(run);
	return run->options.fallback && r != -ECANCELED ? run_unmanaged(run) : fail(run, r);
}

static void run_done(struct run *run)
{
	control_close(&run->control);
	private_done(&run->private, FAREWELL_MS);
	close_fd(&run->swap_fd);
	free(run->named_socket);
	free(run->program);
	machine_done(&run->machine);
	run_options_done(&run->options);
	signals_done(&run->signals);
}

/* -1: go on */
static int parse(struct run *run, int argc, char **argv)
{
	switch (run_options_parse(&run->options, argc, argv, ram_size(), run->error)) {
	case RUN_PARSED:
		return -1;
	case RUN_HELP:
		return fputs(help, stdout) < 0 || fflush(stdout) ? RUN_FAILED : CLI_OK;
	case RUN_VERSION:
		return printf("faultline %s\n", PACKAGE_VERSION) < 0 ? RUN_FAILED : CLI_OK;
	case -ENOMEM:
		cli_say("out of memory");
		return RUN_FAILED;
	default:
		cli_say("%s", run->error);
		return RUN_FAILED;
	}
}

int cmd_run(int argc, char **argv)
{
	_cleanup_(run_done) struct run run = {
		.options = RUN_OPTIONS_NULL,
		.machine = MACHINE_NONE,
		.signals = SIGNALS_NULL,
		.private = PRIVATE_NULL,
		.control = CONTROL_NULL,
		.swap_fd = -1,
	};
	int r;

	cli_set_name("faultline run");
	r = parse(&run, argc, argv);
	if (r >= 0)
		return r;
	r = find_command(&run);
	if (r)
		return r;
	r = signals_take(&run.signals);
	if (r < 0) {
		cli_say("cannot take over signals: %s", strerror(-r));
		return RUN_FAILED;
	}
	run.control.cancel_fd = run.signals.cancel_fd;
	run.control.log = print_log;
	run.control.log_ctx = &run;
	run.library = environment_library();
	return run_managed(&run);
}

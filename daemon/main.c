/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main.c - faultlined(8): options, the objects of the daemon, its run and its end.
 *
 * No policy here. The main thread becomes the control loop; signals are blocked in all threads and
 * arrive there.
 *
 * Two modes. The service has a configuration, a socket of its own or the service manager's, and
 * lives until it is told to stop. A private daemon (--private, by faultline run) has an inherited
 * socket and one job, and leaves with it; it has /dev/null on 0, 1 and 2, because it shares pipes
 * and terminals with the job, whose locks a thread may hold that waits for one of its pages; what
 * it has to say goes to the connection that made the job.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bsd/stdlib.h>
#include <bsd/unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/gate.h"
#include "common/sock.h"
#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/reclaimer.h"
#include "daemon/sdnotify.h"
#include "daemon/server.h"
#include "daemon/uffd.h"
#include "daemon/worker.h"

#define EXIT_USAGE 2

#define LOOP_ENTRIES 256

struct options {
	const char *config, *socket, *private_dir;
	int socket_fd, uffd_fd;
	bool check_config, private;
	unsigned int verbose;
};

struct faultlined {
	struct options options;
	struct config *config;
	struct loop *loop;
	struct jobs jobs;
	bool has_jobs;
	struct workers workers;
	bool has_workers;
	struct reclaimer reclaimer;
	bool has_reclaimer;
	struct server *server;
	char *socket_path;		/* made by us: removed at the end */
	struct loop_op signals, watchdog;
};

/* ---- options ---- */

static const char usage[] =
"Usage: faultlined [-c FILE] [--socket PATH] [-v]...\n"
"       faultlined [-c FILE] --check-config\n"
"       faultlined --private --socket-fd N [--uffd-fd N] [--private-dir DIR] [-v]...\n"
"\n"
"Keep the jobs of faultline(1) inside their memory budgets.\n"
"\n"
"  -c, --config=FILE      read FILE instead of " CONFIG_PATH "\n"
"      --check-config     say what is configured, and whether it is right\n"
"      --socket=PATH      listen there\n"
"  -v, --verbose          say more; twice as much is not more than that\n"
"      --private          serve one job and leave with it (faultline run does this)\n"
"      --socket-fd=N      the listening socket, an open descriptor\n"
"      --uffd-fd=N        /dev/userfaultfd, an open descriptor\n"
"      --private-dir=DIR  to be removed at the end, with the socket in it\n"
"  -V, --version\n"
"  -h, --help\n"
"\n"
"Exit status: 0 stopped with nothing lost, 1 failed, 2 wrong usage.\n";

enum { OPT_CHECK = 256, OPT_SOCKET, OPT_PRIVATE, OPT_SOCKET_FD, OPT_UFFD_FD, OPT_PRIVATE_DIR };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "private", no_argument, NULL, OPT_PRIVATE },
	{ "socket-fd", required_argument, NULL, OPT_SOCKET_FD },
	{ "uffd-fd", required_argument, NULL, OPT_UFFD_FD },
	{ "private-dir", required_argument, NULL, OPT_PRIVATE_DIR },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 }
};

static _Noreturn void usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void usage_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("faultlined: ", stderr);
	vfprintf(stderr, format, ap);
	fputs(" (see faultlined --help)\n", stderr);
	va_end(ap);
	exit(EXIT_USAGE);
}

static int parse_fd(const char *option, const char *text)
{
	const char *why;
	int fd = (int)strtonum(text, 3, INT32_MAX, &why);

	if (why)
		usage_error("%s=%s: not a descriptor above 2", option, text);
	if (fcntl(fd, F_GETFD) < 0)
		usage_error("%s=%s: not an open descriptor", option, text);
	return fd;
}

/* Print, and be sure that it has got there. */
static _Noreturn void print_and_exit(const char *text)
{
	fputs(text, stdout);
	exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void parse_option(struct options *o, int opt, char **argv)
{
	switch (opt) {
	case 'c':
		o->config = optarg;
		break;
	case OPT_CHECK:
		o->check_config = true;
		break;
	case OPT_SOCKET:
		o->socket = optarg;
		break;
	case OPT_PRIVATE:
		o->private = true;
		break;
	case OPT_SOCKET_FD:
		o->socket_fd = parse_fd("--socket-fd", optarg);
		break;
	case OPT_UFFD_FD:
		o->uffd_fd = parse_fd("--uffd-fd", optarg);
		break;
	case OPT_PRIVATE_DIR:
		o->private_dir = optarg;
		break;
	case 'v':
		o->verbose++;
		break;
	case 'V':
		print_and_exit("faultlined " PACKAGE_VERSION "\n");
	case 'h':
		print_and_exit(usage);
	case ':':
		usage_error("%s needs a value", argv[optind - 1]);
	default:
		if (optopt && optopt < OPT_CHECK)
			usage_error("-%c: no such option", optopt);
		usage_error("%s: no such option, or not used like that", argv[optind - 1]);
	}
}

static void check_options(const struct options *o)
{
	if (o->private && o->socket_fd < 0)
		usage_error("--private needs --socket-fd");
	if (!o->private && (o->socket_fd >= 0 || o->uffd_fd >= 0 || o->private_dir))
		usage_error("--socket-fd, --uffd-fd and --private-dir go with --private");
	if (o->private && o->socket)
		usage_error("--private has its socket from --socket-fd, not from --socket");
	if (o->private && o->check_config)
		usage_error("--check-config does not go with --private");
}

static void parse_options(struct options *o, int argc, char **argv)
{
	int opt;

	*o = (struct options){ .socket_fd = -1, .uffd_fd = -1 };
	while ((opt = getopt_long(argc, argv, ":c:vVh", long_options, NULL)) >= 0)
		parse_option(o, opt, argv);
	if (optind < argc)
		usage_error("%s: no argument is expected here", argv[optind]);
	check_options(o);
}

/* ---- the process ---- */

#ifdef FL_TEST_HOOKS
static void map_gates(void)
{
	const char *path = getenv("FAULTLINE_GATES");

	if (path)
		gate_map(path);
}
#else
static void map_gates(void)
{
}
#endif

/* A thread of the job may hold the lock of anything that we share with it, and wait for us. */
static int give_up_stdio(void)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (null < 3)
		null = -1;
	return 0;
}

/* Those that mean something to us. The terminal's are meant for the job. */
static void signal_set(sigset_t *ret, bool private)
{
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	if (private)
		return;
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
}

/* Before there are threads, which inherit it. */
static void set_signals(bool private)
{
	sigset_t set;

	signal_set(&set, private);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (!private)
		return;
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

static void set_limits(bool private)
{
	struct rlimit fds;

	if (!getrlimit(RLIMIT_NOFILE, &fds)) {
		fds.rlim_cur = fds.rlim_max;
		setrlimit(RLIMIT_NOFILE, &fds);
	}
	/* It has pages of several users in its memory: nobody looks into it, and no core file does. */
	if (!private)
		prctl(PR_SET_DUMPABLE, 0);
}

static void set_verbosity(unsigned int verbose)
{
	if (verbose)
		log_set_level(LOG_LEVEL_DEBUG);
}

/* ---- the userfaultfd device ---- */

/* The device is a misc one: its number differs, its name does not. */
static bool is_device(int fd)
{
	struct stat st, dev;

	return !fstat(fd, &st) && S_ISCHR(st.st_mode) && !stat("/dev/userfaultfd", &dev) &&
	       st.st_rdev == dev.st_rdev;
}

static int open_device(const struct options *o)
{
	int fd;

	if (o->uffd_fd >= 0) {
		if (!is_device(o->uffd_fd)) {
			log_errx("descriptor %d is not /dev/userfaultfd", o->uffd_fd);
			return -EINVAL;
		}
		fcntl(o->uffd_fd, F_SETFD, FD_CLOEXEC);
		return o->uffd_fd;
	}
	fd = uffd_open_device();
	if (fd < 0)
		log_errx("/dev/userfaultfd cannot be opened: %s (root can open it to a group, see "
			 "faultlined(8); the kernel must be Linux 6.8 or later)",
			 strerrordesc_np(-fd));
	return fd;
}

static int check_device(int fd)
{
	uint64_t features;
	int r = uffd_probe(fd, &features);

	if (r) {
		log_errx("userfaultfd cannot be used: %s", strerrordesc_np(-r));
		return r;
	}
	if ((features & UFFD_FEATURES_NEEDED) != UFFD_FEATURES_NEEDED) {
		log_errx("this kernel's userfaultfd lacks features %#" PRIx64 ": Linux 6.8 or later is "
			 "needed", (uint64_t)UFFD_FEATURES_NEEDED & ~features);
		return -EOPNOTSUPP;
	}
	return 0;
}

/* ---- the socket ---- */

static int socket_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

/* One that somebody else made. */
static int check_socket(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || socket_option(fd, SO_DOMAIN) != AF_UNIX ||
	    socket_option(fd, SO_TYPE) != SOCK_SEQPACKET || socket_option(fd, SO_ACCEPTCONN) != 1) {
		log_errx("descriptor %d is not a listening unix socket of type seqpacket", fd);
		return -EINVAL;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static int own_socket(struct faultlined *d)
{
	const char *path = d->options.socket ? d->options.socket : d->config->socket;
	_cleanup_close_ int fd = sock_listen(path, 0660, SOCK_NONBLOCKING);

	if (fd < 0) {
		log_errx("cannot listen on %s: %s%s", path, strerrordesc_np(-fd),
			 fd == -EADDRINUSE ? " (another faultlined does, or that is no socket)" :
			 fd == -ENOENT ? " (make its directory)" : "");
		return fd;
	}
	if (path[0] == '@')
		return steal_fd(&fd);
	d->socket_path = strdup(path);
	if (!d->socket_path)
		return -ENOMEM;
	if (d->config->has_allow_group && d->config->allow_gid != (gid_t)-1 &&
	    chown(path, (uid_t)-1, d->config->allow_gid) < 0)
		log_warn("%s cannot be given to its group %u", path,
			 (unsigned int)d->config->allow_gid);
	return steal_fd(&fd);
}

static void listen_fds_finip(struct listen_fds *l)
{
	listen_fds_fini(l);
}

/* The service manager's, if it made one and none was asked for. -1: none. */
static int activated_socket(const struct options *o)
{
	_cleanup_(listen_fds_finip) struct listen_fds fds = LISTEN_FDS_NULL;
	int r = listen_fds(&fds);

	if (r)
		log_warnx("the sockets of the service manager are of no use: %s", strerrordesc_np(-r));
	if (r || o->socket || !fds.n)
		return -1;
	return steal_fd(&fds.fd[0]);
}

static int open_socket(struct faultlined *d)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = d->options.private ? d->options.socket_fd : activated_socket(&d->options);
	if (fd < 0)
		return own_socket(d);
	r = check_socket(fd);
	return r ? r : steal_fd(&fd);
}

static void remove_socket(struct faultlined *d)
{
	const char *dir = d->options.private_dir;
	char path[108];

	if (d->socket_path)
		unlink(d->socket_path);
	if (!dir || snprintf(path, sizeof(path), "%s/socket", dir) >= (int)sizeof(path))
		return;
	unlink(path);
	rmdir(dir);
}

/* ---- signals ---- */

static void reload(struct faultlined *d)
{
	struct config *config;
	int r;

	sdnotify_reloading();
	r = config_load(d->options.config, &config);
	if (r) {
		log_errx("the configuration stays as it was");
	} else {
		server_set_config(d->server, config);
		config_free(d->config);
		d->config = config;
		log_notice("configuration loaded: for new jobs; a new socket or number of workers waits "
			   "for a restart");
	}
	sdnotify_ready();
}

static void on_signal(struct loop_op *op, int result, bool more)
{
	struct faultlined *d = container_of(op, struct faultlined, signals);

	switch (result) {
	case SIGHUP:
		reload(d);
		break;
	case SIGTERM:
	case SIGINT:
		server_stop(d->server);
		break;
	}
}

static void on_watchdog(struct loop_op *op, int result, bool more)
{
	struct faultlined *d = container_of(op, struct faultlined, watchdog);

	if (result < 0)
		return;
	sdnotify_watchdog();
	loop_timer(d->loop, op, sdnotify_watchdog_us() * 1000 / 2);
}

static int start_signals(struct faultlined *d)
{
	sigset_t set;

	signal_set(&set, d->options.private);
	d->signals = (struct loop_op){ .done = on_signal, .name = "main.signals" };
	d->watchdog = (struct loop_op){ .done = on_watchdog, .name = "main.watchdog" };
	if (sdnotify_watchdog_us())
		loop_timer(d->loop, &d->watchdog, sdnotify_watchdog_us() * 1000 / 2);
	return loop_signals(d->loop, &d->signals, &set);
}

static void stop_signals(struct faultlined *d)
{
	if (!d->loop)
		return;
	if (d->signals.loop)
		loop_cancel(d->loop, &d->signals);
	if (d->watchdog.loop)
		loop_cancel(d->loop, &d->watchdog);
	while (d->signals.loop || d->watchdog.loop)
		if (loop_round(d->loop, -1))
			break;
}

/* ---- build, run, tear down ---- */

static int start_threads(struct faultlined *d)
{
	int r;

	r = d->options.private ? 0 : log_start();
	if (r)
		return r;
	r = workers_start(&d->workers, d->config->workers);
	if (r)
		return r;
	d->has_workers = true;
	r = reclaimer_start(&d->reclaimer, &d->jobs);
	d->has_reclaimer = !r;
	return r;
}

static int start_server(struct faultlined *d)
{
	struct server_setup setup = {
		.loop = d->loop,
		.jobs = &d->jobs,
		.workers = &d->workers,
		.config = d->config,
		.private = d->options.private,
		.listen_fd = -1,
		.uffd_features = UFFD_FEATURES_NEEDED,
	};
	_cleanup_close_ int uffd = open_device(&d->options);
	int r;

	if (uffd < 0)
		return uffd;
	r = check_device(uffd);
	if (r)
		return r;
	setup.listen_fd = open_socket(d);
	if (setup.listen_fd < 0)
		return setup.listen_fd;
	setup.uffd_fd = steal_fd(&uffd);
	return server_new(&d->server, &setup);
}

static int build(struct faultlined *d)
{
	int r;

	r = config_load(d->options.config, &d->config);
	if (r)
		return r;
	if (d->options.private) {
		r = give_up_stdio();
		if (r)
			return r;
	}
	jobs_init(&d->jobs);
	d->has_jobs = true;
	r = loop_new(&d->loop, LOOP_ENTRIES);
	if (r)
		return r;
	r = start_threads(d);
	if (r)
		return r;
	r = start_server(d);
	if (r)
		return r;
	return start_signals(d);
}

static void tear_down(struct faultlined *d)
{
	d->server = server_free(d->server);
	stop_signals(d);
	if (d->has_reclaimer)
		reclaimer_stop(&d->reclaimer);
	if (d->has_workers)
		workers_stop(&d->workers);
	if (d->has_jobs)
		jobs_fini(&d->jobs);
	d->loop = loop_free(d->loop);
	remove_socket(d);
	free(d->socket_path);
	d->config = config_free(d->config);
}

static void tell_started(const struct faultlined *d)
{
	if (d->options.private)
		setproctitle("private, for user %u", (unsigned int)getuid());
	else
		setproctitle("service");
	log_info("faultlined %s: %s, engine %s, %u workers", PACKAGE_VERSION,
		 d->options.private ? "private" : "service", loop_engine(d->loop), d->workers.n);
	sdnotify_ready();
}

static int run(struct faultlined *d)
{
	int r = build(d);

	if (!r) {
		tell_started(d);
		while (!r && !server_is_done(d->server))
			r = loop_round(d->loop, -1);
	}
	/* Clients with pages out cannot lose us: whoever restarts us finds things as after kill -9. */
	if (r && d->server)
		fatalx("the event loop is broken: %s", strerrordesc_np(-r));
	if (!r)
		log_notice("stopped");
	tear_down(d);
	log_stop();
	return r;
}

int main(int argc, char **argv)
{
	struct faultlined d = { 0 };

	setproctitle_init(argc, argv, environ);
	log_init();
	parse_options(&d.options, argc, argv);
	set_verbosity(d.options.verbose);
	if (d.options.check_config)
		return config_check(d.options.config, stdout) ? EXIT_FAILURE : EXIT_SUCCESS;

	set_signals(d.options.private);
	set_limits(d.options.private);
	map_gates();
	return run(&d) ? EXIT_FAILURE : EXIT_SUCCESS;
}

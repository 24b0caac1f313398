/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.c - the daemon as its clients see it: a real faultlined, and clients that keep to the
 * protocol, do not, or do nothing at all.
 *
 * Whatever they do, the daemon answers the next one, and holds no descriptor more than before.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/sock.h"
#include "common/uffd-abi.h"
#include "common/wire.h"
#include "include/faultline-shared.h"
#include "tests/harness.h"

#define MIB		(UINT64_C(1) << 20)
#define NOBODY		65534
#define STAGING		((uint64_t)FLS_SLOTS * FLS_SLOT_PAGES * FLS_PAGE)

/* ---- a daemon ---- */

static char daemon_path[512], socket_path[108], config_path[512], private_dir[100];
static pid_t daemon_pid;

static void set_stage(void)
{
	const char *dir = t_tmpdir();

	if (!getenv("FAULTLINED"))
		t_fail("FAULTLINED is not set: start this through ./run");
	if (access("/dev/userfaultfd", R_OK | W_OK))
		t_skip("/dev/userfaultfd cannot be opened");
	snprintf(daemon_path, sizeof(daemon_path), "%s", getenv("FAULTLINED"));
	snprintf(config_path, sizeof(config_path), "%s/conf", dir);
	t_lt(snprintf(socket_path, sizeof(socket_path), "%s/socket", dir), sizeof(socket_path));
	chmod(dir, 0755);
}

static void write_config(const char *text)
{
	int fd = t_sys(open(config_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));

	t_eq(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void redirect(int fd, const char *name)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", t_tmpdir(), name);
	dup2(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), fd);
}

static const char *output(const char *name)
{
	static char text[16384];
	char path[600];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", t_tmpdir(), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* In the child: options up to NULL. */
static _Noreturn void become(const char *first, ...)
{
	const char *argv[16] = { "faultlined" };
	va_list ap;
	int n = 1;

	va_start(ap, first);
	for (const char *a = first; a; a = va_arg(ap, const char *))
		argv[n++] = a;
	va_end(ap);
	execv(daemon_path, (char *const *)(uintptr_t)argv);
	_exit(99);
}

static bool answers(void)
{
	int fd = sock_connect(socket_path, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void start_service(const char *config)
{
	write_config(config);
	daemon_pid = t_sys(fork());
	if (!daemon_pid) {
		redirect(2, "err");
		become("-c", config_path, "--socket", socket_path, NULL);
	}
	t_until(answers());
}

static void start_private(void)
{
	char fd_text[16];
	int fd;

	snprintf(private_dir, sizeof(private_dir), "%s/p", t_tmpdir());
	t_sys(mkdir(private_dir, 0700));
	snprintf(socket_path, sizeof(socket_path), "%s/socket", private_dir);
	fd = t_ok(sock_listen(socket_path, 0600, 0));
	daemon_pid = t_sys(fork());
	if (!daemon_pid) {
		fd = dup(fd);		/* without close-on-exec */
		snprintf(fd_text, sizeof(fd_text), "%d", fd);
		become("--private", "--socket-fd", fd_text, "--private-dir", private_dir, NULL);
	}
	close(fd);
}

static int finish(void)
{
	int status;

	t_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
	t_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void stop_service(void)
{
	t_sys(kill(daemon_pid, SIGTERM));
	t_eq(finish(), 0);
	t_assert(access(socket_path, F_OK));
}

static int count_fds(void)
{
	struct dirent *e;
	char path[64];
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)daemon_pid);
	d = opendir(path);
	t_assert(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* ---- clients ---- */

struct answer {
	int type;		/* 0: the daemon has closed */
	int error;
	union wire_buffer m;
	struct sock_fds fds;
};

static void hear(int fd, struct answer *a)
{
	ssize_t n;

	a->fds = (struct sock_fds)SOCK_FDS_NULL;
	a->type = a->error = 0;
	n = sock_recv(fd, &a->m, sizeof(a->m), &a->fds);
	if (n <= 0)
		return;
	t_ok(wire_check(&a->m, (size_t)n, a->fds.n, WIRE_TO_CLIENT));
	a->type = a->m.h.type;
	if (a->type == FLP_ERROR)
		a->error = ((const struct flp_error *)wire_body(&a->m))->error;
}

/* Log lines come between. */
static const void *expect(int fd, struct answer *a, int type)
{
	do
		hear(fd, a);
	while (a->type == FLP_LOG && type != FLP_LOG);
	if (a->type == FLP_ERROR && type != FLP_ERROR)
		t_fail("%s", ((const struct flp_error *)wire_body(&a->m))->text);
	t_eq(a->type, type);
	return wire_body(&a->m);
}

static void expect_error(int fd, int error)
{
	struct answer a;

	expect(fd, &a, FLP_ERROR);
	t_eq(a.error, error);
}

static void expect_end(int fd)
{
	struct answer a;

	expect(fd, &a, 0);
}

static void say_fds(int fd, enum flp_type type, const void *body, const int *fds, unsigned int n)
{
	union wire_buffer buf;
	size_t len = wire_build(&buf, type, 1, body);

	t_ok(sock_send(fd, &buf, len, fds, n));
}

static void say(int fd, enum flp_type type, const void *body)
{
	say_fds(fd, type, body, NULL, 0);
}

static struct flp_hello hello(enum flp_role role)
{
	return (struct flp_hello){ .version = FLP_VERSION, .role = role, .name = "test" };
}

static int enter(enum flp_role role, const uint8_t *token, struct answer *a)
{
	struct flp_hello m = hello(role);
	int fd = t_ok(sock_connect(socket_path, 0));

	if (token)
		memcpy(m.job, token, sizeof(m.job));
	say(fd, FLP_HELLO, &m);
	expect(fd, a, FLP_WELCOME);
	return fd;
}

static int control(void)
{
	struct answer a;

	return enter(FLP_ROLE_CONTROL, NULL, &a);
}

static struct flp_job_created make_job(int fd)
{
	struct flp_job_create m = { .budget = 64 * MIB, .pool_max = UINT64_MAX,
				    .prefetch = UINT32_MAX, .flags = FLP_JOB_NO_SWAP, .name = "job" };
	struct answer a;

	say(fd, FLP_JOB_CREATE, &m);
	return *(const struct flp_job_created *)expect(fd, &a, FLP_JOB_CREATED);
}

struct seen {
	struct flp_status_daemon daemon;
	int jobs, sessions;
};

static struct seen status(int fd)
{
	struct flp_status m = { 0 };
	struct seen seen = { 0 };
	struct answer a;

	say(fd, FLP_STATUS, &m);
	seen.daemon = *(const struct flp_status_daemon *)expect(fd, &a, FLP_STATUS_DAEMON);
	do {
		hear(fd, &a);
		seen.jobs += a.type == FLP_STATUS_JOB;
		seen.sessions += a.type == FLP_STATUS_SESSION;
	} while (a.type == FLP_STATUS_JOB || a.type == FLP_STATUS_SESSION || a.type == FLP_LOG);
	t_eq(a.type, FLP_OK);
	return seen;
}

/* Still there, and as quick as ever. */
static void is_well(void)
{
	int fd = control();

	t_eq(status(fd).daemon.pid, daemon_pid);
	close(fd);
}

/* What an agent does, but for the work. */
static int agent(const uint8_t *token)
{
	struct flp_attach m = { 0 };
	struct answer a;
	int fd, device, fds[2];
	uint8_t *area;

	fd = enter(FLP_ROLE_AGENT, token, &a);
	device = sock_fds_take(&a.fds, 0);
	for (int i = 0; i < 2; i++)
		fds[i] = t_sys(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
	area = mmap(NULL, 2 * STAGING, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	t_assert(area != MAP_FAILED);
	m.s1 = (uintptr_t)area;
	m.s2 = (uintptr_t)area + STAGING;
	say_fds(fd, FLP_ATTACH, &m, fds, 2);
	close(device);
	close(fds[0]);
	close(fds[1]);
	expect(fd, &a, FLP_ATTACHED);
	t_eq(a.fds.n, 3);
	sock_fds_close(&a.fds);
	return fd;
}

/* ---- those that do not keep to the protocol ---- */

struct packet {
	union {
		union wire_buffer m;
		uint8_t bytes[65536];
	};
	size_t len;
	int n_fds;
};

static struct flp_hello *hello_of(struct packet *p)
{
	return (struct flp_hello *)(p->bytes + sizeof(struct flp_header));
}

static void make_short(struct packet *p) { p->len = 1; }
static void make_headless(struct packet *p) { p->len = sizeof(struct flp_header) - 1; }
static void make_foreign(struct packet *p) { p->m.h.magic ^= 1; }
static void make_longer_than_said(struct packet *p) { p->len += 8; }
static void make_shorter_than_said(struct packet *p) { p->len -= 8; }
static void make_huge(struct packet *p) { p->m.h.len = p->len = FLP_MAX_MESSAGE + 8; }
static void make_enormous(struct packet *p) { p->m.h.len = p->len = sizeof(p->bytes); }
static void make_unknown(struct packet *p) { p->m.h.type = 4711; }
static void make_answer(struct packet *p) { p->m.h.type = FLP_WELCOME; }
static void make_no_role(struct packet *p) { hello_of(p)->role = 0; }
static void make_wrong_role(struct packet *p) { hello_of(p)->role = UINT32_MAX; }
static void make_flags(struct packet *p) { hello_of(p)->flags = 1; }
static void make_endless_name(struct packet *p) { memset(hello_of(p)->name, 'x', 32); }
static void make_one_fd(struct packet *p) { p->n_fds = 1; }
static void make_too_many_fds(struct packet *p) { p->n_fds = 5; }
static void make_fd_bomb(struct packet *p) { p->n_fds = 253; }
static void make_noise(struct packet *p)
{
	for (size_t i = 0; i < p->len; i++)
		p->bytes[i] = (uint8_t)t_random();
}

static void (*const garbage[])(struct packet *p) = {
	make_short, make_headless, make_foreign, make_longer_than_said, make_shorter_than_said,
	make_huge, make_enormous, make_unknown, make_answer, make_no_role, make_wrong_role,
	make_flags, make_endless_name, make_one_fd, make_too_many_fds, make_fd_bomb, make_noise,
};

/* sock_send() would not. */
static void send_packet(int to, struct packet *p)
{
	static int fds[253];
	char ctl[CMSG_SPACE(sizeof(fds))] = { 0 };
	struct iovec iov = { .iov_base = p->bytes, .iov_len = p->len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int null = t_sys(open("/dev/null", O_RDONLY | O_CLOEXEC));

	if (p->n_fds) {
		struct cmsghdr *c;

		m.msg_control = ctl;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)p->n_fds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)p->n_fds);
		for (int i = 0; i < p->n_fds; i++)
			fds[i] = null;
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)p->n_fds);
	}
	t_eq(sendmsg(to, &m, MSG_NOSIGNAL), p->len);
	close(null);
}

static void garbage_is_refused_and_leaves_nothing(void)
{
	int before;

	set_stage();
	start_service("");
	is_well();
	t_until(count_fds() > 0);
	before = count_fds();
	for (size_t i = 0; i < 3 * ARRAY_SIZE(garbage); i++) {
		static struct packet p;
		struct flp_hello m = hello(FLP_ROLE_CONTROL);
		int fd = t_ok(sock_connect(socket_path, 0));

		p.n_fds = 0;
		p.len = wire_build(&p.m, FLP_HELLO, 1, &m);
		garbage[i % ARRAY_SIZE(garbage)](&p);
		send_packet(fd, &p);
		expect_error(fd, -EBADMSG);
		expect_end(fd);
		close(fd);
	}
	is_well();
	t_until(count_fds() <= before);
	t_until(strstr(output("err"), "dropped"));
	stop_service();
}

static void another_version_is_told_both_versions(void)
{
	struct flp_hello m = hello(FLP_ROLE_CONTROL);
	struct answer a;
	int fd;

	set_stage();
	start_service("");
	m.version = 7;
	fd = t_ok(sock_connect(socket_path, 0));
	say(fd, FLP_HELLO, &m);
	expect(fd, &a, FLP_ERROR);
	t_eq(a.error, -EPROTONOSUPPORT);
	t_assert(strstr(((const struct flp_error *)wire_body(&a.m))->text, "version 7"));
	t_assert(strstr(((const struct flp_error *)wire_body(&a.m))->text, "version 1"));
	expect_end(fd);
	close(fd);
	stop_service();
}

static void a_wrong_token_opens_nothing(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	int fd;

	set_stage();
	start_service("[Budget]\nDefault=64M\n");
	for (size_t i = 0; i < sizeof(m.job); i++)
		m.job[i] = (uint8_t)(1 + t_random_below(255));
	fd = t_ok(sock_connect(socket_path, 0));
	say(fd, FLP_HELLO, &m);
	expect_error(fd, -ENOENT);
	expect_end(fd);
	close(fd);
	stop_service();
}

static void descriptors_of_the_wrong_number_or_kind_are_closed(void)
{
	struct flp_attach m = { .s1 = 1 << 30, .s2 = INT64_C(1) << 40 };
	struct flp_job_created made;
	int before, maker, fds[4];

	set_stage();
	start_service("");
	maker = control();
	made = make_job(maker);
	is_well();
	before = count_fds();
	t_sys(pipe2(fds, O_CLOEXEC));
	t_sys(pipe2(fds + 2, O_CLOEXEC));
	for (unsigned int n = 0; n <= 4; n++) {
		struct answer a;
		int fd = enter(FLP_ROLE_AGENT, made.token, &a);

		sock_fds_close(&a.fds);
		say_fds(fd, FLP_ATTACH, &m, fds, n);
		expect_error(fd, n == 2 ? -EINVAL : -EBADMSG);
		expect_end(fd);
		close(fd);
	}
	t_until(count_fds() <= before);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(maker);
	stop_service();
}

/* ---- those that do nothing ---- */

static bool has_ended(int fd)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	union wire_buffer buf;
	ssize_t n = sock_recv(fd, &buf, sizeof(buf), &fds);

	sock_fds_close(&fds);
	return n != -EAGAIN;
}

static void who_says_nothing_is_sent_away(void)
{
	int mute;

	set_stage();
	start_service("");
	mute = t_ok(sock_connect(socket_path, SOCK_NONBLOCKING));
	is_well();
	t_assert(!has_ended(mute));
	t_until_s(has_ended(mute), 20);
	close(mute);
	stop_service();
}

static uint64_t ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void a_flood_of_half_handshakes_keeps_nobody_out(void)
{
	int fd[200], before;
	uint64_t start;

	set_stage();
	start_service("");
	is_well();
	before = count_fds();
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = t_ok(sock_connect(socket_path, 0));
	start = ms();
	is_well();
	t_lt(ms() - start, 1000 * t_time_scale());
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	t_until(count_fds() <= before);
	is_well();
	stop_service();
}

static int try_enter(bool *ret_welcome)
{
	struct flp_hello m = hello(FLP_ROLE_CONTROL);
	int fd = t_ok(sock_connect(socket_path, 0));
	union wire_buffer buf;
	struct answer a;

	sock_send(fd, &buf, wire_build(&buf, FLP_HELLO, 1, &m), NULL, 0);	/* it may be gone */
	hear(fd, &a);
	*ret_welcome = a.type == FLP_WELCOME;
	return fd;
}

static bool enters(int *ret_fd)
{
	bool welcome;
	int fd = try_enter(&welcome);

	if (welcome)
		*ret_fd = fd;
	else
		close(fd);
	return welcome;
}

/* With so few descriptors there is room for one client of a user. */
static void a_full_daemon_says_so(void)
{
	struct rlimit few = { .rlim_cur = 150, .rlim_max = 150 };
	bool welcome;
	int first;

	set_stage();
	write_config("");
	daemon_pid = t_sys(fork());
	if (!daemon_pid) {
		redirect(2, "err");
		setrlimit(RLIMIT_NOFILE, &few);
		become("-c", config_path, "--socket", socket_path, NULL);
	}
	t_until(answers());
	t_until(enters(&first));
	for (int i = 0; i < 8; i++) {
		close(try_enter(&welcome));
		t_assert(!welcome);
	}
	t_until(strstr(output("err"), "too many clients"));
	status(first);
	close(first);
	t_until(enters(&first));
	close(first);
	stop_service();
}

/* ---- who may see what ---- */

/* Run fn as nobody, in another process. */
static void as_nobody(void (*fn)(void))
{
	pid_t pid = t_sys(fork());
	int status;

	if (!pid) {
		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(98);
		fn();
		_exit(0);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_assert(WIFEXITED(status));
	t_eq(WEXITSTATUS(status), 0);
}

static void see_nothing(void)
{
	int fd = control();
	struct seen seen = status(fd);

	t_eq(seen.jobs, 0);
	t_eq(seen.sessions, 0);
	t_eq(seen.daemon.n_jobs, 0);
	t_eq(seen.daemon.n_sessions, 0);
	close(fd);
}

static uint8_t roots_token[FLP_TOKEN_SIZE];

static void do_not_get_in(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	int fd = t_ok(sock_connect(socket_path, 0));

	memcpy(m.job, roots_token, sizeof(m.job));
	say(fd, FLP_HELLO, &m);
	expect_error(fd, -ENOENT);
	close(fd);
}

static void users_do_not_see_or_join_each_others_jobs(void)
{
	struct flp_job_created made;
	int maker, a;

	set_stage();
	if (getuid())
		t_skip("only root can be somebody else");
	start_service("[Daemon]\nAllowGroup=*\n");
	t_sys(chmod(socket_path, 0666));
	maker = control();
	made = make_job(maker);
	memcpy(roots_token, made.token, sizeof(roots_token));
	a = agent(made.token);
	t_eq(status(maker).sessions, 1);
	as_nobody(see_nothing);
	as_nobody(do_not_get_in);
	close(a);
	close(maker);
	stop_service();
}

static void be_refused(void)
{
	struct flp_job_create m = { .budget = 64 * MIB, .pool_max = UINT64_MAX,
				    .prefetch = UINT32_MAX, .flags = FLP_JOB_NO_SWAP };
	int fd = control();

	say(fd, FLP_JOB_CREATE, &m);
	expect_error(fd, -EACCES);
	close(fd);
}

static void who_is_not_in_the_group_is_not_served(void)
{
	set_stage();
	if (getuid())
		t_skip("only root can be somebody else");
	start_service("[Daemon]\nAllowGroup=root\n");
	t_sys(chmod(socket_path, 0666));
	as_nobody(be_refused);
	stop_service();
}

/* ---- how it is started ---- */

static void a_socket_of_the_service_manager_is_used(void)
{
	char pid[16];
	int fd;

	set_stage();
	write_config("[Daemon]\nSocket=/nonexistent/socket\n");
	fd = t_ok(sock_listen(socket_path, 0600, 0));
	daemon_pid = t_sys(fork());
	if (!daemon_pid) {
		redirect(2, "err");
		if (fd == 3)
			fcntl(fd, F_SETFD, 0);
		else
			dup2(fd, 3);
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
		become("-c", config_path, NULL);
	}
	close(fd);
	is_well();
	t_sys(kill(daemon_pid, SIGTERM));
	t_eq(finish(), 0);
	t_sys(access(socket_path, F_OK));	/* the manager's, not ours to remove */
}

static bool is_told(int fd, const char *what)
{
	char text[512];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return strstr(text, what);
}

static void the_service_manager_is_told_ready_and_stopping(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	set_stage();
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/notify", t_tmpdir());
	fd = t_sys(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	t_sys(bind(fd, (struct sockaddr *)&sun, sizeof(sun)));
	setenv("NOTIFY_SOCKET", sun.sun_path, 1);
	start_service("");
	while (!is_told(fd, "READY=1"))
		;
	t_sys(kill(daemon_pid, SIGHUP));
	while (!is_told(fd, "RELOADING=1"))
		;
	while (!is_told(fd, "READY=1"))
		;
	t_sys(kill(daemon_pid, SIGTERM));
	while (!is_told(fd, "STOPPING=1"))
		;
	t_eq(finish(), 0);
	close(fd);
}

static int run_daemon(const char *option, const char *value)
{
	daemon_pid = t_sys(fork());
	if (!daemon_pid) {
		redirect(1, "out");
		redirect(2, "err");
		become("-c", config_path, option, value, NULL);
	}
	return finish();
}

static void check_config_says_what_is_in_effect_and_what_is_wrong(void)
{
	set_stage();
	write_config("[Budget]\nDefault=123M\n");
	t_eq(run_daemon("--check-config", NULL), 0);
	t_assert(strstr(output("out"), "Default=128974848"));
	write_config("[Budget]\nDefault=many\n");
	t_eq(run_daemon("--check-config", NULL), 1);
	t_assert(strstr(output("err"), "conf:2:"));
	t_eq(run_daemon("--socket", socket_path), 1);		/* and then it does not start */
}

static void wrong_usage_is_told_in_one_line(void)
{
	static const char *const wrong[][2] = {
		{ "--no-such-option", NULL }, { "--private", NULL }, { "--socket", NULL },
		{ "--socket-fd", "1" }, { "--socket-fd", "many" }, { "--socket-fd", "99" },
		{ "argument", NULL }, { "-x", NULL }, { "--private-dir", "/tmp" },
	};

	set_stage();
	write_config("");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *text;

		t_eq(run_daemon(wrong[i][0], wrong[i][1]), 2);
		text = output("err");
		t_assert(strstr(text, "see faultlined --help"));
		t_assert(strchr(text, '\n') == text + strlen(text) - 1);
	}
}

static void a_second_daemon_leaves_the_first_one_alone(void)
{
	pid_t first;

	set_stage();
	start_service("");
	first = daemon_pid;
	t_eq(run_daemon("--socket", socket_path), 1);
	t_assert(strstr(output("err"), "another faultlined"));
	daemon_pid = first;
	is_well();
	stop_service();
}

static uint64_t default_budget(void)
{
	struct answer a;
	int fd = enter(FLP_ROLE_AGENT, NULL, &a);
	uint64_t budget = ((const struct flp_welcome *)wire_body(&a.m))->budget;

	sock_fds_close(&a.fds);
	close(fd);
	return budget;
}

static void a_hangup_loads_the_configuration_for_new_jobs(void)
{
	set_stage();
	start_service("[Budget]\nDefault=64M\n");
	t_eq(default_budget(), 64 * MIB);
	write_config("[Budget]\nDefault=nonsense\n");
	t_sys(kill(daemon_pid, SIGHUP));
	t_until(strstr(output("err"), "stays as it was"));
	t_eq(default_budget(), 64 * MIB);
	write_config("[Budget]\nDefault=96M\n");
	t_sys(kill(daemon_pid, SIGHUP));
	t_until(default_budget() == 96 * MIB);
	stop_service();
}

/* ---- how it ends ---- */

static bool is_gone(const char *path)
{
	return access(path, F_OK) && errno == ENOENT;
}

static void a_private_daemon_leaves_with_its_job(void)
{
	struct flp_job_created made;
	int maker, a, other;

	set_stage();
	start_private();
	maker = control();
	t_streq(status(maker).daemon.mode, "private");
	made = make_job(maker);
	a = agent(made.token);
	other = control();
	close(maker);
	for (int i = 0; i < 10; i++)
		t_eq(status(other).sessions, 1);	/* the job has a process: it stays */
	close(a);
	expect_end(other);
	close(other);
	t_eq(finish(), 0);
	t_assert(is_gone(socket_path));
	t_assert(is_gone(private_dir));
}

static void a_private_daemon_has_nothing_on_its_standard_descriptors(void)
{
	int maker;

	set_stage();
	start_private();
	maker = control();
	make_job(maker);
	for (int i = 0; i < 3; i++) {
		char path[64], link[64];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)daemon_pid, i);
		n = t_sys(readlink(path, link, sizeof(link) - 1));
		link[n] = '\0';
		t_streq(link, "/dev/null");
	}
	t_sys(kill(daemon_pid, SIGINT));	/* the terminal's, and the job's */
	t_sys(kill(daemon_pid, SIGHUP));
	is_well();
	close(maker);
	t_eq(finish(), 0);
}

static void a_service_stops_while_agents_are_attached_and_nothing_is_out(void)
{
	struct flp_job_created made;
	int maker, a;

	set_stage();
	start_service("");
	maker = control();
	made = make_job(maker);
	a = agent(made.token);
	t_sys(kill(daemon_pid, SIGTERM));
	expect_end(a);
	expect_end(maker);
	t_eq(finish(), 0);
	close(a);
	close(maker);
}

/* A program of 128 MiB in a job of 32: whatever was out is back when the daemon has gone, and all
 * of it can be used then. */
static void a_stopping_service_brings_everything_back(void)
{
	char command[512], faultline[512], config[600];
	int to[2], from[2], status_, maker;
	struct flp_status m = { 0 };
	struct answer a;
	uint64_t stored;
	char word[8] = "";
	pid_t job;

	set_stage();
	if (!getenv("FAULTLINE_BUILDDIR"))
		t_fail("FAULTLINE_BUILDDIR is not set: start this through ./run");
	snprintf(config, sizeof(config), "[Swap]\nDirectory=%s\n", t_tmpdir());
	start_service(config);
	snprintf(command, sizeof(command), "%s/tests/functional/holder", getenv("FAULTLINE_BUILDDIR"));
	snprintf(faultline, sizeof(faultline), "%s/cli/faultline", getenv("FAULTLINE_BUILDDIR"));
	t_sys(pipe2(to, O_CLOEXEC));
	t_sys(pipe2(from, O_CLOEXEC));
	job = t_sys(fork());
	if (!job) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		redirect(2, "job-err");
		execl(faultline, faultline, "run", "--socket", socket_path, "--budget", "32M",
		      command, "128", (char *)NULL);
		_exit(99);
	}
	close(to[0]);
	close(from[1]);
	t_eq(read(from[0], word, 6), 6);
	t_streq(word, "ready\n");

	maker = control();
	say(maker, FLP_STATUS, &m);
	expect(maker, &a, FLP_STATUS_DAEMON);
	stored = ((const struct flp_status_job *)expect(maker, &a, FLP_STATUS_JOB))->c.stored;
	t_gt(stored, 32 * MIB);
	close(maker);

	t_sys(kill(daemon_pid, SIGTERM));
	t_eq(finish(), 0);
	t_eq(write(to[1], "x", 1), 1);
	memset(word, 0, sizeof(word));
	t_eq(read(from[0], word, 5), 5);
	t_streq(word, "same\n");
	t_eq(waitpid(job, &status_, 0), job);
	close(to[1]);
	close(from[0]);
}

static const struct t_test tests[] = {
	T(garbage_is_refused_and_leaves_nothing),
	T(another_version_is_told_both_versions),
	T(a_wrong_token_opens_nothing),
	T(descriptors_of_the_wrong_number_or_kind_are_closed),
	T(who_says_nothing_is_sent_away),
	T(a_flood_of_half_handshakes_keeps_nobody_out),
	T(a_full_daemon_says_so),
	T(users_do_not_see_or_join_each_others_jobs),
	T(who_is_not_in_the_group_is_not_served),
	T(a_socket_of_the_service_manager_is_used),
	T(the_service_manager_is_told_ready_and_stopping),
	T(check_config_says_what_is_in_effect_and_what_is_wrong),
	T(wrong_usage_is_told_in_one_line),
	T(a_second_daemon_leaves_the_first_one_alone),
	T(a_hangup_loads_the_configuration_for_new_jobs),
	T(a_private_daemon_leaves_with_its_job),
	T(a_private_daemon_has_nothing_on_its_standard_descriptors),
	T(a_service_stops_while_agents_are_attached_and_nothing_is_out),
	T_TIMEOUT(a_stopping_service_brings_everything_back, 60),
	{0}
};

static const struct t_suite suites[] = { { "control", tests }, {0} };

HARNESS_MAIN(suites)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-libfaultline.c - libfaultline used wrongly: NULL everywhere, bad arguments, no daemon.
 *
 * Against the shared library, as an application has it; no daemon is needed.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sock.h"
#include "common/wire.h"
#include "include/faultline.h"
#include "tests/harness.h"

static struct faultline *context(void)
{
	struct faultline *ctx;

	unsetenv(FLP_ENV_SOCKET);
	unsetenv(FLP_ENV_JOB);
	t_ok(faultline_new(&ctx));
	return ctx;
}

static void null_is_refused_everywhere(void)
{
	struct faultline_region_stat rst = { .size = sizeof(rst) };
	struct faultline_stat st = { .size = sizeof(st) };
	struct faultline_region *r;

	t_fails(faultline_new(NULL), EINVAL);
	t_fails(faultline_set_socket(NULL, "/x"), EINVAL);
	t_fails(faultline_set_job(NULL, ""), EINVAL);
	t_fails(faultline_connect(NULL), EINVAL);
	t_fails(faultline_stat(NULL, &st), EINVAL);
	t_fails(faultline_region_adopt(NULL, &st, 4096, 0, &r), EINVAL);
	t_fails(faultline_region_release(NULL), EINVAL);
	t_fails(faultline_region_advise(NULL, 0, 4096, 0), EINVAL);
	t_fails(faultline_region_stat(NULL, &rst), EINVAL);
	t_fails(faultline_region_reserve(NULL), EINVAL);
	t_fails(faultline_region_try_reserve(NULL), EINVAL);
	t_fails(faultline_region_reserve_timed(NULL, 0), EINVAL);
	t_fails(faultline_region_unreserve(NULL), EINVAL);
	t_fails(faultline_region_wait_unreserved(NULL, 0), EINVAL);
	t_streq(faultline_error(NULL), "the context is NULL");
	faultline_free(NULL);
}

static void the_version_is_the_packages(void)
{
	char head[32];

	snprintf(head, sizeof(head), "%d.%d.", FAULTLINE_MAJOR, FAULTLINE_MINOR);
	t_streq(faultline_version(), PACKAGE_VERSION);
	t_eq(strncmp(PACKAGE_VERSION, head, strlen(head)), 0);
}

static void a_context_that_is_not_connected_can_do_nothing(void)
{
	struct faultline_stat st = { .size = sizeof(st), .job = 4711 };
	struct faultline *ctx = context();
	struct faultline_region *r = (void *)&r;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_streq(faultline_error(ctx), "");
	t_fails(faultline_stat(ctx, &st), ENOTCONN);
	t_eq(st.job, 4711);
	t_streq(faultline_error(ctx), "stat: there is no connection to a daemon");
	t_fails(faultline_region_adopt(ctx, p, 4096, 0, &r), ENOTCONN);
	t_assert(r == (void *)&r);
	faultline_free(ctx);
	munmap(p, 4096);
}

static void a_structure_that_is_too_small_is_refused(void)
{
	struct faultline_stat st = { .size = sizeof(st) - 1 };
	struct faultline *ctx = context();

	t_fails(faultline_stat(ctx, &st), EINVAL);
	st.size = 0;
	t_fails(faultline_stat(ctx, &st), EINVAL);
	t_fails(faultline_stat(ctx, NULL), EINVAL);
	faultline_free(ctx);
}

static void a_token_that_is_none_is_refused(void)
{
	static const char *const bad[] = {
		"", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0",
		"0123456789ABCDEF0123456789abcdef", "0123456789abcdeg0123456789abcdef",
		" 123456789abcdef0123456789abcdef",
	};
	struct faultline *ctx = context();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		t_fails(faultline_set_job(ctx, bad[i]), EINVAL);
	t_fails(faultline_set_job(ctx, NULL), EINVAL);
	t_ok(faultline_set_job(ctx, "0123456789abcdef0123456789abcdef"));
	faultline_free(ctx);
}

static void a_path_that_is_none_is_refused(void)
{
	struct faultline *ctx = context();
	char path[200];

	memset(path, 'x', sizeof(path));
	path[199] = '\0';
	t_fails(faultline_set_socket(ctx, path), ENAMETOOLONG);
	path[108] = '\0';
	t_fails(faultline_set_socket(ctx, path), ENAMETOOLONG);
	path[107] = '\0';
	t_ok(faultline_set_socket(ctx, path));
	t_fails(faultline_set_socket(ctx, ""), EINVAL);
	t_fails(faultline_set_socket(ctx, NULL), EINVAL);
	faultline_free(ctx);
}

static void without_a_daemon_connect_says_where_none_answers(void)
{
	struct faultline *ctx = context();
	char path[100], text[200];
	int fd;

	t_lt(snprintf(path, sizeof(path), "%s/none", t_tmpdir()), sizeof(path));
	t_ok(faultline_set_socket(ctx, path));
	t_fails(faultline_connect(ctx), ENOENT);
	snprintf(text, sizeof(text), "connect: no daemon answers on %s: No such file or directory", path);
	t_streq(faultline_error(ctx), text);
	fd = t_ok(sock_listen(path, 0600, 0));
	close(fd);				/* a daemon that is gone left its socket behind */
	t_fails(faultline_connect(ctx), ECONNREFUSED);
	faultline_free(ctx);
}

/* ---- a daemon that answers HELLO with something else ---- */

struct liar {
	int listener;
	const union wire_buffer *answer;	/* NULL: closes */
	size_t len;
};

static void *lie(void *arg)
{
	const struct liar *l = arg;
	int fd = t_ok(sock_accept(l->listener, 0));
	union wire_buffer hello;
	ssize_t n = sock_recv(fd, &hello, sizeof(hello), NULL);

	t_ok(wire_check(&hello, (size_t)n, 0, WIRE_TO_DAEMON));
	t_eq(hello.h.type, FLP_HELLO);
	if (l->answer) {
		union wire_buffer answer = *l->answer;

		answer.h.cookie = hello.h.cookie;
		t_ok(sock_send(fd, &answer, l->len, NULL, 0));
	}
	close(fd);
	return NULL;
}

static int connect_to_liar(struct faultline *ctx, const union wire_buffer *answer, size_t len)
{
	struct liar l = { .answer = answer, .len = len };
	pthread_t thread;
	char path[100];
	int r;

	t_lt(snprintf(path, sizeof(path), "%s/liar", t_tmpdir()), sizeof(path));
	l.listener = t_ok(sock_listen(path, 0600, 0));
	t_eq(pthread_create(&thread, NULL, lie, &l), 0);
	t_ok(faultline_set_socket(ctx, path));
	r = faultline_connect(ctx);
	pthread_join(thread, NULL);
	close(l.listener);
	return r;
}

static void what_is_no_daemon_of_this_version_is_refused(void)
{
	struct flp_welcome w = { .version = FLP_VERSION + 1 };
	struct faultline *ctx = context();
	union wire_buffer m;
	size_t len;

	t_fails(connect_to_liar(ctx, NULL, 0), ENOTCONN);
	t_assert(strstr(faultline_error(ctx), "closed the connection"));
	len = wire_build_error(&m, 0, -EACCES, "you may not");
	t_fails(connect_to_liar(ctx, &m, len), EACCES);
	t_assert(strstr(faultline_error(ctx), "you may not"));
	len = wire_build(&m, FLP_OK, 0, NULL);
	t_fails(connect_to_liar(ctx, &m, len), ENOTCONN);
	len = wire_build(&m, FLP_WELCOME, 0, &w);
	t_assert(connect_to_liar(ctx, &m, len) < 0);
	memset(&m, 'x', sizeof(m));
	t_fails(connect_to_liar(ctx, &m, 40), ENOTCONN);
	/* None of that is for ever: the context is as new. */
	t_fails(connect_to_liar(ctx, NULL, 0), ENOTCONN);
	faultline_free(ctx);
}

static void a_child_may_only_free(void)
{
	struct faultline_stat st = { .size = sizeof(st) };
	struct faultline *ctx = context();
	int status;
	pid_t pid = t_sys(fork());

	if (!pid) {
		t_fails(faultline_set_socket(ctx, "/x"), ECHILD);
		t_fails(faultline_set_job(ctx, "0123456789abcdef0123456789abcdef"), ECHILD);
		t_fails(faultline_connect(ctx), ECHILD);
		t_fails(faultline_stat(ctx, &st), ECHILD);
		t_assert(strstr(faultline_error(ctx), "forked"));
		faultline_free(ctx);
		_exit(0);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(status, 0);
	faultline_free(ctx);
}

static void the_text_of_an_error_is_each_threads_own_copy(void)
{
	struct faultline *a = context(), *b = context();
	const char *text;

	t_fails(faultline_set_job(a, "x"), EINVAL);
	text = faultline_error(a);
	t_fails(faultline_set_job(a, "y"), EINVAL);
	t_fails(faultline_set_socket(a, ""), EINVAL);
	t_assert(strstr(text, "set_job"));
	t_streq(faultline_error(b), "");
	t_assert(strstr(faultline_error(a), "set_socket"));
	faultline_free(a);
	faultline_free(b);
}

static const struct t_test tests[] = {
	T(null_is_refused_everywhere),
	T(the_version_is_the_packages),
	T(a_context_that_is_not_connected_can_do_nothing),
	T(a_structure_that_is_too_small_is_refused),
	T(a_token_that_is_none_is_refused),
	T(a_path_that_is_none_is_refused),
	T(without_a_daemon_connect_says_where_none_answers),
	T(what_is_no_daemon_of_this_version_is_refused),
	T(a_child_may_only_free),
	T(the_text_of_an_error_is_each_threads_own_copy),
	{0}
};

static const struct t_suite suites[] = { { "libfaultline", tests }, {0} };

HARNESS_MAIN(suites)

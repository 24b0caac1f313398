/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-uffd.c - what the kernel's userfaultfd ioctls answer, as uffd.h promises it. */
#include <config.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "common/sock.h"
#include "daemon/uffd.h"
#include "tests/harness.h"

#define PAGES 16u

static uint8_t *area;			/* PAGES pages, registered with fd */
static uint8_t src[PAGES * FL_PAGE_SIZE] __attribute__((aligned(4096)));
static int device = -1, fd = -1;

static uint64_t va(unsigned int page)
{
	return (uintptr_t)area + page * FL_PAGE_SIZE;
}

static void need_device(void)
{
	device = uffd_open_device();
	if (device < 0)
		t_skip("/dev/userfaultfd cannot be opened: %s", strerror(-device));
}

static void *map_area(unsigned int pages)
{
	void *p = mmap(NULL, pages * FL_PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_assert(p != MAP_FAILED);
	return p;
}

static void register_area(int uffd, void *p, unsigned int pages)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = pages * FL_PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	t_sys(ioctl(uffd, UFFDIO_REGISTER, &reg));
}

static void start(uint64_t features)
{
	uint64_t have = 0;

	need_device();
	t_ok(uffd_probe(device, &have));
	if (features & ~have)
		t_skip("this kernel's userfaultfd lacks features 0x%llx",
		       (unsigned long long)(features & ~have));
	fd = t_ok(uffd_new(device));
	t_ok(uffd_api(fd, features));
	area = map_area(PAGES);
	register_area(fd, area, PAGES);
	for (unsigned int i = 0; i < PAGES; i++)
		memset(src + i * FL_PAGE_SIZE, (int)i + 1, FL_PAGE_SIZE);
}

static void end(void)
{
	close(fd);
	close(device);
}

/* ---- what it is ---- */

static void a_userfaultfd_is_told_from_other_descriptors(void)
{
	int p[2], e = t_sys(eventfd(0, EFD_CLOEXEC)), u;

	need_device();
	u = t_ok(uffd_new(device));
	t_sys(pipe(p));
	t_assert(uffd_is(u));
	t_assert(!uffd_is(p[0]) && !uffd_is(e) && !uffd_is(device) && !uffd_is(-1) && !uffd_is(9999));
	close(p[0]);
	close(p[1]);
	close(e);
	close(u);
	close(device);
}

static void a_new_one_is_close_on_exec_and_does_not_block(void)
{
	int u;

	need_device();
	u = t_ok(uffd_new(device));
	t_assert(fcntl(u, F_GETFD) & FD_CLOEXEC);
	t_assert(fcntl(u, F_GETFL) & O_NONBLOCK);
	close(u);
	close(device);
}

static void one_that_was_made_to_block_does_not_any_more(void)
{
	struct pollfd pfd = { .events = POLLIN };

	need_device();
	pfd.fd = t_sys(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC));
	t_ok(uffd_api(pfd.fd, 0));
	t_assert(fcntl(pfd.fd, F_GETFL) & O_NONBLOCK);
	t_eq(poll(&pfd, 1, 0), 0);
	close(pfd.fd);
	close(device);
}

static void the_second_api_call_and_unknown_features_are_refused(void)
{
	int u;

	need_device();
	u = t_ok(uffd_new(device));
	t_fails(uffd_api(u, UINT64_C(1) << 60), EINVAL);
	t_ok(uffd_api(u, 0));
	t_fails(uffd_api(u, 0), EINVAL);
	close(u);
	close(device);
}

static void features_can_be_asked_for_without_a_userfaultfd(void)
{
	uint64_t features = 77;

	need_device();
	t_fails(uffd_probe(-1, &features), EBADF);
	t_eq(features, 77);
	t_ok(uffd_probe(device, &features));
	t_assert(features & UFFD_FEATURE_EVENT_UNMAP);
	close(device);
}

/* ---- installing ---- */

static void copy_installs_all_pages(void)
{
	unsigned int n = 99;

	start(0);
	t_ok(uffd_copy(fd, va(2), src, 4, true, &n));
	t_eq(n, 4);
	t_memeq(area + 2 * FL_PAGE_SIZE, src, 4 * FL_PAGE_SIZE);
	end();
}

static void copy_onto_a_page_that_is_there_says_so(void)
{
	unsigned int n = 99;

	start(0);
	t_ok(uffd_copy(fd, va(0), src, 1, true, &n));
	n = 99;
	t_fails(uffd_copy(fd, va(0), src + FL_PAGE_SIZE, 4, true, &n), EEXIST);
	t_eq(n, 0);
	t_eq(area[0], 1);
	end();
}

static void copy_stops_before_a_page_that_is_there(void)
{
	unsigned int n = 99;

	start(0);
	t_ok(uffd_copy(fd, va(3), src + 9 * FL_PAGE_SIZE, 1, true, &n));
	t_fails(uffd_copy(fd, va(0), src, 8, true, &n), EAGAIN);
	t_eq(n, 3);
	t_memeq(area, src, 3 * FL_PAGE_SIZE);
	t_eq(area[3 * FL_PAGE_SIZE], 10);
	t_fails(uffd_copy(fd, va(3), src, 1, true, &n), EEXIST);
	t_ok(uffd_copy(fd, va(4), src + 4 * FL_PAGE_SIZE, 1, true, &n));
	t_eq(n, 1);
	end();
}

static void copy_to_what_is_not_registered_says_so(void)
{
	unsigned int n = 99;
	void *other;

	start(0);
	other = map_area(4);
	t_fails(uffd_copy(fd, (uintptr_t)other, src, 1, true, &n), ENOENT);
	t_eq(n, 0);
	t_fails(uffd_zero(fd, (uintptr_t)other, 1, true, &n), ENOENT);
	munmap(area + 8 * FL_PAGE_SIZE, FL_PAGE_SIZE);
	t_fails(uffd_copy(fd, va(8), src, 1, true, &n), ENOENT);
	end();
}

static void copy_from_nowhere_installs_nothing(void)
{
	unsigned int n = 99;

	start(0);
	t_fails(uffd_copy(fd, va(0), NULL, 1, true, &n), EFAULT);
	t_eq(n, 0);
	t_ok(uffd_copy(fd, va(0), src, 1, true, &n));
	end();
}

static void zero_installs_zeros_and_stops_as_copy_does(void)
{
	static const uint8_t zeros[FL_PAGE_SIZE];
	unsigned int n = 99;

	start(0);
	t_ok(uffd_copy(fd, va(4), src, 1, true, &n));
	t_fails(uffd_zero(fd, va(0), 8, true, &n), EAGAIN);
	t_eq(n, 4);
	for (unsigned int i = 0; i < 4; i++)
		t_memeq(area + i * FL_PAGE_SIZE, zeros, FL_PAGE_SIZE);
	t_fails(uffd_zero(fd, va(4), 1, true, &n), EEXIST);
	t_eq(n, 0);
	t_ok(uffd_zero(fd, va(5), 3, true, &n));
	t_eq(n, 3);
	end();
}

/* ---- threads that wait ---- */

static void *read_byte(void *arg)
{
	return (void *)(uintptr_t)*(volatile uint8_t *)arg;
}

static void read_event(struct uffd_msg *msg)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	t_eq(poll(&pfd, 1, 10000), 1);
	t_eq(uffd_read(fd, msg, 1), sizeof(*msg));
}

/* Threads that wait for a page, as the kernel counts them: waking takes them off at once. */
static unsigned int waiting(void)
{
	char path[64], line[128];
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	t_assert(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "total: %u", &n) == 1)
			break;
	fclose(f);
	return n;
}

static void a_faulting_thread_goes_on_with_the_bytes(void)
{
	struct uffd_msg msg;
	unsigned int n;
	pthread_t t;
	void *ret;

	start(0);
	t_eq(pthread_create(&t, NULL, read_byte, area + 5 * FL_PAGE_SIZE), 0);
	read_event(&msg);
	t_eq(msg.event, UFFD_EVENT_PAGEFAULT);
	t_eq(page_down(msg.arg.pagefault.address), va(5));
	t_ok(uffd_copy(fd, va(5), src + 6 * FL_PAGE_SIZE, 1, true, &n));
	t_eq(pthread_join(t, &ret), 0);
	t_eq((uintptr_t)ret, 7);
	end();
}

static void a_page_installed_quietly_wakes_its_thread_later(void)
{
	struct uffd_msg msg;
	unsigned int n;
	pthread_t t;
	void *ret;

	start(0);
	t_eq(pthread_create(&t, NULL, read_byte, area), 0);
	read_event(&msg);
	t_eq(waiting(), 1);
	t_ok(uffd_copy(fd, va(0), src, 1, false, &n));
	t_eq(waiting(), 1);
	t_ok(uffd_wake(fd, va(0), FL_PAGE_SIZE));
	t_eq(waiting(), 0);
	t_eq(pthread_join(t, &ret), 0);
	t_eq((uintptr_t)ret, 1);
	end();
}

static void zeros_installed_quietly_wake_their_thread_later(void)
{
	struct uffd_msg msg;
	unsigned int n;
	pthread_t t;

	start(0);
	t_eq(pthread_create(&t, NULL, read_byte, area), 0);
	read_event(&msg);
	t_ok(uffd_zero(fd, va(0), 1, false, &n));
	t_eq(waiting(), 1);
	t_ok(uffd_wake(fd, va(0), FL_PAGE_SIZE));
	t_eq(pthread_join(t, NULL), 0);
	end();
}

static void reading_without_an_event_does_not_wait(void)
{
	struct uffd_msg msg[4];
	ssize_t r;

	start(0);
	t_fails(uffd_read(fd, msg, 4), EAGAIN);
	t_sys(fcntl(fd, F_SETFL, 0));		/* as a client can, at any time */
	r = uffd_read(fd, msg, 4);
	t_assert(r == -EAGAIN || r == -EPERM);
	end();
}

static void one_read_gives_as_many_events_as_fit(void)
{
	struct uffd_msg msg[4];
	pthread_t t[3];
	unsigned int n;

	start(0);
	for (unsigned int i = 0; i < 3; i++)
		t_eq(pthread_create(&t[i], NULL, read_byte, area + i * FL_PAGE_SIZE), 0);
	t_until(waiting() == 3);
	t_eq(uffd_read(fd, msg, 2), 2 * sizeof(msg[0]));
	t_eq(uffd_read(fd, msg, 4), sizeof(msg[0]));
	t_ok(uffd_zero(fd, va(0), 3, true, &n));
	for (unsigned int i = 0; i < 3; i++)
		t_eq(pthread_join(t[i], NULL), 0);
	end();
}

/* The fault that a dead daemon had read is raised again. */
static void a_thread_woken_without_its_page_faults_again(void)
{
	struct uffd_msg msg;
	unsigned int n;
	pthread_t t;

	start(0);
	t_eq(pthread_create(&t, NULL, read_byte, area), 0);
	read_event(&msg);
	t_ok(uffd_wake(fd, va(0), PAGES * FL_PAGE_SIZE));
	read_event(&msg);
	t_eq(page_down(msg.arg.pagefault.address), va(0));
	t_ok(uffd_zero(fd, va(0), 1, true, &n));
	t_eq(pthread_join(t, NULL), 0);
	end();
}

/* ---- poison ---- */

static void a_poisoned_page_cannot_be_read(void)
{
	unsigned int n;
	int p[2];

	start(UFFD_FEATURE_POISON);
	t_sys(pipe(p));
	t_ok(uffd_poison(fd, va(1), 2));
	t_eq(write(p[1], area + FL_PAGE_SIZE, 1), -1);
	t_eq(errno, EFAULT);
	t_eq(write(p[1], area + 2 * FL_PAGE_SIZE, 1), -1);
	t_eq(errno, EFAULT);
	t_ok(uffd_zero(fd, va(3), 1, true, &n));
	t_fails(uffd_poison(fd, va(3), 1), EEXIST);
	t_eq(write(p[1], area + 3 * FL_PAGE_SIZE, 1), 1);
	t_fails(uffd_poison(fd, va(PAGES), 1), ENOENT);
	close(p[0]);
	close(p[1]);
	end();
}

/* ---- looking ---- */

static void *discard_page(void *arg)
{
	madvise(arg, FL_PAGE_SIZE, MADV_DONTNEED);
	return NULL;
}

static void a_look_tells_what_is_at_an_address(void)
{
	unsigned int n;
	void *other;

	start(0);
	other = map_area(1);
	t_fails(uffd_look(fd, va(0)), EINVAL);
	t_ok(uffd_zero(fd, va(1), 1, true, &n));
	t_fails(uffd_look(fd, va(1)), EINVAL);
	t_fails(uffd_look(fd, (uintptr_t)other), ENOENT);
	t_ok(uffd_copy(fd, va(0), src, 1, true, &n));	/* it was no more than a look */
	end();
}

static void nothing_is_installed_while_an_event_is_unread(void)
{
	struct pollfd pfd = { .events = POLLIN };
	struct uffd_msg msg;
	unsigned int n = 99;
	pthread_t t;

	start(UFFD_FEATURE_EVENT_REMOVE);
	t_ok(uffd_copy(fd, va(0), src, 1, true, &n));
	t_eq(pthread_create(&t, NULL, discard_page, area), 0);
	pfd.fd = fd;
	t_eq(poll(&pfd, 1, 10000), 1);
	t_fails(uffd_look(fd, va(7)), EAGAIN);
	n = 99;
	t_fails(uffd_copy(fd, va(7), src, 2, true, &n), EAGAIN);
	t_eq(n, 0);
	t_fails(uffd_zero(fd, va(7), 2, true, &n), EAGAIN);
	t_eq(n, 0);

	read_event(&msg);
	t_eq(msg.event, UFFD_EVENT_REMOVE);
	t_eq(msg.arg.remove.start, va(0));
	t_eq(pthread_join(t, NULL), 0);
	t_fails(uffd_look(fd, va(7)), EINVAL);
	t_ok(uffd_copy(fd, va(7), src, 2, true, &n));
	end();
}

/* ---- clients ---- */

static void the_userfaultfd_of_a_client_that_is_gone_says_so(void)
{
	struct flp_header msg = { 0 };
	struct sock_fds fds = SOCK_FDS_NULL;
	unsigned int n = 99;
	int pair[2], status;
	pid_t pid;

	need_device();
	t_ok(sock_pair(pair, 0));
	pid = t_sys(fork());
	if (!pid) {
		int u = uffd_new(device);

		_exit(u < 0 || sock_send(pair[1], &msg, sizeof(msg), &u, 1) < 0);
	}
	t_eq(sock_recv(pair[0], &msg, sizeof(msg), &fds), sizeof(msg));
	fd = sock_fds_take(&fds, 0);
	t_assert(uffd_is(fd));
	t_ok(uffd_api(fd, 0));
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(status, 0);
	t_fails(uffd_copy(fd, 0x10000, src, 1, true, &n), ESRCH);
	t_eq(n, 0);
	t_fails(uffd_zero(fd, 0x10000, 1, true, &n), ESRCH);
	t_fails(uffd_look(fd, 0x10000), ESRCH);
	close(pair[0]);
	close(pair[1]);
	end();
}

static const struct t_test tests[] = {
	T(a_userfaultfd_is_told_from_other_descriptors),
	T(a_new_one_is_close_on_exec_and_does_not_block),
	T(one_that_was_made_to_block_does_not_any_more),
	T(the_second_api_call_and_unknown_features_are_refused),
	T(features_can_be_asked_for_without_a_userfaultfd),
	T(copy_installs_all_pages),
	T(copy_onto_a_page_that_is_there_says_so),
	T(copy_stops_before_a_page_that_is_there),
	T(copy_to_what_is_not_registered_says_so),
	T(copy_from_nowhere_installs_nothing),
	T(zero_installs_zeros_and_stops_as_copy_does),
	T(a_faulting_thread_goes_on_with_the_bytes),
	T(a_page_installed_quietly_wakes_its_thread_later),
	T(zeros_installed_quietly_wake_their_thread_later),
	T(reading_without_an_event_does_not_wait),
	T(one_read_gives_as_many_events_as_fit),
	T(a_thread_woken_without_its_page_faults_again),
	T(a_poisoned_page_cannot_be_read),
	T(a_look_tells_what_is_at_an_address),
	T(nothing_is_installed_while_an_event_is_unread),
	T(the_userfaultfd_of_a_client_that_is_gone_says_so),
	{0}
};

static const struct t_suite suites[] = { { "uffd", tests }, {0} };

HARNESS_MAIN(suites)

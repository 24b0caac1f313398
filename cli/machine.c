/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * machine.c - can this kernel, and this user, do what the private kind of memory needs?
 *
 * The features are asked for on a userfaultfd of our own, which is closed at once. Where the
 * device may not be opened, one for user-mode faults is asked instead: every user may have
 * that, and it offers the same list. So "the kernel is too old" can be told from "you may not".
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/uffd-abi.h"
#include "cli/cli.h"
#include "cli/machine.h"

#define NO_DEVICE_HELP	"faultline-run(1), SETTING UP"

static const struct {
	uint64_t bit;
	const char *name;
} required[] = {
	{ UFFD_FEATURE_EVENT_REMAP,	"EVENT_REMAP" },
	{ UFFD_FEATURE_EVENT_REMOVE,	"EVENT_REMOVE" },
	{ UFFD_FEATURE_EVENT_UNMAP,	"EVENT_UNMAP" },
	{ UFFD_FEATURE_THREAD_ID,	"THREAD_ID" },
	{ UFFD_FEATURE_POISON,		"POISON" },
	{ UFFD_FEATURE_MOVE,		"MOVE" },
};

/* A userfaultfd to ask, or -errno. */
static int new_userfaultfd(int device)
{
	int fd;

	if (device >= 0)
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	else
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	return fd < 0 ? -errno : fd;
}

/* features 0 asks for none, and the kernel answers with all that it has. */
static int ask_features(int device, uint64_t *ret_features)
{
	struct uffdio_api api = { .api = UFFD_API };
	_cleanup_close_ int fd = new_userfaultfd(device);

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	*ret_features = api.features;
	return 0;
}

void machine_look(struct machine *ret)
{
	struct machine m = MACHINE_NONE;
	struct utsname u;

	if (uname(&u) == 0)
		strlcpy(m.release, u.release, sizeof(m.release));
	m.device = open(MACHINE_DEVICE, O_RDWR | O_CLOEXEC);
	if (m.device < 0)
		m.device_error = errno;
	m.probe_error = -ask_features(m.device, &m.features);
	*ret = m;
}

void machine_done(struct machine *m)
{
	close_fd(&m->device);
}

uint64_t machine_missing(uint64_t features)
{
	uint64_t missing = 0;

	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		missing |= required[i].bit & ~features;
	return missing;
}

void machine_names(uint64_t features, char *ret_names, uint64_t n)
{
	ret_names[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		if (!(features & required[i].bit))
			continue;
		if (ret_names[0])
			strlcat(ret_names, ", ", n);
		strlcat(ret_names, required[i].name, n);
	}
}

static enum machine_verdict judge_kernel(const struct machine *m, char *ret_error)
{
	uint64_t missing = machine_missing(m->features);
	char names[128];

	/*
	 * Not ENOSYS: a sandbox refused, and the device says the rest. (With the device in hand,
	 * asking fails only where userfaultfd is there and broken.)
	 */
	if (m->probe_error == ENOSYS) {
		cli_error(ret_error, "this kernel (%s) has no userfaultfd: faultline needs Linux 6.8 "
			  "or later with CONFIG_USERFAULTFD", m->release);
		return MACHINE_OLD_KERNEL;
	}
	if (m->probe_error && m->device < 0)
		return MACHINE_OK;
	if (m->probe_error) {
		cli_error(ret_error, "cannot ask userfaultfd what it can do: %s",
			  strerror(m->probe_error));
		return MACHINE_OLD_KERNEL;
	}
	if (!missing)
		return MACHINE_OK;
	machine_names(missing, names, sizeof(names));
	cli_error(ret_error, "userfaultfd of this kernel (%s) lacks %s: faultline needs Linux 6.8 "
		  "or later", m->release, names);
	return MACHINE_OLD_KERNEL;
}

static enum machine_verdict judge_access(const struct machine *m, char *ret_error)
{
	if (!m->device_error)
		return MACHINE_OK;
	if (m->device_error == ENOENT)
		cli_error(ret_error, "there is no " MACHINE_DEVICE " here, and no faultlined answers: "
			  "if this is a container, give it that device (" NO_DEVICE_HELP ")");
	else
		cli_error(ret_error, "cannot open " MACHINE_DEVICE ": %s, and no faultlined answers: "
			  "start the service, or let a group open the device, as root: "
			  "chgrp GROUP " MACHINE_DEVICE " && chmod 660 " MACHINE_DEVICE
			  " (" NO_DEVICE_HELP ")", strerror(m->device_error));
	return MACHINE_NO_ACCESS;
}

enum machine_verdict machine_judge(const struct machine *m, bool have_service, char *ret_error)
{
	enum machine_verdict verdict = judge_kernel(m, ret_error);

	if (verdict != MACHINE_OK || have_service)
		return verdict;
	return judge_access(m, ret_error);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * machine.h - can this kernel, and this user, do what the private kind of memory needs?
 *
 * Looking and judging are apart: machine_look() asks the kernel, machine_judge() says what is
 * missing and what to do about it, and can be tried with any answer.
 */
#ifndef FAULTLINE_CLI_MACHINE_H
#define FAULTLINE_CLI_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_DEVICE	"/dev/userfaultfd"

struct machine {
	int device;			/* the device, open, or -1 */
	int device_error;		/* why not: an errno; 0 when it is open */
	int probe_error;		/* why the features are not known: an errno; else 0 */
	uint64_t features;		/* UFFD_FEATURE_* that UFFDIO_API offers */
	char release[65];		/* of the kernel, as uname(2) has it */
};

#define MACHINE_NONE	{ .device = -1 }

/* Fills in what can be found out; it does not fail. Its destructor takes MACHINE_NONE too. */
void machine_look(struct machine *ret);
void machine_done(struct machine *m);

/* Features of the required ones that are not among these. */
uint64_t machine_missing(uint64_t features);

/* Their names, separated by ", ". n: size of the buffer. */
void machine_names(uint64_t features, char *ret_names, uint64_t n);

enum machine_verdict {
	MACHINE_OK		= 0,
	MACHINE_OLD_KERNEL	= 1,	/* lacks a feature, or userfaultfd altogether */
	MACHINE_NO_ACCESS	= 2,	/* the device cannot be opened by this user */
};

/*
 * have_service: a daemon answers that holds the device, so access is not needed here.
 * Anything but MACHINE_OK comes with one line for a person (of CLI_ERROR_SIZE bytes).
 */
enum machine_verdict machine_judge(const struct machine *m, bool have_service, char *ret_error);

#endif

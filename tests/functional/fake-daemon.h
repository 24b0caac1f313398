/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake-daemon.h - a process that answers the command line as a faultlined would, or worse.
 *
 * It serves control connections only: HELLO, JOB_CREATE and STATUS are answered from fixed data,
 * in a way that its mode names:
 *	"ok"		as it should be
 *	"alone"		no job has a session
 *	"degraded"	the first job is DEGRADED
 *	"log"		FLP_LOG lines around the answer to JOB_CREATE, with an escape sequence
 *	"refuse"	FLP_ERROR to JOB_CREATE
 *	"header"	WELCOME comes with version 99 in its header
 *	"body"		... with version 99 in its body
 *	"old"		FLP_ERROR with EPROTONOSUPPORT to HELLO
 *	"garbage"	bytes that are no message
 *	"type"		an answer of another kind
 *	"cookie"	an answer to something else
 *	"close"		HELLO ends the connection
 *	"drop"		JOB_CREATE is answered, then the connection ends
 *	"swap"		"alone"; writes "taken" into the swap file that it is sent
 *	"exit"		ends at once
 * With linger it goes on until it is killed; else it ends with its last connection.
 */
#ifndef FAULTLINE_TESTS_FAKE_DAEMON_H
#define FAULTLINE_TESTS_FAKE_DAEMON_H

#include <stdbool.h>

/* Returns the exit status of the process. */
int fake_daemon_serve(int listen_fd, const char *mode, bool linger);

#endif

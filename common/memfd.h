/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* memfd.h - memory of a fixed size that is handed to a client. See memfd.c. */
#ifndef FAULTLINE_COMMON_MEMFD_H
#define FAULTLINE_COMMON_MEMFD_H

#include <stdint.h>

/* A descriptor, or -errno. name shows in /proc/PID/maps. size: bytes, not 0. */
int memfd_sealed(const char *name, uint64_t size);

#endif

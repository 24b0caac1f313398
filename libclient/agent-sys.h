/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * agent-sys.h - system calls of the agent's thread, straight to the kernel.
 *
 * The agent has no thread control block of the C library: it may call nothing that sets errno, takes
 * a lock or allocates. Results are the kernel's: >= 0, or -errno.
 */
#ifndef FAULTLINE_LIBCLIENT_AGENT_SYS_H
#define FAULTLINE_LIBCLIENT_AGENT_SYS_H

#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "the agent's system calls are written for x86-64 and aarch64"
#endif

#define sys5(n, a, b, c, d, e)	sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys4(n, a, b, c, d)	sys5(n, a, b, c, d, 0)
#define sys3(n, a, b, c)	sys4(n, a, b, c, 0)
#define sys2(n, a, b)		sys3(n, a, b, 0)
#define sys1(n, a)		sys2(n, a, 0)

#define sys_ioctl(fd, req, arg)	sys3(SYS_ioctl, fd, req, arg)
#define sys_close(fd)		sys1(SYS_close, fd)
#define sys_madvise(a, l, v)	sys3(SYS_madvise, a, l, v)

static inline void *sys_mmap(void *at, uint64_t len, int prot, int flags, int fd)
{
	return (void *)sys6(SYS_mmap, (long)at, (long)len, prot, flags, fd, 0);
}

static inline int sys_failed(const void *p)
{
	return (unsigned long)p > -4096UL;
}

struct sys_timespec {
	int64_t sec, nsec;
};

static inline long sys_futex_wait(uint32_t *word, uint32_t value, int private, uint64_t timeout_us)
{
	struct sys_timespec ts = {
		.sec = (int64_t)(timeout_us / 1000000),
		.nsec = (int64_t)(timeout_us % 1000000) * 1000,
	};

	return sys4(SYS_futex, word, private ? 128 : 0, value, &ts);
}

static inline long sys_futex_wake(uint32_t *word, int n, int private)
{
	return sys3(SYS_futex, word, private ? 129 : 1, n);
}

static inline void sys_sleep_us(uint64_t us)
{
	struct sys_timespec ts = {
		.sec = (int64_t)(us / 1000000), .nsec = (int64_t)(us % 1000000) * 1000,
	};

	sys2(SYS_nanosleep, &ts, 0);
}

static inline uint64_t sys_now_us(void)
{
	struct sys_timespec ts = { 0, 0 };

	sys2(SYS_clock_gettime, 1, &ts);
	return (uint64_t)ts.sec * 1000000 + (uint64_t)ts.nsec / 1000;
}

#endif

/*
 * pause: the process that holds a Pod's namespaces open. It sleeps, reaps the
 * children that it inherits when a Pod shares its process namespace, and ends
 * on SIGTERM and SIGINT. Freestanding, so that it is one page of memory.
 */

enum { SIG_INT = 2, SIG_TERM = 15, SIG_CHLD = 17, SIG_BLOCK = 0, WNOHANG = 1 };

#if defined(__x86_64__)
enum { SYS_rt_sigprocmask = 14, SYS_wait4 = 61, SYS_exit_group = 231, SYS_rt_sigtimedwait = 128 };

static long syscall4(long n, long a, long b, long c, long d)
{
	long ret;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { SYS_rt_sigprocmask = 135, SYS_wait4 = 260, SYS_exit_group = 94, SYS_rt_sigtimedwait = 137 };

static long syscall4(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#else
#error "no system calls for this architecture"
#endif

void _start(void)
{
	/* Blocked signals are kept for us, also the ones that PID 1 would be spared. */
	const unsigned long set = 1UL << (SIG_INT - 1) | 1UL << (SIG_TERM - 1) | 1UL << (SIG_CHLD - 1);

	syscall4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&set, 0, sizeof(set));
	for (;;) {
		while (syscall4(SYS_wait4, -1, 0, WNOHANG, 0) > 0)
			;
		long sig = syscall4(SYS_rt_sigtimedwait, (long)&set, 0, 0, sizeof(set));
		if (sig == SIG_INT || sig == SIG_TERM)
			syscall4(SYS_exit_group, 0, 0, 0, 0);
	}
}

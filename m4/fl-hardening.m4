# SPDX-License-Identifier: LGPL-2.1-or-later

# FL_HARDENING
# HARDEN_CPPFLAGS, HARDEN_CFLAGS, HARDEN_LDFLAGS: the daemon reads what strangers send.
AC_DEFUN([FL_HARDENING], [
	HARDEN_CPPFLAGS=
	HARDEN_CFLAGS=
	HARDEN_LDFLAGS=

	# Fortify needs an optimising compiler, says so loudly without one, and hides from
	# sanitizers the very calls that they check. A level that the user chose stays.
	AS_CASE([" $CPPFLAGS $CFLAGS "],
		[*_FORTIFY_SOURCE*|*" -O0 "*], [],
		[*" -O"*], [AS_IF([test "x$enable_sanitizers" = xno],
			[HARDEN_CPPFLAGS="-D_FORTIFY_SOURCE=2"])])

	FL_CC_FLAG([HARDEN_CFLAGS], [-fstack-protector-strong], [a canary where an array is on the stack])
	FL_CC_FLAG([HARDEN_CFLAGS], [-fstack-clash-protection], [no jump over a guard page])
	FL_CC_FLAG([HARDEN_CFLAGS], [-fcf-protection], [indirect branches land on markers])

	FL_LD_FLAG([HARDEN_LDFLAGS], [-Wl,-z,relro], [the GOT is read-only])
	FL_LD_FLAG([HARDEN_LDFLAGS], [-Wl,-z,now], [resolved at start: the agent may not bind lazily])
	FL_LD_FLAG([HARDEN_LDFLAGS], [-Wl,-z,noexecstack], [stacks hold data])

	# Programs are loaded at a random address. (Where the compiler does not make objects fit for
	# that unasked, the probe fails and the flag is left out.)
	PIE_FLAGS=
	FL_LD_FLAG([PIE_FLAGS], [-pie], [see above])

	# An undefined symbol in a library is found when it is linked, not when a user loads it.
	# Sanitizer runtimes are undefined in libraries by design.
	NO_UNDEFINED=
	AS_IF([test "x$enable_sanitizers" = xno && test "x$enable_fuzz" = xno],
		[FL_LD_FLAG([NO_UNDEFINED], [-Wl,-z,defs], [see above])])

	AC_SUBST([HARDEN_CPPFLAGS])
	AC_SUBST([HARDEN_CFLAGS])
	AC_SUBST([HARDEN_LDFLAGS])
	AC_SUBST([PIE_FLAGS])
	AC_SUBST([NO_UNDEFINED])
])

# FL_STATIC_LZ4
# LZ4_STATIC_LIBS: liblz4 for the preload library, which may not pull a library into strangers.
AC_DEFUN([FL_STATIC_LZ4], [
	AC_CACHE_CHECK([for a liblz4.a that a shared library can hold], [fl_cv_static_lz4], [
		fl_saved_LIBS=$LIBS
		fl_saved_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS $LZ4_CFLAGS -fPIC -shared -Wl,-z,defs"
		LIBS="-l:liblz4.a $LIBS"
		AC_LINK_IFELSE([AC_LANG_SOURCE([[
			#include <lz4.h>
			int f(void);
			int f(void) { return LZ4_versionNumber(); }]])],
			[fl_cv_static_lz4=yes], [fl_cv_static_lz4=no])
		LIBS=$fl_saved_LIBS
		CFLAGS=$fl_saved_CFLAGS
	])
	AS_IF([test "x$fl_cv_static_lz4" != xyes],
		[AC_MSG_ERROR([the static liblz4.a is missing, or is not position-independent: install liblz4-dev])])
	AC_SUBST([LZ4_STATIC_LIBS], [-l:liblz4.a])
])

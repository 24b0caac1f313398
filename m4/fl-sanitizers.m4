# SPDX-License-Identifier: LGPL-2.1-or-later

# FL_ARG_SANITIZERS
# --enable-sanitizers=LIST: SAN_CFLAGS, SAN_LDFLAGS and the conditional SANITIZERS.
AC_DEFUN([FL_ARG_SANITIZERS], [
	AC_ARG_ENABLE([sanitizers],
		[AS_HELP_STRING([--enable-sanitizers=LIST],
			[build with these sanitizers: address,undefined or thread (no)])],
		[], [enable_sanitizers=no])
	AS_CASE([$enable_sanitizers],
		[yes], [enable_sanitizers=address,undefined])

	SAN_CFLAGS=
	SAN_LDFLAGS=
	AS_IF([test "x$enable_sanitizers" != xno], [
		SAN_CFLAGS="-fsanitize=$enable_sanitizers -fno-omit-frame-pointer"
		# One undefined operation is one failed test.
		AS_CASE([,$enable_sanitizers,],
			[*,undefined,*], [SAN_CFLAGS="$SAN_CFLAGS -fno-sanitize-recover=undefined"])
		SAN_LDFLAGS="-fsanitize=$enable_sanitizers"
		fl_saved_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS $SAN_CFLAGS"
		AC_MSG_CHECKING([whether $CC has -fsanitize=$enable_sanitizers])
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
			[AC_MSG_RESULT([yes])],
			[AC_MSG_ERROR([$CC cannot build with --enable-sanitizers=$enable_sanitizers])])
		CFLAGS=$fl_saved_CFLAGS
	])
	AC_SUBST([SAN_CFLAGS])
	AC_SUBST([SAN_LDFLAGS])
	AM_CONDITIONAL([SANITIZERS], [test "x$enable_sanitizers" != xno])
])

# FL_ARG_FUZZ
# --enable-fuzz: the targets in fuzz/ are fuzzers (clang). Without it each of them gets a main
# that runs it over its corpus, and is a test.
AC_DEFUN([FL_ARG_FUZZ], [
	AC_ARG_ENABLE([fuzz],
		[AS_HELP_STRING([--enable-fuzz],
			[build the fuzz targets as fuzzers, with clang and $LIB_FUZZING_ENGINE (no)])],
		[], [enable_fuzz=no])
	AC_ARG_VAR([LIB_FUZZING_ENGINE], [what a fuzz target is linked with (-fsanitize=fuzzer)])

	FUZZ_CFLAGS=
	FUZZ_LDFLAGS=
	AS_IF([test "x$enable_fuzz" = xyes], [
		FL_CC_FLAG([FUZZ_CFLAGS], [-fsanitize=fuzzer-no-link], [coverage for the fuzzer])
		AS_IF([test -z "$FUZZ_CFLAGS"],
			[AC_MSG_ERROR([--enable-fuzz needs a compiler with -fsanitize=fuzzer-no-link: use CC=clang])])
		FUZZ_LDFLAGS=${LIB_FUZZING_ENGINE:--fsanitize=fuzzer}
	])
	AC_SUBST([FUZZ_CFLAGS])
	AC_SUBST([FUZZ_LDFLAGS])
	AM_CONDITIONAL([FUZZ], [test "x$enable_fuzz" = xyes])
])

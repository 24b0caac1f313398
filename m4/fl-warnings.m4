# SPDX-License-Identifier: LGPL-2.1-or-later

# FL_WARNINGS
# WARN_CFLAGS: the warnings that our code is kept free of, each with what it caught or prevents.
AC_DEFUN([FL_WARNINGS], [
	WARN_CFLAGS=
	FL_CC_FLAG([WARN_CFLAGS], [-Wall], [the usual suspects])
	FL_CC_FLAG([WARN_CFLAGS], [-Wextra], [sign compares, empty bodies, missing returns])
	FL_CC_FLAG([WARN_CFLAGS], [-Wshadow], [an inner fd that hides the outer one gets the wrong one closed])
	FL_CC_FLAG([WARN_CFLAGS], [-Wstrict-prototypes], [f() says nothing about its arguments])
	FL_CC_FLAG([WARN_CFLAGS], [-Wmissing-prototypes], [what has no prototype in a header should be static])
	FL_CC_FLAG([WARN_CFLAGS], [-Wmissing-declarations], [the same for variables])
	FL_CC_FLAG([WARN_CFLAGS], [-Wold-style-definition], [see strict-prototypes])
	FL_CC_FLAG([WARN_CFLAGS], [-Wundef], [a mistyped macro in an if is 0])
	FL_CC_FLAG([WARN_CFLAGS], [-Wwrite-strings], [literals are const])
	FL_CC_FLAG([WARN_CFLAGS], [-Wpointer-arith], [arithmetic on void pointers says uint8_t])
	FL_CC_FLAG([WARN_CFLAGS], [-Wcast-qual], [a cast that loses const is a decision, write it as one])
	FL_CC_FLAG([WARN_CFLAGS], [-Wformat=2], [formats are literals, and fit their arguments])
	FL_CC_FLAG([WARN_CFLAGS], [-Wredundant-decls], [one declaration, in one header])
	FL_CC_FLAG([WARN_CFLAGS], [-Wnested-externs], [declarations live in headers])
	FL_CC_FLAG([WARN_CFLAGS], [-Wvla], [stacks are small: workers, and the agent above all])
	FL_CC_FLAG([WARN_CFLAGS], [-Wlogical-op], [a && a])
	FL_CC_FLAG([WARN_CFLAGS], [-Wdate-time], [builds are reproducible])
	FL_CC_FLAG([WARN_CFLAGS], [-Wimplicit-fallthrough], [falling through is said aloud])
	FL_CC_FLAG([WARN_CFLAGS], [-Wno-unused-parameter], [callbacks take what their contract says])
	FL_CC_FLAG([WARN_CFLAGS], [-Wno-missing-field-initializers], [the rest of a table row is zero on purpose])
	AS_IF([test "x$enable_werror" = xyes], [AS_VAR_APPEND([WARN_CFLAGS], [" -Werror"])])
	AC_SUBST([WARN_CFLAGS])

	# Not for tests, which have all the stack they want.
	STACK_CFLAGS=
	FL_CC_FLAG([STACK_CFLAGS], [-Wframe-larger-than=16384], [threads have small stacks])
	AC_SUBST([STACK_CFLAGS])

	# The language, for our files only: GNU C17, and no assumption that writing through one
	# type is seen through another (page contents and shared rings are read as several).
	LANG_CFLAGS=
	FL_CC_FLAG([LANG_CFLAGS], [-std=gnu17], [cleanup attributes, statement expressions, static_assert])
	FL_CC_FLAG([LANG_CFLAGS], [-fno-strict-aliasing], [pages and shared rings are read as several types])
	AC_SUBST([LANG_CFLAGS])
])

# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What an application relies on. These are compiled as an application is, with the language that
# faultline.h promises to be.

abi_tests = \
	%D%/close-null \
	%D%/compile-c99 \
	%D%/compile-cxx \
	$(NULL)
check_PROGRAMS += $(abi_tests)
TESTS += $(abi_tests)

%C%_close_null_LDADD = libclient/libfaultline.la $(LDADD)

%C%_compile_c99_SOURCES = %D%/compile-c99.c %D%/use-all.h
%C%_compile_c99_CFLAGS = -std=c99 -pedantic-errors -Wall -Wextra -Wstrict-prototypes $(SAN_CFLAGS)
%C%_compile_c99_LDADD = libclient/libfaultline.la

%C%_compile_cxx_SOURCES = %D%/compile-cxx.cc %D%/use-all.h
%C%_compile_cxx_CXXFLAGS = -std=c++11 -pedantic-errors -Wall -Wextra $(SAN_CFLAGS)
%C%_compile_cxx_LDADD = libclient/libfaultline.la

EXTRA_DIST += %D%/preload-symbols

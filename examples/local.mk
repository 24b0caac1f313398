# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the manual pages show. Compiled by `make check` as an application would be, run by hand.

check_PROGRAMS += %D%/adopt
%C%_adopt_CPPFLAGS = -I$(top_srcdir)/include
%C%_adopt_LDADD = libclient/libfaultline.la

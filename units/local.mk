# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the system's service manager and device manager read. The service names the daemon by the
# path that it is installed at: made here and not by configure, so that `make prefix=` works.

dist_systemdsystemunit_DATA = %D%/faultlined.socket
systemdsystemunit_DATA = %D%/faultlined.service
dist_sysusers_DATA = %D%/faultline.conf
dist_udevrules_DATA = %D%/60-faultline.rules

%D%/faultlined.service: %D%/faultlined.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	$(SED) 's,@sbindir[@],$(sbindir),g' $(srcdir)/%D%/faultlined.service.in >$@.tmp && mv $@.tmp $@

EXTRA_DIST += %D%/faultlined.service.in
CLEANFILES += %D%/faultlined.service

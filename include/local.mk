# SPDX-License-Identifier: LGPL-2.1-or-later
#
# faultline.h is the only header that is installed; the others are contracts inside the tree.

include_HEADERS += %D%/faultline.h
noinst_HEADERS += \
	%D%/faultline-protocol.h \
	%D%/faultline-shared.h \
	$(NULL)

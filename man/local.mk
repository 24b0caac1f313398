# SPDX-License-Identifier: LGPL-2.1-or-later

dist_man_MANS += \
	%D%/faultline-run.1 \
	%D%/faultline-status.1 \
	%D%/faultline.1 \
	%D%/faultline.7 \
	%D%/faultline.conf.5 \
	%D%/faultline_new.3 \
	%D%/faultline_region_adopt.3 \
	%D%/faultline_region_reserve.3 \
	%D%/faultline_stat.3 \
	%D%/faultlined.8 \
	%D%/libfaultline.3 \
	$(NULL)

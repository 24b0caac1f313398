# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The checks that are no programs. Each prints TAP and runs by itself too: ./run scripts/check-man

check_scripts += \
	%D%/check-layers \
	%D%/check-man \
	%D%/check-options \
	%D%/check-shell \
	%D%/check-symbols \
	%D%/check-units \
	$(NULL)

EXTRA_DIST += \
	$(check_scripts) \
	%D%/check \
	%D%/check-skips \
	%D%/demo \
	%D%/demo.d/packages.awk \
	%D%/demo.d/pairs.py \
	%D%/demo.d/tables.sql \
	%D%/lib.sh \
	%D%/tally \
	$(NULL)

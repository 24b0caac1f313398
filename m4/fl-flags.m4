# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Flags that are used where the compiler or the linker knows them.

# FL_CC_FLAG(VARIABLE, FLAG, [REASON])
# Append FLAG to VARIABLE if the C compiler takes it without a complaint. REASON is for the
# reader of configure.ac. (An unknown -Wno-x is accepted in silence, so its positive is tried.)
AC_DEFUN([FL_CC_FLAG], [
	AS_VAR_PUSHDEF([fl_cache], [fl_cv_cc_flag_$2])
	AC_CACHE_CHECK([whether $CC takes $2], [fl_cache], [
		fl_saved_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -Werror m4_bpatsubst([$2], [^-Wno-], [-W])"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
			[AS_VAR_SET([fl_cache], [yes])], [AS_VAR_SET([fl_cache], [no])])
		CFLAGS=$fl_saved_CFLAGS
	])
	AS_VAR_IF([fl_cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
	AS_VAR_POPDEF([fl_cache])
])

# FL_LD_FLAG(VARIABLE, FLAG, [REASON])
# The same for a flag of the linker.
AC_DEFUN([FL_LD_FLAG], [
	AS_VAR_PUSHDEF([fl_cache], [fl_cv_ld_flag_$2])
	AC_CACHE_CHECK([whether the linker takes $2], [fl_cache], [
		fl_saved_LDFLAGS=$LDFLAGS
		LDFLAGS="$LDFLAGS -Werror $2"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
			[AS_VAR_SET([fl_cache], [yes])], [AS_VAR_SET([fl_cache], [no])])
		LDFLAGS=$fl_saved_LDFLAGS
	])
	AS_VAR_IF([fl_cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
	AS_VAR_POPDEF([fl_cache])
])

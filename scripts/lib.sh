# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
#
# lib.sh - what scripts/check and scripts/demo have in common: what they need of the machine, how
# it is installed, and how the tree is built. To be sourced by a POSIX sh whose working directory
# is the top of the tree. Functions begin with fl_, settings with FL_.
#
# FL_BUILD is the build directory ("build" unless the caller set BUILD), FL_JOBS how many
# compilers run at once. Nothing here writes to standard output.

FL_BUILD=${BUILD:-build}
FL_JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}
FL_KERNEL=6.8

# Debian's names. What a build needs; what the checks use on top; what the demo runs.
# shellcheck disable=SC2034 # for those who source this
FL_PACKAGES_BUILD='autoconf automake libtool pkg-config make gcc g++ libc6-dev linux-libc-dev
	libbsd-dev liburing-dev liblz4-dev libxxhash-dev libinih-dev libsmartcols-dev
	libcunit1-dev'
# shellcheck disable=SC2034 # for those who source this
FL_PACKAGES_CHECK='shellcheck mandoc systemd cppcheck sqlite3 python3 xz-utils perl gawk'
# shellcheck disable=SC2034 # for those who source this
FL_PACKAGES_DEMO='coreutils findutils grep gawk perl-base sqlite3 python3 xz-utils'

fl_say()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

fl_die()
{
	fl_say "$@"
	exit 1
}

# fl_kernel_is_new RELEASE: whether it is FL_KERNEL or later.
fl_kernel_is_new()
{
	fl_have_major=${1%%.*}
	fl_have_minor=${1#*.}
	fl_have_minor=${fl_have_minor%%[!0-9]*}
	fl_want_major=${FL_KERNEL%%.*}
	fl_want_minor=${FL_KERNEL#*.}
	[ "$fl_have_major" -gt "$fl_want_major" ] ||
		{ [ "$fl_have_major" -eq "$fl_want_major" ] &&
			[ "${fl_have_minor:-0}" -ge "$fl_want_minor" ]; }
}

# fl_check_machine: the kernel and the right to use it; says what is missing and what to do.
# Returns 1 when unmodified programs cannot be managed here; a build is possible all the same.
fl_check_machine()
{
	fl_bad=0
	if ! fl_kernel_is_new "$(uname -r)"; then
		fl_say "Linux $(uname -r) is too old: private memory needs Linux $FL_KERNEL (UFFDIO_MOVE)." \
			"On Debian 12: apt-get install -t bookworm-backports linux-image-amd64, and reboot"
		fl_bad=1
	fi
	if [ ! -c /dev/userfaultfd ]; then
		fl_say "/dev/userfaultfd is not there: the kernel needs CONFIG_USERFAULTFD=y;" \
			"in a container, pass the device in"
		fl_bad=1
	elif ! (: <>/dev/userfaultfd) 2>/dev/null; then
		fl_say "user $(id -un) may not open /dev/userfaultfd: run this as root, or as root once:" \
			"chgrp $(id -gn) /dev/userfaultfd && chmod 0660 /dev/userfaultfd" \
			"(README.md says how to make that last)"
		fl_bad=1
	fi
	return "$fl_bad"
}

# fl_missing PACKAGE...: prints those that are not installed.
fl_missing()
{
	for fl_package; do
		case $(dpkg-query -W -f '${db:Status-Status}\n' "$fl_package" 2>/dev/null) in
		*installed*) ;;
		*) printf '%s ' "$fl_package" ;;
		esac
	done
}

# fl_root COMMAND...: run it as root, by sudo where that is needed.
fl_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		fl_die "not root and no sudo: as root, run: $*"
	fi
}

# fl_install PACKAGE...: install the ones that are missing. Where there is no dpkg it is for the
# caller to have their like; configure names what it does not find.
fl_install()
{
	if ! command -v dpkg-query >/dev/null 2>&1; then
		fl_say "this is no Debian: install what README.md lists by hand; going on"
		return 0
	fi
	fl_list=$(fl_missing "$@")
	[ -n "$fl_list" ] || return 0
	fl_say "installing: $fl_list"
	# shellcheck disable=SC2086 # a list of words
	fl_apt_install $fl_list
}

# The package lists of a fresh machine are empty or stale: one update, when the first try fails.
fl_apt_install()
{
	fl_apt install "$@" ||
		{ fl_apt update && fl_apt install "$@"; } ||
		fl_die "apt-get could not install: $*"
}

fl_apt()
{
	fl_verb=$1
	shift
	case $fl_verb in
	install) set -- --yes --no-install-recommends install "$@" ;;
	update) set -- --quiet update ;;
	esac
	fl_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >&2
}

# fl_quietly LOG COMMAND...: its output goes to LOG, which is shown when it fails.
fl_quietly()
{
	fl_log=$1
	shift
	"$@" >"$fl_log" 2>&1 && return 0
	tail -n 30 "$fl_log" >&2
	fl_die "this failed: $* (all of its output: $fl_log)"
}

# fl_configure [OPTION...]: make the build directory ready; nothing when it is.
fl_configure()
{
	mkdir -p "$FL_BUILD"
	if [ ! -x configure ]; then	# when it is merely old, make renews it
		fl_say "generating configure"
		fl_quietly "$FL_BUILD/autoreconf.log" autoreconf --install
	fi
	if [ -e config.status ]; then
		fl_die "the source tree itself is configured, so $FL_BUILD cannot be used:" \
			"run 'make distclean' once"
	fi
	[ -e "$FL_BUILD/config.status" ] && [ $# -eq 0 ] && return 0
	fl_say "configuring $FL_BUILD"
	fl_top=$(pwd)
	(cd "$FL_BUILD" && fl_quietly configure.log "$fl_top/configure" --quiet "$@") || exit 1
}

# fl_build [OPTION-OF-CONFIGURE...]: the whole of it, tests not built.
fl_build()
{
	fl_configure "$@"
	fl_say "building in $FL_BUILD ($FL_JOBS at once)"
	fl_quietly "$FL_BUILD/make.log" make -C "$FL_BUILD" -j "$FL_JOBS"
}

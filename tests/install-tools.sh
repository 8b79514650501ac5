#!/bin/sh
# A C compiler, and the oracles of the tests: GNU binutils, lld, llvm-mc and clang for arm64, elfutils, GDB, QEMU, dtc, Perl, Chromium.
set -eu
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need cc gcc
need aarch64-linux-gnu-as binutils-aarch64-linux-gnu
need ld.lld lld
need llvm-mc llvm
need clang clang
need eu-elflint elfutils
need gdb-multiarch gdb-multiarch
need qemu-system-aarch64 qemu-system-arm
need dtc device-tree-compiler
need prove perl
need chromium "chromium fonts-dejavu-core"
need chromedriver chromium-driver

if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "missing tools, install the equivalent of these Debian packages:$missing" >&2
		exit 1
	fi
	echo "installing:$missing" >&2
	$as_root apt-get update -qq
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing
fi

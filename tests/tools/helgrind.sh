#!/bin/sh
# helgrind.sh - a program under valgrind's helgrind: races and lock errors of ours fail, librdkafka's own are suppressed.
#
#   tests/tools/helgrind.sh PROGRAM [ARGUMENTS…]
#
# ThreadSanitizer cannot follow librdkafka, which takes its locks through C11 threads; helgrind sees these down in the
# pthread calls.  valgrind shows no AVX-512 by CPUID, so kernels and OpenBLAS choose AVX2.  Exit 9: errors were found.
set -eu
command -v valgrind >/dev/null || { echo "helgrind: skipped, no valgrind"; exit 77; }
[ $# -gt 0 ] || { echo "usage: $0 PROGRAM [ARGUMENTS...]" >&2; exit 2; }
exec valgrind --tool=helgrind --history-level=approx --error-exitcode=9 --exit-on-first-error=no --quiet \
    --suppressions="$(dirname "$0")/helgrind.supp" ${HELGRIND_OPTIONS:-} "$@"

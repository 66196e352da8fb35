#!/bin/sh
# check_words.sh - calls and words that have no place where they stand.
#
# The heap outside base/mem.c; stdout, exit and abort in libraries; names ending in _t and #ifdefs of a backend in our
# own code; machine paths and notes to self anywhere.  Prints file:line of each.
# labels: quick style
set -eu
cd "${FRESHET_SOURCE:-$(dirname "$0")/../..}"
rooms="base schemas simulate ingest featurize kernels model trainer serving job"
rc=0

# forbid TEXT REGEX FILES...: each match outside comments is a fault.  Comments are cut as far as one line shows them.
forbid() {
    text=$1 regex=$2
    shift 2
    [ $# -gt 0 ] || return 0
    hits=$(awk -v regex="$regex" '
        FNR == 1 { inside = 0 }
        {
            line = $0
            if (inside) { if (!sub(/^.*\*\//, "", line)) next; inside = 0 }
            gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
            gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
            if (sub(/\/\*.*$/, "", line)) inside = 1
            if (line ~ regex) print FILENAME ":" FNR ": " $0
        }' "$@")
    [ -n "$hits" ] || return 0
    echo "$hits" | sed "s|\$|    <- $text|"
    rc=1
}

# shellcheck disable=SC2046,SC2086  # lists of names without blanks
{
    c_files=$(find $rooms cli -name '*.[ch]')
    libraries=$(find $rooms -name '*.[ch]')
    forbid "the heap is behind mem_*" '(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|aligned_alloc|posix_memalign)[ ]?\(' \
        $(echo "$c_files" | grep -v '^base/mem\.c$')
    forbid "libraries never print to stdout" '(^|[^A-Za-z0-9_])(printf|puts|putchar|vprintf)[ ]?\(' $libraries
    forbid "stdout belongs to cli (and to job, where the user names - as a file)" '(^|[^A-Za-z0-9_])stdout([^A-Za-z0-9_]|$)' \
        $(echo "$libraries" | grep -v '^job/')
    forbid "libraries never end the process" '(^|[^A-Za-z0-9_.>])(exit|abort|_Exit|quick_exit)[ ]?\(' $libraries
    forbid "no bounded form" '(^|[^A-Za-z0-9_])(gets|strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|rand|srand|random)[ ]?\(' $c_files
    forbid "typedefs do not end in _t" '^typedef .*[a-z]_t;' $c_files
    forbid "backends are chosen in kernels/ and CMake alone" '^#[ ]*if.*(CUDA|AVX|__SSE)' \
        $(echo "$c_files" | grep -v '^kernels/')
}

# Words, comments included.
texts=$(find $rooms cli deploy tests .ci -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.md' -o -name '*.ini' -o -name '*.py' \) \
    -not -name check_words.sh; find . -maxdepth 1 -name '*.md' -o -maxdepth 1 -name Makefile -o -maxdepth 1 -name CMakeLists.txt)
say_grep() { # TEXT REGEX
    hits=$(echo "$texts" | xargs grep -nE "$2" || true)
    [ -n "$hits" ] || return 0
    echo "$hits" | sed "s|\$|    <- $1|"
    rc=1
}
say_grep "a machine's path" '(^|[^A-Za-z0-9_./-])/(work|root|home)/'
say_grep "a note to self" '(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)'
exit $rc

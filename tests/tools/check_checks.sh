#!/bin/sh
# check_checks.sh - the style checks themselves: a small tree with one planted fault at a time must make them fail and
# name the file and line; without the fault they must pass.
# labels: quick style
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
rc=0

fresh() {
    rm -rf "$tree"
    for room in base schemas simulate ingest featurize kernels/cpu model trainer serving job cli deploy tests/tools build .ci; do
        mkdir -p "$tree/$room"
    done
    cp "$tools/prefixes.txt" "$tree/tests/tools/"
    : >"$tree/README.md"
    printf '/* mem.h - one.\n *\n * three lines\n */\n#include <stddef.h>\nint mem_one(void);\n' >"$tree/base/mem.h"
    printf '/* mem.c - one. */\n#include "base/mem.h"\nint mem_one(void)\n{\n    return 1;\n}\n' >"$tree/base/mem.c"
    printf '/* event.c - two. */\n#include "base/mem.h"\nint event_two(void);\nint event_two(void)\n{\n    return mem_one();\n}\n' \
        >"$tree/schemas/event.c"
}

libraries() {
    for room in base schemas; do
        (cd "$tree" && for f in "$room"/*.c; do gcc -I. -c "$f" -o "build/$(basename "$f").o"; done)
        ar rc "$tree/build/libfreshet_$room.a" "$tree"/build/*.o
        rm "$tree"/build/*.o
    done
}

run() { FRESHET_SOURCE=$tree FRESHET_BUILD=$tree/build "$tools/$1.sh" 2>&1; }

passes() { # check
    out=$(run "$1") || { echo "$1: fails on a good tree: $out"; rc=1; }
}

catches() { # check, what its output must hold
    if out=$(run "$1"); then
        echo "$1: did not see $2"
        rc=1
    elif ! echo "$out" | grep -qF "$2"; then
        echo "$1: failed without saying '$2': $out"
        rc=1
    fi
}

plant() { # file, line to append
    printf '%s\n' "$2" >>"$tree/$1"
}

fresh
libraries
plant tests/mutants.txt 'base/mem.c|s/return 1/return 2/|mem'
for check in check_layers check_prefixes check_headers check_words check_mutants; do passes $check; done
plant tests/mutants.txt 'base/mem.c|s/return 3/return 2/|mem' && catches check_mutants "changes nothing: base/mem.c|s/return 3"
plant tests/mutants.txt 'base/gone.c|s/a/b/|mem' && catches check_mutants "there is no base/gone.c"

plant base/mem.c '#include "schemas/event.h"' && catches check_layers "base/mem.c:7: base must not include schemas"
fresh && plant schemas/event.c '#include <lmdb.h>' && catches check_layers "schemas/event.c:8: <lmdb.h>"
fresh && plant schemas/event.c '#  include "event.h"' && catches check_layers 'schemas/event.c:8: "event.h"'

fresh && plant base/mem.c 'int wrong_name(void);
int wrong_name(void) { return 0; }' && libraries && catches check_prefixes "base/mem.c:7: wrong_name"
fresh && plant schemas/event.c 'int mem_value;' && libraries && catches check_prefixes "mem_value"

fresh && sed -i 1d "$tree/base/mem.c" && catches check_headers "base/mem.c:1: the first line"
fresh && printf '/* str.h - short */\n' >"$tree/base/str.h" && catches check_headers "base/str.h:1: a header opens"
fresh && {
    printf 'int mem_long(void)\n{\n'
    i=0
    while [ $i -lt 98 ]; do echo '    ;' && i=$((i + 1)); done
    printf '}\n'
} >"$tree/body" && cat "$tree/body" >>"$tree/base/mem.c" && passes check_headers
sed -i 's/^}$/    ;\n}/' "$tree/base/mem.c" && catches check_headers "base/mem.c:9: function of 101 lines"
fresh && yes '/* */' | head -500 >>"$tree/base/mem.c" && catches check_headers "file of 506 lines"
fresh && plant base/mem.c '	int tab;' && catches check_headers "base/mem.c:7: tab"
fresh && plant base/mem.c 'int blank; ' && catches check_headers "base/mem.c:7: white space"
fresh && plant base/mem.c "/* $(yes ö | head -134 | tr -d '\n') */" && passes check_headers
plant base/mem.c "/* $(yes ö | head -135 | tr -d '\n') */" && catches check_headers "base/mem.c:8: line of 141"

fresh && plant schemas/event.c '    void *p = malloc(3); /* x */' && catches check_words "schemas/event.c:8:"
fresh && plant schemas/event.c '/* no call: malloc(3), and in a string: */ char *s = "free(p)"; mem_free(s); x->free(y);' && passes check_words
fresh && plant schemas/event.c '    printf("x");' && catches check_words "schemas/event.c:8:"
fresh && plant cli/main.c '    printf("x");' && passes check_words
fresh && plant schemas/event.c '    exit(1);' && catches check_words "schemas/event.c:8:"
fresh && plant schemas/event.c '#ifdef __AVX2__' && catches check_words "schemas/event.c:8:"
fresh && plant README.md "see /""work/x" && catches check_words "README.md:1:"
fresh && plant schemas/event.c "/* TO""DO */" && catches check_words "schemas/event.c:8:"
exit $rc

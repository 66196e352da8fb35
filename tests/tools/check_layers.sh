#!/bin/sh
# check_layers.sh - includes go downward only, and each outside library's header stands in its one place.
#
# The table is that of CMakeLists.txt.  cli may see all rooms; tests may see everything.  Prints file:line of each fault.
# labels: quick style
set -eu
cd "${FRESHET_SOURCE:-$(dirname "$0")/../..}"

# Every include of the rooms as  file:line:form:path  with form " or <.
includes() {
    find base schemas simulate ingest featurize kernels model trainer serving job cli -name '*.[ch]' -o -name '*.inc' -o -name '*.cu' |
        xargs grep -nE '^[[:space:]]*#[[:space:]]*include' |
        sed -nE 's/^([^:]+:[0-9]+):[[:space:]]*#[[:space:]]*include[[:space:]]*(["<])([^">]+)[">].*/\1:\2:\3/p'
}

includes | awk -F: '
function fault(text) { print $1 ":" $2 ": " text; bad++ }
BEGIN {
    below["base"] = " "
    below["schemas"] = " base "
    below["simulate"] = below["ingest"] = below["featurize"] = below["kernels"] = " schemas base "
    below["model"] = " kernels schemas base "
    below["trainer"] = below["serving"] = " model featurize kernels schemas base "
    below["job"] = " trainer serving ingest model featurize kernels schemas base "
    below["cli"] = " simulate job trainer serving ingest model featurize kernels schemas base "
    n = 0 # outside headers (regular expression) and the files (regular expression) that may include them
    place[n] = "^base/hash\\.c$";                       outside[n++] = "^(xxhash\\.h|xxh3\\.h|openssl/)"
    place[n] = "^base/store\\.c$";                      outside[n++] = "^lmdb\\.h"
    place[n] = "^ingest/[a-z_]*kafka[a-z_]*\\.c$";      outside[n++] = "^librdkafka/"
    place[n] = "^ingest/[a-z_]*\\.c$";                  outside[n++] = "^(zlib|lzma|zstd[a-z_]*)\\.h"
    place[n] = "^featurize/token[a-z_]*\\.c$";          outside[n++] = "^utf8proc\\.h"
    place[n] = "^serving/redis\\.c$";                   outside[n++] = "^hiredis/"
    place[n] = "^serving/http[a-z_]*\\.c$";             outside[n++] = "^microhttpd\\.h"
    place[n] = "^schemas/[a-z_]*\\.c$|^ingest/[a-z_]*\\.c$"; outside[n++] = "^ini\\.h"
    place[n] = "^kernels/cpu/[a-z_0-9]*\\.c$";          outside[n++] = "^(cblas|openblas_config|f77blas)[a-z_]*\\.h"
    place[n] = "^kernels/cuda/";                        outside[n++] = "^(cuda|cudnn|cublas|nccl)"
    place[n] = "^(schemas|ingest|featurize|model|trainer|serving|job|cli)/"; outside[n++] = "^jansson\\.h"
}
$3 == "\"" {
    split($1, at, "/"); split($4, to, "/")
    if (index($4, "/") == 0) fault("\"" $4 "\": write the room too, as in \"base/mem.h\"")
    else if (!(to[1] in below)) fault("\"" $4 "\" is in no room")
    else if (at[1] != to[1] && index(below[at[1]], " " to[1] " ") == 0) fault(at[1] " must not include " to[1] " (" $4 ")")
    if ($4 ~ /_(private|internal)\.h$/ && at[1] != to[1]) fault($4 " is private to " to[1])
}
$3 == "<" {
    for (i = 0; i < n; i++)
        if ($4 ~ outside[i] && $1 !~ place[i]) fault("<" $4 "> belongs behind " place[i] " alone")
}
END { if (bad) { print bad " includes against DESIGN.md, \"Rooms\""; exit 1 } }'

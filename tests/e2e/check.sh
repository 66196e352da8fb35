#!/bin/sh
# check.sh - the command line's frame (help, version, unknown names, precedence) and what freshet check finds and says.
# labels: quick redis
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "check: skipped, $freshet is not built"; exit 77; }
d=$(mktemp -d)
redis=
trap '[ -z "$redis" ] || kill "$redis" 2>/dev/null; rm -rf "$d"' EXIT
fail() { echo "check: $*"; cat "$d/out" "$d/err"; exit 1; }
run() { # want exit status, then arguments
    want=$1 rc=0
    shift
    "$freshet" "$@" >"$d/out" 2>"$d/err" || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
says() { grep -q -- "$1" "$d/out" || fail "stdout lacks '$1'"; }
says_not() { ! grep -q -- "$1" "$d/out" || fail "stdout has '$1'"; }
complains() { grep -q -- "$1" "$d/err" || fail "stderr lacks '$1'"; }

# A whole model folder around the Chinese vocabulary: one layer of eight, all weights zero.
make_model() {
    mkdir "$d/model"
    cp "$source"/tests/fixtures/zh/* "$d/model"
    v=$(wc -l <"$d/model/vocab.txt")
    echo "{\"model_type\":\"bert\",\"architectures\":[\"BertModel\"],\"vocab_size\":$v,\"hidden_size\":8,
\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":16,\"max_position_embeddings\":128,
\"type_vocab_size\":2,\"layer_norm_eps\":1e-12,\"hidden_act\":\"gelu\"}" >"$d/model/config.json"
    l=encoder.layer.0
    for t in embeddings.word_embeddings:$v,8 embeddings.position_embeddings:128,8 embeddings.token_type_embeddings:2,8 \
        embeddings.LayerNorm:8 $l.attention.self.query:8,8 $l.attention.self.key:8,8 $l.attention.self.value:8,8 \
        $l.attention.output.dense:8,8 $l.attention.output.LayerNorm:8 $l.intermediate.dense:16,8 $l.output.dense:8,16 \
        $l.output.LayerNorm:8; do
        echo "${t%:*}.weight ${t##*:}"
        case $t in embeddings.*_embeddings*) ;; *) echo "${t%:*}.bias ${t##*:}" ;; esac
    done | awk '{
        n = split($2, s, ",")
        if ($1 ~ /bias$/) { n = 1; $2 = s[1] }
        bytes = 4 * s[1] * (n > 1 ? s[2] : 1)
        printf "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%d,%d]}", (NR > 1 ? "," : "{"), $1, $2, at, at + bytes
        at += bytes
    } END { print "}" ; print at >"/dev/stderr" }' >"$d/head" 2>"$d/bytes"
    n=$(wc -c <"$d/head")
    {
        printf "\\$(printf %o $((n % 256)))\\$(printf %o $((n / 256)))\\0\\0\\0\\0\\0\\0"
        cat "$d/head"
        head -c "$(cat "$d/bytes")" /dev/zero
    } >"$d/model/model.safetensors"
}
make_model

# --- frame
run 2
complains 'usage: freshet COMMAND'
run 0 --help
says '^  check '
run 0 --version
says '^freshet [0-9]'
run 2 chekc
complains "nearest is 'check'"
run 2 help chekc
complains "nearest is 'check'"
run 0 help check
says 'model.trainable_layers '
for command in $("$freshet" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    run 0 "$command" --help
    says "freshet $command"
done
run 2 check --prnt-config
complains 'nearest is --print-config'
run 2 check --schema
complains 'needs a value'
run 2 check --print-config=yes
complains 'takes no value'

# --- precedence: default < file < environment < option
printf '[train]\nseed = 2\nhead_rate = 0.2\nmatch_rate = 0.2\n' >"$d/ok.ini"
FRESHET_TRAIN_SEED=3 FRESHET_TRAIN_HEAD_RATE=0.3 "$freshet" check --print-config -otrain.seed=4 --config="$d/ok.ini" >"$d/out"
says '^seed = 4$'
says '^head_rate = 0.3$'
says '^match_rate = 0.2$'
says '^linear_rate = 0.1$'
"$freshet" check --print-config --config "$d/out" >"$d/again"
cmp "$d/out" "$d/again" || fail "the configuration printed does not read back as itself"

# --- findings
cat >"$d/log.jsonl" <<'END'
{"type":"item","time":1700000000000,"item":"a","title":"红色 杯子"}
{"type":"view","time":1700000001000,"user":"u","item":"a"}
{"type":"view","time":17,"user":"u","item":"a"}
not json
END
run 0 check --model "$d/model" "$d/log.jsonl"
says '^ok     log .*: 2 events, 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:21.000Z'
says 'time_seconds *1'
says 'record 4: '
says '2 of 4 records'
says 'tokens, 0.00 % of them \[UNK\]'
printf '{"type":"item","time":1700000000000,"item":"a","title":"ꙮ ꙮ ꙮ ꙮ"}\n' >"$d/strange.jsonl"
run 0 check --model "$d/model" "$d/strange.jsonl"
says '^warn   log titles .*100.00 % of them \[UNK\]'
run 1 check --model "$d/model" "$d/none.jsonl"
says '^WRONG  log .*none.jsonl'
printf 'a\nb\n' >"$d/bad.jsonl"
run 1 check --model "$d/model" "$d/bad.jsonl"
says '^WRONG  log '
run 0 check --model "$source/tests/fixtures/uncased" -o kernels.backend=ref -o kernels.precision=bf16
says '^ok     kernels .*ref (.*bf16, cosine to f32 at least [01]'
run 1 check --model "$source/tests/fixtures/uncased" -o kernels.precision=int8 -o kernels.min_cosine=1
says '^WRONG  kernels .*kernels.min_cosine'
run 1 check --model "$d/model" -o kernels.backend=cuda -o kernels.plugin="$d/none.so"
says '^WRONG  kernels .*none.so'
run 1 check --model "$d/state"
says '^WRONG  tokenizer'
says '^WRONG  model'
[ ! -e "$d/state" ] || fail "check made a folder"
printf '[train]\nsed = 2\n' >"$d/bad.ini"
run 1 check --model "$d/model" --config "$d/bad.ini"
says "^WRONG  configuration  .*bad.ini:2: unknown key 'train.sed'; the nearest is 'train.seed'"
run 1 check --model "$d/model" -o model.trainable_layers=60
says 'lower model.trainable_layers'
run 1 check --model "$d/model" -o state.dir="$d/none"
says '^WRONG  state'
mkdir "$d/state"
run 0 check --model "$d/model" -o state.dir="$d/state"
says '^ok     state .*nothing in it yet'
says_not '^warn   scores'
run 0 check --model "$d/model" -o train.softmax_share=1 -o train.recalibration=false
says '^warn   scores  *variant default only orders'
run 0 check --model "$d/model" -o train.softmax_share=1
says_not '^warn   scores'
run 0 check --model "$d/model" -o variant.b.share=0.5 -o variant.b.train.softmax_share=1 -o variant.b.train.recalibration=false
says '^warn   scores  *variant b only orders'
echo secret >"$d/token"
chmod 644 "$d/token"
run 0 check --model "$d/model" -o serving.token_file="$d/token"
says 'others can read this secret'
says_not '^WRONG'

# --- where letters go, and what is read
run 0 check --model "$d/model" -o ingest.dead_letters="$d/rejected.jsonl"
says '^ok     file .*rejected.jsonl'
[ ! -e "$d/rejected.jsonl" ] || fail "check makes the file of letters"
run 1 check --model "$d/model" -o ingest.dead_letters="$d/none/rejected.jsonl"
says '^WRONG  file .*No such file'
for wrong in ingest.dead_letters=topic: ingest.topics=a,b,a "ingest.topics=a,b -o ingest.dead_letters=topic:b"; do
    # shellcheck disable=SC2086  # one or two options
    run 1 check --model "$d/model" -o $wrong
    says '^WRONG  configuration'
done

# --- dead letters
cat >"$d/letters.jsonl" <<'END'
{"stage":"parse","reason":"bad_json","message":"x"}
{"stage":"parse","reason":"bad_time","message":"y"}
{"stage":"parse","reason":"bad_time","message":"z"}
END
run 0 check --dead-letters "$d/letters.jsonl"
says 'parse *bad_time *2$'
says 'line 2: y'
echo '{}' >>"$d/letters.jsonl"
run 1 check --dead-letters "$d/letters.jsonl"
says 'the first is line 4'
run 1 check --dead-letters "$d/none"

# --- Redis and Kafka
run 1 check --model "$d/model" -o redis.url=unix:"$d/redis.sock"
says '^WRONG  redis'
run 1 check --model "$d/model" -o kafka.bootstrap.servers=127.0.0.1:1 -o kafka.socket.connection.setup.timeout.ms=1000
says '^WRONG  kafka'
command -v redis-server >/dev/null || { echo "check: redis-server is not installed"; exit 1; }
redis-server --port 0 --unixsocket "$d/redis.sock" --save '' --daemonize no >"$d/redis.log" 2>&1 &
redis=$!
tries=0
until redis-cli -s "$d/redis.sock" ping >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || fail "redis-server does not answer"
    sleep 0.1
done
run 0 check --model "$d/model" -o redis.url=unix:"$d/redis.sock"
says 'model default has no version yet'
redis-cli -s "$d/redis.sock" set 'fr:{default}:current' 12 >/dev/null
redis-cli -s "$d/redis.sock" config set maxmemory-policy allkeys-lru >/dev/null
run 0 check --model "$d/model" -o redis.url=unix:"$d/redis.sock"
says 'manifest:12 is missing'
says 'may throw weights away'
redis-cli -s "$d/redis.sock" set 'fr:{default}:current' twelve >/dev/null
run 0 check --model "$d/model" -o redis.url=unix:"$d/redis.sock"
says 'current is no version'

# --- a version in Redis: of this configuration, or of another that a scorer would refuse
"$freshet" simulate --events 500 >"$d/shop.jsonl" 2>"$d/err" || fail "simulate"
run 0 replay --quiet -o model.base="$d/model" -o redis.url=unix:"$d/redis.sock" -o model.parts=numeric "$d/shop.jsonl"
run 0 check --model "$d/model" -o redis.url=unix:"$d/redis.sock" -o model.parts=numeric
says '^ok  *redis .*is at version [0-9]'
run 1 check --model "$d/model" -o redis.url=unix:"$d/redis.sock" -o model.parts=numeric,cooccur
says '^WRONG  redis .*was learnt on another base, precision or other parts'
for other in history.pairs=1 model.max_tokens=8 type.click.template=foo counter.half_lives_hours=1,2,3,4; do
    run 1 check --model "$d/model" -o redis.url=unix:"$d/redis.sock" -o model.parts=numeric -o $other
    says '^WRONG  redis .*makes sentences or features otherwise'
done

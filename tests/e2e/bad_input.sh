#!/bin/sh
# bad_input.sh - what comes in wrong is a counted reject with its bytes kept, or a clear error with its exit status.
#
# Truncated archives, wrong columns, broken UTF-8, lines too long, wrong model folders, no Redis, folders that can't be
# written or are in use, options and keys that don't exist.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "bad_input: skipped, $freshet is not built"; exit 77; }
for tool in jq gzip xz zstd; do
    command -v $tool >/dev/null || { echo "bad_input: skipped, no $tool"; exit 77; }
done
base=$source/tests/fixtures/uncased
dir=$(mktemp -d)
away='' holder=''
end() {
    for pid in $away $holder; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "bad_input: $*"; head -c 2000 err; exit 1; }
run() { # wanted exit status, arguments
    want=$1 rc=0
    shift
    "$freshet" "$@" >out 2>err </dev/null || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
says() { grep -q -- "$1" err || fail "no '$1' in the message of: $last"; }
replay() { # wanted exit status, arguments
    want=$1
    shift
    last="replay $*"
    run "$want" replay --quiet -o model.base="$base" -o model.hashed_bits=10 -o join.window_ms=10000 -o kernels.threads=1 "$@"
}
is() { # file, jq expression
    jq -e "$2" "$1" >tried || fail "$1 has not: $2, but $(jq -c '{events, rejected, skipped, rejects}' "$1")"
}

"$freshet" simulate --events 1500 --users 20 --items 40 --seed 3 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err

# --- no Redis: learning goes on, and says so; it waits a while for Redis at its end, so it runs beside the rest
"$freshet" replay --quiet -o model.base="$base" -o model.hashed_bits=10 -o join.window_ms=10000 -o kernels.threads=1 \
    -o redis.url="unix:$dir/none" --report away.json log 2>away.err &
away=$!
last=top
run 1 top --once --json -o redis.url="unix:$dir/none"
says "unix:$dir/none"
run 1 top --once
says 'redis.url'
last=serve
run 1 serve -o model.base="$base" --listen 127.0.0.1:0
says 'redis.url'

# --- truncated archives: the fault is told, what was read is kept, and the whole file goes on from there
gzip -k log
xz -k log
zstd -q -k log
replay 0 --report whole.json log
for kind in gz xz zst; do
    head -c $(($(wc -c <log.$kind) * 2 / 3)) log.$kind >cut.$kind
    replay 1 --report cut.json -o state.dir="$dir/state.$kind" cut.$kind
    says "cut.$kind: the compressed data ends early"
    [ ! -e cut.json ] || fail "a report of a log that was cut short"
    cp log.$kind cut.$kind
    replay 0 --report mended.json -o state.dir="$dir/state.$kind" cut.$kind
    [ "$(jq .model.sha256 mended.json)" = "$(jq .model.sha256 whole.json)" ] || fail "$kind: other weights than of the whole log"
done
head -c 3000 log.gz | tail -c 2000 | cat log.gz - >tail.gz # a second member that is none
replay 1 tail.gz
says 'tail.gz'
replay 1 none.jsonl
says 'none.jsonl: No such file'
replay 1 "$dir"
: >empty
replay 0 --report empty.json empty
is empty.json '.events == 0 and .progressive.gauc == null'

# --- rejected messages: counted by reason, their bytes kept, tried again
mkdir bad
printf '{"type":"view","time":1767225600000,"user":"u\377\3761","item":"i1"}' >bad/1 # no UTF-8
printf '\000not json\001' >bad/2
printf '{"type":"view","time":1767225600,"user":"u1","item":"i1"}' >bad/3 # seconds
printf '{"type":"view","time":1767225600000,"user":"u1","item":"\344\270\255 \\u0001"}' >bad/4
printf '{"type":"wishlist","time":1767225600000,"user":"u1","item":"i1"}' >bad/5
head -c 5000 /dev/zero | tr '\0' x >bad/6 # longer than allowed: the first 2000 bytes are kept
{
    head -n 700 log
    for i in 1 2 3 4 5 6; do cat bad/$i; echo; done
    tail -n +701 log
    printf '{"type":"view"' # the last line ends early
} >mixed
head -c 2000 bad/6 >bad/cut && mv bad/cut bad/6
printf '{"type":"view"' >bad/7
replay 0 --report mixed.json -o ingest.max_bytes=2000 -o ingest.dead_letters=letters mixed
is mixed.json '.events == 1507 and .rejected == 7 and .examples == '"$(jq .examples whole.json)"
is mixed.json '.rejects == {bad_utf8: 1, bad_json: 2, time_seconds: 1, id_control: 1, unknown_type: 1, too_long: 1}'
[ "$(wc -l <letters)" -eq 7 ] || fail "$(wc -l <letters) dead letters"
for i in 1 2 3 4 5 6 7; do
    sed -n ${i}p letters | jq -r .value_base64 | base64 -d | cmp -s - bad/$i || fail "dead letter $i has not the message's bytes"
done
jq -se 'map(.offset) == [700, 701, 702, 703, 704, 705, 1506] and all(.[]; .topic == "mixed" and .stage == "parse" and (.message | length) > 0)' letters >tried ||
    fail "dead letters with other places: $(jq -c '[.topic, .offset, .stage]' letters)"
replay 0 --report again.json --dead-letters -o type.wishlist.label=none -o ingest.dead_letters=still letters
is again.json '.events == 7 and .rejected == 6'
jq -e 'select(.offset == 4)' still >tried && fail "what is right now is still rejected"
for i in 1 2 3 4 6 7; do jq -r .value_base64 letters | sed -n ${i}p; done >wanted
jq -r .value_base64 still | cmp -s - wanted || fail "the second dead letters have other messages"
replay 1 --dead-letters -o ingest.dead_letters=./letters letters
says 'the same file'
[ "$(wc -l <letters)" -eq 7 ] || fail "dead letters were cut by reading them"
replay 1 -o ingest.dead_letters=none/letters log
says 'none/letters'

# --- refused after parsing, by its time or because the catalogue is full: the same, in whatever format it came
sed '/"item"/!d; s/"type":"item","time"/"event":"item","timestamp"/; q' log >meta
printf '{"event":"interaction", "type":"view", "timestamp":"32472144000000", "user":"u1", "item":"i1"}' >bad/1
printf '{"event": "item", "timestamp": 1767225600000, "item": "i2"}' >bad/2
cat bad/2 >>meta
printf '\n' >>meta
cat bad/1 >>meta
replay 0 --report meta.json --schema metarank --flush -o catalogue.items=1 -o ingest.dead_letters=letters meta
is meta.json '.events == 3 and .rejected == 2 and .rejects == {time_jump: 1, catalogue_full: 1}'
jq -r 'select(.reason == "time_jump" and .stage == "watermark") | .value_base64' letters | base64 -d | cmp -s - bad/1 ||
    fail "an event from the year 2999 has not its bytes among the dead letters"
jq -r 'select(.reason == "catalogue_full" and .stage == "catalogue") | .value_base64' letters | base64 -d | cmp -s - bad/2 ||
    fail "an item too many has not its bytes among the dead letters"
replay 0 --report again.json --schema metarank --dead-letters letters
is again.json '.events == 2 and .rejected == 0'

# --- tables
map=$source/deploy/maps/online-retail.ini
cat >table.csv <<'END'
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE HANGING HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
536365,71053,"WHITE ""METAL"" LANTERN, LARGE",6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
536366,71053,six columns,6,2010-12-01 08:28:00,3.39
536367,71053,WHITE METAL LANTERN,6,yesterday,3.39,17850.0,United Kingdom
536367,POST,POSTAGE,1,2010-12-01 08:34:00,18.00,17850.0,United Kingdom
C536368,71053,WHITE METAL LANTERN,-6,2010-12-01 08:34:00,3.39,17850.0,United Kingdom
END
replay 0 --report table.json --schema csv --map "$map" table.csv
is table.json '.events == 6 and .rejected == 2'
is table.json '.rejects == {bad_time: 1, csv_columns: 1, "skipped.no_product_code": 1}'
sed 1s/InvoiceDate/Date/ table.csv >columns.csv
replay 1 --schema csv --map "$map" columns.csv
says 'no column "InvoiceDate"'
says 'columns.csv'
replay 1 --schema csv --map none.ini table.csv
says 'none.ini'
replay 2 --schema csv table.csv
says 'ingest.map'
replay 2 --schema cvs table.csv
says 'native|metarank|csv'

# --- model folders
base=$dir/model
fresh() { rm -rf model && cp -r "$source/tests/fixtures/uncased" model; }
for file in config.json model.safetensors vocab.txt; do
    fresh
    rm model/$file
    replay 1 log
    says "$dir/model"
    says "${file%.*}"
done
fresh
head -c 100000 "$source/tests/fixtures/uncased/model.safetensors" >model/model.safetensors
replay 1 log
says 'model.safetensors.*truncated'
head -c 5 "$source/tests/fixtures/uncased/model.safetensors" >model/model.safetensors
replay 1 log
says 'model.safetensors.*truncated'
fresh
sed -i 's/"hidden_size": [0-9]*/"hidden_size": 64/' model/config.json
replay 1 log
says 'shape'
fresh
echo more >>model/vocab.txt
replay 1 log
says 'tokenizer'
base=$dir/nowhere
replay 1 log
says 'nowhere'
base=$source/tests/fixtures/uncased

# --- folders
replay 1 -o state.dir="$dir/log/state" log
says "state.dir: $dir/log/state"
replay 1 --report none/report.json --dump-examples dump log
says 'none/report.json'
[ ! -e dump ] || fail "the report's path is tried only when all is done"
replay 1 --dump-examples none/dump log
says 'none/dump'
head -n 70 log >short # all that is dumped of it waits in memory until the end
replay 0 --flush --dump-slates slates short
[ -s slates ] && [ "$(wc -c <slates)" -lt 4096 ] || fail "$(wc -c <slates) bytes of dumped slates"
replay 1 --flush --dump-slates /dev/full short
says 'written to /dev/full'
"$freshet" replay --quiet -o model.base="$base" -o model.hashed_bits=10 -o join.window_ms=10000 -o state.dir="$dir/held" --speed 1x log 2>held.err &
holder=$!
for _ in $(seq 200); do
    [ ! -e held/state.mdb ] && [ ! -e held/state/state.mdb ] || break
    sleep 0.05
done
sleep 0.2
replay 1 -o state.dir="$dir/held" log
says "in use by process $holder"
kill -TERM $holder
rc=0
wait $holder || rc=$?
holder=
[ $rc -eq 0 ] || fail "replay ended with $rc after SIGTERM"
replay 0 -o state.dir="$dir/held" log # free again
replay 1 -o state.dir="$dir/held" -o model.hashed_bits=11 log
says 'model.hashed_bits'

# --- options and keys
replay 2
says 'LOG... is missing'
replay 2 --flsh log
says 'nearest is --flush'
replay 2 -o train.sed=3 log
says "nearest is 'train.seed'"
replay 2 -o train.seed=x log
says 'train.seed'
replay 2 -o redis.url=ftp://x log
says 'redis.url'
replay 2 --speed fast log
replay 2 --warmup soon log
printf '[train]\nsed = 2\n' >bad.ini
replay 2 --config bad.ini log
says "bad.ini:2: unknown key 'train.sed'"
replay 2 --config none.ini log
last=run
run 1 run -o model.base="$base"
says 'state.dir'
run 1 run -o model.base="$base" -o state.dir="$dir/run"
says 'kafka.bootstrap.servers'
run 2 run -o model.base="$base" -o state.dir="$dir/run" -o ingest.source=file
says 'ingest.source'

rc=0
wait $away || rc=$?
away=
[ $rc -eq 0 ] || fail "replay without Redis ended with $rc: $(cat away.err)"
grep -q "unix:$dir/none" away.err || fail "nothing said of the Redis that is not there"
[ "$(jq .model.sha256 away.json)" = "$(jq .model.sha256 whole.json)" ] || fail "without Redis something else is learnt"

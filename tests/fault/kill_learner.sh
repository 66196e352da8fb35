#!/usr/bin/env bash
# kill_learner.sh - SIGKILL to the learner at random moments: nothing is lost, nothing is learnt twice.
#
#   kill_learner.sh [--kills N] [--seed N] [--events N]       the short form is 20 kills, the long one --kills 1000
#
# On a real broker, with Redis there.  A log with lists and delayed clicks is in the topic; `run` is killed some time after
# its start or just after a checkpoint began, until everything is read; then it ends in order and its report is compared
# with that of a run that nobody killed.  Rounds of that until there were as many kills as asked for.
#   four partitions: each partition's next offset, count of records and hash chain over them; all counts of slates, examples
#   one partition:   the whole report: progressive sums, baselines, slices, and the hash of the weights; a tenth of the kills (5 at least)
#   a log file:      the same of `replay`; as many
# labels: broker kafka redis fault
# timeout: 500
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"

kills_wanted=20 seed=$RANDOM events=100000
while (($# > 0)); do
    case $1 in
    --kills) kills_wanted=$2 ;;
    --seed) seed=$2 ;;
    --events) events=$2 ;;
    *) sed -n '2,/^# labels/{/labels/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
stream_begin kill_learner
RANDOM=$seed
echo "kill_learner: seed $seed"

window_ms=30000
options=(-o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 -o join.window_ms=$window_ms -o join.organic=false
    -o kernels.threads=1 -o train.batch_slates=4 -o state.checkpoint_every_ms=100 -o publish.every_ms=300)
stream_redis
stream_kafka
options+=(-o kafka.bootstrap.servers="$servers" -o redis.url="unix:$dir/redis")

# --- the events
simulate() { # EVENTS FILE
    "$freshet" simulate --events "$1" --users 3000 --items 300 --seed "$seed" --rate 20 --delay-ms 8000 --window-ms $window_ms \
        --no-best >"$2" 2>err || fail "simulate"
}
produce() { # TOPIC PARTITIONS FILE
    KAFKA_DIR=$dir/kafka "$source/deploy/kafka.sh" topic "$1" "$2" 2>err || fail "topic $1"
    "$freshet" convert "$3" --topic "$1" -o kafka.bootstrap.servers="$servers" 2>err || fail "convert to $1"
}
simulate "$events" log
simulate $((events / 5)) short.log
produce four 4 log
produce one 1 short.log
last_ms() { jq -s 'map(.time) | max' "$1"; }
declare -A all=([four]=$events [one]=$((events / 5))) last=([four]=$(last_ms log) [one]=$(last_ms short.log))

# --- one life of a learner
metric() { redis hget "fr:$topic:metrics" "$1" 2>/dev/null; }
start() { # STATE REPORT
    redis del "fr:$topic:metrics" >/dev/null
    if [[ $topic == file ]]; then
        "$freshet" replay --quiet --report "$2" "${options[@]}" -o model.name=file -o state.dir="$1" --publish-every 200 short.log 2>err &
    else
        "$freshet" run --quiet --report "$2" "${options[@]}" -o model.name="$topic" -o ingest.topics="$topic" -o state.dir="$1" 2>err &
    fi
    learner=$!
    started=("$redis_pid" "$learner")
}
alive() { kill -0 "$learner" 2>/dev/null; }
all_read() { [[ $(metric events_total) == "${all[$topic]}" ]]; }
all_ended() { # and that is known
    alive || fail "$topic, seed $seed: the learner ended by itself"
    all_read && [[ $(metric watermark_ms) == "${last[$topic]}" && $(metric lag_events) == 0 ]]
}
end() { # what is left is read, then an orderly end
    local rc=0
    if [[ $topic != file ]]; then
        stream_wait 300 "end of $topic" all_ended
        kill -TERM "$learner"
    fi
    wait "$learner" || rc=$?
    ((rc == 0)) || fail "the learner of $topic ended with $rc"
}
# Waits 50 to 800 ms from the start on (longer where that has led to nothing: a busy machine), or, every third time, for a
# checkpoint to begin and 0 to 20 ms more.
moment() { # STATE
    local i ms=$((50 + RANDOM % 751 + slack_ms)) before after
    before=$(newest "$1")
    if ((RANDOM % 3 > 0)); then
        nap $((ms / 1000)).$(printf %03d $((ms % 1000)))
    else
        touch mark
        for ((i = 0; i < ms / 2; i++)); do
            [[ $1/weights -nt mark ]] && break
            nap 0.002
        done
        nap 0.0$(printf %02d $((RANDOM % 21)))
    fi
    after=$(newest "$1")
    slack_ms=$((after > before ? slack_ms * 3 / 4 : slack_ms + 100))
}
newest() { # STATE: the number of its newest weight file
    local f n=0
    for f in "$1"/weights/*; do [[ ${f##*/} =~ ^[0-9]+$ ]] && ((${f##*/} > n)) && n=${f##*/}; done
    echo "$n"
}

# --- what must be equal
# Prints where the two reports differ in what a filter leaves of them: path, value, what it should be.
differences() { # FILTER
    jq -rn --slurpfile a report.json --slurpfile b "$topic.json" "(\$a[0] | $1) as \$x | (\$b[0] | $1) as \$y
        | [\$x, \$y | paths(type != \"object\" and type != \"array\")] | unique | .[] as \$p
        | select((\$x | getpath(\$p)) != (\$y | getpath(\$p)))
        | \"\(\$p | map(tostring) | join(\".\")) \(\$x | getpath(\$p)) instead of \(\$y | getpath(\$p))\"" | head -n 10
}
same() { # FILTER
    local what
    what=$(differences "$1")
    [[ -z $what ]] || fail "$topic, round $round, seed $seed: $what"
}
records='def records: [.partitions[] | {key: "\(.topic)-\(.partition)", value: .records}] | from_entries;'
count_lost() { # records that one of the two has more of
    jq -n --slurpfile a "$1" --slurpfile b "$2" "$records (\$a[0] | records) as \$x | \$b[0] | records | to_entries
        | map([.value - (\$x[.key] // 0), 0] | max) | add"
}
compare() {
    if [[ $topic != file ]]; then
        lost=$((lost + $(count_lost report.json $topic.json)))
        doubled=$((doubled + $(count_lost $topic.json report.json)))
        same '.partitions'
    fi
    case $topic in
    four) same '{events, rejected, rejects, slates, examples, open, unmatched, duplicates}' ;;
    *) same 'del(.seconds, .examples_per_second, .peak_rss_bytes, .costs, .score_core_seconds, .learn_core_seconds, .learn_seconds, .gate.blessed_version, .model.version, .tokens, .unknown_tokens)' ;; # of this process
    esac
}

# --- rounds
reference() {
    start "$dir/reference" $topic.json
    end
    if [[ $topic != file ]]; then # against what the broker has, not only against ourselves
        [[ $(jq '[.partitions[].records] | add' $topic.json) == "${all[$topic]}" ]] || fail "$topic: not every record was read"
    fi
    rm -rf "$dir/reference"
}
# Kills until all is read, but no more than most_kills, then compares.  Adds to kills, resumed (those that hit a learner with
# a state).
most_kills=60
one_round() { # KILLS WANTED
    local state=$dir/state until=$((kills + most_kills < $1 ? kills + most_kills : $1)) slack_ms=0
    rm -rf "$state"
    redis flushall >/dev/null
    while :; do
        start "$state" report.json
        ((kills < until)) || break
        moment "$state"
        if { [[ $topic == file ]] && ! alive; } || { [[ $topic != file ]] && all_read; }; then break; fi
        kill -KILL "$learner" 2>/dev/null || [[ $topic == file ]] || fail "$topic, seed $seed: the learner ended by itself"
        wait "$learner" 2>/dev/null || true
        kills=$((kills + 1))
        [[ ! -s $state/state.mdb ]] || resumed=$((resumed + 1))
    done
    end
    compare
    echo "kill_learner: $topic: round $round, $kills kills so far" >&2
}
shoot() { # TOPIC KILLS
    topic=$1 kills=0 resumed=0 lost=0 doubled=0
    reference
    for ((round = 1; kills < $2; round++)); do one_round "$2"; done
    ((resumed * 2 > kills)) || fail "$topic: only $resumed of $kills kills hit a learner with a state"
    echo "kill_learner: $topic: $kills kills in $((round - 1)) rounds of ${all[$topic]:-${all[one]}} events: lost $lost, doubled $doubled"
}
fewer=$((kills_wanted / 10 > 5 ? kills_wanted / 10 : 5))
shoot four "$kills_wanted"
shoot one $fewer
shoot file $fewer

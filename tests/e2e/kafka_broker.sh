#!/usr/bin/env bash
# kafka_broker.sh - the learner on a real Kafka: what librdkafka's mock cluster has no semantics for.
#
#   kafka_broker.sh [CASE...]   all cases, one after the other, on one broker of Kafka 4 and one of Kafka 3.9
#
# Each case has topics, a model name (so a group) and a state folder of its own.
# labels: broker kafka redis
# timeout: 400
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"
stream_begin kafka_broker openssl
tool=$build/tests/kafka_tool
[[ -x $tool ]] || skip "$tool is not built"

# --- what the cases are made of
simulate() { # EVENTS SEED
    "$freshet" simulate --events "$1" --users 60 --items 80 --seed "$2" --rate 5 --delay-ms 3000 --window-ms 20000 --no-best 2>tool.err ||
        fail "simulate"
}
options=(-o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric -o join.window_ms=20000 -o join.organic=false
    -o kernels.threads=1 -o join.idle_ms=100 -o state.checkpoint_every_ms=200 -o publish.every_ms=500)
kafka() { "$tool" "$servers" "$@" 2>tool.err || fail "kafka_tool $*"; }
convert() { # TOPIC FILE [OPTIONS...]
    local topic=$1 file=$2
    shift 2
    "$freshet" convert "$file" --topic "$topic" -o kafka.bootstrap.servers="$servers" "$@" 2>tool.err || fail "convert to $topic"
}
high() { kafka ends "$1" "$2" | awk '{ n += $3 } END { print n }'; } # TOPIC PARTITIONS: messages ever written

learner='' model=''
run() { # MODEL TOPICS OPTIONS...
    model=$1
    local topics=$2
    shift 2
    redis del "fr:$model:metrics" >/dev/null
    : >err # here, not by the process: what the last one said is looked at no more
    "$freshet" run --quiet --report "$model.json" "${options[@]}" -o kafka.bootstrap.servers="$servers" -o redis.url="unix:$dir/redis" \
        -o model.name="$model" -o ingest.topics="$topics" -o state.dir="$dir/state.$model" "$@" 2>err &
    learner=$!
    started+=("$learner")
}
metric() { redis hget "fr:$model:metrics" "$1"; }
alive() { kill -0 "$learner" 2>/dev/null || fail "$case: the learner ended by itself"; }
has_taken() { alive && [[ $(metric events_total) == "$1" ]]; }
taken() { stream_wait 60 "$case: event $1 taken" has_taken "$1"; }
finish() { # an orderly end; its log stays in MODEL.err
    local rc=0
    kill -TERM "$learner"
    wait "$learner" || rc=$?
    ((rc == 0)) || fail "$case: the learner ended with $rc"
    cp err "$model.err"
}
reports() { # JQ FILTER: holds of the last report
    jq -e "$1" "$model.json" >tried || fail "$case: the report has not: $1; it has $(jq -c '{events, rejected, slates, open, examples, duplicates, partitions}' "$model.json")"
}
says() { grep -qE "$1" err || fail "$case: the log has not: $1"; }
silent() { ! grep -E "$1" err || fail "$case: the log has: $1"; }
all_once() { # TOPIC PARTITIONS: each message of it was taken, once
    local want have
    want=$(kafka ends "$1" "$2" | awk '{ print $1, $3 - $2 }')
    have=$(jq -r ".partitions | map(select(.topic == \"$1\")) | sort_by(.partition)[] | \"\\(.partition) \\(.records)\"" "$model.json")
    [[ $have == "$want" ]] || fail "$case: $1: taken (partition, records) $(echo $have), written $(echo $want)"
}
refused() { # SECONDS TEXT MODEL TOPICS OPTIONS...: it ends by itself within the time, status 1, and says why
    local rc=0 seconds=$1 text=$2
    shift 2
    run "$@"
    for ((i = 0; i < seconds * 20; i++)); do kill -0 "$learner" 2>/dev/null || break; nap 0.05; done
    ! kill -0 "$learner" 2>/dev/null || fail "$case: still runs after $seconds s, but should have refused"
    wait "$learner" || rc=$?
    ((rc == 1)) || fail "$case: exit status $rc"
    says "^freshet run: .*$text"
}

# --- cases
case_topics() { # two topics, five partitions, at once
    grep '"type":"item"' log >items
    grep -v '"type":"item"' log >behaviours
    kafka create items 1
    kafka create shop 4
    convert items items
    convert shop behaviours
    run topics items,shop
    taken "$(wc -l <log)"
    finish
    reports '.rejected == 0 and .duplicates == 0'
    all_once items 1
    all_once shop 4
    run topics items,shop # nothing is taken twice
    taken "$(wc -l <log)"
    finish
    all_once shop 4
    [[ $("$tool" "$servers" committed freshet-topics shop 4) == "$(kafka ends shop 4 | awk '{ print $1, $3 }')" ]] ||
        fail "$case: the group's committed offsets are not where the learner is"
}

case_starts() { # where a new state begins, and that a checkpoint goes before all of it
    local now_ms=$(($(date +%s) * 1000))
    kafka create starts 1
    head -n 300 log | kafka produce starts 0 $((now_ms - 86400000)) # a day ago
    sed -n 301,400p log | kafka produce starts 0 $now_ms
    run earliest starts -o ingest.start=earliest
    taken 400
    finish
    run bytime starts -o ingest.start="ts=$((now_ms - 3600000))"
    taken 100
    finish
    run byrfc starts -o ingest.start="ts=$(date -u -d "@$((now_ms / 1000 - 90000))" +%Y-%m-%dT%H:%M:%SZ)"
    taken 400
    finish
    run last starts -o ingest.start=last=2h
    taken 100
    finish
    run latest starts -o ingest.start=latest
    stream_wait 20 "$case: partition joined" grep -q 'kafka.group joined=1' err
    sed -n 401,450p log | kafka produce starts 0
    taken 50
    finish
    reports '.partitions[0].next == 450 and .partitions[0].records == 50'
    run bytime starts -o ingest.start=latest # it has a checkpoint: that counts
    taken 150
    finish
}

case_truncated() { # records deleted below the checkpoint, by request
    kafka create cut 1
    head -n 200 log | kafka produce cut 0
    run cut cut
    taken 200
    finish
    sed -n 201,300p log | kafka produce cut 0
    kafka truncate cut 0 250
    refused 20 'topic cut partition 0: the checkpoint goes on at offset 200.* 250 to 300.*ingest.missing' cut cut
    run cut cut -o ingest.missing=earliest
    taken 250
    finish
    says 'kafka.missing'
    reports '.partitions[0].next == 300 and .partitions[0].records == 250'
    run cut cut # it is settled: no word of it any more
    taken 250
    finish
    silent 'kafka.missing'
}

case_retention() { # records deleted below the checkpoint, by age
    kafka create aged 1 retention.ms=10000 segment.ms=100
    head -n 100 log | kafka produce aged 0
    run aged aged
    taken 100
    finish
    sed -n 101,150p log | kafka produce aged 0
    aged_low() { (($(kafka ends aged 1 | cut -d' ' -f2) >= 150)); }
    stream_wait 60 "$case: retention" aged_low
    sed -n 151,200p log | kafka produce aged 0
    refused 20 'topic aged partition 0: the checkpoint goes on at offset 100' aged aged
    run aged aged -o ingest.missing=latest
    stream_wait 30 "$case: word of what is missing" grep -q 'kafka.missing topic=aged partition=0 checkpoint=100 .*goes_on=200' err
    sed -n 201,210p log | kafka produce aged 0
    taken 110
    finish
}

case_replaced() { # the topic deleted and made anew between two runs: longer, and other records at the old offsets
    kafka create anew 1
    head -n 100 log | kafka produce anew 0
    run anew anew
    taken 100
    finish
    kafka delete anew
    kafka create anew 1
    sed -n 201,400p log | kafka produce anew 0
    refused 20 'topic anew partition 0: the checkpoint goes on at offset 100.*made anew' anew anew
    run anew anew -o ingest.missing=earliest
    taken 300
    finish
    reports '.partitions[0].next == 200'
}

# The same while the learner runs.  It asks ten times a second; who deletes, makes anew and fills past the old end within that
# time is not noticed: the protocol's topic ids are not to be had from librdkafka 2.0.
case_replaced_under() {
    kafka create under 1
    head -n 100 log | kafka produce under 0
    run under under -o kafka.topic.metadata.refresh.interval.ms=500
    taken 100
    kafka delete under
    nap 1
    kafka create under 1
    sed -n 201,400p log | kafka produce under 0
    for ((i = 0; i < 400; i++)); do kill -0 "$learner" 2>/dev/null || break; nap 0.05; done
    ! kill -0 "$learner" 2>/dev/null || fail "$case: the learner did not notice"
    ! wait "$learner" || fail "$case: exit status 0"
    says 'topic under partition 0: .*made anew'
}

case_compacted() { # compaction leaves gaps: no alarm
    kafka create compacted 1 cleanup.policy=compact segment.ms=100 min.cleanable.dirty.ratio=0.01
    for ((i = 1; i <= 20; i++)); do sed -n "$((i * 5 + 96)),$((i * 5 + 100))p" log; done |
        awk '{ print "k" NR % 7 "\t" $0 }' | kafka produce compacted 0
    nap 0.3
    sed -n 301,310p log | awk '{ print "l" NR "\t" $0 }' | kafka produce compacted 0
    left() { kcat -C -b "$servers" -t compacted -p 0 -e -q -f 'x\n' | wc -l; }
    fewer() { [[ $(left) -lt 100 ]]; }
    stream_wait 30 "$case: compaction" fewer
    run compacted compacted
    taken "$(left)"
    finish
    silent 'kafka.gap'
    reports '.partitions[0].next == 110 and .partitions[0].records < 100'
}

case_transactions() { # aborted batches and markers leave gaps: an alarm, unless they are expected
    kafka create paid 1
    head -n 50 log | kafka transaction paid 0 commit
    sed -n 51,60p log | kafka transaction paid 0 abort
    sed -n 61,100p log | kafka transaction paid 0 commit
    run paid paid -o ingest.gaps=expected
    taken 90
    finish
    silent 'kafka.gap'
    reports '.partitions[0].records == 90'
    run alarmed paid
    taken 90
    finish
    says 'kafka.gap topic=paid partition=0 .*ingest.gaps=expected'
}

settings() { # LISTENER [FOLDER]: as options; of the broker of Kafka 3.9
    sed 's/^/-o\nkafka./' "$dir/${2:-kafka3}/security/$1.properties"
}
case_security() { # TLS, SCRAM, both; a wrong password, another CA, a plain client at a TLS port, SCRAM with Kafka 4
    local plain=$servers l o
    servers=$servers3
    kafka create safe 1
    for l in tls sasl sasl_tls; do
        mapfile -t o < <(settings $l)
        convert safe <(head -n 40 log) "${o[@]}"
        run "safe_$l" safe "${o[@]}"
        taken "$(high safe 1)"
        finish
    done
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=another CA' -keyout other.key -out other.pem 2>/dev/null
    mapfile -t o < <(settings sasl)
    refused 30 'the login was refused.*kafka.sasl.mechanism' wrong safe "${o[@]}" -o kafka.sasl.password=wrong
    mapfile -t o < <(settings sasl_tls)
    refused 30 'certificate verify failed' wrong safe "${o[@]}" -o kafka.ssl.ca.location="$dir/other.pem" \
        -o kafka.socket.connection.setup.timeout.ms=3000
    mapfile -t o < <(settings tls)
    refused 30 'kafka.bootstrap.servers=' wrong safe "${o[@]}" -o kafka.security.protocol=plaintext \
        -o kafka.socket.connection.setup.timeout.ms=3000
    servers=$plain
    mapfile -t o < <(settings tls kafka)
    kafka create safe 1
    convert safe <(head -n 40 log)
    run safe4 safe "${o[@]}"
    taken 40
    finish
    mapfile -t o < <(settings sasl kafka)
    [[ $(kcat -V) != *'librdkafka 2.0'* ]] || refused 30 'the login was refused.*2.6.1 can' safe5 safe "${o[@]}"
}

case_restart() { # the broker dies and comes back; the learner waits, says so, and goes on
    kafka create restart 2
    head -n 300 log >part
    convert restart part
    run restart restart
    taken 300
    KAFKA_DIR=$dir/kafka "$source/deploy/kafka.sh" kill 1 2>tried
    stream_wait 20 "$case: word that Kafka is away" grep -q 'kafka state=down' err
    alive
    KAFKA_DIR=$dir/kafka "$source/deploy/kafka.sh" start 2>kafka.err || fail "$case: the broker does not come back"
    sed -n 301,500p log >part
    convert restart part
    taken 500
    finish
    says 'kafka state=up down_ms='
    all_once restart 2
}

joined() { grep -qE "rebalanced.*(assigned|assignment of [1-9]).*: $1" "$2"; }
foreign() { # STRATEGY: another member of the learner's group joins, leaves, joins again and is killed
    local t=foreign_$1 member k
    kafka create "$t" 4
    head -n 400 log >part
    convert "$t" part
    run "$t" "$t" -o kafka.partition.assignment.strategy="$1" -o kafka.session.timeout.ms=6000 -o kafka.heartbeat.interval.ms=300
    taken 400
    for k in 1 2; do
        kcat -G "freshet-$t" "$t" -b "$servers" -X partition.assignment.strategy="$1" -X session.timeout.ms=2000 \
            -X heartbeat.interval.ms=300 -X auto.offset.reset=earliest >"member.$k" 2>"member.$k.err" &
        member=$!
        started+=("$member")
        stream_wait 30 "$case: partitions for the other member" joined "$t" "member.$k.err"
        stream_wait 30 "$case: word that partitions left" grep -q 'kafka.group left=' err
        sed -n "$((k * 200 + 201)),$((k * 200 + 400))p" log >part
        convert "$t" part
        nap 0.7
        has_taken $((k * 200 + 400)) && fail "$case: the other member has no partition"
        if ((k == 1)); then kill -TERM "$member"; else kill -KILL "$member"; fi
        wait "$member" 2>/dev/null || true
        taken $((k * 200 + 400))
    done
    finish
    all_once "$t" 4
    reports '.duplicates == 0 and .rejected == 0'
    run "${t}_all" "$t" -o ingest.membership=assign # what a learner with all partitions to itself comes to
    taken 800
    finish
    for k in "$t" "${t}_all"; do jq '[.slates + .open, (.partitions | map([.partition, .next, .records, .chain]))]' "$k.json" >"$k.came"; done
    cmp "$t.came" "${t}_all.came" || fail "$case: $(jq -c . "$t.came") instead of $(jq -c . "${t}_all.came")"
}
case_foreign_range() { foreign range; }
case_foreign_cooperative() { foreign cooperative-sticky; }

case_static() { # a static member that comes back with other topics is not left with the partitions that it had
    kafka create static_a 2
    kafka create static_b 2
    sed -n 1,100p log | kafka produce static_a 1
    sed -n 101,200p log | kafka produce static_b 1
    run static static_a
    taken 100
    finish
    rm -rf state.static
    run static static_a,static_b --fresh
    taken 200
    finish
    says 'kafka.group asks_again=.*2 of 4'
    rm -rf state.static
    run static static_b --fresh
    taken 100
    finish
    run static static_b # nothing has changed: it is spared the rebalance
    taken 100
    finish
    silent 'asks_again'
}

case_protocol() { # a member of the group that divides partitions otherwise: said, and gone on when it has left
    local member
    kafka create protocol 1
    head -n 50 log | kafka produce protocol 0
    kcat -G freshet-protocol protocol -b "$servers" -X partition.assignment.strategy=roundrobin >member 2>member.err &
    member=$!
    started+=("$member")
    stream_wait 30 "$case: partitions for the other member" joined protocol member.err
    run protocol protocol
    troubled() { redis hget fr:protocol:info trouble | grep 'partition.assignment.strategy: stop it'; }
    stream_wait 20 "$case: word of it" troubled
    says 'code=INCONSISTENT_GROUP_PROTOCOL .*kafka.partition.assignment.strategy'
    kill -TERM "$member"
    taken 50
    finish
}

case_monitor() { # Kafka's own tool sees where the learner is
    kafka create monitor 1
    head -n 100 log | kafka produce monitor 0
    run monitor monitor
    taken 100
    lag_known() {
        java -Xmx64m -XX:TieredStopAtLevel=1 -cp "$KAFKA_JARS/4.3.1/*" -Dlog4j2.configurationFile="$dir/kafka/quiet.xml" \
            org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$servers" --describe --group freshet-monitor |
            grep -E '^freshet-monitor +monitor +0 +100 +100 +0 '
    }
    stream_wait 30 "$case: lag 0 at offset 100" lag_known
    finish
}

# --- all of them
cases=(topics starts truncated retention replaced replaced_under compacted transactions security restart foreign_range foreign_cooperative
    static protocol monitor)
[[ $# -eq 0 ]] || cases=("$@")
stream_redis
(KAFKA_VERSION=3.9.1 KAFKA_SECURITY=1 stream_kafka 1 kafka3) &
other=$!
folders+=("$dir/kafka3")
KAFKA_SECURITY=1 stream_kafka
wait $other || exit 1
servers3=$(KAFKA_DIR=$dir/kafka3 "$source/deploy/kafka.sh" bootstrap)
simulate 1000 5 >log
for case in "${cases[@]}"; do
    began=$SECONDS
    "case_$case"
    echo "kafka_broker: $case: $((SECONDS - began)) s"
done

#!/usr/bin/env bash
# kafka.sh - Apache Kafka (KRaft) on loopback for development and tests: 1 or 3 brokers, everything in one folder.
#
#   deploy/kafka.sh fetch                  the jars, from Maven Central through mvn; once
#   deploy/kafka.sh start [N]              N = 1 or 3 brokers (default: as many as there were, else 1); returns when ready
#   deploy/kafka.sh stop                   clean stop of all
#   deploy/kafka.sh topic NAME PARTITIONS [RF] [KEY=VALUE...]
#                                          a topic, unless it is there; RF and topic settings if given
#   deploy/kafka.sh kill N                 SIGKILL to broker N; `start` brings it back
#   deploy/kafka.sh status                 each broker's pid, ports and memory; exit status 0 when all run, else 1
#   deploy/kafka.sh bootstrap [LISTENER]   bootstrap.servers of a listener: plain (default), tls, sasl, sasl_tls
#   deploy/kafka.sh clean                  stop, and delete brokers and data; the jars stay
#
# Environment:
#   KAFKA_DIR            the folder (build/kafka of the source tree)
#   KAFKA_JARS           where the jars are kept, to be shared by several folders ($KAFKA_DIR/jars)
#   KAFKA_PORT           first port: broker I takes the five from PORT + 5(I-1) on: plain, controller, TLS, SASL, SASL over
#                        TLS.  auto: free ones.  Default: as the cluster was made, else 19092
#   KAFKA_SECURITY       1: the listeners tls, sasl and sasl_tls too (decided when the cluster is made); certificates and
#                        librdkafka's settings for each in $KAFKA_DIR/security/*.properties
#   KAFKA_USER KAFKA_PASSWORD  who may in by SCRAM-SHA-256 (freshet, freshet-secret)
#   KAFKA_VERSION        3.9.0 or newer (as the cluster was made, else 4.3.1); the jars of 4.3.1 and 3.9.1 are pinned by
#                        SHA-256.  SCRAM with a librdkafka older than 2.6.1 needs a 3.9: Kafka 4 refuses the nonce that
#                        those repeat
#   KAFKA_PROXIED        PORT:ADVERTISED: a listener more, on PORT, which tells its clients to come to port
#                        ADVERTISED: where a proxy in front of it listens (one broker only)
#   KAFKA_HEAP_MB        -Xmx of a broker (256)
#   KAFKA_WAIT_S         longest wait for start and stop (90)
#   KAFKA_SESSION_MS     how soon a dead broker is missed, and how long its restart has to wait (4000)
#
# Nothing is forced to disk, nothing listens but on 127.0.0.1: this is no cluster for data that matter.
set -euo pipefail

version_default=4.3.1
pinned() { # VERSION: SHA-256 of `sha256sum *.jar`, sorted in the C locale
    case $1 in
    4.3.1) echo 80faec6f4511082d213049e72d709e839ccac61267b1e9a6d6ea16c3e7c61137 ;;
    3.9.1) echo ec3bc0bfa96e659ffaa556e222c2065b38f1be245b0de27aea3d0a5fc1a82f8e ;;
    esac
}

say() { printf 'kafka: %s\n' "$*" >&2; }
die() { printf 'kafka: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'kafka: %s; see deploy/kafka.sh --help\n' "$*" >&2; exit 2; }
usage() { sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//;p}' "$0"; }
number_to() { [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] && (($2 <= $1)); } # LIMIT TEXT

# --- what the environment says ------------------------------------------------------------------------------------------
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
read_environment() {
    dir=${KAFKA_DIR:-$source_dir/build/kafka}
    mkdir -p "$dir" || die "KAFKA_DIR=$dir can't be made"
    dir=$(cd "$dir" && pwd)
    version=${KAFKA_VERSION:-$(made version)} version=${version:-$version_default}
    jars=${KAFKA_JARS:-$dir/jars}/$version
    heap=${KAFKA_HEAP_MB:-256} wait_s=${KAFKA_WAIT_S:-90}
    session_ms=${KAFKA_SESSION_MS:-4000} security=${KAFKA_SECURITY:-} port=${KAFKA_PORT:-}
    user=${KAFKA_USER:-freshet} password=${KAFKA_PASSWORD:-freshet-secret}
    [[ $version =~ ^(3\.9|([4-9]|[1-9][0-9])\.[0-9]+)\.[0-9]+$ ]] || misuse "KAFKA_VERSION=$version is not x.y.z, 3.9.0 or newer"
    number_to 65536 "$heap" || misuse "KAFKA_HEAP_MB=$heap is not 1 to 65536"
    number_to 3600 "$wait_s" || misuse "KAFKA_WAIT_S=$wait_s is not 1 to 3600"
    number_to 600000 "$session_ms" || misuse "KAFKA_SESSION_MS=$session_ms is not 1 to 600000"
    [[ $security =~ ^[01]?$ ]] || misuse "KAFKA_SECURITY=$security is not 0 or 1"
    [[ $user =~ ^[A-Za-z0-9._-]+$ ]] || misuse "KAFKA_USER=$user: letters, digits and ._- only"
    [[ $password =~ ^[A-Za-z0-9._-]+$ ]] || misuse "KAFKA_PASSWORD: letters, digits and ._- only"
    [[ -z $port || $port == auto ]] || { number_to 65520 "$port" && ((port >= 1024)); } ||
        misuse "KAFKA_PORT=$port is not auto or 1024 to 65520"
}

# The cluster in this folder, as it was made: $dir/cluster holds nodes, port, security, version and id, one a line.
made() { sed -n "s/^$1=//p" "$dir/cluster" 2>/dev/null || true; }
nodes() { local n; n=$(made nodes); echo "${n:-0}"; }
must_be_made() { (($(nodes) > 0)) || die "there is no cluster in $dir; make one: deploy/kafka.sh start [1|3]"; }
port_of() { # NODE LISTENER
    local at
    case $2 in plain) at=0 ;; controller) at=1 ;; tls) at=2 ;; sasl) at=3 ;; sasl_tls) at=4 ;; esac
    echo $((${port_base:-$(made port)} + 5 * ($1 - 1) + at))
}
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# One at a time per folder.  What is started must not inherit the lock: 9>&-.
lock() { # FOLDER
    mkdir -p "$1" || die "$1 can't be made"
    exec 9>"$1/.lock"
    flock -w "$wait_s" 9 || die "$1 is in use by another kafka.sh for more than $wait_s s"
}

# --- the jars -----------------------------------------------------------------------------------------------------------
jars_sum() { (cd "$1" && sha256sum -- *.jar | LC_ALL=C sort | sha256sum | cut -d' ' -f1); }
jars_good() { # FOLDER: those that were fetched, unchanged
    [[ -s $1/complete ]] && [[ $(cat "$1/complete") == "$version $(jars_sum "$1")" ]]
}

# What Kafka writes its log with; its own jars leave that open.
logger() { [[ $version == 3.* ]] && echo "org.slf4j slf4j-reload4j 1.7.36" || echo "org.apache.logging.log4j log4j-slf4j-impl 2.25.4"; }

write_pom() {
    printf '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
    printf '<groupId>freshet</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>\n'
    printf '<dependencies>\n'
    local a
    for a in "org.apache.kafka kafka_2.13 $version" "org.apache.kafka kafka-tools $version" "$(logger)"; do
        # shellcheck disable=SC2086  # three words
        printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' $a
    done
    printf '</dependencies></project>\n'
}

fetch_to() { # FOLDER
    local strict=-C # a checksum that Maven has none for is an error, unless we have our own
    [[ -z $(pinned "$version") ]] || strict=
    write_pom >"$1/pom.xml"
    # shellcheck disable=SC2086  # an option or none
    mvn -q -B $strict -f "$1/pom.xml" -Dmaven.repo.local="$1/m2" \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$1/jars" </dev/null >"$1/log" 2>&1 9>&- || {
        grep -m 3 ERROR "$1/log" | cut -c1-300 >&2 || tail -n 5 "$1/log" >&2
        die "mvn could not fetch Kafka $version (offline? a mirror goes into ~/.m2/settings.xml)"
    }
    [[ -f $1/jars/kafka_2.13-$version.jar ]] || die "mvn brought no kafka_2.13-$version.jar"
}

fetch() {
    local part sum pin
    if jars_good "$jars"; then return 0; fi
    command -v mvn >/dev/null || die "no mvn to fetch Kafka with; apt-get install maven"
    (
        lock "$jars"
        if jars_good "$jars"; then exit 0; fi # another one was faster
        part=$(mktemp -d "$jars/.part.XXXXXX")
        trap 'rm -rf "$part"' EXIT
        say "fetching Kafka $version from Maven Central (about 50 MB)"
        fetch_to "$part"
        sum=$(jars_sum "$part/jars")
        pin=$(pinned "$version")
        [[ -z $pin || $sum == "$pin" ]] || die "the jars of Kafka $version have SHA-256 $sum, not the pinned $pin: not used"
        rm -f "$jars"/*.jar "$jars/complete"
        mv "$part"/jars/*.jar "$jars"
        echo "$version $sum" >"$jars/complete"
    )
    say "$(find "$jars" -name '*.jar' | wc -l) jars of Kafka $version in $jars"
}

need_java() {
    command -v java >/dev/null || die "no java; apt-get install openjdk-17-jre-headless"
    local major
    major=$(java -version 2>&1 | sed -nE '1s/.*version "([0-9]+).*/\1/p')
    ((${major:-0} >= 17)) || die "Kafka $version needs Java 17 or newer, this is ${major:-of unknown version}"
}

tool() { # CLASS ARGUMENTS: a Java program that starts fast and says little
    java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$jars/*" "$(logs_as quiet)" "$@" 9>&-
}

# --- certificates and users ---------------------------------------------------------------------------------------------
certificates() {
    local s=$dir/security
    [[ ! -s $s/broker.pem ]] || return 0
    command -v openssl >/dev/null || die "no openssl to make certificates with; apt-get install openssl"
    mkdir -p "$s"
    {
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=freshet development CA' \
            -keyout "$s/ca.key" -out "$s/ca.pem" &&
            openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout "$s/broker.key" -out "$s/broker.csr" &&
            openssl x509 -req -days 3650 -in "$s/broker.csr" -CA "$s/ca.pem" -CAkey "$s/ca.key" -CAcreateserial \
                -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1') -out "$s/broker.crt"
    } >"$s/log" 2>&1 || { tail -n 5 "$s/log" >&2; die "openssl could not make certificates in $s"; }
    cat "$s/broker.key" "$s/broker.crt" "$s/ca.pem" >"$s/broker.part"
    mv "$s/broker.part" "$s/broker.pem"
}

client_settings() { # LISTENER: what librdkafka needs, for kafka.* keys
    echo "bootstrap.servers=$(bootstrap "$1")"
    case $1 in plain) echo security.protocol=plaintext ;; tls) echo security.protocol=ssl ;;
    sasl) echo security.protocol=sasl_plaintext ;; sasl_tls) echo security.protocol=sasl_ssl ;; esac
    [[ $1 != *tls ]] || echo "ssl.ca.location=$dir/security/ca.pem"
    [[ $1 != sasl* ]] || printf 'sasl.mechanism=SCRAM-SHA-256\nsasl.username=%s\nsasl.password=%s\n' "$user" "$password"
}

# --- brokers ------------------------------------------------------------------------------------------------------------
configure() { # NODE OF
    local i=$1 n=$2 j node=$dir/nodes/$1 names='plain controller' voters='' at='' told='' l isr=$(($2 >= 3 ? 2 : 1))
    [[ $security != 1 ]] || names+=' tls sasl sasl_tls'
    for ((j = 1; j <= n; j++)); do voters+=${voters:+,}$j@127.0.0.1:$(port_of "$j" controller); done
    for l in $names; do
        at+=${at:+,}${l^^}://127.0.0.1:$(port_of "$i" "$l")
        [[ $l == controller ]] || told+=${told:+,}${l^^}://127.0.0.1:$(port_of "$i" "$l")
    done
    if [[ -n ${KAFKA_PROXIED:-} ]]; then
        [[ $KAFKA_PROXIED =~ ^[1-9][0-9]{0,4}:[1-9][0-9]{0,4}$ && $n == 1 ]] || misuse "KAFKA_PROXIED=$KAFKA_PROXIED is not PORT:ADVERTISED of one broker"
        at+=,PROXIED://127.0.0.1:${KAFKA_PROXIED%:*} told+=,PROXIED://127.0.0.1:${KAFKA_PROXIED#*:}
    fi
    mkdir -p "$node/data"
    cat >"$node/server.properties" <<END
process.roles=broker,controller
node.id=$i
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners=$at
advertised.listeners=$told
listener.security.protocol.map=PLAIN:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT,SASL_TLS:SASL_SSL
log.dirs=$node/data
auto.create.topics.enable=false
default.replication.factor=$n
min.insync.replicas=$isr
offsets.topic.replication.factor=$n
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$n
transaction.state.log.min.isr=$isr
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$n
share.coordinator.state.topic.min.isr=$isr
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=$session_ms
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=500
log.segment.delete.delay.ms=1000
num.network.threads=2
num.io.threads=4
END
    [[ $security == 1 ]] || return 0
    cat >>"$node/server.properties" <<END
ssl.keystore.type=PEM
ssl.keystore.location=$dir/security/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/security/ca.pem
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_tls.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
END
}

# Settings of the two loggers: Kafka 4 brings log4j 2, Kafka 3 its predecessor.
log_settings() { # NAME LEVEL
    {
        printf '<Configuration status="error"><Appenders><Console name="out" target="SYSTEM_OUT">'
        printf '<PatternLayout pattern="%%d %%p %%m (%%c{1})%%n%%throwable"/></Console></Appenders>'
        printf '<Loggers><Root level="%s"><AppenderRef ref="out"/></Root></Loggers></Configuration>\n' "$2"
    } >"$dir/$1.xml"
    printf 'log4j.%s\n' "rootLogger=$2, out" appender.out=org.apache.log4j.ConsoleAppender \
        appender.out.layout=org.apache.log4j.PatternLayout 'appender.out.layout.ConversionPattern=%d %p %m (%c{1})%n' \
        >"$dir/$1.properties"
}
logs_as() { # NAME
    [[ $version == 3.* ]] && echo "-Dlog4j.configuration=file:$dir/$1.properties" || echo "-Dlog4j2.configurationFile=$dir/$1.xml"
}

# Prints the broker's pid when it runs.  A pid file alone proves nothing: the process must be a java with this very
# broker's settings file among its arguments.
pid_of() { # NODE
    local pid
    pid=$(cat "$dir/nodes/$1/pid" 2>/dev/null) || return 0
    [[ $pid =~ ^[0-9]+$ ]] || return 0
    if tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$dir/nodes/$1/server.properties"; then echo "$pid"; fi
}

running() { local i; for ((i = 1; i <= $(nodes); i++)); do [[ -z $(pid_of "$i") ]] || echo "$i"; done; }

format() { # NODE
    local node=$dir/nodes/$1 scram=()
    [[ ! -f $node/data/meta.properties ]] || return 0
    [[ $security != 1 ]] || scram=(--add-scram "SCRAM-SHA-256=[name=$user,password=$password]")
    tool kafka.tools.StorageTool format -t "$(made id)" -c "$node/server.properties" "${scram[@]}" >"$node/format.log" 2>&1 ||
        { tail -n 5 "$node/format.log" >&2; die "broker $1 could not be formatted: $node/format.log"; }
}

launch() { # NODE
    local node=$dir/nodes/$1 l
    [[ -z $(pid_of "$1") ]] || return 0
    for l in plain controller $([[ $security != 1 ]] || echo tls sasl sasl_tls); do
        ! port_taken "$(port_of "$1" "$l")" ||
            die "broker $1: port $(port_of "$1" "$l") is taken by another program; set KAFKA_PORT to another one, or auto"
    done
    [[ ! -f $node/log ]] || mv -f "$node/log" "$node/log.old"
    setsid java "-Xmx${heap}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
        "$(logs_as log)" -cp "$jars/*" kafka.Kafka "$node/server.properties" \
        </dev/null >"$node/log" 2>&1 9>&- &
    echo $! >"$node/pid"
    disown
}

await() { # NODE: it has joined and may be led by
    local node=$dir/nodes/$1
    until grep -q 'Kafka Server started' "$node/log" 2>/dev/null; do
        kill -0 "$(cat "$node/pid")" 2>/dev/null || {
            { grep -E 'ERROR|FATAL|Exception' "$node/log" || tail -n 5 "$node/log"; } | head -n 5 | cut -c1-300 >&2
            die "broker $1 ended while it started; its log is $node/log"
        }
        ((SECONDS < wait_s)) || die "broker $1 is not ready after $wait_s s; its log is $node/log"
        sleep 0.1
    done
}

# Five free ports in a row for each of N brokers, below those that the system gives out by itself.
free_ports() { # N
    local try p base
    for ((try = 0; try < 100; try++)); do
        base=$((10000 + 5 * (RANDOM % 4400)))
        for ((p = base; p < base + 5 * $1; p++)); do port_taken "$p" && continue 2; done
        echo "$base"
        return 0
    done
    die "no $((5 * $1)) free ports in a row"
}

# Sets what this start goes by: given, else as the cluster was made, else the default.  A running cluster keeps it.
settle() { # N
    local had up
    had=$(nodes) up=$(running)
    n=${1:-$((had > 0 ? had : 1))}
    [[ $n == 1 || $n == 3 ]] || misuse "start [N]: N is 1 or 3, not $n"
    ((had == 0 || had == n)) || die "$dir holds a cluster of $had; clean it first, or name another KAFKA_DIR"
    security=${security:-$(made security)} security=${security:-0}
    ((had == 0)) || [[ $version == "$(made version)" ]] ||
        die "$dir holds a cluster of Kafka $(made version); clean it first, or name another KAFKA_DIR"
    ((had == 0)) || [[ $security == "$(made security)" ]] ||
        die "$dir holds a cluster made with KAFKA_SECURITY=$(made security); clean it first, or name another KAFKA_DIR"
    port_base=$(made port)
    if [[ $port == auto ]]; then
        [[ -n $port_base ]] || port_base=$(free_ports "$n")
    else
        [[ -z $up || -z $port || $port == "$port_base" ]] || die "the cluster in $dir runs on KAFKA_PORT=$port_base; stop it first"
        port_base=${port:-${port_base:-19092}}
    fi
    ((port_base + 5 * n <= 65536)) || misuse "KAFKA_PORT=$port_base leaves no room for $n brokers"
}

start() {
    local i id up
    settle "$@"
    need_java
    fetch
    id=$(made id)
    [[ -n $id ]] || id=A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c2-22) # 16 bytes, URL-safe, no '-' first
    printf 'nodes=%s\nport=%s\nsecurity=%s\nversion=%s\nid=%s\n' "$n" "$port_base" "$security" "$version" "$id" >"$dir/cluster.part"
    mv "$dir/cluster.part" "$dir/cluster"
    log_settings log info
    log_settings quiet error
    up=$(running)
    if [[ $security == 1 ]]; then
        certificates
        for i in plain tls sasl sasl_tls; do client_settings "$i" >"$dir/security/$i.properties"; done
    fi
    SECONDS=0
    for ((i = 1; i <= n; i++)); do grep -qx "$i" <<<"$up" || configure "$i" "$n"; done
    for ((i = 1; i <= n; i++)); do format "$i"; done
    for ((i = 1; i <= n; i++)); do launch "$i"; done
    for ((i = 1; i <= n; i++)); do await "$i"; done
    say "ready: Kafka $version, $n broker$( ((n == 1)) || echo s), bootstrap.servers=$(bootstrap plain)"
}

stop() {
    local i left
    SECONDS=0
    for i in $(running); do kill -TERM "$(pid_of "$i")" 2>/dev/null || true; done
    while left=$(running) && [[ -n $left ]]; do
        if ((SECONDS >= wait_s)); then
            say "not stopped after $wait_s s, killed: broker" $left
            for i in $left; do kill -KILL "$(pid_of "$i")" 2>/dev/null || true; done
        fi
        sleep 0.1
    done
    rm -f "$dir"/nodes/*/pid
}

kill_node() {
    local pid
    must_be_made
    number_to "$(nodes)" "${1:-}" || misuse "kill N: N is 1 to $(nodes), not '${1:-}'"
    pid=$(pid_of "$1")
    [[ -n $pid ]] || die "broker $1 does not run"
    kill -KILL "$pid"
    SECONDS=0
    while [[ -n $(pid_of "$1") ]]; do
        ((SECONDS < wait_s)) || die "broker $1 (pid $pid) is still there $wait_s s after SIGKILL"
        sleep 0.02
    done
    say "broker $1 (pid $pid) killed"
}

bootstrap() { # LISTENER
    local i list=''
    must_be_made
    case $1 in
    plain) ;;
    tls | sasl | sasl_tls) [[ $(made security) == 1 ]] || die "the cluster in $dir was made without KAFKA_SECURITY=1" ;;
    *) misuse "bootstrap [plain|tls|sasl|sasl_tls], not $1" ;;
    esac
    for ((i = 1; i <= $(nodes); i++)); do list+=${list:+,}127.0.0.1:$(port_of "$i" "$1"); done
    echo "$list"
}

topic() {
    local name=${1:-} partitions=${2:-} rf settings=() have
    [[ $name =~ ^[A-Za-z0-9._-]{1,249}$ ]] || misuse "topic NAME: letters, digits and ._- only, not '$name'"
    number_to 10000 "$partitions" || misuse "topic $name PARTITIONS: 1 to 10000, not '$partitions'"
    shift 2
    must_be_made
    rf=$(nodes)
    if [[ ${1:-} =~ ^[0-9]+$ ]]; then rf=$1; shift; fi
    number_to "$(nodes)" "$rf" || misuse "topic $name $partitions RF: 1 to $(nodes) brokers, not $rf"
    for have; do
        [[ $have == *=* ]] || misuse "topic $name: a setting is KEY=VALUE, not '$have'"
        settings+=(--config "$have")
    done
    [[ -n $(running) ]] || die "no broker of $dir runs; deploy/kafka.sh start"
    need_java
    fetch
    topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$(bootstrap plain)" "$@" 2>&1; }
    have=$(topics --create --if-not-exists --topic "$name" --partitions "$partitions" --replication-factor "$rf" "${settings[@]}") ||
        die "topic $name: $(grep -m 1 -i error <<<"$have" || echo "$have" | tail -n 1)"
    have=$(topics --describe --topic "$name" | sed -nE '1,/PartitionCount/s/.*PartitionCount: ([0-9]+).*/\1/p')
    [[ $have == "$partitions" ]] || die "topic $name is there with ${have:-no} partitions, not $partitions"
}

status() {
    local i pid bad=0
    must_be_made
    for ((i = 1; i <= $(nodes); i++)); do
        pid=$(pid_of "$i")
        if [[ -n $pid ]]; then
            echo "broker $i: pid $pid, 127.0.0.1:$(port_of "$i" plain), $(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MiB"
        else
            echo "broker $i: down"
            bad=1
        fi
    done
    return $bad
}

most() { (($2 <= $1)) || misuse "$3: too many arguments"; } # LIMIT COUNT COMMAND
command=${1:-}
(($# == 0)) || shift
case $command in
-h | --help) usage; exit 0 ;;
fetch | stop | clean | status) most 0 $# "$command" ;;
start | kill | bootstrap) most 1 $# "$command" ;;
topic) ;;
'') usage >&2; exit 2 ;;
*) misuse "unknown command $command" ;;
esac
read_environment
case $command in
fetch) fetch ;;
start) lock "$dir"; start "$@" ;;
stop) lock "$dir"; stop ;;
topic) topic "$@" ;;
kill) lock "$dir"; kill_node "$@" ;;
status) status ;;
bootstrap) bootstrap "${1:-plain}" ;;
clean) lock "$dir"; stop; rm -rf "$dir/nodes" "$dir/security" "$dir/cluster" "$dir"/{log,quiet}.{xml,properties} ;;
esac

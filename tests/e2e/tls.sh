#!/bin/sh
# tls.sh - learner and scorer over TLS: through stunnel to a Redis with TLS of its own, and to stunnel before one without.
# labels: redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "tls: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis.*+http' || { echo "tls: skipped, built without Redis or HTTP"; exit 77; }
for tool in jq curl redis-server redis-cli stunnel4 openssl; do
    command -v $tool >/dev/null || { echo "tls: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
pids=''
end() {
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "tls: $*"; tail -n 8 err ./*.log 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
start() { # log, command: in the background
    log=$1
    shift
    "$@" >"$log" 2>&1 &
    last=$!
    pids="$pids $last"
}

# --- an authority, certificates of server and client, and a client of another authority
authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" 2>err || fail openssl; }
certificate() { # authority, name, host
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" -keyout "$2.key" -out "$2.csr" 2>err || fail openssl
    printf 'subjectAltName=DNS:%s\n' "$3" >ext
    openssl x509 -req -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 2 -extfile ext -out "$2.crt" 2>err || fail openssl
}
authority ca
authority foreign
certificate ca redis localhost
certificate ca client learner.example
certificate ca elsewhere elsewhere.example
certificate foreign stranger learner.example

# --- the servers: Redis with TLS and, behind stunnel, one without; free ports by trying
"$source/deploy/redis/users.sh" default "$dir" 2>err || fail users.sh
echo 'user admin on nopass ~* &* +@all' >>users.acl
for try in 1 2 3 4 5 6 7 8; do
    tls_port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 30000)) front_port=$((tls_port + 1))
    sed "s/^tls-port .*/tls-port $tls_port/" "$source/deploy/redis/tls.conf" >tls.conf
    echo 'bind 127.0.0.1' >>tls.conf
    start redis.log redis-server "$source/deploy/redis/redis.conf" --dir "$dir" --include "$dir/tls.conf" --unixsocket "$dir/plain.sock"
    redis=$last
    sed -e "s#@PORT@#127.0.0.1:$front_port#" -e "s#/run/redis/redis.sock#$dir/plain.sock#" "$source/deploy/redis/stunnel-server.conf" >front.conf
    start front.log stunnel4 front.conf
    sleep 0.3
    kill -0 $redis 2>/dev/null && kill -0 $last 2>/dev/null && break
    kill -KILL $redis $last 2>/dev/null || true
    [ $try -lt 8 ] || fail "no free ports"
done
admin() { redis-cli -s plain.sock --user admin --pass x --no-auth-warning "$@"; }
wait_for 20 Redis admin ping
tunnel() { # name, port, certificate, host that is expected
    sed -e "s#/run/freshet/redis.sock#$dir/$1.sock#" -e "s/@PORT@/$2/" -e "s/connect = @HOST@/connect = 127.0.0.1/" -e "s/@HOST@/$4/" \
        -e "s/client\.crt/$3.crt/" -e "s/client\.key/$3.key/" "$source/deploy/redis/stunnel-client.conf" >"$1.conf"
    start "$1.log" stunnel4 "$1.conf"
    wait_for 20 "socket of stunnel" test -S "$1.sock"
}
tunnel own $tls_port client localhost
tunnel front $front_port client localhost
own=$last

# --- a learner through the one, a scorer through the other
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=10000 -o kernels.threads=1"
"$freshet" simulate --events 1500 --users 40 --items 40 --seed 3 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
"$freshet" replay --quiet $options -o state.dir=state -o redis.url="unix:$dir/own.sock" -o redis.password_file=learner.password log 2>err ||
    fail "a learner over TLS"
version=$(admin get 'fr:{default}:current')
[ -n "$version" ] || fail "nothing was published over TLS"
start serve.log "$freshet" serve $options -o redis.url="unix:$dir/front.sock" -o redis.password_file=scorer.password \
    -o redis.timeout_ms=500 -o serving.poll_ms=20 --listen 127.0.0.1:0
wait_for 20 "port" grep -q listening serve.log
at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
ready() { curl -sf "$at/v2/health/ready"; }
wait_for 20 "ready scorer" ready
rerank() { curl -sf -m 20 -o answer -d '{"user":"u1","items":["i1","i2","i3"]}' "$at/v1/rerank" && jq -e ".model.version == $version" answer; }
rerank >tried || fail "no answer with version $version over TLS"

# --- the tunnel ends: the scorer goes on with what it has, and comes back by itself
kill $own
up() { curl -sf "$at/metrics" | grep -q "^freshet_redis_up $1"; }
wait_for 20 "word that Redis is away" up 0
rerank >tried || fail "no answer while the tunnel is down"
rm -f front.sock
tunnel front $front_port client localhost
wait_for 20 "Redis again" up 1

# --- who does not prove himself gets nothing, on either side; and nothing is said in the clear
ask() { redis-cli -s "$1.sock" --user admin --pass x --no-auth-warning get 'fr:{default}:current' 2>&1 || true; }
[ "$(ask own)" = "$version" ] || fail "not even we get in: $(ask own)"
tunnel stranger $tls_port stranger localhost
[ "$(ask stranger)" != "$version" ] || fail "Redis took a certificate of another authority"
tunnel stranger_front $front_port stranger localhost
[ "$(ask stranger_front)" != "$version" ] || fail "stunnel took a certificate of another authority"
tunnel other_host $tls_port client elsewhere.example
[ "$(ask other_host)" != "$version" ] || fail "a server of another name was believed"
! redis-cli -p $tls_port --user admin --pass x --no-auth-warning get 'fr:{default}:current' 2>/dev/null | grep -q . || fail "the TLS port speaks in the clear"
echo "tls: learner and scorer over TLS, strangers refused"

#!/usr/bin/env bash
# gate.sh - the judge of a line (trainer/gate.h) on made differences of two models: how often it is wrong, and how soon it is right.
# Prints three tables (Markdown).
#
#   tests/bench/gate.sh [MILLIONS]     judged slates of each row of the first table, in millions (default 20)
#
# GATE_SIM  the program (default build/release/tests/gate_sim; tests/bench/gate_sim.c says what is made)
# Harm is the mean log-loss of the learner less that of the blessed version; the AUC of a list suffers half as much.  The margin is
# 0.01 for both.  Exit status 1 when there was more than one false alarm in a million judged slates without a change.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
sim=${GATE_SIM:-build/release/tests/gate_sim}
[[ -x $sim ]] || { echo "gate: $sim is not built (make dev or make build)" >&2; exit 77; }
millions=${1:-20}
echo "| mean harm | judged slates | false rollbacks | per million | most evidence seen (1: rollback) |"
echo "|---|---|---|---|---|"
for harm in -0.01 0 0.005 0.01; do
    line=$("$sim" false 1000000 "$millions" "$harm" 1)
    jq -r '"| \(.harm) | \(.slates) | \(.alarms) | \(.per_million) | \(.most) |"' <<<"$line"
    [[ $harm != 0 ]] || no_change=$(jq .per_million <<<"$line")
done
echo
echo "| harm from then on | runs | judged slates until the rollback: median | 90 % | most |"
echo "|---|---|---|---|---|"
for harm in 0.02 0.03 0.05 0.1 0.2 0.5; do
    "$sim" delay 20000 200 "$harm" 1 | jq -r '"| \(.harm) | \(.runs) | \(.median) | \(.p90) | \(.most) |"'
done
echo
echo "A user's lists count the less the more there are of them, so where there are few users the same harm takes more lists:"
echo
echo "| users | harm from then on | runs | judged slates until the rollback: median | 90 % | most |"
echo "|---|---|---|---|---|---|"
for users in 50 300 1000 20000; do
    for harm in 0.1 0.3; do
        "$sim" delay 2000 100 "$harm" 1 "$users" |
            jq -r --arg users "$users" '"| \($users) | \(.harm) | \(.runs) | \(.median) | \(.p90) | \(.most) |"'
    done
done
jq -n --argjson x "$no_change" 'if $x <= 1 then empty else error("\($x) false rollbacks in a million slates without a change") end'

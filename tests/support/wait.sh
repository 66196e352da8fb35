# wait.sh - for scripts of tests, sourced: waiting for what another process does.  They define fail; what was tried last says
# its words to the file tried.

# Whether waiting makes sense; a script may say it otherwise (say, that its job lives).
wait_worth() { true; }

wait_for() { # seconds, what, command: until the command succeeds
    seconds=$1 what=$2
    shift 2
    until=$(($(date +%s) + seconds))
    until "$@" >tried 2>&1; do
        [ "$(date +%s)" -lt $until ] || fail "after $seconds s still no $what: $(tail -n 1 tried)"
        wait_worth || fail "the job ended by itself while this waited for $what"
        sleep 0.02
    done
}

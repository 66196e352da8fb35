/* cmd_replay.c - `freshet replay LOG...`: the stream job over log files, as fast as the machine goes. */
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "job/job.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"ingest.schema", "ingest.map", "ingest.dead_letters", "join.", "model.", "train.", "state.dir",
                                   "redis.url", "publish.every_ms", NULL};

struct replay_args {
    const char *report, *html, *dump, *slates, *warmup, *until, *speed;
    uint64_t publish_every;
    bool no_learn, flush, dead_letters, quiet;
};

static int usage_error(const char *option, const char *value, const char *expected)
{
    (void)fprintf(stderr, "freshet replay: %s '%s' is not %s (freshet replay --help)\n", option, value, expected);
    return 2;
}

/* "5000" slates or "62d" days. */
static bool parse_warmup(const char *text, struct eval_warmup *out)
{
    char *end;
    if (text == NULL) return true;
    errno = 0;
    const unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || text[0] == '-' || n > 1000000000000ull) return false;
    if (strcmp(end, "d") == 0 && n <= 36500) out->ms = (int64_t)n * 86400000;
    else if (*end == '\0') out->slates = n;
    else return false;
    return true;
}

/* "1x", "0.5x", "60": event time over wall time. */
static bool parse_speed(const char *text, double *out)
{
    char *end;
    if (text == NULL) return true;
    *out = strtod(text, &end);
    if (strcmp(end, "x") == 0) end++;
    return end != text && *end == '\0' && isfinite(*out) && *out > 0.0 && *out <= 1e9;
}

static int run_replay(struct cmd_line *line, const struct replay_args *a)
{
    struct err e = {0};
    struct job_options o = {.replay = true, .paths = line->args, .n_paths = line->n_args, .learn = !a->no_learn,
                            .flush = a->flush, .publish_every = a->publish_every, .report_path = a->report,
                            .html_path = a->html, .dump_path = a->dump, .slates_path = a->slates,
                            .dead_letters_in = a->dead_letters, .quiet = a->quiet, .read_again = cmd_line_reread,
                            .read_again_user = line};
    if (!parse_warmup(a->warmup, &o.warmup)) return usage_error("--warmup", a->warmup, "a number of slates, or of days as in 62d");
    if (a->until != NULL && (conf_duration_ms(a->until, &o.until_ms, NULL) != STATUS_OK || o.until_ms <= 0))
        return usage_error("--until", a->until, "a duration as in 190d or 12h");
    if (!parse_speed(a->speed, &o.speed)) return usage_error("--speed", a->speed, "a factor above 0 as in 1x or 60x");
    cmd_stop_on_signals(job_stop);
    cmd_reload_on_signal(job_reload);
    return job_run(line->conf, &o, &e) == STATUS_OK ? 0 : cmd_failed("replay", &e);
}

int cmd_replay(int argc, char **argv)
{
    struct replay_args a = {0};
    struct cmd_line line;
    const struct cmd_option options[] = {
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the logs: native, metarank or csv"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map of csv"},
        {"report", "FILE", CMD_TEXT, &a.report, NULL, "write the figures as JSON (- for stdout)"},
        {"report-html", "FILE", CMD_TEXT, &a.html, NULL, "write the figures as one page with curves, readable offline"},
        {"dump-examples", "FILE", CMD_TEXT, &a.dump, NULL, "write every scored example as a JSON line"},
        {"dump-slates", "FILE", CMD_TEXT, &a.slates, NULL, "write the figures of every slate as a JSON line"},
        {"warmup", "N|Nd", CMD_TEXT, &a.warmup, NULL,
         "leave the first N slates or days out of the figures (not out of learning, curves and cohorts)"},
        {"until", "Nd", CMD_TEXT, &a.until, NULL, "end so long (event time) after the first event; a later replay goes on from there"},
        {"no-learn", NULL, CMD_FLAG, &a.no_learn, NULL,
         "score with the weights as they are; where none were learnt, all but the model runs"},
        {"flush", NULL, CMD_FLAG, &a.flush, NULL,
         "at the end, settle and learn slates and orders that are still open (such lists count in no figure)"},
        {"publish-every", "N", CMD_COUNT, &a.publish_every, NULL, "a version every N steps"},
        {"speed", "X", CMD_TEXT, &a.speed, NULL, "event time over wall time: 1x is real time"},
        {"dead-letters", NULL, CMD_FLAG, &a.dead_letters, NULL, "LOG... are dead-letter files: try again what was not learnt"},
        {"quiet", NULL, CMD_FLAG, &a.quiet, NULL, "no progress"},
    };
    const struct cmd_usage usage = {
        .command = "replay",
        .arguments = "LOG...",
        .about = "Runs the stream job over log files (.jsonl .csv, plain or .gz .zst .xz; - is stdin), several merged by time.\n"
                 "Without state.dir the state is temporary; with one, a replay goes on after its last checkpoint, and a log\n"
                 "that was learnt before is not learnt again, under whatever name; one that was packed or unpacked since\n"
                 "counts as another.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
        .least = 1,
        .most = -1,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = run_replay(&line, &a);
    cmd_line_fini(&line);
    return rc;
}

/* cmd_sweep.c - `freshet sweep LOG...`: which settings learn best, chosen on early days and reported on late ones. */
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/sweep.h"
#include "job/job_file.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sweep_args {
    const char *what, *by, *json, *svg;
    uint64_t trials, rounds, eta, warmup, choose, jobs, seed;
};

static enum status set_up(struct cmd_sweep *s, const struct sweep_args *a, struct err *e)
{
    if (a->what == NULL) return ERR_SET(e, STATUS_INVALID, "--try says what is tried, as in --try 'train.seed=1|2|3'");
    s->by_logloss = strcmp(a->by, "logloss") == 0;
    if (!s->by_logloss && strcmp(a->by, "gauc") != 0)
        return ERR_SET(e, STATUS_INVALID, "--by '%s' is neither gauc nor logloss", a->by);
    if (a->rounds < 1 || a->rounds > CMD_SWEEP_ROUNDS || a->eta < 2 || a->eta > 16 || a->jobs < 1 || a->jobs > 64)
        return ERR_SET(e, STATUS_INVALID, "--rounds is 1 to %d, --eta 2 to 16, --jobs 1 to 64", CMD_SWEEP_ROUNDS);
    if (a->trials < 1 || a->trials >= CMD_SWEEP_TRIALS || a->choose <= a->warmup || a->choose > 36500)
        return ERR_SET(e, STATUS_INVALID, "--trials is 1 to %d, and --choose-before must be later than --warmup",
                       CMD_SWEEP_TRIALS - 1);
    s->warmup_days = (double)a->warmup;
    s->choose_days = (double)a->choose;
    s->eta = (unsigned)a->eta;
    s->jobs = (unsigned)a->jobs;
    s->seed = a->seed;
    s->n_rounds = (size_t)a->rounds;
    TRY(cmd_sweep_parse(s, a->what, e));
    TRY(cmd_file_check_lasting(s->logs, s->n_logs, "each trial reads the logs", e));
    cmd_sweep_draw(s, (size_t)a->trials);
    return STATUS_OK;
}

static void remove_files(const struct cmd_sweep *s)
{
    char path[640];
    if (s->dir[0] == '\0') return;
    for (size_t i = 0; i < s->n_trials; i++) {
        (void)snprintf(path, sizeof path, "%s/%zu.json", s->dir, i);
        (void)unlink(path);
        (void)snprintf(path, sizeof path, "%s/%zu.log", s->dir, i);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/config.ini", s->dir);
    (void)unlink(path);
    (void)rmdir(s->dir);
}

static enum status show(const struct cmd_sweep *s, const struct sweep_args *a, struct err *e)
{
    struct buf b = {0};
    enum status st = STATUS_OK;
    if (a->json != NULL) st = cmd_sweep_write_json(s, a->json, e);
    if (st == STATUS_OK && a->svg != NULL) {
        cmd_sweep_put_svg(&b, s);
        st = job_file_write(a->svg, &b, e);
    }
    buf_clear(&b);
    cmd_sweep_put_table(&b, s);
    if (st == STATUS_OK && cmd_print("sweep", &b) != 0) st = STATUS_IO;
    buf_fini(&b);
    return st;
}

static int sweep(struct cmd_line *line, const struct sweep_args *a)
{
    struct err e = {0};
    struct cmd_sweep *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return cmd_failed("sweep", &e);
    s->conf = line->conf;
    s->logs = line->args;
    s->n_logs = line->n_args;
    int rc = 2;
    enum status st = set_up(s, a, &e);
    if (st == STATUS_OK) {
        rc = 1;
        cmd_stop_on_signals(cmd_process_tell); /* the temporary folders, ours and the replays', are seen to */
        st = job_file_check(a->json, &e);
        if (st == STATUS_OK) st = job_file_check(a->svg, &e);
        if (st == STATUS_OK) st = cmd_sweep_plan(s, &e);
        if (st == STATUS_OK) st = cmd_file_temporary(s->dir, sizeof s->dir, "sweep", &e);
        if (st == STATUS_OK) st = cmd_sweep_run(s, &e);
        if (st == STATUS_OK) st = show(s, a, &e);
    }
    remove_files(s);
    if (st != STATUS_OK) (void)cmd_failed("sweep", &e);
    mem_free(s);
    return st == STATUS_OK ? 0 : rc;
}

int cmd_sweep(int argc, char **argv)
{
    static const char *const keys[] = {"ingest.schema", "ingest.map", "join.", "model.", "train.", NULL};
    struct sweep_args a = {
        .by = "gauc", .trials = 16, .rounds = 3, .eta = 3, .warmup = 30, .choose = 90, .jobs = 1, .seed = 1};
    struct cmd_line line;
    const struct cmd_option options[] = {
        {"try", "KEYS", CMD_TEXT, &a.what, NULL, "what is tried: 'key=value|value; key=value|value'"},
        {"trials", "N", CMD_COUNT, &a.trials, NULL, "combinations at most, chosen by the seed (16)"},
        {"rounds", "N", CMD_COUNT, &a.rounds, NULL, "rounds of halving (3)"},
        {"eta", "N", CMD_COUNT, &a.eta, NULL, "1/N of the trials go on, with N times the days (3)"},
        {"warmup", "DAYS", CMD_DAYS, &a.warmup, NULL, "days that are learnt but not counted (30)"},
        {"choose-before", "DAY", CMD_DAYS, &a.choose, NULL,
         "the choice sees days before this one, the late figures those after (90)"},
        {"by", "FIGURE", CMD_TEXT, &a.by, NULL, "gauc or logloss (gauc)"},
        {"jobs", "N", CMD_COUNT, &a.jobs, NULL, "replays at a time, each with kernels.threads threads (1)"},
        {"seed", "N", CMD_COUNT, &a.seed, NULL, "of the choice of combinations (1)"},
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the logs: native, metarank or csv"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map of csv"},
        {"report", "FILE", CMD_TEXT, &a.json, NULL, "the figures of all trials as JSON"},
        {"svg", "FILE", CMD_TEXT, &a.svg, NULL, "a picture: each trial's figure over the days it saw"},
    };
    const struct cmd_usage usage = {
        .command = "sweep",
        .arguments = "LOG...",
        .about = "Tries settings by successive halving: all trials replay the log's first days, the best third goes on "
                 "to three\n"
                 "times as many, and so on. The choice is made on days before --choose-before; the best and the "
                 "configuration\n"
                 "as it is are then reported on the days after, which no choice has seen.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
        .least = 1,
        .most = 8,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = sweep(&line, &a);
    cmd_line_fini(&line);
    return rc;
}

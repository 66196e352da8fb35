/* cmd_fit.c - `freshet fit LOG...`: a first model, by epochs over a log; replay or run go on from its state folder. */
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "job/job.h"
#include <stdio.h>

struct fit_args {
    const char *report, *validate;
    uint64_t epochs, patience;
    bool quiet;
};

static int wrong(const char *text)
{
    (void)fprintf(stderr, "freshet fit: %s (freshet fit --help)\n", text);
    return 2;
}

static int run_fit(struct cmd_line *line, const struct fit_args *a)
{
    struct err e = {0};
    struct fit_options fit = {.epochs = a->epochs, .patience = a->patience};
    const struct job_options o = {.replay = true,
                                  .paths = line->args,
                                  .n_paths = line->n_args,
                                  .learn = true,
                                  .flush = true,
                                  .fit = &fit,
                                  .report_path = a->report,
                                  .quiet = a->quiet,
                                  .read_again = cmd_line_reread,
                                  .read_again_user = line};
    if (conf_duration_ms(a->validate, &fit.validate_ms, NULL) != STATUS_OK || fit.validate_ms <= 0)
        return wrong("--validate is a duration as in 7d or 12h");
    if (a->epochs < 1 || a->epochs > 1000 || a->patience < 1) return wrong("--epochs is 1 to 1000, --patience at least 1");
    if (line->conf->state_dir[0] == '\0')
        return wrong("the model is left in a state folder: set state.dir (for example -o state.dir=state)");
    cmd_stop_on_signals(job_stop);
    return job_run(line->conf, &o, &e) == STATUS_OK ? 0 : cmd_failed("fit", &e);
}

int cmd_fit(int argc, char **argv)
{
    static const char *const keys[] = {"state.dir", "ingest.schema", "ingest.map", "join.", "model.", "train.", "redis.url", NULL};
    struct fit_args a = {.validate = "7d", .epochs = 10, .patience = 2};
    struct cmd_line line;
    const struct cmd_option options[] = {
        {"epochs", "N", CMD_COUNT, &a.epochs, NULL, "at most so many (10)"},
        {"validate", "DAYS", CMD_TEXT, &a.validate, NULL, "the last days whose labels are known decide which epoch is the best (7d)"},
        {"patience", "N", CMD_COUNT, &a.patience, NULL, "ends after so many epochs that were no better (2)"},
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the logs: native, metarank or csv"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map of csv"},
        {"report", "FILE", CMD_TEXT, &a.report, NULL, "the figures of the last days, learnt online, as JSON (- for stdout)"},
        {"quiet", NULL, CMD_FLAG, &a.quiet, NULL, "no progress"},
    };
    const struct cmd_usage usage = {
        .command = "fit",
        .arguments = "LOG...",
        .about = "Learns a first model from logs in several epochs, with early stopping on the last days (model.dropout helps against\n"
                 "learning by heart). The best epoch is kept, the last days are then learnt online, and the state folder goes on\n"
                 "with `freshet replay` or `freshet run` like any other. Everything open at the logs' end is settled\n"
                 "and learnt; lists whose window (join.window_ms) had not ended by then count in no figure. Stopped by a signal it\n"
                 "leaves no model and its exit status is 1.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
        .least = 1,
        .most = -1,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = run_fit(&line, &a);
    cmd_line_fini(&line);
    return rc;
}

/* cmd_run.c - `freshet run`: the stream job, Kafka to learning to Redis, until a signal. */
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "job/job.h"

static const char *const keys[] = {"model.name", "ingest.", "join.", "publish.", "state.", "redis.", NULL};

int cmd_run(int argc, char **argv)
{
    struct cmd_line line;
    struct err e = {0};
    bool quiet = false, standby = false, fresh = false;
    const char *report = NULL, *html = NULL;
    const struct cmd_option options[] = {
        {"standby", NULL, CMD_FLAG, &standby, NULL,
         "wait while another learner has the model or the folder, then take over"},
        {"fresh", NULL, CMD_FLAG, &fresh, NULL, "begin with nothing although Redis holds a version of the model"},
        {"report", "FILE", CMD_TEXT, &report, NULL, "figures as JSON when it stops; - is stdout"},
        {"report-html", "FILE", CMD_TEXT, &html, NULL, "figures as one page with curves when it stops"},
        {"quiet", NULL, CMD_FLAG, &quiet, NULL, "no progress"},
    };
    const struct cmd_usage usage = {
        .command = "run",
        .arguments = "",
        .about = "Learns from Kafka as events come, checkpoints into state.dir, publishes to Redis.  kafka.* keys go "
                 "to librdkafka\n"
                 "untouched (at least kafka.bootstrap.servers).  Continues a state folder that `replay` made: "
                 "ingest.start=ts=...\n"
                 "then says where Kafka takes over.  An empty state.dir begins with the newest version published in "
                 "Redis, if there is\n"
                 "one.  SIGTERM and Ctrl-C finish the batch, checkpoint, publish, and exit 0; SIGHUP reads the "
                 "configuration again\n"
                 "(keys marked live in CONFIG.md).  A full disk pauses learning until there is room.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
    };
    cmd_stop_on_signals(job_stop); /* from the first moment on: SIGHUP's default would end it */
    cmd_reload_on_signal(job_reload);
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        const struct job_options o = {.learn = true,
                                      .quiet = quiet,
                                      .report_path = report,
                                      .html_path = html,
                                      .standby = standby,
                                      .fresh = fresh,
                                      .read_again = cmd_line_reread,
                                      .read_again_user = &line};
        rc = job_run(line.conf, &o, &e) == STATUS_OK ? 0 : cmd_failed("run", &e);
    }
    cmd_line_fini(&line);
    return rc;
}

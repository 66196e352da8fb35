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
    bool quiet = false;
    const struct cmd_option options[] = {
        {"quiet", NULL, CMD_FLAG, &quiet, NULL, "no progress"},
    };
    const struct cmd_usage usage = {
        .command = "run",
        .arguments = "",
        .about = "Learns from Kafka as events come, checkpoints into state.dir, publishes to Redis.  kafka.* keys go to librdkafka\n"
                 "untouched (at least kafka.bootstrap.servers).  Continues a state folder that `replay` made: ingest.start=ts=...\n"
                 "then says where Kafka takes over.  SIGTERM and Ctrl-C finish the batch, checkpoint, publish, and exit 0.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        const struct job_options o = {.learn = true, .quiet = quiet};
        cmd_stop_on_signals(job_stop);
        rc = job_run(line.conf, &o, &e) == STATUS_OK ? 0 : cmd_failed("run", &e);
    }
    cmd_line_fini(&line);
    return rc;
}

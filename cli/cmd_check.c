/* cmd_check.c - `freshet check`: looks at everything a run needs and prints a table with what to mend. */
#include "cli/check.h"
#include "cli/cmd.h"
#include "cli/options.h"
#include "featurize/feat.h"
#include "featurize/token.h"
#include "schemas/conf_variant.h"
#include "serving/metric.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char about[] =
    "Looks at the configuration, the log files given, the model folder, Kafka, Redis and the state folder, changes\n"
    "nothing, and prints what was found and what to mend. The exit status is 1 when something is wrong.\n";
static const char *const keys[] = {
    "model.base", "model.trainable_layers", "describe.", "ingest.source", "ingest.schema",
    "ingest.map", "ingest.topics",          "redis.",    "state.dir",     "serving.token_file",
    NULL};

void cmd_check_row(struct cmd_check *c, enum cmd_check_state state, const char *what, const char *mend, const char *fmt,
                   ...)
{
    static const char *const names[] = {"ok", "warn", "WRONG", "-"};
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->count[state]++;
    buf_printf(&c->out, "%-6s %-14s %s\n", names[state], what, text);
    if (mend != NULL) cmd_check_more(c, "-> %s", mend);
}

void cmd_check_more(struct cmd_check *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_printf(&c->out, "%-21s %s\n", "", text);
}

static void check_config(struct cmd_check *c, const struct cmd_line *l)
{
    const char *from = l->config_path != NULL ? l->config_path : "defaults";
    if (l->conf_status == STATUS_OK)
        cmd_check_row(c, CMD_CHECK_OK, "configuration", NULL, "%s; %u event types", from, l->conf->n_types);
    else
        cmd_check_row(c, CMD_CHECK_WRONG, "configuration", "what stands after it in that place was not read", "%s",
                      l->conf_err.text);
    const size_t line = conf_line_only_orders(l->conf);
    if (line != SIZE_MAX)
        cmd_check_row(c, CMD_CHECK_WARN, "scores",
                      "set train.recalibration=true, or train.softmax_share below 1, if scores are to be probabilities",
                      "variant %s only orders lists: train.softmax_share=1 without train.recalibration",
                      conf_line_name(l->conf, line));
}

static void check_all(struct cmd_check *c, const struct cmd_line *l)
{
    check_config(c, l);
    cmd_check_files(c);
    cmd_check_model(c);
    cmd_check_memory(c);
    if (l->n_args > 0) cmd_check_logs(c, l->args, l->n_args);
    cmd_check_state(c);
    cmd_check_kafka(c);
    cmd_check_redis(c);
}

/* --print-…: just that. */
struct print {
    bool config, document, metrics;
};

static int print_only(const struct cmd_line *l, const struct print *p)
{
    struct buf b = {0};
    if (l->conf_status != STATUS_OK && p->config) {
        (void)cmd_failed("check", &l->conf_err);
        return 2;
    }
    if (p->config) conf_dump(l->conf, &b);
    if (p->document) {
        conf_document(&b);
        feat_document(&b);
    }
    if (p->metrics) metric_write_document(&b);
    const int rc = cmd_print("check", &b);
    buf_fini(&b);
    return rc;
}

static int check(const struct cmd_line *l, const char *letters, const char *save)
{
    struct cmd_check c = {.conf = l->conf};
    if (letters != NULL)
        cmd_check_letters(&c, letters, save);
    else
        check_all(&c, l);
    const unsigned wrong = c.count[CMD_CHECK_WRONG], warned = c.count[CMD_CHECK_WARN];
    if (wrong == 0 && warned == 0)
        buf_printf(&c.out, "\nnothing to mend\n");
    else
        buf_printf(&c.out, "\n%u wrong, %u to look at\n", wrong, warned);
    const int rc = cmd_print("check", &c.out);
    buf_fini(&c.out);
    token_free(c.vocab);
    return rc != 0 || wrong > 0;
}

int cmd_check(int argc, char **argv)
{
    const char *letters = NULL, *save = NULL;
    struct print print = {0};
    const struct cmd_option options[] = {
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the log files"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map for csv"},
        {"model", "DIR", CMD_KEY, NULL, "model.base", "model folder"},
        {"dead-letters", "FILE|topic:NAME", CMD_TEXT, &letters, NULL,
         "summarises rejected events by reason and stage instead"},
        {"save", "FILE", CMD_TEXT, &save, NULL,
         "writes the dead letters of a topic to FILE, for replay --dead-letters"},
        {"print-config", NULL, CMD_FLAG, &print.config, NULL, "prints the configuration in force and nothing else"},
        {"print-config-doc", NULL, CMD_FLAG, &print.document, NULL, "prints CONFIG.md and nothing else"},
        {"print-metrics-doc", NULL, CMD_FLAG, &print.metrics, NULL, "prints docs/METRICS.md and nothing else"},
    };
    const struct cmd_usage usage = {.command = "check",
                                    .arguments = "[LOG...]",
                                    .about = about,
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .keys = keys,
                                    .most = -1,
                                    .soft_config = true};
    struct cmd_line line;
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    const bool only = print.config || print.document || print.metrics;
    if (rc == CMD_GO_ON) rc = only ? print_only(&line, &print) : check(&line, letters, save);
    cmd_line_fini(&line);
    return rc;
}

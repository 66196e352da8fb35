/* cmd_worth.c - `freshet worth LOG...`: is learning live worth it, and what would another setting have given? */
#include "base/mem.h"
#include "base/str.h"
#include "cli/cmd.h"
#include "cli/cmd_signals.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/worth.h"
#include "job/job.h"
#include "job/job_file.h"
#include "schemas/conf_variant.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAY_MS 86400000
#define LONG_S 1e9

struct worth_args {
    const char *json;
    struct cmd_repeated what_if;
    uint64_t from;
    bool quiet;
    struct cmd_worth_ifs ifs;
    char dir[512];
};

/* The live model's followers. */
static enum status add_followers(struct conf *c, const struct worth_args *a, struct err *e)
{
    char frozen[64], name[64];
    (void)snprintf(frozen, sizeof frozen, "%llu", (unsigned long long)a->from * DAY_MS);
    (void)snprintf(name, sizeof name, "frozen-after-%llu-days", (unsigned long long)a->from);
    const struct {
        const char *name, *key, *value;
    } sets[] = {{name, "train.follow_ms", frozen}, {name, "train.follow_times", "1"},
                {name, "shadow", "true"},          {"daily", "train.follow_ms", "86400000"},
                {"daily", "shadow", "true"},       {"hourly", "train.follow_ms", "3600000"},
                {"hourly", "shadow", "true"}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char key[160];
        (void)snprintf(key, sizeof key, "%s.%s", sets[i].name, sets[i].key);
        TRY(conf_variant_set(c, key, sets[i].value, e));
    }
    return STATUS_OK;
}

static void path_of(const struct worth_args *a, const char *name, char out[640])
{
    (void)snprintf(out, 640, "%s/%s", a->dir, name);
}

/* Does any --what-if need a replay of its own? */
static bool is_paired(const struct worth_args *a)
{
    for (size_t i = 0; i < a->ifs.n; i++)
        if (a->ifs.items[i].variant[0] == '\0') return true;
    return false;
}

static enum status replay(const struct cmd_line *line, const struct worth_args *a, struct cmd_worth *w, struct err *e)
{
    char report[640], slates[640];
    path_of(a, "live.json", report);
    path_of(a, "live.slates", slates);
    const struct job_options o = {.replay = true,
                                  .paths = line->args,
                                  .n_paths = line->n_args,
                                  .learn = true,
                                  .warmup = {.ms = (int64_t)a->from * DAY_MS},
                                  .report_path = report,
                                  .slates_path = is_paired(a) ? slates : NULL,
                                  .quiet = a->quiet};
    TRY(job_run(line->conf, &o, e));
    return cmd_worth_read(w, report, a->from, &a->ifs, e);
}

/* The other configuration in a process of its own: the base's, with its settings over it. */
static enum status second_replay(const struct cmd_line *line, const struct worth_args *a, const struct buf *base,
                                 const struct cmd_worth_if *what, struct cmd_worth *w, struct err *e)
{
    char config[640], report[640], slates[640], live[640], warmup[32];
    struct cmd_process p = {.name = "the other replay"};
    path_of(a, "config.ini", config);
    path_of(a, "other.json", report);
    path_of(a, "other.slates", slates);
    path_of(a, "live.slates", live);
    path_of(a, "log", p.log);
    (void)snprintf(warmup, sizeof warmup, "%llud", (unsigned long long)a->from);
    TRY(cmd_file_write(config, base, e));
    const char *argv[CMD_PROCESS_ARGS_MAX + 1] = {
        NULL,   "replay",   "--quiet", "--report", report, "--dump-slates", slates, "--warmup",
        warmup, "--config", config,    "-o",       "state.dir=", "-o",   "redis.url="};
    size_t n = 15;
    for (size_t i = 0; i < what->n; i++) argv[n++] = "-o", argv[n++] = what->settings[i];
    for (size_t i = 0; i < line->n_args && n < CMD_PROCESS_ARGS_MAX; i++) argv[n++] = line->args[i];
    TRY(cmd_process_start(&p, argv, e));
    TRY(cmd_process_wait(&p, LONG_S, e));
    return cmd_worth_pair(w, what, live, report, slates, e);
}

static enum status other_replays(const struct cmd_line *line, const struct worth_args *a, const struct buf *base,
                                 struct cmd_worth *w, struct err *e)
{
    for (size_t i = 0; i < a->ifs.n; i++)
        if (a->ifs.items[i].variant[0] == '\0') TRY(second_replay(line, a, base, &a->ifs.items[i], w, e));
    return STATUS_OK;
}

static void remove_files(const struct worth_args *a)
{
    static const char *const names[] = {"live.json", "live.slates", "other.json", "other.slates", "config.ini", "log"};
    char path[640];
    for (size_t i = 0; a->dir[0] != '\0' && i < sizeof names / sizeof *names; i++) {
        path_of(a, names[i], path);
        (void)unlink(path);
    }
    if (a->dir[0] != '\0') (void)rmdir(a->dir);
}

static enum status set_up(struct cmd_line *line, struct worth_args *a, struct buf *base, struct err *e)
{
    struct conf *c = line->conf;
    if (a->from < 1 || a->from > 36500)
        return ERR_SET(e, STATUS_INVALID, "--from %llu: it is a day from 1 to 36500", (unsigned long long)a->from);
    if (c->n_variants > 0)
        return ERR_SET(e, STATUS_INVALID,
                       "worth makes variants of its own: leave [variant.NAME] out of the configuration");
    conf_dump(c, base);
    TRY(buf_status(base, e));
    c->state_dir[0] = c->redis_url[0] = '\0'; /* nothing of this is to stay or to be served */
    TRY(add_followers(c, a, e));
    for (size_t i = 0; i < a->what_if.n; i++) TRY(cmd_worth_take_if(&a->ifs, c, a->what_if.items[i], e));
    if (is_paired(a))
        TRY(cmd_file_check_lasting(line->args, line->n_args, "a --what-if of this kind replays it a second time", e));
    return conf_check(c, e);
}

static enum status show(const struct cmd_worth *w, const struct worth_args *a, struct err *e)
{
    struct buf b = {0};
    cmd_worth_put_table(&b, w);
    enum status st = a->json != NULL ? cmd_worth_write_json(w, a->json, e) : STATUS_OK;
    if (st == STATUS_OK && cmd_print("worth", &b) != 0) st = STATUS_IO;
    buf_fini(&b);
    return st;
}

static int worth(struct cmd_line *line, struct worth_args *a)
{
    struct err e = {0};
    struct cmd_worth w = {0};
    struct buf base = {0};
    int rc = 2;
    enum status st = set_up(line, a, &base, &e);
    if (st == STATUS_OK) {
        rc = 1;
        cmd_stop_on_signals(job_stop);
        st = job_file_check(a->json, &e);
        if (st == STATUS_OK) st = cmd_file_temporary(a->dir, sizeof a->dir, "worth", &e);
        if (st == STATUS_OK) st = replay(line, a, &w, &e);
        if (st == STATUS_OK) st = other_replays(line, a, &base, &w, &e);
        if (st == STATUS_OK) st = show(&w, a, &e);
    }
    remove_files(a);
    buf_fini(&base);
    if (st != STATUS_OK) (void)cmd_failed("worth", &e);
    return st == STATUS_OK ? 0 : rc;
}

int cmd_worth(int argc, char **argv)
{
    static const char *const keys[] = {"ingest.schema", "ingest.map", "join.", "model.", "train.", "describe.", NULL};
    struct worth_args a = {.from = 7, .what_if = {.most = CMD_WORTH_IFS}};
    struct cmd_line line;
    const struct cmd_option options[] = {
        {"from", "DAY", CMD_COUNT, &a.from, NULL,
         "figures begin after so many days; there the frozen model stands still (7)"},
        {"what-if", "SETTINGS", CMD_REPEATED, &a.what_if, NULL,
         "another configuration on the same lists: 'key=value; key=value'; may be given four times"},
        {"schema", "NAME", CMD_KEY, NULL, "ingest.schema", "format of the logs: native, metarank or csv"},
        {"map", "FILE", CMD_KEY, NULL, "ingest.map", "field map of csv"},
        {"report", "FILE", CMD_TEXT, &a.json, NULL, "the table as JSON"},
        {"quiet", NULL, CMD_FLAG, &a.quiet, NULL, "no progress"},
    };
    const struct cmd_usage usage = {
        .command = "worth",
        .arguments = "LOG...",
        .about = "Replays logs with the model learning live, and beside it the same model frozen, refreshed daily and "
                 "refreshed hourly:\n"
                 "all predict the same lists at the same moments. Says what live learning gains over each, with an "
                 "interval by\n"
                 "users, and what it costs in core-seconds. --what-if asks the same of other settings: a part more or "
                 "less, another\n"
                 "rate, other sentences or features. Lists whose window (join.window_ms) had not ended with the logs are in no "
                 "figure.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .keys = keys,
        .least = 1,
        .most = 8,
    };
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) rc = worth(&line, &a);
    cmd_line_fini(&line);
    return rc;
}

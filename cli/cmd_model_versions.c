/* cmd_model_versions.c - `freshet model versions`: what a state folder keeps, what Redis keeps, what is in force. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/model.h"
#include "cli/options.h"
#include "job/checkpoint_meta.h"
#include "job/verdict.h"
#include "schemas/key.h"
#include "serving/publish_manifest.h"
#include "serving/redis.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char command[] = "model versions";

struct versions {
    const struct conf *conf;
    uint64_t log; /* entries of the log stream */
    json_t *out;  /* everything is gathered here and printed from here */
};

/* ---- state folder ---- */

static int by_number(const void *p, const void *q)
{
    const uint64_t a = *(const uint64_t *)p, b = *(const uint64_t *)q;
    return a < b ? 1 : a > b ? -1 : 0;
}

/* Numbers of the weight files, newest first; uncommitted ones (above `newest`) left out. */
static enum status list_numbers(const char *dir, uint64_t newest, uint64_t **out, size_t *n, struct err *e)
{
    char path[CMD_MODEL_PATH];
    size_t cap = 0;
    enum status st = STATUS_OK;
    if (snprintf(path, sizeof path, "%s/weights", dir) >= (int)sizeof path)
        return ERR_SET(e, STATUS_INVALID, "%s: too long a path", dir);
    DIR *d = opendir(path);
    if (d == NULL) return ERR_SET(e, STATUS_IO, "%s can't be read", path);
    for (struct dirent *f = readdir(d); f != NULL && st == STATUS_OK; f = readdir(d)) {
        char *end;
        const unsigned long long version = strtoull(f->d_name, &end, 10);
        if (*end != 0 || end == f->d_name || version == 0 || version > newest) continue;
        if (MEM_GROW(*out, &cap, *n + 1) != 0)
            st = ERR_SET(e, STATUS_OOM, "no memory for %zu versions", *n + 1);
        else
            (*out)[(*n)++] = version;
    }
    (void)closedir(d);
    if (*n > 1) qsort(*out, *n, sizeof **out, by_number);
    return st;
}

static json_t *verdict_json(const struct verdict *v)
{
    json_t *ranges = json_array();
    for (size_t i = 0; i < v->n_ranges; i++)
        (void)json_array_append_new(ranges,
                                    json_pack("{s:I, s:I, s:I, s:I}", "topic", (json_int_t)v->ranges[i].topic,
                                              "partition", (json_int_t)v->ranges[i].partition, "from",
                                              (json_int_t)v->ranges[i].from, "to", (json_int_t)v->ranges[i].to));
    json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:o}", "kind", verdict_name(v->kind), "version",
                          (json_int_t)v->version, "about", (json_int_t)v->about, "examples", (json_int_t)v->examples,
                          "who", v->who, "reason", v->reason, "learnt_and_discarded", ranges);
    if (j != NULL && v->time_ms != INT64_MIN) (void)json_object_set_new(j, "watermark", cmd_model_time(v->time_ms));
    if (j != NULL && v->wall_ms > 0) (void)json_object_set_new(j, "time", cmd_model_time(v->wall_ms));
    return j;
}

/* A damaged file is listed with what is wrong with it. */
static json_t *state_version(const struct versions *v, const struct checkpoint_meta *meta, uint64_t version,
                             const char *said)
{
    char path[CMD_MODEL_PATH];
    struct cmd_model m = {0};
    struct checkpoint_version learnt;
    struct err e = {0};
    json_t *j = json_pack("{s:I, s:b}", "version", (json_int_t)version, "newest", version == meta->version);
    enum status st = cmd_model_weights_path(path, v->conf->state_dir, version, &e);
    if (st == STATUS_OK) st = cmd_model_open(&m, path, 0, &e);
    if (st != STATUS_OK)
        (void)json_object_set_new(j, "damage", json_string(e.text));
    else {
        (void)json_object_set_new(j, "sha256", json_string(m.sha256));
        (void)json_object_set_new(j, "time", cmd_model_time(m.time_ms));
        (void)json_object_set_new(j, "bytes", json_integer((json_int_t)m.bytes));
    }
    if (checkpoint_meta_version(meta, version, &learnt, &e) == STATUS_OK) {
        (void)json_object_set_new(j, "examples", json_integer((json_int_t)learnt.examples));
        (void)json_object_set_new(j, "slates", json_integer((json_int_t)learnt.slates));
        if (learnt.watermark_ms != INT64_MIN)
            (void)json_object_set_new(j, "watermark", cmd_model_time(learnt.watermark_ms));
    }
    if (said != NULL) (void)json_object_set_new(j, "said", json_string(said));
    cmd_model_close(&m);
    return j;
}

/* The folder's version log, newest first. */
static json_t *verdicts_json(const struct versions *v, const struct verdict_log *log)
{
    json_t *list = json_array();
    for (size_t i = log->n; i-- > 0 && log->n - i <= v->log;)
        (void)json_array_append_new(list, verdict_json(&log->items[i]));
    return list;
}

static enum status list_state(struct versions *v, struct err *e)
{
    struct checkpoint_meta meta;
    static struct verdict_log log;
    uint64_t *numbers = NULL, pinned = 0;
    size_t n = 0;
    json_t *list = json_array();
    TRY(checkpoint_meta_open(&meta, v->conf->state_dir, e));
    enum status st = list_numbers(v->conf->state_dir, meta.version, &numbers, &n, e);
    if (st == STATUS_OK) st = checkpoint_meta_verdicts(&meta, &log, &pinned, e);
    for (size_t i = 0; i < n && st == STATUS_OK; i++)
        (void)json_array_append_new(list,
                                    state_version(v, &meta, numbers[i], cmd_model_said_of(&log, pinned, numbers[i])));
    (void)json_object_set_new(v->out, "state",
                              json_pack("{s:s, s:I, s:o, s:o, s:o}", "dir", v->conf->state_dir, "pinned",
                                        (json_int_t)pinned, "versions", list, "verdicts", verdicts_json(v, &log),
                                        "orders", cmd_model_orders(v->conf->state_dir)));
    verdict_fini(&log);
    mem_free(numbers);
    checkpoint_meta_close(&meta);
    return st;
}

/* ---- Redis ---- */

static json_t *manifest_json(const struct publish_manifest *m, uint64_t in_force)
{
    return json_pack("{s:I, s:b, s:s, s:o, s:I, s:I, s:I, s:s, s:s, s:o}", "version", (json_int_t)m->version,
                     "in_force", m->version == in_force, "sha256", m->sha256, "time",
                     cmd_model_time(m->published_wall_ms), "examples", (json_int_t)m->examples, "bytes",
                     (json_int_t)m->bytes, "parent", (json_int_t)m->parent, "reason", m->reason, "verdict", m->verdict,
                     "watermark", cmd_model_time(m->watermark_ms));
}

/* *m is filled; NOT_FOUND: no such manifest. */
static enum status get_manifest(struct versions *v, struct redis *r, uint64_t version, struct publish_manifest *m,
                                struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_manifest(key, v->conf->model_name, version);
    TRY(redis_call(r, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT)
        return ERR_SET(e, STATUS_NOT_FOUND, "%s: no manifest of version %" PRIu64, redis_name(r), version);
    return publish_manifest_decode(m, reply->text, v->conf->model_name, e);
}

static enum status list_kept(struct versions *v, struct redis *r, uint64_t in_force, json_t *list, struct err *e)
{
    struct publish_manifest newest = {0};
    enum status st = get_manifest(v, r, in_force, &newest, e);
    if (st == STATUS_OK) (void)json_array_append_new(list, manifest_json(&newest, in_force));
    for (size_t i = 0; i < newest.n_kept && st == STATUS_OK; i++) {
        struct publish_manifest m = {0};
        if (newest.kept[i] == in_force) continue;
        st = get_manifest(v, r, newest.kept[i], &m, e);
        if (st == STATUS_OK) (void)json_array_append_new(list, manifest_json(&m, in_force));
        if (st == STATUS_NOT_FOUND) st = STATUS_OK; /* left meanwhile */
        publish_manifest_fini(&m);
    }
    publish_manifest_fini(&newest);
    return st;
}

/* XREVRANGE: [[id, [name, value, ...]], ...] → objects, newest first. */
static enum status list_log(struct versions *v, struct redis *r, json_t *list, struct err *e)
{
    char key[KEY_MAX], count[24];
    const struct redis_reply *reply;
    (void)key_log(key, v->conf->model_name);
    (void)snprintf(count, sizeof count, "%" PRIu64, v->log);
    TRY(redis_call(r, e, &reply,
                   REDIS_ARGS(STR("XREVRANGE"), str_from(key), STR("+"), STR("-"), STR("COUNT"), str_from(count))));
    for (size_t i = 0; reply->kind == REDIS_ARRAY && i < reply->n; i++) {
        const struct redis_reply *entry = &reply->items[i];
        if (entry->kind != REDIS_ARRAY || entry->n != 2 || entry->items[1].kind != REDIS_ARRAY) continue;
        json_t *j = json_object();
        (void)json_object_set_new(j, "time", cmd_model_time(strtoll(entry->items[0].text.p, NULL, 10)));
        for (size_t k = 0; k + 1 < entry->items[1].n; k += 2) {
            const struct str name = entry->items[1].items[k].text, value = entry->items[1].items[k + 1].text;
            if (name.p != NULL && value.p != NULL) (void)json_object_set_new(j, name.p, json_stringn(value.p, value.n));
        }
        (void)json_array_append_new(list, j);
    }
    return STATUS_OK;
}

static enum status list_redis(struct versions *v, struct err *e)
{
    char key[KEY_MAX];
    struct redis *r = NULL;
    const struct redis_reply *reply;
    enum status st;
    json_t *kept = json_array(), *log = json_array();
    TRY_OUT(st, redis_open(&r, v->conf, clock_system(), e));
    (void)key_current(key, v->conf->model_name);
    TRY_OUT(st, redis_call(r, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    const uint64_t in_force = reply->kind == REDIS_TEXT ? strtoull(reply->text.p, NULL, 10) : 0;
    if (in_force > 0) TRY_OUT(st, list_kept(v, r, in_force, kept, e));
    if (v->log > 0) TRY_OUT(st, list_log(v, r, log, e));
    (void)json_object_set_new(v->out, "redis",
                              json_pack("{s:s, s:s, s:I, s:O, s:O}", "url", redis_name(r), "model", v->conf->model_name,
                                        "in_force", (json_int_t)in_force, "versions", kept, "log", log));
out:
    json_decref(kept);
    json_decref(log);
    redis_close(r);
    return st;
}

/* ---- text ---- */

static const char *text_of(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s != NULL ? s : "-";
}

static void put_count(struct buf *b, const json_t *j, const char *key)
{
    const json_t *x = json_object_get(j, key);
    if (json_is_integer(x))
        buf_printf(b, " %12" JSON_INTEGER_FORMAT, json_integer_value(x));
    else
        buf_printf(b, " %12s", "-");
}

static void put_rows(struct buf *b, const json_t *versions, const char *mark, const char *mark_text)
{
    size_t i;
    json_t *j;
    buf_printf(b, "%10s  %-12s  %-24s %12s %12s\n", "version", "sha256", "time", "examples", "bytes");
    json_array_foreach(versions, i, j)
    {
        buf_printf(b, "%10" JSON_INTEGER_FORMAT "  %-12.12s  %-24s", json_integer_value(json_object_get(j, "version")),
                   text_of(j, "sha256"), text_of(j, "time"));
        put_count(b, j, "examples");
        put_count(b, j, "bytes");
        if (json_is_true(json_object_get(j, mark))) buf_printf(b, "  %s", mark_text);
        if (json_object_get(j, "verdict") != NULL)
            buf_printf(b, "  %s, %s", text_of(j, "reason"), text_of(j, "verdict"));
        if (json_object_get(j, "said") != NULL) buf_printf(b, "  %s", text_of(j, "said"));
        if (json_object_get(j, "damage") != NULL) buf_printf(b, "  damaged: %s", text_of(j, "damage"));
        buf_u8(b, '\n');
    }
}

static void put_log(struct buf *b, const json_t *log)
{
    size_t i;
    json_t *j;
    if (json_array_size(log) == 0) return;
    buf_printf(b, "\nlog, newest first, by the wall clock\n");
    json_array_foreach(log, i, j)
    {
        buf_printf(b, "%s  %-8s version %s  sha256 %.12s  ", text_of(j, "time"), text_of(j, "kind"),
                   text_of(j, "version"), text_of(j, "sha256"));
        if (json_object_get(j, "at") != NULL && strcmp(text_of(j, "at"), text_of(j, "version")) != 0)
            buf_printf(b, "at version %s  ", text_of(j, "at"));
        buf_printf(b, "%s", text_of(j, "reason"));
        if (json_object_get(j, "verdict") != NULL) buf_printf(b, ", %s", text_of(j, "verdict"));
        if (json_object_get(j, "who") != NULL) buf_printf(b, ", by %s", text_of(j, "who"));
        buf_u8(b, '\n');
    }
}

static void put_ranges(struct buf *b, const json_t *ranges)
{
    size_t i;
    json_t *r;
    json_array_foreach(ranges, i, r)
    {
        if (i == 4) {
            buf_printf(b, ", %zu more", json_array_size(ranges) - i);
            break;
        }
        buf_printf(b,
                   "%s%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT " [%" JSON_INTEGER_FORMAT
                   ", %" JSON_INTEGER_FORMAT ")",
                   i == 0 ? "; learnt into the discarded line: " : ", ",
                   json_integer_value(json_object_get(r, "topic")), json_integer_value(json_object_get(r, "partition")),
                   json_integer_value(json_object_get(r, "from")), json_integer_value(json_object_get(r, "to")));
    }
}

static void put_verdicts(struct buf *b, const json_t *verdicts)
{
    size_t i;
    json_t *j;
    if (json_array_size(verdicts) == 0) return;
    buf_printf(b, "\nsaid of them, newest first, by event time; of orders also when they were given\n");
    json_array_foreach(verdicts, i, j)
    {
        buf_printf(b, "%-24s  %-8s %10" JSON_INTEGER_FORMAT "  at version %" JSON_INTEGER_FORMAT "  by %s: %s",
                   text_of(j, "watermark"), text_of(j, "kind"), json_integer_value(json_object_get(j, "about")),
                   json_integer_value(json_object_get(j, "version")), text_of(j, "who"), text_of(j, "reason"));
        if (json_object_get(j, "time") != NULL) buf_printf(b, " (given %s)", text_of(j, "time"));
        put_ranges(b, json_object_get(j, "learnt_and_discarded"));
        buf_u8(b, '\n');
    }
}

static void put_orders(struct buf *b, const json_t *orders)
{
    size_t i;
    json_t *j;
    if (json_array_size(orders) == 0) return;
    buf_printf(b, "\norders that were written down, newest first\n");
    json_array_foreach(orders, i, j)
        buf_printf(b, "%-24s  %-8s %s\n", text_of(j, "time"), text_of(j, "state"), text_of(j, "text"));
}

static int print_text(const struct versions *v)
{
    struct buf b = {0};
    const json_t *state = json_object_get(v->out, "state"), *redis = json_object_get(v->out, "redis");
    if (state != NULL) {
        buf_printf(&b, "state folder %s\n", text_of(state, "dir"));
        put_rows(&b, json_object_get(state, "versions"), "newest", "newest");
        put_verdicts(&b, json_object_get(state, "verdicts"));
        put_orders(&b, json_object_get(state, "orders"));
    }
    if (redis != NULL) {
        buf_printf(&b, "%sRedis %s, model %s\n", state != NULL ? "\n" : "", text_of(redis, "url"),
                   text_of(redis, "model"));
        if (json_array_size(json_object_get(redis, "versions")) == 0)
            buf_printf(&b, "nothing is published\n");
        else
            put_rows(&b, json_object_get(redis, "versions"), "in_force", "in force");
        put_log(&b, json_object_get(redis, "log"));
    }
    const int rc = cmd_print(command, &b);
    buf_fini(&b);
    return rc;
}

static enum status gather(struct versions *v, struct err *e)
{
    v->out = json_object();
    if (v->out == NULL) return ERR_SET(e, STATUS_OOM, "out of memory");
    if (v->conf->state_dir[0] != 0) TRY(list_state(v, e));
    return v->conf->redis_url[0] != 0 ? list_redis(v, e) : STATUS_OK;
}

int cmd_model_versions(int argc, char **argv)
{
    static const char *const keys[] = {"state.dir", "redis.url", "redis.password_file", "model.name", NULL};
    struct versions v = {.log = 10};
    bool json = false;
    struct cmd_line line;
    struct err e = {0};
    const struct cmd_option options[] = {
        {"json", NULL, CMD_FLAG, &json, NULL, "one JSON object"},
        {"log", "N", CMD_COUNT, &v.log, NULL, "newest entries of Redis' version log (10)"},
    };
    const struct cmd_usage usage = {.command = command,
                                    .arguments = "[STATE_DIR]",
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .keys = keys,
                                    .most = 1,
                                    .about = "Lists the versions that a state folder (STATE_DIR or state.dir) and "
                                             "Redis (redis.url) keep, with the one in force.\n"};
    int rc = cmd_line_parse(&line, &usage, argc, argv);
    if (rc == CMD_GO_ON) {
        enum status st = line.n_args > 0 ? conf_set(line.conf, "state.dir", line.args[0], &e) : STATUS_OK;
        v.conf = line.conf;
        if (st == STATUS_OK && line.conf->state_dir[0] == 0 && line.conf->redis_url[0] == 0)
            st = ERR_SET(&e, STATUS_INVALID, "name a state folder, or set redis.url (-o redis.url=...)");
        if (st != STATUS_OK)
            rc = cmd_failed(command, &e) + 1; /* wrong usage */
        else if (gather(&v, &e) != STATUS_OK)
            rc = cmd_failed(command, &e);
        else
            rc = json ? cmd_model_print_json(command, json_incref(v.out)) : print_text(&v);
    }
    json_decref(v.out);
    cmd_line_fini(&line);
    return rc;
}

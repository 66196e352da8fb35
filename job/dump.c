/* dump.c - see dump.h. */
#include "job/dump.h"
#include "base/hash.h"
#include "base/mem.h"
#include "schemas/event_json.h"
#include "trainer/eval_loss.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct dump {
    FILE *file;
    bool own;
    char path[512];
    const struct model *model;
    const struct feat *feat;
    const struct token_vocab *vocab;
    struct buf line, history, sentence;
    float *labels; /* (cap_labels) scratch of one slate */
    size_t cap_labels;
};

enum status dump_open(struct dump **out, const char *path, const struct model *m, const struct feat *f,
                      const struct token_vocab *vocab, struct err *e)
{
    *out = NULL;
    struct dump *d = mem_calloc(1, sizeof *d);
    if (d == NULL) return ERR_SET(e, STATUS_OOM, "dump: %zu bytes", sizeof *d);
    d->model = m;
    d->feat = f;
    d->vocab = vocab;
    (void)snprintf(d->path, sizeof d->path, "%s", path);
    d->own = strcmp(path, "-") != 0;
    d->file = d->own ? fopen(path, "we") : stdout;
    if (d->file == NULL) {
        const int code = errno;
        mem_free(d);
        return ERR_SET(e, STATUS_IO, "examples can't be written to %s: %s", path, strerror(code));
    }
    *out = d;
    return STATUS_OK;
}

static enum status not_written(const struct dump *d, struct err *e)
{
    return ERR_SET(e, STATUS_IO, "examples can't be written to %s: %s", d->path, strerror(errno));
}

/* false: what was held back in memory did not get out (errno). */
static bool let_go(struct dump *d)
{
    FILE *f = d->file;
    d->file = NULL;
    return f == NULL || (d->own ? fclose(f) : fflush(f)) == 0;
}

enum status dump_finish(struct dump *d, struct err *e)
{
    return d == NULL || let_go(d) ? STATUS_OK : not_written(d, e);
}

void dump_close(struct dump *d)
{
    if (d == NULL) return;
    (void)let_go(d);
    buf_fini(&d->line);
    buf_fini(&d->history);
    buf_fini(&d->sentence);
    mem_free(d->labels);
    mem_free(d);
}

/* Word pieces joined again, [CLS] and [SEP] left out. */
static void put_sentence(struct dump *d, struct buf *b, const struct slate *s, uint32_t which)
{
    const struct slate_sentence *t = &s->sentences[which];
    buf_clear(&d->sentence);
    for (uint32_t i = 1; i + 1 < t->n; i++) {
        const char *piece = token_text(d->vocab, s->tokens[t->first + i]);
        const bool glued = strncmp(piece, "##", 2) == 0;
        if (i > 1 && !glued) buf_u8(&d->sentence, ' ');
        buf_put(&d->sentence, glued ? piece + 2 : piece, strlen(glued ? piece + 2 : piece));
    }
    event_json_string(b, (struct str){(const char *)d->sentence.p, d->sentence.n});
}

static void put_number(struct buf *b, const char *name, double x)
{
    if (isfinite(x))
        buf_printf(b, ",\"%s\":%.9g", name, x);
    else
        buf_printf(b, ",\"%s\":null", name);
}

static void put_named(struct buf *b, const char *group, size_t n, const char *(*name)(const struct dump *d, size_t i),
                      const struct dump *d, const float *x, size_t stride)
{
    buf_printf(b, ",\"%s\":{", group);
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s\"%s\":%.9g", i > 0 ? "," : "", name(d, i), (double)x[i * stride]);
    buf_u8(b, '}');
}

static const char *part_name(const struct dump *d, size_t i)
{
    return model_part_name(d->model, i);
}

static const char *task_name(const struct dump *d, size_t i)
{
    return model_task_name(d->model, i);
}

/* What the tasks' behaviours said, and the logits of what was predicted of them (they follow the parts'). */
static void put_tasks(struct buf *b, const struct dump *d, const struct learner_seen *seen, uint32_t i)
{
    const size_t n = model_n_tasks(d->model), K = seen->slate->n_items;
    float y[CONF_TASKS_MAX];
    if (n == 0) return;
    for (size_t t = 0; t < n; t++) y[t] = (float)(seen->slate->items[i].tasks >> t & 1);
    put_named(b, "task_labels", n, task_name, d, y, 1);
    put_named(b, "tasks", n, task_name, d, seen->part_logits + seen->n_parts * K + i, K);
}

static const char *feature_name(const struct dump *d, size_t i)
{
    return feat_name(d->feat, (uint32_t)i);
}

/* What all candidates of a slate share: written once, appended to each. */
static void put_history(struct dump *d, const struct slate *s)
{
    struct buf *b = &d->history;
    const struct slate_event *events = s->events;
    buf_clear(b);
    buf_printf(b, ",\"history\":[");
    for (uint32_t i = 0; i < s->n_events; i++) {
        if (i > 0) buf_u8(b, ',');
        put_sentence(d, b, s, events[i].sentence);
    }
    buf_printf(b, "],\"history_hash\":[");
    for (uint32_t i = 0; i < s->n_events; i++)
        buf_printf(b, "%s\"%016llx\"", i > 0 ? "," : "", (unsigned long long)events[i].item);
    buf_printf(b, "],\"history_type\":[");
    for (uint32_t i = 0; i < s->n_events; i++) buf_printf(b, "%s%u", i > 0 ? "," : "", events[i].type);
    buf_printf(b, "],\"history_minutes\":[");
    for (uint32_t i = 0; i < s->n_events; i++) buf_printf(b, "%s%.9g", i > 0 ? "," : "", (double)events[i].age_minutes);
    buf_printf(b, "]}\n");
}

static void put_example(struct dump *d, const struct learner_seen *seen, uint32_t i)
{
    const struct slate *s = seen->slate;
    const struct slate_item *it = &s->items[i];
    struct buf *b = &d->line;
    buf_clear(b);
    buf_printf(b, "{\"slate\":%llu,\"source\":\"%s\",\"time\":%lld,\"user\":", (unsigned long long)s->id,
               s->source == SLATE_IMPRESSION ? "impression" : "organic", (long long)s->time_ms);
    event_json_string(b, s->user);
    buf_printf(b, ",\"request\":");
    event_json_string(b, s->request);
    buf_printf(b, ",\"item\":");
    event_json_string(b, it->id);
    buf_printf(b, ",\"item_hash\":\"%016llx\",\"label\":%d", (unsigned long long)it->item, it->label > 0.5f);
    put_number(b, "logit", (double)seen->logits[i]);
    put_number(b, "score", 1.0 / (1.0 + exp(-(double)seen->logits[i])));
    buf_printf(b, ",\"cold_user\":%s,\"cold_item\":%s,\"first_time\":%s", s->cold_user ? "true" : "false",
               it->flags & SLATE_ITEM_COLD ? "true" : "false", it->flags & SLATE_ITEM_FIRST_TIME ? "true" : "false");
    put_number(b, "log_kq", (double)it->log_kq);
    put_number(b, "popularity", (double)it->popularity);
    put_number(b, "repeat", (double)it->repeat);
    put_number(b, "cosine", (double)seen->cosine[i]);
    buf_printf(b, ",\"cooccur\":[%.9g,%.9g]", (double)it->cooccur[0], (double)it->cooccur[1]);
    put_named(b, "parts", seen->n_parts, part_name, d, seen->part_logits + i, s->n_items);
    put_tasks(b, d, seen, i);
    put_named(b, "numeric", s->n_numeric, feature_name, d, s->numeric + (size_t)i * s->n_numeric, 1);
    buf_printf(b, ",\"sentence\":");
    put_sentence(d, b, s, it->sentence);
    buf_put(b, d->history.p, d->history.n);
}

static enum status write_line(struct dump *d, const struct buf *b, struct err *e)
{
    TRY(buf_status(b, e));
    return fwrite(b->p, 1, b->n, d->file) == b->n ? STATUS_OK : not_written(d, e);
}

enum status dump_seen(void *dump, const struct learner_seen *seen, struct err *e)
{
    struct dump *d = dump;
    put_history(d, seen->slate);
    for (uint32_t i = 0; i < seen->slate->n_items; i++) {
        put_example(d, seen, i);
        TRY(buf_status(&d->history, e));
        TRY(buf_status(&d->sentence, e));
        TRY(write_line(d, &d->line, e));
    }
    return STATUS_OK;
}

/* The slate's mean log-loss, and its AUC; NaN: undefined. */
static enum status figures_of(struct dump *d, const struct learner_seen *seen, double *loss, double *auc, struct err *e)
{
    const struct slate *s = seen->slate;
    double sum = 0;
    if (MEM_GROW(d->labels, &d->cap_labels, s->n_items) != 0)
        return ERR_SET(e, STATUS_OOM, "dump: slate of %u candidates", s->n_items);
    for (uint32_t i = 0; i < s->n_items; i++) {
        sum += eval_log_loss((double)seen->logits[i], s->items[i].label > 0.5f);
        d->labels[i] = s->items[i].label;
    }
    *loss = s->n_items > 0 ? sum / s->n_items : NAN;
    *auc = eval_auc(seen->logits, d->labels, NULL, s->n_items);
    return STATUS_OK;
}

static uint64_t hash_labels(const struct slate *s)
{
    uint64_t h = s->n_items;
    for (uint32_t i = 0; i < s->n_items; i++) h = hash_mix(h, hash_mix(s->items[i].item, s->items[i].label > 0.5f));
    return h;
}

enum status dump_slate(struct dump *d, const struct learner_seen *seen, struct err *e)
{
    const struct slate *s = seen->slate;
    struct buf *b = &d->line;
    double loss = NAN, auc = NAN;
    TRY(figures_of(d, seen, &loss, &auc, e));
    buf_clear(b);
    buf_printf(b, "{\"slate\":%llu,\"time\":%lld,\"user\":", (unsigned long long)s->id, (long long)s->time_ms);
    event_json_string(b, s->user);
    buf_printf(b, ",\"counted\":%s,\"examples\":%u,\"labels\":\"%016llx\"", seen->counted ? "true" : "false",
               s->n_items, (unsigned long long)hash_labels(s));
    put_number(b, "logloss", loss);
    put_number(b, "auc", auc);
    buf_printf(b, "}\n");
    return write_line(d, b, e);
}

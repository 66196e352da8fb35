/* check_logs.c - log files read to their end as a replay would: what is in them, what is refused and why, how much of the
 * titles the model's vocabulary does not know. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/check.h"
#include "featurize/token.h"
#include "ingest/source.h"
#include <stdio.h>
#include <string.h>

#define EXAMPLES 3 /* per reason */
#define UNKNOWN_WARN_FRAC 0.05
#define REJECT_WRONG_FRAC 0.5 /* of all records */

struct logs {
    struct cmd_check *check;
    uint64_t kinds[EVENT_BEHAVIOUR], types[EVENT_TYPES_MAX], n_events, n_rejects, n_skipped;
    int64_t first_ms, last_ms, newest_ms, worst_back_ms;
    uint64_t n_back; /* events older than one before them */
    struct reject_tally tally;
    struct {
        uint32_t n;
        uint64_t at[EXAMPLES];
        char text[EXAMPLES][sizeof((struct reject *)NULL)->text];
    } examples[REJECT_COUNT];
    uint64_t n_tokens, n_unknown, n_titles;
    int32_t *ids; /* (length) scratch of one title */
    size_t length;
};

static void count_title(struct logs *l, const struct event_attr *attrs, uint32_t n)
{
    const struct event_attr *title = event_attr(attrs, n, "title");
    const struct token_opts o = {.max_length = l->length};
    size_t n_ids;
    if (title == NULL || title->kind != EVENT_ATTR_TEXT || l->ids == NULL) return;
    if (token_encode(l->check->vocab, title->text, o, l->ids, l->length, &n_ids, NULL) != STATUS_OK) return;
    l->n_titles++;
    l->n_tokens += n_ids;
    l->n_unknown += token_count_unknown(l->check->vocab, l->ids, n_ids);
}

static void count_time(struct logs *l, int64_t ms)
{
    if (l->n_events == 1) l->first_ms = l->last_ms = l->newest_ms = ms;
    if (ms < l->first_ms) l->first_ms = ms;
    if (ms > l->last_ms) l->last_ms = ms;
    if (ms < l->newest_ms) {
        l->n_back++;
        if (l->newest_ms - ms > l->worst_back_ms) l->worst_back_ms = l->newest_ms - ms;
    } else {
        l->newest_ms = ms;
    }
}

static void count_event(struct logs *l, const struct event *ev)
{
    l->n_events++;
    if (ev->kind == EVENT_BEHAVIOUR)
        l->types[ev->type]++;
    else
        l->kinds[ev->kind]++;
    count_time(l, ev->time_ms);
    count_title(l, ev->attrs, ev->n_attrs);
    for (uint32_t i = 0; i < ev->n_items; i++) count_title(l, ev->items[i].attrs, ev->items[i].n_attrs);
}

static void count_reject(struct logs *l, const struct source_record *r)
{
    const enum reject_code code = r->reject.code;
    l->n_rejects += r->kind == SOURCE_REJECT;
    l->n_skipped += r->kind == SOURCE_SKIP;
    reject_tally_add(&l->tally, &r->reject);
    if (r->kind == SOURCE_SKIP || l->examples[code].n == EXAMPLES) return;
    const uint32_t i = l->examples[code].n++;
    l->examples[code].at[i] = r->at.offset;
    memcpy(l->examples[code].text[i], r->reject.text, sizeof r->reject.text);
}

static enum status read_all(struct logs *l, const char *const *paths, size_t n, struct err *e)
{
    struct source *s = NULL;
    struct source_batch *b = NULL;
    enum status st;
    TRY_OUT(st, source_batch_new(&b, e));
    TRY_OUT(st, source_open_files(&s, l->check->conf, paths, n, NULL, e));
    while ((st = source_next(s, b, 1000, e)) == STATUS_OK || st == STATUS_AGAIN) {
        for (uint32_t i = 0; i < b->n; i++) {
            if (b->records[i].kind == SOURCE_EVENT)
                count_event(l, &b->records[i].event);
            else
                count_reject(l, &b->records[i]);
        }
    }
    if (st == STATUS_END) st = STATUS_OK;
out:
    source_close(s);
    source_batch_free(b);
    return st;
}

/* ---- rows ---- */

static void row_events(struct logs *l, const char *const *paths, size_t n)
{
    char first[CLOCK_TEXT], last[CLOCK_TEXT];
    clock_format(l->first_ms, first);
    clock_format(l->last_ms, last);
    if (l->n_events == 0) {
        cmd_check_row(l->check, CMD_CHECK_WRONG, "log", "is ingest.schema (--schema) the right one?",
                      "%s%s: no event at all", paths[0], n > 1 ? ", ..." : "");
        return;
    }
    cmd_check_row(l->check, CMD_CHECK_OK, "log", NULL, "%s%s: %llu events, %s to %s", paths[0], n > 1 ? ", ..." : "",
                  (unsigned long long)l->n_events, first, last);
    static const char *const kinds[] = {"item", "user", "impression"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (l->kinds[i] > 0) cmd_check_more(l->check, "%-16s %llu", kinds[i], (unsigned long long)l->kinds[i]);
    for (uint32_t t = 0; t < l->check->conf->n_types; t++)
        if (l->types[t] > 0)
            cmd_check_more(l->check, "%-16s %llu", l->check->conf->types[t].name, (unsigned long long)l->types[t]);
}

static void row_order(struct logs *l)
{
    if (l->n_back == 0) return;
    const enum cmd_check_state state =
        l->worst_back_ms > l->check->conf->join_order_gap_ms ? CMD_CHECK_WARN : CMD_CHECK_OK;
    cmd_check_row(l->check, state, "log order",
                  state == CMD_CHECK_OK
                      ? NULL
                      : "sort the files by time; what comes later than join.order_gap_ms may miss its order or slate",
                  "%llu events are older than one before them, by up to %lld ms", (unsigned long long)l->n_back,
                  (long long)l->worst_back_ms);
}

static void row_rejects(struct logs *l)
{
    const uint64_t all = l->n_events + l->n_rejects;
    if (l->n_rejects == 0) {
        cmd_check_row(l->check, CMD_CHECK_OK, "log rejects", NULL, "none");
        return;
    }
    const bool wrong = (double)l->n_rejects > REJECT_WRONG_FRAC * (double)all;
    cmd_check_row(l->check, wrong ? CMD_CHECK_WRONG : CMD_CHECK_WARN, "log rejects",
                  "mend the producer or the map; ingest.dead_letters keeps the refused bytes", "%llu of %llu records",
                  (unsigned long long)l->n_rejects, (unsigned long long)all);
    for (int code = 0; code < REJECT_COUNT; code++) {
        if (l->tally.by_code[code] == 0 || code == REJECT_SKIPPED) continue;
        cmd_check_more(l->check, "%-20s %llu", reject_name((enum reject_code)code),
                       (unsigned long long)l->tally.by_code[code]);
        for (uint32_t i = 0; i < l->examples[code].n; i++)
            cmd_check_more(l->check, "  record %llu: %s", (unsigned long long)l->examples[code].at[i] + 1,
                           l->examples[code].text[i]);
    }
}

static void row_skipped(struct logs *l)
{
    if (l->n_skipped == 0) return;
    cmd_check_row(l->check, CMD_CHECK_OK, "log skipped", NULL, "%llu records by rules of the map",
                  (unsigned long long)l->n_skipped);
    for (uint32_t i = 0; i < l->tally.n_skipped; i++)
        cmd_check_more(l->check, "%-20s %llu", l->tally.skipped[i].name, (unsigned long long)l->tally.skipped[i].n);
}

static void row_unknown(struct logs *l)
{
    if (l->ids == NULL) return;
    if (l->n_tokens == 0) {
        cmd_check_row(l->check, CMD_CHECK_WARN, "log titles",
                      "map a column to title, or name another field in the templates",
                      "no event has a title: the model reads text, and there is none");
        return;
    }
    const double share = (double)l->n_unknown / (double)l->n_tokens;
    const bool much = share > UNKNOWN_WARN_FRAC;
    cmd_check_row(l->check, much ? CMD_CHECK_WARN : CMD_CHECK_OK, "log titles",
                  much ? "take a model whose vocabulary knows this language (model.base)" : NULL,
                  "%llu titles, %llu tokens, %.2f %% of them [UNK]", (unsigned long long)l->n_titles,
                  (unsigned long long)l->n_tokens, 100 * share);
}

static void put_rows(struct logs *l, const char *const *paths, size_t n)
{
    row_events(l, paths, n);
    row_order(l);
    row_rejects(l);
    row_skipped(l);
    row_unknown(l);
}

void cmd_check_logs(struct cmd_check *c, const char *const *paths, size_t n)
{
    struct err e = {0};
    struct logs *l = mem_calloc(1, sizeof *l);
    if (l == NULL) {
        cmd_check_row(c, CMD_CHECK_WRONG, "log", NULL, "out of memory");
        return;
    }
    l->check = c;
    l->length = c->vocab != NULL ? token_max_length(c->vocab) : 0;
    if (c->vocab != NULL) l->ids = mem_calloc(l->length, sizeof *l->ids);
    const enum status st = read_all(l, paths, n, &e);
    if (st != STATUS_OK) cmd_check_row(c, CMD_CHECK_WRONG, "log", "mend or leave out that file", "%s", e.text);
    if (st == STATUS_OK || l->n_events + l->n_rejects > 0) put_rows(l, paths, n);
    mem_free(l->ids);
    mem_free(l);
}

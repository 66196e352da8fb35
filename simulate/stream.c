/* stream.c - see stream.h. */
#include "simulate/stream.h"
#include "base/auc.h"
#include "base/mem.h"
#include "simulate/fault.h"
#include "simulate/filter.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOGIT_MAX 16.0
enum { BINS = 8192 };
struct areas { /* pooled, by a histogram of logits; and the mean over lists */
    uint64_t bins[2][BINS];
    double list_sum;
    uint64_t lists;
};
struct later { /* a line that waits for its time */
    int64_t time_ms;
    uint64_t order;
    struct buf text;
    uint64_t *count; /* of the truth, once it is written */
};
struct run {
    const struct shop_options *o;
    struct shop *shop;
    struct filter *filter;
    struct later *heap;
    size_t n_heap, cap_heap;
    struct shop_list *open; /* ring of lists whose window is open (only with the filter) */
    size_t first_open, n_open, cap_open;
    uint32_t announced;
    uint64_t order;
    struct areas best, last, oracle; /* last: the best of the last quarter */
    struct buf text;
    enum status (*line)(void *user, int64_t time_ms, struct str text);
    void *user;
    struct stream_truth *truth;
};

static void areas_add(struct areas *a, const double *z, const bool *y, uint32_t n)
{
    double wins = 0.0, pairs = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        a->bins[y[i]][auc_bin(z[i], BINS, LOGIT_MAX)]++;
        for (uint32_t j = 0; y[i] && j < n; j++) {
            if (y[j]) continue;
            pairs += 1.0;
            wins += z[i] > z[j] ? 1.0 : z[i] == z[j] ? 0.5 : 0.0;
        }
    }
    if (pairs <= 0.0) return;
    a->list_sum += wins / pairs;
    a->lists++;
}

static double area_of(const struct areas *a)
{
    struct auc_sweep s = {0};
    for (int i = 0; i < BINS; i++) auc_sweep(&s, (double)a->bins[0][i], (double)a->bins[1][i]);
    return auc_swept(&s);
}

static bool earlier(const struct later *a, const struct later *b)
{
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->order < b->order;
}

static void swap(struct later *a, struct later *b)
{
    const struct later t = *a;
    *a = *b;
    *b = t;
}

/* Puts a line aside until its time; takes over `text`'s memory. */
static enum status put_later(struct run *r, int64_t time_ms, struct buf *text, uint64_t *count, struct err *e)
{
    if (text->oom || MEM_GROW(r->heap, &r->cap_heap, r->n_heap + 1) != 0) {
        buf_fini(text);
        return ERR_SET(e, STATUS_OOM, "%zu waiting lines", r->n_heap + 1);
    }
    size_t i = r->n_heap++;
    r->heap[i] = (struct later){time_ms, r->order++, *text, count};
    *text = (struct buf){0};
    for (; i > 0 && earlier(&r->heap[i], &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&r->heap[i], &r->heap[(i - 1) / 2]);
    return STATUS_OK;
}

static void drop_first(struct run *r)
{
    buf_fini(&r->heap[0].text);
    r->heap[0] = r->heap[--r->n_heap];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < r->n_heap; c++)
            if (earlier(&r->heap[c], &r->heap[least])) least = c;
        if (least == i) return;
        swap(&r->heap[i], &r->heap[least]);
        i = least;
    }
}

static enum status emit(struct run *r, int64_t time_ms, const struct buf *b, struct err *e)
{
    TRY(buf_status(b, e));
    if (r->truth->lines == r->o->events) return STATUS_END;
    r->truth->lines++;
    return r->line(r->user, time_ms, (struct str){(const char *)b->p, b->n});
}

/* Items that arrived and lines whose time has come, in order, up to time_ms. */
static enum status catch_up(struct run *r, int64_t time_ms, struct err *e)
{
    for (;;) {
        const int64_t item = r->announced < r->o->items ? shop_item(r->shop, r->announced)->since_ms : INT64_MAX;
        const int64_t line = r->n_heap > 0 ? r->heap[0].time_ms : INT64_MAX;
        if (item > time_ms && line > time_ms) return STATUS_OK;
        if (item <= line) {
            buf_clear(&r->text);
            shop_write_item(&r->text, r->shop, r->announced++);
            TRY(emit(r, item, &r->text, e));
        } else {
            TRY(emit(r, line, &r->heap[0].text, e));
            (*r->heap[0].count)++;
            drop_first(r);
        }
    }
}

static enum status remember(struct run *r, const struct shop_list *l, struct err *e)
{
    if (r->n_open == r->cap_open) {
        const size_t cap = r->cap_open > 0 ? 2 * r->cap_open : 256;
        struct shop_list *bigger = mem_calloc(cap, sizeof *bigger);
        if (bigger == NULL) return ERR_SET(e, STATUS_OOM, "%zu open lists", cap);
        for (size_t i = 0; i < r->n_open; i++) bigger[i] = r->open[(r->first_open + i) % r->cap_open];
        mem_free(r->open);
        r->open = bigger;
        r->cap_open = cap;
        r->first_open = 0;
    }
    r->open[(r->first_open + r->n_open++) % r->cap_open] = *l;
    return STATUS_OK;
}

static void learn_ended(struct run *r, int64_t time_ms)
{
    while (r->n_open > 0 && r->open[r->first_open].time_ms + r->o->window_ms < time_ms) {
        filter_learn(r->filter, &r->open[r->first_open]);
        r->first_open = (r->first_open + 1) % r->cap_open;
        r->n_open--;
    }
}

static enum status judge(struct run *r, const struct shop_list *l, struct err *e)
{
    double z[SHOP_SLATE_MAX], truth[SHOP_SLATE_MAX];
    bool y[SHOP_SLATE_MAX];
    const uint32_t n = shop_looked(r->o, l);
    for (uint32_t k = 0; k < n; k++) {
        y[k] = shop_clicked(r->o, l, k);
        truth[k] = log(l->p[k] / (1.0 - l->p[k]));
    }
    areas_add(&r->oracle, truth, y, n);
    if (r->filter == NULL) return STATUS_OK;
    learn_ended(r, l->time_ms);
    TRY(filter_score(r->filter, l, z, e));
    areas_add(&r->best, z, y, n);
    if (4 * r->truth->lines >= 3 * r->o->events) areas_add(&r->last, z, y, n);
    return remember(r, l, e);
}

static enum status put_clicks(struct run *r, const struct shop_list *l, struct err *e)
{
    for (uint32_t k = 0; k < l->n; k++) {
        struct buf b = {0};
        if (l->click_ms[k] == 0) continue;
        shop_write_click(&b, l, k);
        TRY(put_later(r, l->click_ms[k], &b, &r->truth->clicks, e));
        if (!l->bought[k]) continue;
        const int64_t bought = l->click_ms[k] + (int64_t)r->o->delay_ms;
        shop_write_purchase(&b, r->shop, l, k, bought);
        TRY(put_later(r, bought, &b, &r->truth->purchases, e));
    }
    return STATUS_OK;
}

/* One list and, later, its clicks. */
static enum status put_list(struct run *r, const struct shop_list *l, struct err *e)
{
    buf_clear(&r->text);
    shop_write_list(&r->text, l);
    TRY(emit(r, l->time_ms, &r->text, e));
    r->truth->lists++;
    r->truth->shown += l->n;
    return put_clicks(r, l, e);
}

static enum status put_flood(struct run *r, const struct shop_list *l, struct err *e)
{
    struct shop_list flood;
    if (r->o->fault != SHOP_FAULT_FLOOD || l->source > 1 || !fault_is_on(r->o, l->time_ms)) return STATUS_OK;
    for (uint32_t j = 0; j < FAULT_FLOOD_LISTS; j++) {
        fault_flood(r->o, l, j, &flood);
        TRY(put_list(r, &flood, e));
    }
    return STATUS_OK;
}

static enum status run_lists(struct run *r, struct err *e)
{
    struct shop_list l;
    for (;;) {
        shop_next(r->shop, &l);
        TRY(catch_up(r, l.time_ms, e));
        TRY(judge(r, &l, e));
        fault_list(r->o, &l);
        TRY(put_list(r, &l, e));
        TRY(put_flood(r, &l, e));
    }
}

enum status stream_run(const struct shop_options *o, bool best,
                       enum status (*line)(void *user, int64_t time_ms, struct str text), void *user,
                       struct stream_truth *truth, struct err *e)
{
    enum status st;
    *truth = (struct stream_truth){.best_auc = NAN, .best_gauc = NAN, .best_auc_last_quarter = NAN, .oracle_auc = NAN};
    struct run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "simulation: %zu bytes", sizeof *r);
    *r = (struct run){.o = o, .line = line, .user = user, .truth = truth};
    TRY_OUT(st, shop_new(&r->shop, o, e));
    if (best) TRY_OUT(st, filter_new(&r->filter, o, r->shop, e));
    st = run_lists(r, e);
    if (st == STATUS_END && truth->lines == o->events) st = STATUS_OK;
    truth->oracle_auc = area_of(&r->oracle);
    truth->best_auc = best ? area_of(&r->best) : NAN;
    truth->best_auc_last_quarter = best ? area_of(&r->last) : NAN;
    truth->best_gauc = best && r->best.lists > 0 ? r->best.list_sum / (double)r->best.lists : NAN;
out:
    for (size_t i = 0; i < r->n_heap; i++) buf_fini(&r->heap[i].text);
    mem_free(r->heap);
    mem_free(r->open);
    buf_fini(&r->text);
    filter_free(r->filter);
    shop_free(r->shop);
    mem_free(r);
    return st;
}

static void put_figure(struct buf *b, const char *name, double x)
{
    if (isfinite(x))
        buf_printf(b, "  \"%s\": %.6f,\n", name, x);
    else
        buf_printf(b, "  \"%s\": null,\n", name);
}

void stream_write_truth(struct buf *b, const struct shop_options *o, const struct stream_truth *t)
{
    buf_printf(b, "{\n");
    put_figure(b, "best_auc", t->best_auc);
    put_figure(b, "best_gauc", t->best_gauc);
    put_figure(b, "best_auc_last_quarter", t->best_auc_last_quarter);
    put_figure(b, "oracle_auc", t->oracle_auc);
    put_figure(b, "drift_per_day", o->drift);
    buf_printf(b, "  \"events\": %llu, \"lists\": %llu, \"shown\": %llu, \"clicks\": %llu, \"purchases\": %llu,\n",
               (unsigned long long)t->lines, (unsigned long long)t->lists, (unsigned long long)t->shown,
               (unsigned long long)t->clicks, (unsigned long long)t->purchases);
    buf_printf(b, "  \"users\": %u, \"items\": %u, \"seed\": %llu, \"window_ms\": %lld\n}\n", o->users, o->items,
               (unsigned long long)o->seed, (long long)o->window_ms);
}

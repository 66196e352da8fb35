/* variants.c - see variants.h; what is kept of them is in variants_state.c. */
#include "job/variants.h"
#include "base/mem.h"
#include "job/variants_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- building ---- */

static enum status open_line(struct variants *v, size_t i, const struct encoder *enc, uint32_t n_numeric,
                             struct eval_warmup warmup, struct err *e)
{
    TRY(conf_line_new(&v->own[i], v->conf, i + 1, e));
    const struct line_shared shared = {v->first, v->lines, i};
    const bool learns = v->first->learn && v->own[i]->train_follow_ms == 0;
    TRY(line_new_beside(&v->lines[i], v->own[i], enc, n_numeric, learns, warmup, &shared, e));
    TRY(variants_can_follow(v, i, e));
    v->followers[i].first_ms = INT64_MIN;
    v->row[i] = v->rows;
    v->rows += 1 + model_n_rows(v->lines[i]->model);
    v->fresh[i] = true;
    return STATUS_OK;
}

static enum status open_comparisons(struct variants *v, struct err *e)
{
    v->paired = mem_calloc(CONF_LINES_MAX, sizeof *v->paired);
    if (v->paired == NULL) return ERR_SET(e, STATUS_OOM, "variants: comparisons");
    TRY(arms_new(&v->arms, v->conf->eval_window_ms, e));
    variants_split(v, 0);
    return slate_new(&v->copy, e);
}

enum status variants_new(struct variants **out, const struct conf *c, const struct encoder *enc,
                         const struct line *first, uint32_t n_numeric, struct eval_warmup warmup, struct err *e)
{
    enum status st;
    *out = NULL;
    struct variants *v = mem_calloc(1, sizeof *v);
    if (v == NULL) return ERR_SET(e, STATUS_OOM, "variants: %zu bytes", sizeof *v);
    v->conf = c;
    v->first = first;
    v->rows = model_n_rows(first->model);
    v->warmup = warmup;
    if (c->n_variants > 0) TRY_OUT(st, open_comparisons(v, e));
    for (size_t i = 0; i < c->n_variants; i++) {
        st = open_line(v, i, enc, n_numeric, warmup, e);
        v->n++;
        if (st != STATUS_OK) goto out;
    }
    st = STATUS_OK;
    *out = v;
    v = NULL;
out:
    variants_free(v);
    return st;
}

void variants_free(struct variants *v)
{
    if (v == NULL) return;
    while (v->n > 0) { /* those that share another's states before it */
        v->n--;
        line_free(v->lines[v->n]);
        conf_free(v->own[v->n]);
    }
    for (size_t i = 0; i < v->n_gone; i++) mem_free(v->gone[i]);
    arms_free(v->arms);
    mem_free(v->paired);
    slate_free(v->copy);
    gate_snapshot_free(v->lead);
    buf_fini(&v->pack);
    mem_free(v->rows_of.logits);
    mem_free(v->rows_of.part_logits);
    mem_free(v->rows_of.frozen);
    mem_free(v);
}

size_t variants_count(const struct variants *v)
{
    return v->n;
}

struct line *variants_line(const struct variants *v, size_t line)
{
    return line == 0 ? (struct line *)(uintptr_t)v->first : v->lines[line - 1];
}

size_t variants_in_charge(const struct variants *v)
{
    return v->in_charge;
}

void variants_split(struct variants *v, uint64_t next_slate)
{
    if (v->arms != NULL) arms_split(v->arms, v->conf, v->in_charge, next_slate);
}

enum status variants_promote(struct variants *v, struct str name, uint64_t next_slate, struct err *e)
{
    const size_t line = conf_line_find(v->conf, name);
    if (line == SIZE_MAX)
        return ERR_SET(e, STATUS_NOT_FOUND, "variant \"%.*s\": the learner's configuration has none of that name",
                       name.n > 60 ? 60 : (int)name.n, name.p);
    if (line == v->in_charge) return STATUS_OK;
    v->in_charge = line;
    memset(v->paired, 0, CONF_LINES_MAX * sizeof *v->paired);
    variants_split(v, next_slate);
    return STATUS_OK;
}

/* ---- scoring ---- */

size_t variants_rows(const struct variants *v)
{
    return v->rows;
}

static enum status room_for(struct variants *v, size_t k, struct err *e)
{
    struct open_predictions *p = &v->rows_of;
    p->n_parts = v->rows;
    if (k <= v->cap_items) return STATUS_OK;
    mem_free(p->logits);
    mem_free(p->part_logits);
    mem_free(p->frozen);
    v->cap_items = 0;
    p->logits = mem_calloc(k, sizeof(float));
    p->part_logits = mem_calloc(k * v->rows, sizeof(float));
    p->frozen = mem_calloc(k, sizeof(float));
    if (p->logits == NULL || p->part_logits == NULL || p->frozen == NULL)
        return ERR_SET(e, STATUS_OOM, "variants: slate of %zu candidates", k);
    v->cap_items = k;
    return STATUS_OK;
}

enum status variants_predict(struct variants *v, const struct slate *s, int64_t first_ms, struct open_predictions *out,
                             struct err *e)
{
    const size_t k = s->n_items;
    *out = v->first->predictions;
    if (v->n == 0) return STATUS_OK;
    TRY(variants_follow(v, s, first_ms, e));
    TRY(room_for(v, k, e));
    memcpy(v->rows_of.logits, out->logits, k * sizeof(float));
    memcpy(v->rows_of.frozen, out->frozen, k * sizeof(float));
    memcpy(v->rows_of.part_logits, out->part_logits, k * out->n_parts * sizeof(float));
    for (size_t i = 0; i < v->n; i++) {
        float *row = v->rows_of.part_logits + v->row[i] * k;
        const struct open_predictions *p = &v->lines[i]->predictions;
        TRY(line_score_beside(v->lines[i], s, e));
        memcpy(row, p->logits, k * sizeof(float));
        memcpy(row + k, p->part_logits, k * p->n_parts * sizeof(float));
    }
    *out = v->rows_of;
    return STATUS_OK;
}

/* ---- settling ---- */

const float *variants_logits(const struct variants *v, const struct slate *s, const struct open_predictions *p,
                             size_t line)
{
    return line == 0 ? p->logits : p->part_logits + v->row[line - 1] * s->n_items;
}

/* What variant `line` (> 0) predicted: its rows among those of all. */
static struct open_predictions shown_by(const struct variants *v, const struct slate *s,
                                        const struct open_predictions *p, size_t line)
{
    float *rows = p->part_logits + v->row[line - 1] * s->n_items;
    return (struct open_predictions){rows, rows + s->n_items, p->frozen, model_n_rows(v->lines[line - 1]->model)};
}

/* A recorded list that says which variant made it. */
static void note_arm(struct variants *v, const struct slate *s)
{
    struct arms_seen seen = {.slate = s->id, .user = s->user, .shown_ms = s->time_ms, .counts = eval_cohort_of(s)};
    if (s->source != SLATE_IMPRESSION || !str_has(s->variant)) return;
    seen.line = conf_line_find(v->conf, s->variant);
    arms_add(v->arms, &seen);
}

void variants_estimate(struct variants *v, const struct slate *s, const struct open_predictions *p, int64_t first_ms)
{
    for (size_t i = 1; i <= v->n; i++) {
        const float *own = variants_logits(v, s, p, i);
        if (s->n_items > 0 && !isnan(own[0])) line_estimate(v->lines[i - 1], s, own, first_ms);
    }
}

enum status variants_settle(struct variants *v, const struct slate *s, const struct open_predictions *p,
                            int64_t first_ms, struct err *e)
{
    if (v->n == 0) return STATUS_OK;
    const bool counted = !s->cut_off && eval_counts(&v->warmup, v->settled, s->time_ms - first_ms);
    const float *champion = variants_logits(v, s, p, v->in_charge);
    v->settled++;
    for (size_t i = 0; i <= v->n; i++) {
        const float *own = variants_logits(v, s, p, i);
        if (counted && i != v->in_charge) paired_slate(&v->paired[i], s, champion, own);
        if (i == 0 || s->n_items == 0 || isnan(own[0])) continue;
        const struct open_predictions its = shown_by(v, s, p, i);
        TRY(line_evaluate(v->lines[i - 1], s, &its, first_ms, e));
    }
    note_arm(v, s);
    return STATUS_OK;
}

enum status variants_settle_delays(struct variants *v, const struct slate *s, const struct loss_delay_settled *settled,
                                   const struct open_predictions *p, struct err *e)
{
    float *z = arena_alloc(s->arena, s->n_items, sizeof *z);
    if (z == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", s->n_items);
    for (size_t i = 0; i < v->n; i++) {
        struct loss_delay_settled own = *settled;
        const struct open_predictions shown = shown_by(v, s, p, i + 1);
        line_early_logits(v->lines[i], &shown, s->n_items, z);
        own.z = z;
        if (s->n_items > 0 && !isnan(z[0])) loss_delay_settle(&v->lines[i]->delay, &own);
    }
    return STATUS_OK;
}

/* Each variant has a batch, and so a copy, of its own. */
enum status variants_learn(struct variants *v, const struct slate *s, const struct line_copies *c, struct err *e)
{
    bool learnt;
    if (v->n == 0 || !v->first->learn) return STATUS_OK;
    buf_clear(&v->pack);
    slate_encode(&v->pack, s);
    TRY(buf_status(&v->pack, e));
    for (size_t i = 0; i < v->n; i++) {
        struct buf_reader r = buf_reader(v->pack.p, v->pack.n);
        slate_reset(v->copy);
        TRY(slate_decode(v->copy, &r, e));
        if (c == NULL) {
            TRY(line_learn(v->lines[i], &v->copy, e));
            continue;
        }
        struct open_predictions shown;
        struct line_copies own = *c;
        if (c->copy != SLATE_WHOLE) {
            shown = shown_by(v, s, c->shown, i + 1);
            own.shown = &shown;
            if (isnan(shown.logits[0])) continue; /* it was not there when the list opened */
        }
        TRY(line_learn_copies(v->lines[i], &v->copy, &own, &learnt, e));
    }
    return STATUS_OK;
}

enum status variants_advance(struct variants *v, int64_t now_ms, struct err *e)
{
    for (size_t i = 0; i < v->n; i++) TRY(line_advance(v->lines[i], now_ms, e));
    return STATUS_OK;
}

enum status variants_step(struct variants *v, struct err *e)
{
    for (size_t i = 0; i < v->n; i++) TRY(line_step(v->lines[i], e));
    return STATUS_OK;
}

/* ---- report ---- */

void variants_report(const struct variants *v, struct report *out)
{
    for (size_t i = 0; i <= v->n && v->n > 0; i++) {
        const struct line *l = variants_line(v, i);
        struct report_variant *to = &out->variants[out->n_variants++];
        (void)snprintf(to->name, sizeof to->name, "%s", conf_line_name(v->conf, i));
        to->in_charge = i == v->in_charge;
        to->shadow = conf_line_shadow(v->conf, i, v->in_charge);
        to->share = conf_line_share(v->conf, i, v->in_charge);
        to->learnt_examples = l->counts.learnt_examples;
        to->score_core_s = l->score_core_s;
        to->learn_core_s = l->learn_core_s;
        (void)snprintf(to->sha256, sizeof to->sha256, "%s", l->params->sha256);
        line_figures(l, &to->progressive);
        ope_report(l->ope, &to->ope);
        if (i != v->in_charge) paired_report(&v->paired[i], &to->paired);
    }
    if (v->n > 0) arms_report(v->arms, v->conf, v->in_charge, &out->arms);
}

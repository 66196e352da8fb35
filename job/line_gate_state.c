/* line_gate_state.c - the gate in and out of the state, and its figures. */
#include "job/line.h"
#include "job/line_gate.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT 1
#define COUNTS_WORDS (sizeof(struct line_gate_counts) / sizeof(uint64_t))
_Static_assert(sizeof(struct line_gate_counts) == 7 * sizeof(uint64_t),
               "another counter is another format, and one that is no u64 is not written so");

static void mark_encode(struct buf *b, const struct line_mark *m)
{
    buf_u64(b, m->version);
    buf_u64(b, m->slates);
    buf_u64(b, m->examples);
    buf_u64(b, m->steps);
    buf_u64(b, m->rollbacks);
    buf_i64(b, m->time_ms);
}

static void mark_decode(struct line_mark *m, struct buf_reader *r)
{
    m->version = buf_get_u64(r);
    m->slates = buf_get_u64(r);
    m->examples = buf_get_u64(r);
    m->steps = buf_get_u64(r);
    m->rollbacks = buf_get_u64(r);
    m->time_ms = buf_get_i64(r);
}

void line_gate_encode(struct buf *b, const struct line_gate *g)
{
    const uint64_t *counts = (const uint64_t *)(const void *)&g->counts;
    buf_u32(b, FORMAT);
    gate_judge_encode(b, &g->judge);
    mark_encode(b, &g->blessed_mark);
    mark_encode(b, &g->candidate_mark);
    buf_u64(b, g->judge_from);
    buf_i64(b, g->now_ms);
    buf_i64(b, g->rest_until_ms);
    buf_u32(b, g->again);
    buf_u8(b, g->want_bless);
    buf_u8(b, g->want_mark);
    gate_tally_encode(b, &g->held_out);
    gate_tally_encode(b, &g->taught);
    buf_varint(b, COUNTS_WORDS);
    for (size_t i = 0; i < COUNTS_WORDS; i++) buf_varint(b, counts[i]);
}

enum status line_gate_decode(struct line_gate *g, struct buf_reader *r, struct err *e)
{
    uint64_t *counts = (uint64_t *)(void *)&g->counts;
    if (buf_get_u32(r) != FORMAT) return ERR_SET(e, STATUS_UNSUPPORTED, "the gate was written by another version");
    TRY(gate_judge_decode(&g->judge, r, e));
    mark_decode(&g->blessed_mark, r);
    mark_decode(&g->candidate_mark, r);
    g->judge_from = buf_get_u64(r);
    g->now_ms = buf_get_i64(r);
    g->rest_until_ms = buf_get_i64(r);
    g->again = buf_get_u32(r);
    g->want_bless = buf_get_u8(r) != 0;
    g->want_mark = buf_get_u8(r) != 0;
    gate_tally_decode(&g->held_out, r);
    gate_tally_decode(&g->taught, r);
    if (buf_get_varint(r) != COUNTS_WORDS) return ERR_SET(e, STATUS_UNSUPPORTED, "the gate's counters differ");
    for (size_t i = 0; i < COUNTS_WORDS; i++) counts[i] = buf_get_varint(r);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "the gate's state is cut short") : STATUS_OK;
}

enum { NAME_ROOM = 48 };

static const char *name_of(char out[NAME_ROOM], const char *what, const char *variant)
{
    (void)snprintf(out, NAME_ROOM, "%s%s%s", what, variant != NULL ? "." : "", variant != NULL ? variant : "");
    return out;
}

enum status line_gate_save(const struct line *l, const char *name, struct store_txn *t, struct err *e)
{
    char room[NAME_ROOM];
    if (l->gate == NULL) return STATUS_OK;
    TRY(gate_snapshot_save(l->gate->blessed, t, name_of(room, "blessed", name), e));
    return gate_snapshot_save(l->gate->candidate, t, name_of(room, "candidate", name), e);
}

void line_gate_saved(struct line *l)
{
    if (l->gate == NULL) return;
    gate_snapshot_saved(l->gate->blessed);
    gate_snapshot_saved(l->gate->candidate);
}

enum status line_gate_load(struct line *l, const char *name, struct store_txn *t, struct err *e)
{
    char room[NAME_ROOM];
    if (l->gate == NULL) return STATUS_OK;
    TRY(gate_snapshot_load(l->gate->blessed, t, name_of(room, "blessed", name), l->optim, e));
    return gate_snapshot_load(l->gate->candidate, t, name_of(room, "candidate", name), l->optim, e);
}

enum status line_gate_forget(const char *name, struct store_txn *t, struct err *e)
{
    char room[NAME_ROOM];
    TRY(gate_snapshot_forget(t, name_of(room, "blessed", name), e));
    return gate_snapshot_forget(t, name_of(room, "candidate", name), e);
}

/* Nothing was learnt since the snapshot, nor taken back: the version holds just it. */
static void number(const struct line *l, const struct gate_snapshot *s, struct line_mark *m, uint64_t version)
{
    if (gate_snapshot_there(s) && m->version == 0 && m->steps == l->counts.steps &&
        m->rollbacks == l->gate->counts.rollbacks)
        m->version = version;
}

void line_gate_numbered(struct line *l, uint64_t version)
{
    if (l->gate == NULL) return;
    number(l, l->gate->blessed, &l->gate->blessed_mark, version);
    number(l, l->gate->candidate, &l->gate->candidate_mark, version);
}

static struct report_estimate estimate(const struct gate_tally *t, enum gate_figure f)
{
    const struct gate_mean m = gate_tally_mean(t, f);
    return (struct report_estimate){m.mean, m.error, m.slates};
}

void line_gate_report(const struct line_gate *g, struct report_gate *out)
{
    *out = (struct report_gate){.loss_harm = NAN, .auc_harm = NAN};
    if (g == NULL) return;
    out->on = g->conf->gate_share > 0;
    out->share = g->conf->gate_share;
    out->judged = g->counts.judged;
    out->rollbacks = g->counts.rollbacks;
    out->blessings = g->counts.blessings;
    out->rested = g->counts.rested;
    out->refused = g->counts.refused;
    out->blessed = g->blessed_mark.version;
    out->blessed_examples = g->blessed_mark.examples;
    out->worse = gate_judge_worse(&g->judge);
    out->loss_harm = gate_judge_mean(&g->judge, GATE_LOSS);
    out->auc_harm = gate_judge_mean(&g->judge, GATE_AUC);
    out->rests = line_gate_rests(g);
    out->holdout_frac = g->conf->gate_holdout_frac;
    out->held_out_slates = g->counts.held_out;
    out->held_out_loss = estimate(&g->held_out, GATE_LOSS);
    out->held_out_auc = estimate(&g->held_out, GATE_AUC);
    out->taught_loss = estimate(&g->taught, GATE_LOSS);
    out->taught_auc = estimate(&g->taught, GATE_AUC);
}

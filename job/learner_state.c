/* learner_state.c - the learner in and out of a store transaction: one record a concern, under STORE_LEARNER. */
#include "base/mem.h"
#include "job/learner_private.h"

static void offset_encode(struct buf *b, const struct source_offset *o)
{
    buf_u64(b, o->next);
    buf_u64(b, o->mark);
    buf_u64(b, o->records);
    buf_u64(b, o->chain);
}

static void offset_decode(struct source_offset *o, struct buf_reader *r)
{
    o->next = buf_get_u64(r);
    o->mark = buf_get_u64(r);
    o->records = buf_get_u64(r);
    o->chain = buf_get_u64(r);
}

static void offsets_encode(struct buf *b, const struct learner *l)
{
    buf_varint(b, l->n_offsets);
    for (size_t i = 0; i < l->n_offsets; i++) {
        buf_u32(b, l->offsets[i].topic);
        buf_u32(b, l->offsets[i].partition);
        offset_encode(b, &l->offsets[i]);
    }
}

/* All counters in declaration order: they are all u64. */
#define COUNTS_WORDS (sizeof(struct learner_counts) / sizeof(uint64_t))
#define LEARNT_WORDS 3
_Static_assert(sizeof(struct learner_counts) == 7 * sizeof(uint64_t) &&
                   sizeof(struct line_counts) == LEARNT_WORDS * sizeof(uint64_t),
               "another counter is another format, and one that is no u64 is not written so");

static void stream_encode(struct buf *b, const struct learner *l)
{
    const uint64_t *counts = (const uint64_t *)(const void *)&l->counts;
    const struct line_counts *learnt = &l->line->counts;
    buf_u64(b, l->next_slate);
    buf_i64(b, l->first_ms);
    buf_i64(b, l->settled_ms);
    offset_encode(b, &l->file);
    buf_varint(b, COUNTS_WORDS + LEARNT_WORDS);
    for (size_t i = 0; i < COUNTS_WORDS; i++) buf_varint(b, counts[i]);
    buf_varint(b, learnt->learnt_slates);
    buf_varint(b, learnt->learnt_examples);
    buf_varint(b, learnt->steps);
    reject_tally_encode(b, &l->tally);
    offsets_encode(b, l);
    line_batch_encode(b, l->line);
}

static enum status offsets_decode(struct learner *l, struct buf_reader *r, struct err *e)
{
    const size_t n = buf_get_count(r, 40);
    if (MEM_GROW(l->offsets, &l->cap_offsets, n) != 0)
        return ERR_SET(e, STATUS_OOM, "offsets of %zu partitions", n);
    for (l->n_offsets = 0; l->n_offsets < n; l->n_offsets++) {
        struct source_offset *o = &l->offsets[l->n_offsets];
        o->topic = buf_get_u32(r);
        o->partition = buf_get_u32(r);
        offset_decode(o, r);
    }
    return STATUS_OK;
}

static enum status stream_decode(struct learner *l, struct buf_reader *r, struct err *e)
{
    uint64_t *counts = (uint64_t *)(void *)&l->counts;
    struct line_counts *learnt = &l->line->counts;
    l->next_slate = buf_get_u64(r);
    l->first_ms = buf_get_i64(r);
    l->settled_ms = buf_get_i64(r);
    offset_decode(&l->file, r);
    if (buf_get_varint(r) != COUNTS_WORDS + LEARNT_WORDS)
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "the state folder was written by another version of freshet (counters differ)");
    for (size_t i = 0; i < COUNTS_WORDS; i++) counts[i] = buf_get_varint(r);
    learnt->learnt_slates = buf_get_varint(r);
    learnt->learnt_examples = buf_get_varint(r);
    learnt->steps = buf_get_varint(r);
    TRY(reject_tally_decode(&l->tally, r, e));
    TRY(offsets_decode(l, r, e));
    TRY(line_batch_decode(l->line, r, e));
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "stream state is cut short") : STATUS_OK;
}

enum piece {
    PIECE_STREAM,
    PIECE_DEDUPE,
    PIECE_WATERMARK,
    PIECE_ORDER,
    PIECE_JOIN,
    PIECE_EVAL,
    PIECE_MODEL,
    PIECE_RETRIED,
    PIECE_GATE,
    PIECE_SEGMENTS,
    PIECE_DELAY,
    PIECE_OFF_POLICY,
    PIECE_GUARD,
    PIECE_SERVED,
    PIECES
};
static const char *const piece_names[PIECES] = {"stream", "dedupe",     "watermark", "order", "join",
                                                "eval",   "model",      "retried",   "gate",  "segments",
                                                "delay",  "off_policy", "guard",     "served"};

static void piece_encode(struct buf *b, const struct learner *l, enum piece which)
{
    switch (which) {
    case PIECE_STREAM: stream_encode(b, l); break;
    case PIECE_DEDUPE: dedupe_encode(b, l->dedupe); break;
    case PIECE_WATERMARK: watermark_encode(b, l->watermark); break;
    case PIECE_ORDER: order_encode(b, l->order); break;
    case PIECE_JOIN: join_encode(b, l->join); break;
    case PIECE_EVAL: eval_encode(b, l->line->eval); break;
    case PIECE_MODEL: model_run_encode(b, l->line->run); break;
    case PIECE_RETRIED: reject_places_encode(b, &l->retried); break;
    case PIECE_GATE: learner_gate_encode(b, l); break;
    case PIECE_SEGMENTS: segment_encode(b, l->segment); break;
    case PIECE_DELAY: loss_delay_encode(b, &l->line->delay); break;
    case PIECE_OFF_POLICY: ope_encode(b, l->line->ope); break;
    case PIECE_GUARD:
        guard_encode(b, l->guard);
        spike_encode(b, &l->line->spike);
        break;
    case PIECE_SERVED: learner_served_encode(b, l); break;
    case PIECES: break;
    }
}

static enum status decode_guard(struct learner *l, struct buf_reader *r, struct err *e)
{
    TRY(guard_decode(l->guard, r, e));
    spike_decode(&l->line->spike, r);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "the bound of a batch's loss can't be read") : STATUS_OK;
}

static enum status piece_decode(struct learner *l, enum piece which, struct buf_reader *r, struct err *e)
{
    switch (which) {
    case PIECE_STREAM: return stream_decode(l, r, e);
    case PIECE_DEDUPE: return dedupe_decode(l->dedupe, r, e);
    case PIECE_WATERMARK: return watermark_decode(l->watermark, r, e);
    case PIECE_ORDER: return order_decode(l->order, r, e);
    case PIECE_JOIN: return join_decode(l->join, r, e);
    case PIECE_EVAL: return eval_decode(l->line->eval, r, e);
    case PIECE_MODEL: return model_run_decode(l->line->run, r, e);
    case PIECE_RETRIED: return reject_places_decode(&l->retried, r, e);
    case PIECE_GATE: return learner_gate_decode(l, r, e);
    case PIECE_SEGMENTS: return segment_decode(l->segment, r, e);
    case PIECE_DELAY: return loss_delay_decode(&l->line->delay, r, e);
    case PIECE_OFF_POLICY: return ope_decode(l->line->ope, r, e);
    case PIECE_GUARD: return decode_guard(l, r, e);
    case PIECE_SERVED: return learner_served_decode(l, r, e);
    case PIECES: break;
    }
    return STATUS_OK;
}

static enum status save_pieces(struct learner *l, struct store_txn *t, struct err *e)
{
    enum status st = STATUS_OK;
    struct buf b = {0};
    for (int i = 0; i < PIECES && st == STATUS_OK; i++) {
        buf_clear(&b);
        piece_encode(&b, l, (enum piece)i);
        st = buf_status(&b, e);
        if (st == STATUS_OK)
            st = store_put(t, STORE_LEARNER, str_from(piece_names[i]), (struct str){(const char *)b.p, b.n}, e);
    }
    buf_fini(&b);
    return st;
}

enum status learner_save(struct learner *l, struct store_txn *t, struct err *e)
{
    TRY(save_pieces(l, t, e));
    TRY(world_save(l->world, t, e));
    TRY(open_save(l->open, t, e));
    TRY(line_gate_save(l->line, NULL, t, e));
    TRY(reservoir_save(l->line->reservoir, t, "reservoir", e));
    TRY(variants_save(l->variants, t, e));
    return optim_sparse_save(l->line->optim, l->line->params, STR(""), t, e);
}

void learner_saved(struct learner *l)
{
    world_saved(l->world);
    open_saved(l->open);
    line_gate_saved(l->line);
    reservoir_saved(l->line->reservoir);
    variants_saved(l->variants);
    optim_sparse_saved(l->line->optim);
}

/* Slates that opened before a variant was added or taken away hold other rows. */
static enum status load_variants(struct learner *l, struct store_txn *t, struct err *e)
{
    struct variants_layout layout;
    TRY(variants_load(l->variants, t, &layout, e));
    variants_split(l->variants, l->next_slate);
    return open_relayout(l->open, layout.rows_then, layout.map, e);
}

enum status learner_load(struct learner *l, struct store_txn *t, struct err *e)
{
    for (int i = 0; i < PIECES; i++) {
        struct str value;
        const enum status got = store_get(t, STORE_LEARNER, str_from(piece_names[i]), &value, e);
        if (got == STATUS_NOT_FOUND && i >= PIECE_RETRIED) continue; /* written by an earlier version */
        TRY(got);
        struct buf_reader r = buf_reader(value.p, value.n);
        const enum status st = piece_decode(l, (enum piece)i, &r, e);
        if (st != STATUS_OK) return err_prefix(e, "state record '%s'", piece_names[i]);
    }
    watermark_leave_all(l->watermark); /* nothing is read yet */
    TRY(world_load(l->world, t, e));
    TRY(open_load(l->open, t, e));
    if (l->said.has_gate) TRY(line_gate_load(l->line, NULL, t, e));
    TRY(reservoir_load(l->line->reservoir, t, "reservoir", e));
    TRY(load_variants(l, t, e));
    return optim_sparse_load(l->line->optim, l->line->params, STR(""), t, e);
}

/* join_state.c - the joiner as part of a checkpoint. */
#include "ingest/join_private.h"

#define JOIN_FORMAT 3 /* 1: without what was learnt, early marks and the newer counts; 2: without tasks */

static void encode_slate(struct buf *b, const struct open_slate *s)
{
    buf_u64(b, s->slate);
    for (int of = 0; of < JOIN_COMMON; of++) buf_u64(b, s->of[of]);
    buf_i64(b, s->time_ms);
    buf_i64(b, s->due_ms);
    buf_u8(b, (uint8_t)(s->waited | s->learnt << 1));
    buf_varint(b, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        buf_u64(b, s->items[i]);
        buf_u8(b, (uint8_t)(s->marks[i] | s->early[i] << 2));
        buf_f32(b, s->weights[i]);
        buf_varint(b, s->tasks[i]);
    }
}

/* Slates go in any order: (time, slate id) and (due time, slate id) put them back. */
void join_encode(struct buf *b, const struct join *j)
{
    buf_u8(b, JOIN_FORMAT);
    buf_u64(b, j->counts.matched);
    buf_u64(b, j->counts.unmatched);
    buf_u64(b, j->counts.late);
    buf_u64(b, j->counts.early_settled);
    buf_u64(b, j->counts.duplicate);
    buf_u64(b, j->counts.expired);
    buf_varint(b, j->forced);
    buf_varint(b, j->n_settled);
    const size_t oldest = j->n_settled == JOIN_SETTLED ? j->settled_at : 0;
    for (size_t i = 0; i < j->n_settled; i++) buf_u64(b, j->settled[(oldest + i) % JOIN_SETTLED]);
    buf_varint(b, j->ends.n);
    for (size_t i = 0; i < j->ends.n; i++) encode_slate(b, &j->pool[j->ends.at[i].index]);
}

static enum status decode_marks(struct open_slate *s, uint8_t format, struct buf_reader *r, struct err *e)
{
    for (uint32_t i = 0; i < s->n; i++) {
        s->items[i] = buf_get_u64(r);
        const uint8_t bits = buf_get_u8(r);
        if (bits >> 3 != 0 || (bits & 3) > MARK_POSITIVE)
            return ERR_SET(e, STATUS_CORRUPT, "joiner: a stored slate has mark %u", (unsigned)bits);
        s->marks[i] = bits & 3;
        s->early[i] = bits >> 2;
        s->labels[i] = s->marks[i] == MARK_POSITIVE;
        s->weights[i] = buf_get_f32(r);
        s->tasks[i] = format > 2 ? (uint32_t)buf_get_varint(r) : 0;
    }
    return STATUS_OK;
}

static enum status decode_slate(struct join *j, uint8_t format, struct buf_reader *r, struct err *e)
{
    struct open_slate head = {0};
    uint32_t index = 0;
    head.slate = buf_get_u64(r);
    for (int of = 0; of < JOIN_COMMON; of++) head.of[of] = buf_get_u64(r);
    head.time_ms = buf_get_i64(r);
    head.due_ms = buf_get_i64(r);
    const uint8_t bits = format > 1 ? buf_get_u8(r) : 0;
    const size_t n = buf_get_count(r, 13);
    if (r->bad || n > UINT32_MAX || bits > 3) return ERR_SET(e, STATUS_CORRUPT, "joiner: a stored slate can't be read");
    TRY(join_take_spare(j, (uint32_t)n, &index, e));
    struct open_slate *s = &j->pool[index];
    s->slate = head.slate;
    memcpy(s->of, head.of, sizeof s->of);
    s->time_ms = head.time_ms;
    s->due_ms = head.due_ms;
    s->waited = bits & 1;
    s->learnt = (bits & 2) != 0;
    const enum status st = decode_marks(s, format, r, e);
    if (st == STATUS_OK) return join_index_slate(j, index, e);
    s->slate = 0;
    j->spare[j->n_spare++] = index;
    return st;
}

enum status join_decode(struct join *j, struct buf_reader *r, struct err *e)
{
    const uint8_t format = buf_get_u8(r);
    if (format == 0 || format > JOIN_FORMAT)
        return ERR_SET(e, STATUS_CORRUPT, "joiner: unknown format %u of the stored slates", (unsigned)format);
    j->counts.matched = buf_get_u64(r);
    j->counts.unmatched = buf_get_u64(r);
    j->counts.late = buf_get_u64(r);
    j->counts.early_settled = buf_get_u64(r);
    j->counts.duplicate = format > 1 ? buf_get_u64(r) : 0;
    j->counts.expired = format > 1 ? buf_get_u64(r) : 0;
    j->forced = (size_t)buf_get_varint(r);
    const size_t n_settled = buf_get_count(r, 8);
    for (size_t i = 0; i < n_settled; i++) join_remember_settled(j, buf_get_u64(r));
    const size_t n = buf_get_count(r, 41);
    for (size_t i = 0; i < n; i++) TRY(decode_slate(j, format, r, e));
    if (r->bad || j->forced > j->ends.n) return ERR_SET(e, STATUS_CORRUPT, "joiner: the stored slates can't be read");
    return STATUS_OK;
}

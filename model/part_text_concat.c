/* part_text_concat.c - the concat view of the text part: what people write by hand.
 *
 * One sequence per candidate, [CLS] event [SEP] … event [SEP] item [SEP], events newest first, token types 0 for the
 * user and 1 for the item, attention both ways through all layers.  At most model.concat_tokens tokens: the oldest
 * events go first, the item's sentence stays whole (cut only at the encoder's longest sequence).  No cache: the frozen
 * layers are computed anew for every sequence, without tape.  The reference for the other views, and dear.
 */
#include "model/part_text.h"
#include <string.h>

static struct slate_sentence sentence(const struct part_slate *s, uint32_t index)
{
    return s->slate->sentences[index];
}

/* Tokens of a sentence without its [CLS]. */
static size_t tail(struct slate_sentence q)
{
    return q.n > 0 ? q.n - 1 : 0;
}

/* Events that fit beside the item (a prefix of the newest first), and the tokens of all. */
static size_t fitting_events(const struct text *p, const struct part_slate *s, uint32_t item, size_t *n_tokens)
{
    const size_t most = p->concat_tokens < p->shape.P ? p->concat_tokens : p->shape.P;
    size_t n = 0, total = 1 + tail(sentence(s, s->slate->items[item].sentence));
    if (s->n_events == 0 || total + tail(sentence(s, s->slate->events[0].sentence)) > most)
        total += 1; /* [CLS] [SEP] */
    for (; n < s->n_events; n++) {
        const size_t more = tail(sentence(s, s->slate->events[n].sentence));
        if (total + more > most) break;
        total += more;
    }
    *n_tokens = total < p->shape.P ? total : p->shape.P;
    return n;
}

size_t part_text_concat_length(const struct text *p, const struct part_slate *s, uint32_t item)
{
    size_t n;
    (void)fitting_events(p, s, item, &n);
    return n;
}

/* Appends a sentence without its [CLS] at *at, within n. */
static void append(int32_t *ids, uint8_t *types, size_t *at, size_t n, const struct part_slate *s, uint32_t index,
                   uint8_t type)
{
    const struct slate_sentence q = sentence(s, index);
    for (size_t i = 1; i < q.n && *at < n; i++, (*at)++) {
        ids[*at] = s->slate->tokens[q.first + i];
        types[*at] = type;
    }
}

/* Writes candidate `item`'s sequence; returns its length. */
static size_t sequence(const struct text *p, const struct part_slate *s, uint32_t item, int32_t *ids, uint8_t *types)
{
    size_t n, at = 0;
    const size_t n_events = fitting_events(p, s, item, &n);
    const struct slate_sentence own = sentence(s, s->slate->items[item].sentence);
    const int32_t *tokens = s->slate->tokens + own.first;
    ids[at] = tokens[0];
    types[at++] = 0;
    if (n_events == 0 && at < n) { /* an empty user: [CLS] [SEP] */
        ids[at] = tokens[own.n - 1];
        types[at++] = 0;
    }
    for (size_t i = 0; i < n_events; i++) append(ids, types, &at, n, s, s->slate->events[i].sentence, 0);
    append(ids, types, &at, n, s, s->slate->items[item].sentence, p->shape.types > 1 ? 1 : 0);
    return at;
}

enum status part_text_concat_rows(struct text_run *r, const struct part_list *list, struct text_rows *out,
                                  struct err *e)
{
    struct part_slate *s = list->s;
    const uint32_t *which = list->which;
    const size_t n = out->n = list->n;
    const struct text *p = (const struct text *)r->base.part;
    struct tape *t = s->tape;
    out->off = tape_host(t, n + 1, sizeof *out->off);
    if (out->off == NULL) return tape_status(t, e);
    for (size_t i = 0; i < n; i++) out->off[i + 1] = out->off[i] + (int32_t)part_text_concat_length(p, s, which[i]);
    const size_t N = (size_t)out->off[n];
    float *states = tape_host(t, N * p->shape.C + 1, sizeof *states);
    int32_t *ids = tape_host(t, p->shape.P, sizeof *ids);
    uint8_t *types = tape_host(t, p->shape.P, sizeof *types);
    if (t->oom) return tape_status(t, e);
    for (size_t i = 0; i < n; i++) {
        const size_t length = sequence(p, s, which[i], ids, types);
        TRY(encoder_run_sentence(r->enc, ids, types, length, p->first, states + (size_t)out->off[i] * p->shape.C, NULL,
                                 e));
    }
    out->x = tape_constant(t, states, N, p->shape.C);
    return tape_status(t, e);
}

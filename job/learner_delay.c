/* learner_delay.c - what is learnt of a slate, and when: join.loss, join.negative_rate (weights: trainer/loss_delay.h).
 *
 * What is learnt early is learnt by the parts that read no counts: a positive is learnt with the features of its showing, and
 * counts that have moved on since would tell it from the negatives of its time.  Parts that count learn the list at its end.
 *
 * Every copy is made by one event or one moment of the watermark, at once, and joins the lines' batches, which are state like
 * the open slates and their marks: so each is learnt exactly once, whatever is killed between two of them.  A list that
 * the gate keeps the line from learning at its moment is learnt at its end, as with loss wait.
 */
#include "base/rand.h"
#include "job/learner_private.h"
#include <math.h>
#include <string.h>

static bool learns(const struct learner *l)
{
    return l->options.learn && l->settled == NULL;
}

enum status learner_learn_whole(struct learner *l, struct err *e)
{
    const uint32_t n = l->slate->n_items;
    if (!learns(l)) return STATUS_OK;
    uint8_t *keep = arena_alloc(l->slate->arena, n, 1);
    if (keep == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", n);
    memset(keep, 1, n);
    if (!learner_guard_admits(l, keep)) return STATUS_OK;
    if (memchr(keep, 0, n) != NULL) slate_keep(l->slate, keep);
    TRY(variants_learn(l->variants, l->slate, NULL, e));
    return line_learn(l->line, &l->slate, e);
}

/* A number per item in shown order, whatever its label: negatives below the rate are learnt from.  In the slate's arena. */
static enum status draw_negatives(const struct learner *l, const struct slate *s, uint8_t **keep, struct err *e)
{
    const double rate = l->conf->join_negative_rate;
    struct rand r;
    *keep = arena_alloc(s->arena, s->n_items, 1);
    if (*keep == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", s->n_items);
    rand_init(&r, (struct rand_key){.seed = (uint64_t)l->conf->join_seed,
                                    .topic = s->at.topic,
                                    .partition = s->at.partition,
                                    .offset = s->at.offset,
                                    .purpose = RAND_RECORDED});
    for (uint32_t i = 0; i < s->n_items; i++) (*keep)[i] = rate >= 1.0 || rand_unit(&r) < rate;
    return STATUS_OK;
}

/* The scratch slate, labelled, is learnt by all lines as far as it is kept; when: event time that brought it. */
static enum status learn_kept(struct learner *l, const struct line_copies *c, int64_t when_ms, bool *learnt,
                              struct err *e)
{
    struct slate *s = l->slate;
    const float log_rate = (float)log(l->conf->join_negative_rate);
    for (uint32_t i = 0; i < s->n_items; i++) s->items[i].log_kq = log_rate;
    s->settled_ms = when_ms;
    TRY(variants_learn(l->variants, s, c, e));
    TRY(line_learn_copies(l->line, &l->slate, c, learnt, e));
    if (*learnt && when_ms > l->settled_ms) l->settled_ms = when_ms;
    return STATUS_OK;
}

/* Before the slate is settled: not at all where the gate or the guard says no, so that its end finds it unlearnt by all lines. */
static enum status learn_early(struct learner *l, enum slate_copy copy, const struct open_predictions *p, uint8_t *keep,
                               int64_t when_ms, struct err *e)
{
    bool learnt = false;
    const struct line_copies c = {copy, p, keep};
    if (!line_gate_would_let(l->line->gate, l->slate) || !guard_lets(l->guard, l->slate)) return STATUS_OK;
    if (!(copy == SLATE_AGAIN ? learner_guard_admits_copy(l, keep) : learner_guard_admits(l, keep))) return STATUS_OK;
    TRY(learn_kept(l, &c, when_ms, &learnt, e));
    if (learnt && copy != SLATE_AGAIN) join_learnt(l->join);
    return STATUS_OK;
}

/* The open slate into the scratch one. */
static enum status look(struct learner *l, uint64_t id, struct open_predictions *p, struct err *e)
{
    const enum status st = open_look(l->open, id, l->slate, p, e);
    return st != STATUS_NOT_FOUND
               ? st
               : ERR_SET(e, STATUS_CORRUPT, "slate %llu is joined but not among the open ones", (unsigned long long)id);
}

enum status learner_learn_opened(struct learner *l, const struct open_predictions *p, struct err *e)
{
    uint8_t *keep;
    struct slate *s = l->slate;
    if (l->line->delay.kind != LOSS_DELAY_FNW || !learns(l)) return STATUS_OK;
    for (uint32_t i = 0; i < s->n_items; i++) s->items[i].label = 0;
    TRY(draw_negatives(l, s, &keep, e));
    return learn_early(l, SLATE_EARLY, p, keep, s->time_ms, e);
}

/* All positives, and those negatives that are drawn. */
static enum status draw_labelled(const struct learner *l, uint8_t **keep, struct err *e)
{
    const struct slate *s = l->slate;
    TRY(draw_negatives(l, s, keep, e));
    for (uint32_t i = 0; i < s->n_items; i++) (*keep)[i] |= s->items[i].label > 0.5f;
    return STATUS_OK;
}

enum status learner_learn_waited(struct learner *l, const struct join_settled *done, struct err *e)
{
    struct open_predictions p;
    uint8_t *keep;
    if (!learns(l)) return STATUS_OK;
    TRY(look(l, done->slate, &p, e));
    learner_label(l->slate, done);
    TRY(draw_labelled(l, &keep, e));
    return learn_early(l, SLATE_EARLY, &p, keep, done->due_ms, e);
}

/* Every line's estimates of delays learn from the labels, where a loss needs them. */
static enum status settle_delays(struct learner *l, const struct join_settled *done, const struct open_predictions *p,
                                 struct err *e)
{
    if (l->line->delay.kind == LOSS_DELAY_WAIT) return STATUS_OK;
    float *z = arena_alloc(l->slate->arena, l->slate->n_items, sizeof *z);
    if (z == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", l->slate->n_items);
    line_early_logits(l->line, p, l->slate->n_items, z);
    const struct loss_delay_settled settled = {z, done->labels, done->weights, done->early, done->n_seen, done->due_ms};
    loss_delay_settle(&l->line->delay, &settled);
    return variants_settle_delays(l->variants, l->slate, &settled, p, e);
}

enum status learner_learn_ended(struct learner *l, const struct join_settled *done, const struct open_predictions *p,
                                struct err *e)
{
    uint8_t *keep;
    bool learnt;
    if (!learns(l)) return STATUS_OK;
    const bool lets = guard_lets(l->guard, l->slate);
    if (lets && !line_gate_holds_out(l->line->gate, l->slate)) TRY(settle_delays(l, done, p, e));
    if (done->learnt && !lets) return STATUS_OK;
    TRY(draw_labelled(l, &keep, e));
    if (!done->learnt && !learner_guard_admits(l, keep)) return STATUS_OK;
    const struct line_copies c = {done->learnt ? SLATE_ENDED : SLATE_WHOLE, p, keep};
    return learn_kept(l, &c, done->due_ms, &learnt, e);
}

enum status learner_learn_mark(struct learner *l, int64_t when_ms, struct err *e)
{
    struct join_copy mark;
    struct open_predictions p;
    uint8_t *keep;
    if (!join_copy(l->join, &mark) || !learns(l)) return STATUS_OK;
    TRY(look(l, mark.slate, &p, e));
    struct slate_item *it = &l->slate->items[mark.place];
    TRY(draw_negatives(l, l->slate, &keep, e));
    for (uint32_t i = 0; i < l->slate->n_items; i++) keep[i] = i == mark.place && (mark.positive || keep[i]);
    it->label = mark.positive;
    it->examples = mark.first;
    it->weight = mark.weight;
    return learn_early(l, SLATE_AGAIN, &p, keep, when_ms, e);
}

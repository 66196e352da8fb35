/* model_walk.c - see model_walk.h.
 *
 * Large slates: a part that brings many rows is first only computed, in chunks; once the loss has given the logits'
 * gradient, each chunk is computed again on the tape and walked back, so memory does not grow with the slate.
 */
#include "model/model_walk.h"
#include <math.h>
#include <string.h>

#define LEARN_ROWS 8192 /* rows times layers of one chunk, whose activations and gradients are kept */

/* SLATE_EARLY: by the parts that don't count, the intercepts among them; SLATE_ENDED: by the others. */
bool walk_learns(const struct model_run *r, size_t part, const struct slate *s)
{
    const struct part *p = r->m->parts[part];
    if (!model_at_pace(&r->grads, p->slow)) return false;
    return s->copy == SLATE_WHOLE || p->counts == (s->copy == SLATE_ENDED);
}

/* prepare and score of one chunk, with that chunk's random numbers. */
static enum status forward_chunk(struct model_run *r, size_t part, struct walk *l, size_t chunk, size_t at, size_t k,
                                 struct tape_value *z, struct err *e)
{
    l->ps.dropout_chunk = chunk;
    TRY(part_prepare(r->parts[part], &l->ps, e));
    return part_score(r->parts[part], &l->ps, l->all + at, k, z, e);
}

/* The part's logits as a value that ends the way back. */
static enum status forward_late(struct model_run *r, size_t part, struct walk *l, struct err *e)
{
    const size_t K = l->ps.slate->n_items;
    l->z[part] = tape_new(&r->tape, K, 1, false);
    TRY(tape_status(&r->tape, e));
    r->tape.record = false;
    enum status st = STATUS_OK;
    for (size_t at = 0, chunk = 0; at < K && st == STATUS_OK; chunk++) {
        const struct tape_mark mark = tape_save(&r->tape);
        const size_t k = model_chunk(r, part, &l->ps, l->all + at, K - at, LEARN_ROWS);
        struct tape_value z = {0};
        st = forward_chunk(r, part, l, chunk, at, k, &z, e);
        if (st == STATUS_OK) r->kern->ops->copy(r->kern, l->z[part].x + at, z.x, k);
        tape_rewind(&r->tape, mark);
        at += k;
    }
    r->tape.record = true;
    return st;
}

/* The same chunks again, each walked back with its share of dz. */
static enum status backward_late(struct model_run *r, size_t part, struct walk *l, const float *dz, struct err *e)
{
    const size_t K = l->ps.slate->n_items;
    for (size_t at = 0, chunk = 0; at < K; chunk++) {
        const struct tape_mark mark = tape_save(&r->tape);
        const struct tape_step *below = r->tape.last;
        const size_t k = model_chunk(r, part, &l->ps, l->all + at, K - at, LEARN_ROWS);
        struct tape_value z = {0};
        TRY(forward_chunk(r, part, l, chunk, at, k, &z, e));
        if (z.dx != NULL) r->kern->ops->copy(r->kern, z.dx, dz + at, k);
        tape_backward_to(&r->tape, below);
        TRY(tape_settle(&r->tape, e));
        model_tape_rewind(r, mark);
        at += k;
    }
    return STATUS_OK;
}

/* What a slate brings to a part, in rows of activations. */
static size_t rows_of(const struct model_run *r, size_t part, const struct walk *l)
{
    const struct part_ops *o = r->m->parts[part]->ops;
    const uint32_t K = l->ps.slate->n_items;
    size_t rows = o->rows == NULL ? K : 0;
    for (uint32_t k = 0; k < K && o->rows != NULL; k++) rows += o->rows(r->parts[part], &l->ps, k);
    return rows;
}

/* Parts that are worth it see all slates at once, as long as what they keep for the way back is bounded. */
static bool together(const struct model_run *r, size_t part, const struct walk *l, size_t n)
{
    const struct part *p = r->m->parts[part];
    size_t rows = 0;
    if (n < 2 || !(p->together || (p->wide && n > WALK_FEW))) return false;
    for (size_t i = 0; i < n; i++) {
        if (!walk_learns(r, part, l[i].ps.slate)) return false;
        rows += rows_of(r, part, &l[i]);
    }
    return rows <= LEARN_ROWS;
}

/* --- sums of all slates as one value: launches and copies cost a device the same for one slate as for all ---------------- */

/* The slates' sums as one value, where they lie one behind the other; empty: they don't. */
static struct tape_value spanned(const struct walk *l, size_t n)
{
    const struct tape_value first = l[0].sum, none = {0};
    struct tape_value all = {first.x, first.dx, 0, 1};
    for (size_t i = 0; i < n; i++) {
        const struct tape_value v = l[i].sum;
        if (v.x == NULL || v.c != 1 || v.n != l[i].ps.slate->n_items || v.x != first.x + all.n) return none;
        if ((v.dx == NULL) != (first.dx == NULL) || (v.dx != NULL && v.dx != first.dx + all.n)) return none;
        all.n += v.n;
    }
    return all;
}

/* Adds a part's logits of all slates (z) to the sums in one operation; false: those are not in one piece. */
static bool add_spanned(struct model_run *r, struct walk *l, size_t n, struct tape_value z)
{
    const struct tape_value sum = spanned(l, n);
    bool begun = false;
    for (size_t i = 0; i < n; i++) begun = begun || l[i].sum.x != NULL;
    if (begun && sum.x == NULL) return false;
    const struct tape_value all = begun ? op_add(&r->tape, sum, z) : z;
    for (size_t i = 0, at = 0; i < n; at += l[i++].ps.slate->n_items)
        l[i].sum = tape_rows(all, at, l[i].ps.slate->n_items);
    return true;
}

/* Each slate's own logits to its sum. */
static void add_each(struct model_run *r, struct walk *l, size_t n, size_t part)
{
    for (size_t i = 0; i < n; i++)
        if (walk_learns(r, part, l[i].ps.slate))
            l[i].sum = l[i].sum.x == NULL ? l[i].z[part] : op_add(&r->tape, l[i].sum, l[i].z[part]);
}

static enum status forward_together(struct model_run *r, size_t part, struct walk *l, size_t n, struct err *e)
{
    struct part_list *lists = tape_host(&r->tape, n, sizeof *lists);
    struct tape_value all = {0};
    if (r->tape.oom) return tape_status(&r->tape, e);
    for (size_t i = 0; i < n; i++) lists[i] = (struct part_list){&l[i].ps, l[i].all, l[i].ps.slate->n_items};
    TRY(r->m->parts[part]->ops->score_together(r->parts[part], lists, n, &all, e));
    if (add_spanned(r, l, n, all)) return STATUS_OK;
    for (size_t i = 0, at = 0; i < n; at += lists[i++].n) l[i].z[part] = tape_rows(all, at, lists[i].n);
    add_each(r, l, n, part);
    return STATUS_OK;
}

static enum status forward_one(struct model_run *r, size_t part, struct walk *l, struct err *e)
{
    const size_t K = l->ps.slate->n_items;
    l->late[part] = model_chunk(r, part, &l->ps, l->all, K, LEARN_ROWS) < K;
    return l->late[part] ? forward_late(r, part, l, e) : forward_chunk(r, part, l, 0, 0, K, &l->z[part], e);
}

static enum status forward_each(struct model_run *r, size_t part, struct walk *l, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (walk_learns(r, part, l[i].ps.slate)) TRY(forward_one(r, part, &l[i], e));
    add_each(r, l, n, part);
    return STATUS_OK;
}

enum status walk_forward(struct model_run *r, struct walk *l, size_t n, struct walk_below *below, struct err *e)
{
    uint64_t since = model_times_now(r);
    for (size_t p = 0; p < r->m->n_parts; p++) {
        below->part[p] = r->tape.last;
        TRY(together(r, p, l, n) ? forward_together(r, p, l, n, e) : forward_each(r, p, l, n, e));
        since = model_times_add(r, MODEL_LEARNT, p, since);
    }
    return tape_status(&r->tape, e);
}

/* What is learnt again was learnt as a negative before, and sparse weights know it by heart: the logit of now is lower by that than
 * that of another list like it, from which positives of all such lists would be learnt too much.  shift (K, backend memory) grows
 * by that. */
static void as_when_shown(struct model_run *r, const struct walk *l, float *shift)
{
    const struct slate *s = l->ps.slate;
    const struct kern_ops *o = r->kern->ops;
    const struct tape_mark mark = tape_save(&r->tape);
    float *apart = tape_host(&r->tape, s->n_items + 1u, sizeof *apart), *lower = tape_floats(&r->tape, s->n_items);
    for (uint32_t i = 0; i < s->n_items && apart != NULL; i++) apart[i] = s->items[i].apart;
    float *by = apart != NULL ? tape_upload(&r->tape, apart, s->n_items * sizeof *apart) : NULL;
    if (r->tape.oom) return;
    o->axpy(r->kern, by, -1.0f, l->sum.x, s->n_items);
    o->act(r->kern, lower, by, KERN_ACT_RELU, s->n_items);
    o->axpy(r->kern, shift, 1.0f, lower, s->n_items);
    tape_rewind(&r->tape, mark);
}

/* What lies between a slate's logits and those that its labels are to be compared with: an organic slate's as its candidates were
 * drawn, a recorded list's as its negatives were thinned out; more is to come (as_when_shown) where it is learnt again.  False:
 * nothing. */
static bool shift_of(struct model_run *r, const struct walk *l, float *shift)
{
    const struct slate *s = l->ps.slate;
    const bool any = model_recal_shift(&r->recal, s, part_bias_source(r->parts[0], s), shift);
    if (!any) memset(shift, 0, s->n_items * sizeof *shift);
    return any || s->copy == SLATE_AGAIN;
}

/* The sums (all, of n slates) with what lies between. */
static struct tape_value shifted(struct model_run *r, const struct walk *l, size_t n, struct tape_value all,
                                 const float *shift)
{
    const struct tape_value by = tape_constant(&r->tape, shift, all.n, 1);
    for (size_t i = 0, at = 0; i < n && by.x != NULL; at += l[i++].sum.n)
        if (l[i].ps.slate->copy == SLATE_AGAIN) as_when_shown(r, &l[i], by.x + at);
    return op_add(&r->tape, all, by);
}

/* z[i]: slate i's logits as its labels see them; in one operation where the sums are in one piece. */
static void shift_all(struct model_run *r, const struct walk *l, size_t n, struct tape_value *z)
{
    const struct tape_value all = n > 1 ? spanned(l, n) : l[0].sum;
    float *shift = all.x != NULL ? tape_host(&r->tape, all.n + 1u, sizeof *shift) : NULL;
    bool any = false;
    if (shift == NULL) {
        z[0] = l[0].sum;
        for (size_t i = 0; i < n && n > 1; i++) shift_all(r, &l[i], 1, &z[i]);
        return;
    }
    for (size_t i = 0, at = 0; i < n; at += l[i++].sum.n) any = shift_of(r, &l[i], shift + at) || any;
    const struct tape_value seen = any ? shifted(r, l, n, all, shift) : all;
    for (size_t i = 0, at = 0; i < n; at += l[i++].sum.n) z[i] = tape_rows(seen, at, l[i].sum.n);
}

static float share_of(const struct model_run *r, const struct walk *l)
{
    return r->m->softmax_share[l->ps.slate->source];
}

/* Labels and weights of all slates, for op_loss. */
static struct op_loss labels_there(struct model_run *r, const struct walk *l, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += l[i].ps.slate->n_items;
    const size_t bytes = total * sizeof(float);
    return (struct op_loss){.y = tape_upload(&r->tape, l[0].labels, bytes),
                            .w = tape_upload(&r->tape, l[0].weights, bytes),
                            .soft = l[0].soft != NULL ? tape_upload(&r->tape, l[0].soft, bytes) : NULL};
}

/* The main label's logit as it is served of a kept candidate, for the tasks: what stands before them there. */
static struct tape_value served(struct model_run *r, const struct walk *l, struct tape_value z)
{
    const struct slate *s = l->ps.slate;
    const size_t K = l->sum.n;
    if (!r->m->recal.recalibrated || r->m->tasks.n == 0 || s->source != SLATE_IMPRESSION || K == 0) return z;
    float *zero = tape_host(&r->tape, K, sizeof *zero), *slope = tape_host(&r->tape, K, sizeof *slope);
    if (r->tape.oom) return z;
    for (size_t i = 0; i < K; i++) zero[i] = 0.0f, slope[i] = 1.0f;
    model_recal_logits(&r->recal, s, SLATE_IMPRESSION, zero, NULL, 0);
    model_recal_logits(&r->recal, s, SLATE_IMPRESSION, slope, NULL, 0);
    for (size_t i = 0; i < K; i++) {
        slope[i] -= zero[i];
        zero[i] -= s->items[i].log_kq;
    }
    const struct tape_value scaled = op_mul(&r->tape, l->sum, tape_constant(&r->tape, slope, K, 1));
    return op_add(&r->tape, scaled, tape_constant(&r->tape, zero, K, 1));
}

/* Three terms of each slate: binary cross-entropy, softmax, tasks. */
static void slate_losses(struct model_run *r, const struct walk *l, size_t n, float *terms)
{
    struct tape_value *z = tape_host(&r->tape, n, sizeof *z);
    if (z == NULL) return;
    shift_all(r, l, n, z);
    struct op_loss loss = labels_there(r, l, n);
    for (size_t i = 0; i < n && !r->tape.oom; i++, terms += WALK_TERMS) {
        loss.share = share_of(r, &l[i]);
        op_loss(&r->tape, terms, z[i], &loss);
        if (!r->tape.oom)
            model_tasks_learn(&r->tasks, &r->tape, l[i].ps.slate, l[i].sum, served(r, &l[i], z[i]), terms + 2);
        loss.y += z[i].n;
        loss.w += z[i].n;
        if (loss.soft != NULL) loss.soft += z[i].n;
    }
}

enum status walk_bring(struct model_run *r, struct walk *l, size_t n, bool slopes, struct err *e)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++) total += l[i].sum.n;
    const struct tape_value all = spanned(l, n);
    float *here = tape_host(&r->tape, total + 1, sizeof *here);
    if (here == NULL) return tape_status(&r->tape, e);
    for (size_t i = 0; i < n; at += l[i++].sum.n) {
        *(slopes ? &l[i].slope : &l[i].raw) = here + at;
        if (all.x == NULL) tape_ask(&r->tape, slopes ? l[i].sum.dx : l[i].sum.x, l[i].sum.n, tape_keep, here + at);
    }
    if (all.x != NULL) tape_ask(&r->tape, slopes ? all.dx : all.x, total, tape_keep, here);
    return tape_status(&r->tape, e);
}

static void put_terms(void *user, const float *x, size_t n)
{
    struct walk *l = user;
    for (size_t i = 0; i < n / WALK_TERMS; i++) memcpy(l[i].terms, x + WALK_TERMS * i, sizeof l[i].terms);
}

enum status walk_losses(struct model_run *r, struct walk *l, size_t n, struct err *e)
{
    float *sums = tape_zeros(&r->tape, WALK_TERMS * n);
    if (!r->tape.oom) slate_losses(r, l, n, sums);
    TRY(tape_status(&r->tape, e));
    tape_ask(&r->tape, sums, WALK_TERMS * n, put_terms, l);
    return walk_bring(r, l, n, false, e);
}

bool walk_totals(const struct model_run *r, const struct walk *l, size_t n, double *loss)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        const float total = op_loss_total(l[i].terms, share_of(r, &l[i])) + l[i].terms[2];
        finite = finite && isfinite(total);
        loss[i] = (double)total;
    }
    return finite;
}

static bool is_late(const struct model_run *r, const struct walk *l, size_t part)
{
    return l->late[part] && walk_learns(r, part, l->ps.slate);
}

static bool any_late(const struct model_run *r, const struct walk *l, size_t n, size_t part)
{
    for (size_t i = 0; i < n; i++)
        if (is_late(r, &l[i], part)) return true;
    return false;
}

enum status walk_back(struct model_run *r, struct walk *l, size_t n, const struct walk_below *below, struct err *e)
{
    uint64_t since = model_times_now(r);
    bool whole = true; /* nothing more comes to the gradients of the parts that were walked back */
    for (size_t p = r->m->n_parts; p-- > 0;) {
        tape_backward_to(&r->tape, below->part[p]);
        since = model_times_add(r, MODEL_LEARNT, p, since);
        whole = whole && !any_late(r, l, n, p);
        if (whole) model_share_ready(r, p);
    }
    for (size_t p = 0; p < r->m->n_parts; p++) {
        for (size_t i = 0; i < n; i++)
            if (is_late(r, &l[i], p)) TRY(backward_late(r, p, &l[i], l[i].sum.dx, e));
        since = model_times_add(r, MODEL_LEARNT, p, since);
    }
    return tape_status(&r->tape, e);
}

/* Between the label and what a teacher says, if one does: the gradient is (1 - share)·(p - y) + share·(p - taught), that of
 * distillation by cross-entropy (Hinton et al. 2015; against forgetting: Li and Hoiem 2016). */
static float softened(float share, const struct slate_item *i)
{
    return i->taught > 0.0f ? i->label + share * (i->taught - i->label) : i->label;
}

/* Room for the labels of all slates, one behind the other. */
static enum status open_labels(struct model_run *r, const struct slate *const *slates, size_t n, struct walk *l,
                               struct err *e)
{
    size_t total = 1;
    for (size_t i = 0; i < n; i++) total += slates[i]->n_items;
    float *labels = tape_host(&r->tape, total, sizeof *labels), *weights = tape_host(&r->tape, total, sizeof *weights);
    float *soft = r->m->distill > 0.0f ? tape_host(&r->tape, total, sizeof *soft) : NULL;
    TRY(tape_status(&r->tape, e));
    for (size_t i = 0, at = 0; i < n; at += slates[i++]->n_items) {
        l[i].labels = labels + at;
        l[i].weights = weights + at;
        l[i].soft = soft != NULL ? soft + at : NULL;
    }
    return STATUS_OK;
}

static enum status take_labels(struct model_run *r, const struct slate *s, struct walk *l, struct err *e)
{
    for (uint32_t i = 0; i < s->n_items; i++) {
        l->labels[i] = s->items[i].label;
        if (l->soft != NULL) l->soft[i] = softened(r->m->distill, &s->items[i]);
        l->weights[i] = s->items[i].weight;
        if (!isfinite(l->labels[i]) || !isfinite(l->weights[i]))
            return ERR_SET(e, STATUS_INVALID, "slate %llu: candidate %u has label %g and weight %g; settle it first",
                           (unsigned long long)s->id, i, (double)l->labels[i], (double)l->weights[i]);
    }
    return STATUS_OK;
}

static enum status take_apart(struct model_run *r, const struct slate *s, struct walk *l, struct err *e)
{
    float *apart = tape_host(&r->tape, s->n_items + 1u, sizeof *apart);
    if (apart == NULL) return tape_status(&r->tape, e);
    for (uint32_t i = 0; i < s->n_items; i++) apart[i] = s->items[i].apart;
    l->sum = tape_constant(&r->tape, apart, s->n_items, 1);
    return tape_status(&r->tape, e);
}

enum status walk_open(struct model_run *r, const struct slate *const *slates, size_t n, uint64_t seed, struct walk *l,
                      struct err *e)
{
    for (size_t i = 0; i < n; i++) l[i] = (struct walk){0};
    TRY(open_labels(r, slates, n, l, e));
    for (size_t i = 0; i < n; i++) {
        TRY(model_open_slate(r, slates[i], true, &l[i].ps, &l[i].all, e));
        TRY(take_labels(r, slates[i], &l[i], e));
        if (slates[i]->copy == SLATE_ENDED) TRY(take_apart(r, slates[i], &l[i], e));
        l[i].ps.dropout = r->m->dropout;
        l[i].ps.dropout_seed = seed;
    }
    return STATUS_OK;
}

void walk_tell(struct model_run *r, const struct walk *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!model_share_keep(r, l[i].raw, l[i].slope, l[i].ps.slate->n_items))
            model_learnt(r, l[i].ps.slate, l[i].raw, l[i].slope);
}

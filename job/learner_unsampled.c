/* learner_unsampled.c - for a share of the slates: where their candidates would stand among all active items.
 *
 * As a scorer would be asked with the whole catalogue: the cheap parts see all, the text part the best serving.joint_top, and
 * what it did not see ranks below.  Done when the slate opens, before anything of it is counted or learnt; it changes nothing
 * that is learnt.
 */
#include "base/mem.h"
#include "base/rand.h"
#include "job/learner_private.h"
#include <math.h>
#include <string.h>

struct unsampled { /* scratch, made when it is first needed */
    struct slate *all;
    float *logits, *parts;
    size_t cap;
};

void learner_unsampled_free(struct learner *l)
{
    if (l->unsampled == NULL) return;
    slate_free(l->unsampled->all);
    mem_free(l->unsampled->logits);
    mem_free(l->unsampled->parts);
    mem_free(l->unsampled);
}

static enum status open_it(struct learner *l, struct err *e)
{
    if (l->unsampled == NULL) l->unsampled = mem_calloc(1, sizeof *l->unsampled);
    if (l->unsampled == NULL) return ERR_SET(e, STATUS_OOM, "unsampled check: %zu bytes", sizeof *l->unsampled);
    return l->unsampled->all != NULL ? STATUS_OK : slate_new(&l->unsampled->all, e);
}

static enum status room_for(struct unsampled *u, size_t n, size_t n_rows, struct err *e)
{
    if (n <= u->cap) return STATUS_OK;
    mem_free(u->logits);
    mem_free(u->parts);
    u->cap = 0;
    u->logits = mem_calloc(n, sizeof *u->logits);
    u->parts = mem_calloc(n * n_rows, sizeof *u->parts);
    if (u->logits == NULL || u->parts == NULL) return ERR_SET(e, STATUS_OOM, "unsampled check of %zu items", n);
    u->cap = n;
    return STATUS_OK;
}

/* What the text part did not see ranks below: its logit there is 0. */
static void put_below(const struct line *l, struct unsampled *u, size_t n)
{
    size_t text = 0;
    while (text < model_n_parts(l->model) && strcmp(model_part_name(l->model, text), "text") != 0) text++;
    if (text == model_n_parts(l->model) || n <= (size_t)l->conf->serving_joint_top) return;
    for (size_t i = 0; i < n; i++)
        if (u->parts[text * n + i] == 0.0f) u->logits[i] -= 1e4f;
}

static enum status score_all(struct line *l, struct unsampled *u, struct err *e)
{
    const size_t n = u->all->n_items;
    TRY(room_for(u, n, model_n_rows(l->model), e));
    TRY(model_bind(l->run, l->params, e));
    TRY(model_score(l->run, u->all, (uint32_t)l->conf->serving_joint_top, u->logits, u->parts, e));
    put_below(l, u, n);
    return STATUS_OK;
}

/* Of a choice: as many as there would be of all. */
static uint32_t scaled(uint32_t own, uint32_t others, double scale)
{
    return own + (uint32_t)lround((double)others * scale);
}

static void rank_one(const struct unsampled *u, struct slate *s, uint32_t k, double scale)
{
    uint32_t n[SLATE_RANKS][2] = {{0}};
    const struct slate_item *it = u->all->items;
    for (uint32_t i = 0; i < u->all->n_items; i++) {
        const int other = i >= s->n_items;
        if (i == k) continue;
        n[SLATE_ABOVE][other] += u->logits[i] > u->logits[k];
        n[SLATE_BESIDE][other] += u->logits[i] == u->logits[k];
        n[SLATE_ABOVE_POPULAR][other] += it[i].popularity > it[k].popularity;
        n[SLATE_BESIDE_POPULAR][other] += it[i].popularity == it[k].popularity;
    }
    for (size_t r = 0; r < SLATE_RANKS; r++) s->ranks[r * s->n_items + k] = scaled(n[r][0], n[r][1], scale);
}

static bool is_chosen(const struct learner *l, const struct slate *s)
{
    struct rand r;
    if (!(l->conf->eval_unsampled > 0.0) || (!l->line->learn && l->line->counts.learnt_examples == 0)) return false;
    rand_init(
        &r, (struct rand_key){(uint64_t)l->conf->join_seed, s->at.topic, s->at.partition, s->at.offset, RAND_CHECKED});
    return rand_unit(&r) < l->conf->eval_unsampled;
}

enum status learner_check_unsampled(struct learner *l, struct world_unsampled o, struct err *e)
{
    struct slate *s = l->slate;
    uint32_t n_active;
    if (!is_chosen(l, s)) return STATUS_OK;
    o.at_most = (uint32_t)l->conf->eval_unsampled_items;
    TRY(open_it(l, e));
    TRY(world_fill_unsampled(l->world, l->unsampled->all, s, &o, &n_active, e));
    const uint32_t others = l->unsampled->all->n_items - s->n_items;
    const double scale = others > 0 ? (double)n_active / (double)others : 1.0; /* none: its own are all there are */
    TRY(score_all(l->line, l->unsampled, e));
    s->ranks = arena_alloc(s->arena, (size_t)SLATE_RANKS * s->n_items, sizeof *s->ranks);
    if (s->ranks == NULL) return ERR_SET(e, STATUS_OOM, "unsampled check of %u candidates", s->n_items);
    s->n_ranked = n_active;
    for (uint32_t k = 0; k < s->n_items; k++) rank_one(l->unsampled, s, k, scale);
    return STATUS_OK;
}

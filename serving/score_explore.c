/* score_explore.c - some requests are answered with a list that was drawn, so that what the model does not know can be learnt.
 *
 * All of it follows from the request's id: which requests, and what is drawn.  plackett_luce (model/policy.h) draws the list from
 * the scores; each position's probability given those before it goes into the reply and the log of answers, and whoever shows
 * the list echoes it.  thompson adds to each score what weights drawn from their posterior would (model_draw).  The scores in
 * the reply stay the model's own.
 */
#include "base/hash.h"
#include "model/policy.h"
#include "serving/score_private.h"
#include <math.h>
#include <string.h>

/* The first draw is the coin. */
static struct rand stream_of(const struct score_hand *h)
{
    struct rand r;
    rand_init(&r, (struct rand_key){hash_str(str_from(h->answer.request)), 0, 0, 0, RAND_EXPLORE});
    return r;
}

static bool is_thompson(const struct score_hand *h)
{
    return strcmp(h->s->conf->serving_explore, "thompson") == 0;
}

bool score_explores(const struct score_hand *h)
{
    const struct conf *c = h->s->conf;
    size_t n;
    if (strcmp(c->serving_explore, "none") == 0) return false;
    if (is_thompson(h) && model_precision(h->line->model, h->version->params, &n) == NULL) return false;
    struct rand r = stream_of(h);
    return rand_unit(&r) < c->serving_explore_frac;
}

static enum status thompson_keys(struct score_hand *h, struct score_order *o, struct err *e)
{
    const uint32_t K = h->request.n_items;
    double *drawn = arena_alloc(&h->arena, K, sizeof *drawn);
    if (drawn == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory for the request");
    struct rand r = stream_of(h);
    (void)rand_unit(&r);
    TRY(model_draw(h->line->model, h->version->params, h->slate, &r, drawn, e));
    for (uint32_t i = 0; i < K; i++) o[i].key += h->s->conf->serving_explore_temperature * drawn[i];
    return STATUS_OK;
}

enum status score_explore_keys(struct score_hand *h, struct score_order *o, struct err *e)
{
    if (is_thompson(h)) return thompson_keys(h, o, e);
    const struct conf *c = h->s->conf;
    const uint32_t K = h->request.n_items;
    float *logits = arena_alloc(&h->arena, K, sizeof *logits);
    double *keys = arena_alloc(&h->arena, K, sizeof *keys);
    if (logits == NULL || keys == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory for the request");
    struct rand r = stream_of(h);
    (void)rand_unit(&r);
    for (uint32_t i = 0; i < K; i++) logits[i] = o[i].logit;
    policy_gumbel(logits, K, c->serving_explore_temperature, &r, keys);
    for (uint32_t i = 0; i < K; i++) o[i].key = keys[i];
    return STATUS_OK;
}

/* The staged ones are drawn among themselves, and so are the others behind them. */
void score_explore_propensities(struct score_hand *h, const struct score_order *o)
{
    struct score_answer *a = &h->answer;
    const double temperature = h->s->conf->serving_explore_temperature;
    double left = -INFINITY;
    if (is_thompson(h)) return;                       /* they have no closed form */
    for (uint32_t i = h->request.n_items; i-- > 0;) { /* from the end of the whole order on */
        const double z = (double)o[i].logit / temperature;
        if (i + 1 < h->request.n_items && o[i].staged != o[i + 1].staged) left = -INFINITY;
        left = policy_log_add(left, z);
        if (i < a->n) a->items[i].propensity = fmaxf((float)exp(z - left), 1e-37f);
    }
}

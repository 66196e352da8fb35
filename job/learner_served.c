/* learner_served.c - what was really served, as the log of answers has it, beside what the learner says of the same lists.
 *
 * Figures alone: nothing of it reaches a weight, a counter or a history, and without the log there are none.  When a list opens
 * whose answer is known, a share of them (eval.served_checked) is made once more for the request's time: the features
 * are compared by their hash, and the version that answered, where it is still kept, scores it.  When the list settles, the
 * served logits get their labels.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "job/learner_private.h"
#include <math.h>
#include <string.h>

#define CHECKED_SEED UINT64_C(0x636865636b6564) /* "checked" */

void learner_served_fini(struct learner *l)
{
    struct learner_served *v = &l->served;
    for (size_t i = 0; i < CONF_LINES_MAX; i++) {
        for (size_t k = 0; k < LEARNER_KEPT; k++) param_set_release(v->kept[i][k]);
        model_run_free(v->runs[i]);
    }
    answers_free(v->answers);
    slate_free(v->again);
}

enum status learner_read_served(struct learner *l, struct err *e)
{
    struct learner_served *v = &l->served;
    if (l->conf->eval_served_answers == 0) return STATUS_OK;
    TRY(answers_new(&v->answers, (size_t)l->conf->eval_served_answers, e));
    return slate_new(&v->again, e);
}

/* Until this process has read again what an earlier one had, it is not known what of that still waits. */
struct served_id learner_served_from(const struct learner *l)
{
    const struct learner_served *v = &l->served;
    const bool caught_up = v->answers != NULL && !served_before(v->read, v->newest);
    return caught_up ? answers_from(v->answers, v->newest) : v->from;
}

/* A process that begins where an earlier one stopped reads again what still waited then. */
enum status learner_served(struct learner *l, struct served_answer *take_a, struct err *e)
{
    struct learner_served *v = &l->served;
    const bool again = !served_before(v->newest, take_a->id);
    v->read = take_a->id;
    if (!again) {
        v->newest = take_a->id;
        v->figures.answers++;
    }
    const uint64_t before = answers_unmatched(v->answers);
    const enum status st = answers_put(v->answers, take_a, again, e);
    v->figures.unmatched += answers_unmatched(v->answers) - before;
    return st == STATUS_FULL ? STATUS_OK : st; /* its figures are missing */
}

enum status learner_keep_version(struct learner *l, size_t line, struct err *e)
{
    struct param_set **kept = l->served.kept[line];
    const struct line *from = variants_line(l->variants, line);
    if (l->served.answers == NULL) return STATUS_OK;
    struct param_set *oldest = kept[LEARNER_KEPT - 1];
    memmove(&kept[1], &kept[0], (LEARNER_KEPT - 1) * sizeof kept[0]);
    kept[0] = oldest;
    if (kept[0] == NULL) TRY(param_set_new(&kept[0], model_table(from->model), e));
    param_here(from->params);
    memcpy(kept[0]->w, from->params->w, kept[0]->n * sizeof *kept[0]->w);
    param_touch(kept[0]);
    kept[0]->version = from->params->version;
    return STATUS_OK;
}

/* ---- a list opens ---- */

static const struct served_answer *answer_of(const struct learner *l, const struct slate *s, size_t *line)
{
    const struct answers *all = l->served.answers;
    const bool named = all != NULL && s->source == SLATE_IMPRESSION && str_has(s->request);
    const struct served_answer *a = named ? answers_find(all, hash_str(s->request)) : NULL;
    *line = a != NULL ? conf_line_find(l->conf, str_from(a->variant)) : SIZE_MAX;
    return *line <= variants_count(l->variants) ? a : NULL;
}

static bool is_checked(const struct learner *l, const struct served_answer *a)
{
    return hash_unit(hash_mix(a->request, CHECKED_SEED)) < l->conf->eval_served_checked;
}

/* The list as its scorer had it before it: of the request's time, and a request. */
static enum status make_again(struct learner *l, const struct event *ev, int64_t time_ms, struct err *e)
{
    struct slate *s = l->served.again;
    struct event then = *ev;
    then.time_ms = time_ms;
    slate_reset(s);
    s->id = 1;
    s->source = SLATE_REQUEST;
    s->time_ms = time_ms;
    s->user = ev->user;
    return world_fill_impression(l->world, s, &then, e);
}

static enum status compare_features(struct learner *l, const struct served_answer *a, struct err *e)
{
    struct eval_logged *v = &l->served.figures;
    const struct slate *s = l->served.again;
    uint32_t *own = arena_alloc(s->arena, s->n_items, sizeof *own);
    if (own == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", s->n_items);
    slate_features(s, own);
    v->checked++;
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct served_item *shown = served_find(a, s->items[i].item);
        if (shown == NULL || shown->features == 0) continue;
        v->items++;
        v->equal += shown->features == own[i];
    }
    return STATUS_OK;
}

static struct param_set *kept_version(const struct learner *l, size_t line, uint64_t version)
{
    for (size_t i = 0; i < LEARNER_KEPT; i++) {
        struct param_set *p = l->served.kept[line][i];
        if (p != NULL && p->version == version) return p;
    }
    return NULL;
}

static enum status run_of(struct learner *l, size_t line, struct model_run **out, struct err *e)
{
    const struct line *of = variants_line(l->variants, line);
    struct model_run **run = &l->served.runs[line];
    if (*run == NULL) {
        TRY(model_run_new(run, of->model, of->states, false, e));
        kern_use_pool(model_run_kern(*run), of->pool);
    }
    *out = *run;
    return STATUS_OK;
}

static enum status compare_version(struct learner *l, const struct served_answer *a, size_t line, struct err *e)
{
    const struct slate *s = l->served.again;
    const struct param_set *p = kept_version(l, line, a->version);
    struct model_run *run;
    if (p == NULL) return STATUS_OK;
    float *z = arena_alloc(s->arena, s->n_items, sizeof *z);
    if (z == NULL) return ERR_SET(e, STATUS_OOM, "slate of %u candidates", s->n_items);
    TRY(run_of(l, line, &run, e));
    TRY(model_bind(run, p, e));
    TRY(model_score(run, s, 0, z, NULL, e));
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct served_item *shown = served_find(a, s->items[i].item);
        if (shown != NULL) eval_skew_add(&l->served.figures.same, (double)z[i] - (double)shown->logit);
    }
    return STATUS_OK;
}

enum status learner_served_opened(struct learner *l, const struct event *ev, struct err *e)
{
    size_t line;
    const struct served_answer *a = answer_of(l, l->slate, &line);
    if (a == NULL) return STATUS_OK;
    answers_use(l->served.answers, a->request);
    if (!is_checked(l, a)) return STATUS_OK;
    TRY(make_again(l, ev, a->time_ms, e));
    TRY(compare_features(l, a, e));
    return compare_version(l, a, line, e);
}

/* ---- it settles ---- */

static enum status room_for(const struct slate *s, struct eval_terms *own, struct eval_served_room *room, float **y,
                            struct err *e)
{
    const size_t n = s->n_items;
    *y = arena_alloc(s->arena, n, sizeof **y);
    room->z = arena_alloc(s->arena, n, sizeof *room->z);
    room->mask = arena_alloc(s->arena, n, sizeof *room->mask);
    room->terms = arena_alloc(s->arena, n, sizeof *room->terms);
    own->terms = arena_alloc(s->arena, n, sizeof *own->terms);
    const bool whole = *y != NULL && room->z != NULL && room->mask != NULL && room->terms != NULL && own->terms != NULL;
    return whole ? STATUS_OK : ERR_SET(e, STATUS_OOM, "slate of %zu candidates", n);
}

enum status learner_served_settled(struct learner *l, const struct slate *s, const struct open_predictions *p,
                                   bool counted, struct err *e)
{
    size_t line;
    float *y;
    struct eval_served_room room;
    const struct served_answer *a = answer_of(l, s, &line);
    if (a == NULL) return STATUS_OK;
    answers_settled(l->served.answers, a->request);
    if (!counted || s->n_items == 0) return STATUS_OK;
    struct eval_terms own = {.z = variants_logits(l->variants, s, p, line), .n = s->n_items};
    if (isnan(own.z[0])) return STATUS_OK; /* the line was not there when the list opened */
    TRY(room_for(s, &own, &room, &y, e));
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct served_item *shown = served_find(a, s->items[i].item);
        y[i] = s->items[i].label;
        room.mask[i] = shown != NULL;
        room.z[i] = shown != NULL ? shown->logit : 0.0f;
    }
    own.y = y;
    eval_terms_fill(&own);
    eval_logged_add(&l->served.figures, line, a->version, &own, &room);
    return STATUS_OK;
}

/* ---- the state ---- */

void learner_served_encode(struct buf *b, const struct learner *l)
{
    const struct served_id from = learner_served_from(l);
    const uint64_t ids[] = {from.ms, from.seq, l->served.newest.ms, l->served.newest.seq};
    for (size_t i = 0; i < 4; i++) buf_u64(b, ids[i]);
    eval_logged_encode(b, &l->served.figures, l->conf);
}

enum status learner_served_decode(struct learner *l, struct buf_reader *r, struct err *e)
{
    struct learner_served *v = &l->served;
    uint64_t *const ids[] = {&v->from.ms, &v->from.seq, &v->newest.ms, &v->newest.seq};
    for (size_t i = 0; i < 4; i++) *ids[i] = buf_get_u64(r);
    return eval_logged_decode(&v->figures, l->conf, r, e);
}

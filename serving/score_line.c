/* score_line.c - what the scorer has of each variant: its model, the versions of it, the passes that hold their weights.
 *
 * Everything else (records, features, hands, the encoder and, where the frozen boundary agrees, frozen states) is shared.
 */
#include "base/log.h"
#include "base/mem.h"
#include "model/state_file.h"
#include "schemas/key.h"
#include "serving/score_private.h"
#include <string.h>

#define CHAMPION_BYTES "40" /* of the name in Redis that are read: more than any has */

static struct state_cache *states_of_another(const struct score *s, const struct score_line *l)
{
    for (size_t i = 0; i < s->n_lines; i++) {
        const struct score_line *o = &s->lines[i];
        if (o->owns_states && model_states_alike(o->model, l->model)) return o->states;
    }
    return NULL;
}

static enum status open_states(struct score *s, struct score_line *l, struct err *e)
{
    if (!model_wants_states(l->model)) return STATUS_OK;
    l->states = states_of_another(s, l);
    if (l->states != NULL) return STATUS_OK;
    TRY(state_cache_open(&l->states, s->encoder, model_frozen_layers(l->model), model_wants_tokens(l->model), l->conf,
                         e));
    l->owns_states = true;
    return state_file_attach(l->states, l->conf->kernels_states_dir, false, e);
}

/* On failure the line is closed like one that was opened. */
static enum status open_line(struct score *s, struct score_line *l, size_t i, struct err *e)
{
    l->s = s;
    l->name = conf_line_name(s->conf, i);
    l->report.status = STATUS_AGAIN;
    TRY(conf_line_new(&l->own, s->conf, i, e));
    l->conf = l->own;
    TRY(model_new(&l->model, l->conf, s->encoder, feat_count(s->probe_feat), e));
    TRY(open_states(s, l, e));
    l->text_part = SIZE_MAX;
    for (size_t k = 0; k < model_n_parts(l->model); k++)
        if (strcmp(model_part_name(l->model, k), "text") == 0) l->text_part = k;
    TRY(model_run_new(&l->probe_run, l->model, l->states, false, e));
    TRY(slot_new(&l->slot, e));
    TRY(fetch_new(&l->fetch, l->conf, s->clock, l->model, l->probe_run, s->probe_feat, e));
    return score_passes_open(l, e);
}

enum status score_lines_open(struct score *s, struct err *e)
{
    enum status st = STATUS_OK;
    for (size_t i = 0; i < conf_lines(s->conf) && st == STATUS_OK; i++) {
        st = open_line(s, &s->lines[i], i, e);
        s->n_lines++;
    }
    return st;
}

void score_lines_close(struct score *s)
{
    while (s->n_lines > 0) {
        struct score_line *l = &s->lines[--s->n_lines];
        if (l->slot != NULL) score_passes_close(l);
        fetch_free(l->fetch);
        slot_free(l->slot);
        model_run_free(l->probe_run);
        if (l->owns_states) state_cache_free(l->states);
        model_free(l->model);
        conf_free(l->own);
    }
}

/* ---- who answers ---- */

struct score_line *score_line_of(struct score *s, struct str user)
{
    const size_t in_charge = atomic_load(&s->in_charge);
    struct score_line *l = &s->lines[conf_line_of_user(s->conf, user, in_charge)];
    if (l->bound == NULL) l = &s->lines[in_charge];
    return l->bound != NULL ? l : &s->lines[0];
}

struct score_line *score_line_in_charge(struct score *s)
{
    struct score_line *l = &s->lines[atomic_load(&s->in_charge)];
    return l->slot != NULL ? l : &s->lines[0];
}

/* fr:{m}:champion; while Redis does not answer all stays as it is. */
void score_look_champion(struct score *s)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    struct redis *r = fetch_redis(s->lines[0].fetch);
    if (s->n_lines == 1 || !redis_connected(r)) return;
    (void)key_champion(key, s->conf->model_name);
    if (redis_call(r, NULL, &reply, REDIS_ARGS(STR("GETRANGE"), str_from(key), STR("0"), STR(CHAMPION_BYTES))) ==
        STATUS_OK) {
        const struct str name = reply->kind == REDIS_TEXT ? reply->text : STR("");
        const size_t line = name.n == 0 ? 0 : conf_line_find(s->conf, name);
        if (line == SIZE_MAX)
            log_limited(LOG_WARN, "variant",
                        "%s names \"" STR_FMT "\", which this scorer's configuration lacks; \"%s\" goes on answering",
                        key, STR_ARG(name), s->lines[atomic_load(&s->in_charge)].name);
        else if (atomic_exchange(&s->in_charge, line) != line)
            log_info("variant", "in_charge=%s", s->lines[line].name);
    }
    redis_clear(r);
}

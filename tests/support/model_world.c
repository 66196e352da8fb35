/* model_world.c - see model_world.h. */
#include "tests/support/model_world.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void path_of(char out[600], const char *name)
{
    const char *root = getenv("FRESHET_SOURCE");
    (void)snprintf(out, 600, "%s/tests/golden/model/%s", root != NULL ? root : ".", name);
}

const float *model_world_numbers(const struct model_world *w, const char *name, size_t *n)
{
    const struct safetensors_tensor *t = safetensors_find(w->golden, name);
    if (t == NULL) fail_msg("golden file: no tensor %s", name);
    if (n != NULL) *n = t->n;
    return safetensors_f32(t);
}

const struct param *model_world_param(const struct model_world *w, const char *name)
{
    const struct param_table *t = model_table(w->model);
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->params[i].name, name) == 0) return &t->params[i];
    }
    return NULL;
}

void model_world_set(struct model_world *w, const char *name, const float *values, size_t n)
{
    const struct param *p = model_world_param(w, name);
    if (p == NULL || p->n != n) fail_msg("the model has no tensor %s of %zu numbers", name, n);
    memcpy(w->p->w + p->offset, values, n * sizeof *values);
    param_touch(w->p);
}

void model_world_shake(struct model_world *w)
{
    const struct param_table *t = model_table(w->model);
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        if (p->group == PARAM_STAT || strncmp(p->name, "text.layer", 10) == 0) continue;
        for (size_t j = 0; j < p->n; j++) w->p->w[p->offset + j] += 0.3f * gradient_number(5000 * i + j);
    }
    param_touch(w->p);
}

/* --- slates ------------------------------------------------------------------------------------------------------- */

static void add_sentences(const struct model_world *w, struct slate *s)
{
    for (uint32_t i = 0; i < WORLD_SENTENCES; i++) {
        char name[64];
        size_t n;
        int32_t ids[64];
        (void)snprintf(name, sizeof name, "sentence.%u", i);
        const float *x = model_world_numbers(w, name, &n);
        for (size_t j = 0; j < n; j++) ids[j] = (int32_t)x[j];
        assert_int_equal(slate_add_sentence(s, ids, (uint32_t)n), i);
    }
}

static void make_room(struct slate *s, uint32_t n_items, uint32_t n_events, uint32_t n_hashed)
{
    s->n_items = n_items;
    s->n_events = n_events;
    s->n_numeric = WORLD_NUMERIC;
    s->items = arena_alloc(s->arena, n_items + 1u, sizeof *s->items);
    s->events = arena_alloc(s->arena, n_events + 1u, sizeof *s->events);
    s->numeric = arena_alloc(s->arena, (size_t)n_items * WORLD_NUMERIC + 1, sizeof *s->numeric);
    s->hashed_off = arena_alloc(s->arena, n_items + 1u, sizeof *s->hashed_off);
    s->hashed_idx = arena_alloc(s->arena, n_hashed + 1u, sizeof *s->hashed_idx);
    s->hashed_val = arena_alloc(s->arena, n_hashed + 1u, sizeof *s->hashed_val);
    assert_true(s->items && s->events && s->numeric && s->hashed_off && s->hashed_idx && s->hashed_val);
}

static const float *slate_numbers(const struct model_world *w, uint32_t slate, const char *what, size_t *n)
{
    char name[64];
    (void)snprintf(name, sizeof name, "slate.%u.%s", slate, what);
    if (safetensors_find(w->golden, name) == NULL) {
        *n = 0;
        return NULL;
    }
    return model_world_numbers(w, name, n);
}

static struct slate *golden_slate(const struct model_world *w, uint32_t index)
{
    struct slate *s;
    struct err e;
    size_t n_items, n_events, n_hashed, n;
    assert_ok(slate_new(&s, &e), &e);
    const float *items = slate_numbers(w, index, "items", &n_items),
                *events = slate_numbers(w, index, "events", &n_events);
    const float *hashed = slate_numbers(w, index, "hashed", &n_hashed);
    make_room(s, (uint32_t)n_items / 4, (uint32_t)n_events / 4, (uint32_t)n_hashed / 2);
    s->id = index + 1;
    s->at.offset = index;
    s->source = *slate_numbers(w, index, "impression", &n) > 0 ? SLATE_IMPRESSION : SLATE_ORGANIC;
    add_sentences(w, s);
    const float *counts = slate_numbers(w, index, "hashed_n", &n);
    for (uint32_t i = 0; i < s->n_items; i++) {
        const float *x = items + 4 * i;
        s->items[i] = (struct slate_item){
            .item = (uint64_t)x[0], .sentence = (uint32_t)x[1], .label = x[2], .weight = x[3], .examples = 1};
        s->hashed_off[i + 1] = s->hashed_off[i] + (uint32_t)counts[i];
    }
    for (uint32_t i = 0; i < s->n_events; i++) {
        const float *x = events + 4 * i;
        s->events[i] = (struct slate_event){
            .item = (uint64_t)x[0], .sentence = (uint32_t)x[1], .age_minutes = x[2], .type = (uint8_t)x[3]};
    }
    for (size_t i = 0; i < n_hashed / 2; i++) {
        const uint32_t idx = (uint32_t)hashed[2 * i];
        s->hashed_idx[i] = idx | (idx % 3) << SLATE_HASH_BITS; /* a family, as make_model.py has them */
        s->hashed_val[i] = hashed[2 * i + 1];
    }
    memcpy(s->numeric, slate_numbers(w, index, "numeric", &n), (size_t)s->n_items * WORLD_NUMERIC * sizeof(float));
    return s;
}

struct slate *model_world_slate(const struct model_world *w, uint32_t n_items, uint32_t n_events)
{
    struct slate *s;
    struct err e;
    assert_ok(slate_new(&s, &e), &e);
    make_room(s, n_items, n_events, n_items);
    s->id = 1000;
    s->at.offset = 1000;
    s->source = SLATE_ORGANIC;
    add_sentences(w, s);
    for (uint32_t i = 0; i < n_items; i++) {
        s->items[i] = (struct slate_item){
            .item = i % 7, .sentence = i % WORLD_SENTENCES, .label = i % 5 == 0, .weight = 1, .examples = 1};
        for (uint32_t f = 0; f < WORLD_NUMERIC; f++)
            s->numeric[i * WORLD_NUMERIC + f] = gradient_number(i * WORLD_NUMERIC + f);
        s->hashed_idx[i] = i * 37;
        s->hashed_val[i] = 1;
        s->hashed_off[i + 1] = i + 1;
    }
    for (uint32_t i = 0; i < n_events; i++)
        s->events[i] = (struct slate_event){
            .item = 3 + i, .sentence = i % WORLD_SENTENCES, .age_minutes = 7.0f * (float)i, .type = (uint8_t)(i % 9)};
    return s;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static void configure(struct model_world *w, const char *backend, const char *view, int layers,
                      const char *const *options)
{
    static const char *const always[] = {"model.parts=text,match,numeric,hashed", /* that the golden file has */
                                         "kernels.train_precision=f32",
                                         "model.events=5",
                                         "model.hashed_bits=8",
                                         "model.user_bits=6",
                                         "model.concat_tokens=32",
                                         "train.learning_rate=2e-3",
                                         "train.head_rate=1e-2",
                                         "train.match_rate=5e-3",
                                         "train.linear_rate=0.1",
                                         "train.hashed_rate=0.05",
                                         "train.weight_decay=0.01",
                                         "train.clip_norm=0.5",
                                         "train.warmup_steps=3",
                                         "train.softmax_share=0", /* PyTorch's ten losses are of BCE alone */
                                         "train.sampling_correction=false",
                                         "train.recalibration=false"};
    struct err e;
    char text[32];
    assert_ok(conf_new(&w->conf, &e), &e);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) assert_ok(conf_set_option(w->conf, always[i], &e), &e);
    (void)snprintf(text, sizeof text, "%d", layers);
    assert_ok(conf_set(w->conf, "model.trainable_layers", text, &e), &e);
    assert_ok(conf_set(w->conf, "model.item_view", view, &e), &e);
    assert_ok(conf_set(w->conf, "model.user_view", strcmp(view, "concat") == 0 ? "concat" : "pooled", &e), &e);
    assert_ok(conf_set(w->conf, "kernels.backend", backend, &e), &e);
    for (; options != NULL && *options != NULL; options++) assert_ok(conf_set_option(w->conf, *options, &e), &e);
}

void model_world_open(struct model_world *w, const char *backend, const char *view, int layers,
                      const char *const *options)
{
    struct err e;
    char path[600];
    *w = (struct model_world){0};
    configure(w, backend, view, layers, options);
    path_of(path, "golden.safetensors");
    assert_ok(safetensors_open(&w->golden, path, &e), &e);
    path_of(path, "base");
    assert_ok(kern_new(&w->kern, backend, &e), &e);
    assert_ok(encoder_open(&w->enc, w->kern, path, &e), &e);
    assert_ok(model_new(&w->model, w->conf, w->enc, WORLD_NUMERIC, &e), &e);
    if (model_wants_states(w->model))
        assert_ok(state_cache_new(&w->states, w->enc, model_frozen_layers(w->model), model_wants_tokens(w->model),
                                  1 << 20, 1, backend, &e),
                  &e);
    assert_ok(param_set_new(&w->p, model_table(w->model), &e), &e);
    assert_ok(model_init_params(w->model, 1, w->p, &e), &e);
    assert_ok(model_run_new(&w->run, w->model, w->states, true, &e), &e);
    assert_ok(model_bind(w->run, w->p, &e), &e);
    for (uint32_t i = 0; i < WORLD_SLATES; i++) w->slates[i] = golden_slate(w, i);
}

void model_world_close(struct model_world *w)
{
    for (size_t i = 0; i < WORLD_SLATES; i++) slate_free(w->slates[i]);
    model_run_free(w->run);
    param_set_release(w->p);
    state_cache_free(w->states);
    model_free(w->model);
    encoder_free(w->enc);
    kern_free(w->kern);
    safetensors_close(w->golden);
    conf_free(w->conf);
    *w = (struct model_world){0};
}

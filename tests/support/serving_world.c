/* serving_world.c - see serving_world.h */
#include "tests/support/serving_world.h"
#include "base/rand.h"
#include "schemas/weights_dense.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const vocabulary[] = {/* as many as the tiny encoder knows */
                                         "[PAD]",   "[UNK]",   "[CLS]",   "[SEP]", "[MASK]", "i",         "bought",
                                         "viewed",  "clicked", "on",      "red",   "blue",   "white",     "green",
                                         "wooden",  "metal",   "glass",   "paper", "toy",    "lantern",   "lamp",
                                         "cup",     "bag",     "box",     "clock", "chair",  "small",     "large",
                                         "set",     "of",      "two",     "by",    "the",    "a",         "an",
                                         "item",    "un",      "##known", "##s",   "##ed",   "christmas", "garden",
                                         "kitchen", "heart",   "star",    "bird",  "##ing",  ","};
static const char *const colours[] = {"red", "blue", "white", "green"};
static const char *const things[] = {"wooden toy", "metal lantern", "glass cup", "paper bag", "garden chair"};

static void copy_file(const struct tmpdir *to, const char *name)
{
    char from[200];
    size_t n;
    (void)snprintf(from, sizeof from, "tests/golden/encoder/gelu/%s", name);
    char *p = files_read(files_source(from), &n);
    files_put(to, name, p, n);
    free(p);
}

static void make_base(struct serving_world *w)
{
    struct buf b = {0};
    w->base = tmpdir_make("base");
    copy_file(&w->base, "config.json");
    copy_file(&w->base, "model.safetensors");
    for (size_t i = 0; i < sizeof vocabulary / sizeof *vocabulary; i++) buf_printf(&b, "%s\n", vocabulary[i]);
    files_put(&w->base, "vocab.txt", b.p, b.n);
    files_put_text(&w->base, "tokenizer_config.json",
                   "{\"do_lower_case\": true, \"tokenizer_class\": \"BertTokenizer\"}");
    buf_fini(&b);
}

static void open_shop(struct serving_world *w, const char *const *options)
{
    struct shop *s = &w->shop;
    struct err e = {0};
    s->offset = 1;
    arena_init(&s->arena, 0);
    s->conf = redis_server_conf(&w->redis);
    assert_ok(conf_set(s->conf, "model.base", w->base.path, &e), &e);
    assert_ok(conf_set(s->conf, "model.hashed_bits", "10", &e), &e);
    assert_ok(conf_set(s->conf, "kernels.threads", "1", &e), &e);
    for (; options != NULL && *options != NULL; options++) assert_ok(conf_set_option(s->conf, *options, &e), &e);
    assert_ok(token_open(&s->vocab, w->base.path, &e), &e);
    assert_ok(describe_open(&s->templates, s->conf, &e), &e);
    assert_ok(feat_new(&s->feat, s->conf, s->vocab, s->templates, &e), &e);
    assert_ok(world_new(&s->world, s->conf, s->feat, NULL, &e), &e);
    assert_ok(slate_new(&s->slate, &e), &e);
}

static void fill_shop(struct shop *s)
{
    struct err e = {0};
    for (int i = 0; i < 10; i++) {
        char id[16], title[64];
        (void)snprintf(id, sizeof id, "i%d", i);
        (void)snprintf(title, sizeof title, "%s %s", colours[i % 4], things[i % 5]);
        shop_announce(s, id, title, SHOP_START_MS);
        struct event ev = shop_behaviour(s, EVENT_PURCHASE, "u3", id, SHOP_START_MS + i * 3600000);
        shop_number(s, &ev, "price", 1.5 + i);
        assert_ok(world_take(s->world, &ev, 1, &e), &e);
    }
    for (int i = 0; i < 6; i++) { /* orders of three: what part cooccur reads */
        struct event lines[3];
        char item[16];
        for (int l = 0; l < 3; l++) {
            (void)snprintf(item, sizeof item, "i%d", (i + l * l) % 10);
            lines[l] = shop_behaviour(s, EVENT_PURCHASE, "u9", item, SHOP_START_MS + (12 + i) * 3600000);
        }
        assert_ok(world_take(s->world, lines, 3, &e), &e);
    }
    for (int i = 0; i < 12; i++) {
        char user[16], item[16];
        (void)snprintf(user, sizeof user, "u%d", i % 3);
        (void)snprintf(item, sizeof item, "i%d", (7 * i) % 10);
        shop_take(s, i % 2 ? EVENT_CLICK : EVENT_PURCHASE, user, item, SHOP_START_MS + SHOP_DAY_MS * (1 + i / 2));
    }
}

static void open_model(struct serving_world *w)
{
    struct err e = {0};
    const struct conf *c = w->shop.conf;
    assert_ok(kern_new(&w->kern, c->kernels_backend, &e), &e);
    assert_ok(encoder_open(&w->encoder, w->kern, c->model_base, &e), &e);
    assert_ok(model_new(&w->model, c, w->encoder, feat_count(w->shop.feat), &e), &e);
    if (model_wants_states(w->model))
        assert_ok(state_cache_new(&w->states, w->encoder, model_frozen_layers(w->model), model_wants_tokens(w->model),
                                  (size_t)c->kernels_cache_bytes, 1, c->kernels_backend, &e),
                  &e);
    assert_ok(model_run_new(&w->run, w->model, w->states, false, &e), &e);
}

void serving_world_open(struct serving_world *w, const char *const *options)
{
    struct err e = {0};
    memset(w, 0, sizeof *w);
    w->watermark_ms = SERVING_WORLD_NOW_MS;
    redis_server_start(&w->redis);
    make_base(w);
    open_shop(w, options);
    fill_shop(&w->shop);
    open_model(w);
    serving_world_shake(w, 1);
    assert_ok(publish_open(&w->publish, w->shop.conf, clock_system(), 0, &e), &e);
}

void serving_world_close(struct serving_world *w)
{
    publish_close(w->publish);
    model_run_free(w->run);
    param_set_release(w->params);
    state_cache_free(w->states);
    model_free(w->model);
    encoder_free(w->encoder);
    kern_free(w->kern);
    shop_close(&w->shop);
    tmpdir_remove(&w->base);
    redis_server_stop(&w->redis);
}

void serving_world_shake(struct serving_world *w, unsigned seed)
{
    struct err e = {0};
    struct rand r;
    const struct param_table *t = model_table(w->model);
    param_set_release(w->params);
    assert_ok(param_set_new(&w->params, t, &e), &e);
    assert_ok(model_init_params(w->model, 1, w->params, &e), &e);
    rand_init(&r, (struct rand_key){seed, 0, 0, 0, RAND_TEST});
    for (size_t i = 0; i < t->n && seed != 0; i++) {
        const struct param *p = &t->params[i];
        if (p->group == PARAM_STAT) continue;
        for (size_t j = 0; j < p->n; j++) w->params->w[p->offset + j] += (float)(0.1 * rand_normal(&r));
    }
    param_touch(w->params);
    assert_ok(param_sha256(w->params, &e), &e);
    assert_ok(model_bind(w->run, w->params, &e), &e);
}

/* --- publishing --------------------------------------------------------------------------------------------------- */

struct handing {
    struct serving_world *w;
    struct publish_batch *batch;
    struct buf pack;
};

static struct str packed(const struct handing *h)
{
    return (struct str){(const char *)h->pack.p, h->pack.n};
}

static void put_state(struct handing *h, uint64_t hash, const int32_t *ids, uint32_t n)
{
    struct err e = {0};
    struct state_cache *states = h->w->states;
    const struct state_request want = {hash, ids, n};
    const struct state_entry *entry;
    if (states == NULL || n == 0 || !publish_wants_state(h->w->publish, state_key(states, hash))) return;
    assert_ok(state_acquire(states, &want, 1, &entry, &e), &e);
    const struct record_state rec = state_record(entry);
    buf_clear(&h->pack);
    record_state_encode(&h->pack, &rec);
    state_release(states, &entry, 1);
    assert_ok(publish_put_state(h->batch, state_key(states, hash), packed(h), &e), &e);
}

static enum status put_user(void *arg, const struct record_user *u)
{
    struct handing *h = arg;
    struct err e = {0};
    for (uint32_t i = 0; i < u->n_events; i++)
        put_state(h, u->events[i].sentence, u->events[i].ids, u->events[i].n_ids);
    buf_clear(&h->pack);
    record_user_encode(&h->pack, u);
    assert_ok(publish_put_user(h->batch, u->id, packed(h), &e), &e);
    return STATUS_OK;
}

static enum status put_item(void *arg, const struct record_item *i)
{
    struct handing *h = arg;
    struct err e = {0};
    put_state(h, i->sentence, i->ids, i->n_ids);
    buf_clear(&h->pack);
    record_item_encode(&h->pack, i);
    assert_ok(publish_put_item(h->batch, i->id, packed(h), &e), &e);
    return STATUS_OK;
}

void serving_world_features(struct serving_world *w)
{
    struct handing h = {.w = w};
    struct err e = {0};
    assert_ok(publish_features_begin(w->publish, &h.batch, &e), &e);
    assert_int_equal(world_each_changed(w->shop.world, put_user, put_item, &h, &e), STATUS_OK);
    publish_features_end(w->publish, h.batch);
    assert_ok(publish_flush(w->publish, 20000, &e), &e);
    buf_fini(&h.pack);
}

struct buf serving_world_file(struct serving_world *w, uint64_t version)
{
    struct err e = {0};
    struct arena a = {0};
    struct weights_view view = {0};
    struct buf file = {0};
    assert_ok(param_view(model_table(w->model), w->params, model_fingerprint(w->model), &a, &view, &e), &e);
    view.version = version;
    assert_ok(weights_encode(&file, &view, &e), &e);
    arena_fini(&a);
    return file;
}

struct buf serving_world_dense(struct serving_world *w, bool rounded)
{
    struct err e = {0};
    struct arena a = {0};
    struct weights_view view = {0};
    struct buf dense = {0};
    const size_t *first = model_table(w->model)->group_first;
    assert_ok(param_view(model_table(w->model), w->params, model_fingerprint(w->model), &a, &view, &e), &e);
    assert_ok(weights_dense_encode(&dense, &view, first[PARAM_SPARSE], rounded ? first[PARAM_ADAGRAD] : 0, &e), &e);
    arena_fini(&a);
    return dense;
}

struct publish_hashed serving_world_hashed(const struct serving_world *w)
{
    const size_t first = model_table(w->model)->group_first[PARAM_SPARSE];
    return (struct publish_hashed){w->params->w + first, w->params->n - first};
}

void serving_world_hand(struct serving_world *w, uint64_t version, bool rounded)
{
    struct err e = {0};
    struct buf dense = serving_world_dense(w, rounded);
    const struct publish_hashed hashed = serving_world_hashed(w);
    struct publish_version v = {.version = version,
                                .parent = version - 1,
                                .examples = 100 * version,
                                .watermark_ms = w->watermark_ms,
                                .settled_ms = SERVING_WORLD_NOW_MS,
                                .settled_wall_ms = clock_system()->wall_ms(clock_system()),
                                .reason = "test",
                                .rounded = rounded};
    memcpy(v.sha256, w->params->sha256, sizeof v.sha256);
    (void)snprintf(v.base, sizeof v.base, "%016llx", (unsigned long long)model_fingerprint(w->model));
    assert_ok(publish_weights(w->publish, &v, &dense, &hashed, &e), &e);
    assert_ok(publish_flush(w->publish, 20000, &e), &e);
}

void serving_world_version(struct serving_world *w, uint64_t version)
{
    const size_t n = serving_world_hashed(w).n;
    for (size_t page = 0; page * PUBLISH_PAGE < n; page++) publish_touch(w->publish, page);
    serving_world_hand(w, version, false);
}

void serving_world_score(struct serving_world *w, const char *user, const char *items, float *logits)
{
    struct err e = {0};
    shop_show(&w->shop, user, items, SERVING_WORLD_NOW_MS);
    w->shop.slate->source = SLATE_REQUEST; /* an impression otherwise: the same intercept, said plainly */
    assert_ok(model_score(w->run, w->shop.slate, (uint32_t)w->shop.conf->serving_joint_top, logits, NULL, &e), &e);
}

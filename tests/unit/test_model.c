/* test_model.c - the architecture: which parts, which tensors, what is refused, what versions must agree on. */
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include <math.h>
#include <string.h>

static void test_parts_and_shapes(void **state)
{
    (void)state;
    struct model_world w;
    const char *const parts[] = {"model.parts=text,match,numeric,cooccur,hashed", NULL};
    model_world_open(&w, "cpu", "tokens", 2, parts);
    const char *const names[] = {"text", "match", "numeric", "cooccur", "hashed"};
    assert_int_equal(model_n_parts(w.model), 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(model_part_name(w.model, i), names[i]);
    assert_int_equal(model_frozen_layers(w.model), 1);
    assert_true(model_wants_states(w.model));
    assert_true(model_wants_tokens(w.model));
    assert_int_equal(model_world_param(&w, "text.layer.1.qkv.weight")->shape[0], 24);
    assert_int_equal(model_world_param(&w, "text.rank")->shape[0], 5);
    assert_null(model_world_param(&w, "text.layer.0.qkv.weight"));
    assert_int_equal(model_world_param(&w, "hashed.weight")->n, 256);
    model_world_close(&w);
}

static void test_order_of_the_list_does_not_matter(void **state)
{
    (void)state;
    struct model_world a, b;
    model_world_open(&a, "cpu", "pooled", 1, (const char *const[]){"model.parts=hashed, text", NULL});
    model_world_open(&b, "cpu", "pooled", 1, (const char *const[]){"model.parts=text,hashed", NULL});
    assert_int_equal(model_n_parts(a.model), 2);
    assert_string_equal(model_part_name(a.model, 0), "text");
    assert_int_equal(model_fingerprint(a.model), model_fingerprint(b.model));
    assert_int_equal(model_frozen_layers(a.model), 2);
    model_world_close(&a);
    model_world_close(&b);
}

/* Without text the encoder runs to its end; concat needs no cache unless match is there. */
static void test_what_is_wanted_of_the_cache(void **state)
{
    (void)state;
    struct model_world w;
    model_world_open(&w, "cpu", "pooled", 1, (const char *const[]){"model.parts=match", NULL});
    assert_int_equal(model_frozen_layers(w.model), 3);
    assert_true(model_wants_states(w.model));
    assert_false(model_wants_tokens(w.model));
    model_world_close(&w);
    model_world_open(&w, "cpu", "concat", 1, (const char *const[]){"model.parts=text,numeric", NULL});
    assert_false(model_wants_states(w.model));
    model_world_close(&w);
}

static void test_fingerprint_tells_models_apart(void **state)
{
    (void)state;
    static const struct {
        const char *view;
        int layers;
        const char *options[2];
    } variants[] = {{"pooled", 1, {NULL}},
                    {"tokens", 1, {NULL}},
                    {"concat", 1, {NULL}},
                    {"pooled", 2, {NULL}},
                    {"pooled", 1, {"model.events=6", NULL}},
                    {"pooled", 1, {"model.hashed_bits=9", NULL}},
                    {"pooled", 1, {"model.parts=text,match,numeric", NULL}},
                    {"pooled", 1, {"model.parts=match,numeric,idvec", NULL}},
                    {"pooled", 1, {"model.parts=match,numeric,itembias", NULL}},
                    {"pooled", 1, {"model.parts=numeric,deep", NULL}}};
    enum { N = sizeof variants / sizeof *variants };
    uint64_t seen[N];
    for (size_t i = 0; i < N; i++) {
        struct model_world w;
        model_world_open(&w, "cpu", variants[i].view, variants[i].layers, variants[i].options);
        seen[i] = model_fingerprint(w.model);
        for (size_t j = 0; j < i; j++) assert_int_not_equal(seen[i], seen[j]);
        model_world_close(&w);
    }
}

static void refuse(struct model_world *w, const char *key, const char *value, const struct encoder *enc,
                   uint32_t n_numeric, const char *says)
{
    struct model *m = (struct model *)w;
    struct err e;
    struct conf *c;
    assert_ok(conf_new(&c, &e), &e);
    assert_ok(conf_set(c, "model.hashed_bits", "8", &e), &e);
    assert_ok(conf_set(c, key, value, &e), &e);
    assert_int_equal(model_new(&m, c, enc, n_numeric, &e), STATUS_INVALID);
    assert_null(m);
    if (strstr(e.text, says) == NULL) fail_msg("\"%s\" does not say %s", e.text, says);
    conf_free(c);
}

static void test_refuses_what_cannot_be(void **state)
{
    (void)state;
    struct model_world w;
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    const long live = mem_live();
    refuse(&w, "model.trainable_layers", "4", w.enc, 4, "3 layers");
    refuse(&w, "model.parts", "text", NULL, 4, "encoder");
    refuse(&w, "model.parts", "hashed,match", NULL, 4, "encoder");
    refuse(&w, "model.parts", "numeric", NULL, 0, "features");
    refuse(&w, "model.parts", "text,idvec", w.enc, 4, "put match");
    refuse(&w, "model.parts", "hashed,deep", w.enc, 4, "put numeric");
    assert_int_equal(mem_live(), live);
    model_world_close(&w);
}

/* The trainable layers start as the pretrained ones, heads at zero, embeddings small and seeded. */
static void test_initial_values(void **state)
{
    (void)state;
    struct model_world w;
    struct param_set *other;
    struct err e;
    model_world_open(&w, "cpu", "pooled", 2, NULL);
    const struct kern_layer *l = encoder_layer(w.enc, 2);
    const struct param *up = model_world_param(&w, "text.layer.2.up.weight"),
                       *rank = model_world_param(&w, "text.rank");
    assert_memory_equal(w.p->w + up->offset, l->up.w, up->n * sizeof(float));
    const struct param *zero[] = {model_world_param(&w, "text.head"), model_world_param(&w, "match.map"),
                                  model_world_param(&w, "match.linear"), model_world_param(&w, "numeric.weight")};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < zero[i]->n; j++) assert_float_equal(w.p->w[zero[i]->offset + j], 0.0f, 0.0f);
    }
    assert_float_equal(w.p->w[model_world_param(&w, "match.tau")->offset + 1], 25.0f, 0.0f);
    double squares = 0;
    for (size_t j = 0; j < rank->n; j++) squares += pow((double)w.p->w[rank->offset + j], 2);
    assert_true(sqrt(squares / (double)rank->n) > 0.01 && sqrt(squares / (double)rank->n) < 0.03);
    assert_ok(param_set_new(&other, model_table(w.model), &e), &e);
    assert_ok(model_init_params(w.model, 1, other, &e), &e);
    assert_memory_equal(other->w, w.p->w, w.p->n * sizeof(float));
    assert_ok(model_init_params(w.model, 2, other, &e), &e);
    assert_memory_not_equal(other->w + rank->offset, w.p->w + rank->offset, rank->n * sizeof(float));
    param_set_release(other);
    model_world_close(&w);
}

static void test_replaced_layers_are_the_learnt_ones(void **state)
{
    (void)state;
    struct model_world w;
    struct encoder_replaced out[3];
    model_world_open(&w, "cpu", "pooled", 2, NULL);
    assert_int_equal(model_replaced_layers(w.model, w.p, out, 3), 2);
    assert_int_equal(out[0].layer, 1);
    assert_int_equal(out[1].layer, 2);
    assert_ptr_equal(out[1].weights.down.w, w.p->w + model_world_param(&w, "text.layer.2.down.weight")->offset);
    assert_ptr_equal(out[0].weights.ln2_bias, w.p->w + model_world_param(&w, "text.layer.1.ln2.bias")->offset);
    assert_int_equal(out[0].weights.qkv.out, 24);
    model_world_close(&w);
    model_world_open(&w, "cpu", "pooled", 1, (const char *const[]){"model.parts=match", NULL});
    assert_int_equal(model_replaced_layers(w.model, w.p, out, 3), 0);
    model_world_close(&w);
}

static enum status make_and_drop(struct model_world *w)
{
    struct model *m = NULL;
    struct model_run *r = NULL;
    enum status st = model_new(&m, w->conf, w->enc, WORLD_NUMERIC, NULL);
    if (st != STATUS_OK) assert_null(m);
    if (st == STATUS_OK) st = model_run_new(&r, m, w->states, true, NULL);
    if (st != STATUS_OK) assert_null(r);
    model_run_free(r);
    model_free(m);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    const char *const views[] = {"pooled", "concat"};
    for (int i = 0; i < 2; i++) {
        struct model_world w;
        long met;
        model_world_open(&w, "cpu", views[i], 2, NULL);
        FAIL_EACH_ALLOCATION(met, make_and_drop(&w));
        assert_true(met > 20);
        model_world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_and_shapes),
        cmocka_unit_test(test_order_of_the_list_does_not_matter),
        cmocka_unit_test(test_what_is_wanted_of_the_cache),
        cmocka_unit_test(test_fingerprint_tells_models_apart),
        cmocka_unit_test(test_refuses_what_cannot_be),
        cmocka_unit_test(test_initial_values),
        cmocka_unit_test(test_replaced_layers_are_the_learnt_ones),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

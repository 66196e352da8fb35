/* test_model_export.c - an exported folder: learnt layers in place, the rest beside it, every bit; failing allocations. */
#include "model/model_export.h"
#include "model/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/model_world.h"
#include "tests/support/tmpdir.h"
#include <stdio.h>
#include <string.h>

static char folder[300], path[400];

static struct safetensors *open_file(const char *name)
{
    struct err e = {0};
    struct safetensors *s;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(safetensors_open(&s, path, &e), &e);
    return s;
}

static const float *learnt(const struct model_world *w, const char *name)
{
    const struct param *p = model_world_param(w, name);
    assert_non_null(p);
    return w->p->w + p->offset;
}

/* Query, key and value are one matrix with us and three in the folder. */
static void check_layer(const struct model_world *w, const struct safetensors *s, size_t layer)
{
    static const char *const parts[] = {"query", "key", "value"};
    const size_t C = encoder_shape(w->enc)->C;
    char ours[100], theirs[200];
    (void)snprintf(ours, sizeof ours, "text.layer.%zu.qkv.weight", layer);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(theirs, sizeof theirs, "encoder.layer.%zu.attention.self.%s.weight", layer, parts[i]);
        const struct safetensors_tensor *t = safetensors_find(s, theirs);
        assert_non_null(t);
        assert_memory_equal(t->data, learnt(w, ours) + i * C * C, C * C * sizeof(float));
    }
    (void)snprintf(ours, sizeof ours, "text.layer.%zu.ln2.bias", layer);
    (void)snprintf(theirs, sizeof theirs, "encoder.layer.%zu.output.LayerNorm.bias", layer);
    assert_memory_equal(safetensors_find(s, theirs)->data, learnt(w, ours), C * sizeof(float));
}

/* Every tensor that stands in no layer is in the second file, and no other. */
static void check_rest(const struct model_world *w)
{
    struct safetensors *s = open_file(MODEL_EXPORT_FILE);
    const struct param_table *t = model_table(w->model);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct param *p = &t->params[i];
        const struct safetensors_tensor *got = safetensors_find(s, p->name);
        if (strncmp(p->name, "text.layer.", 11) == 0) {
            assert_null(got);
            continue;
        }
        n++;
        assert_non_null(got);
        assert_int_equal(got->rank, p->rank);
        assert_int_equal(got->n, p->n);
        assert_memory_equal(got->data, w->p->w + p->offset, p->n * sizeof(float));
    }
    assert_int_equal(safetensors_count(s), n);
    safetensors_close(s);
}

static void check_view(const char *view, int layers)
{
    struct model_world w;
    struct err e = {0};
    size_t n = 99;
    const struct tmpdir d = tmpdir_make("export");
    (void)tmpdir_file(&d, "folder", folder);
    model_world_open(&w, "cpu", view, layers, NULL);
    for (size_t i = 0; i < w.p->n; i++)
        w.p->w[i] += 0.001f * (float)(i % 97 + 1); /* every tensor moved, each float its own way */
    assert_ok(model_export_folder(w.model, w.enc, w.p, folder, &n, &e), &e);
    assert_int_equal(n, layers);

    struct encoder *back;
    assert_ok(encoder_open(&back, NULL, folder, &e), &e);
    const size_t L = encoder_shape(w.enc)->L, C = encoder_shape(w.enc)->C;
    assert_int_equal(encoder_shape(back)->L, L);
    for (size_t l = 0; l < L - (size_t)layers; l++) /* frozen ones stay */
        assert_memory_equal(encoder_layer(back, l)->o.w, encoder_layer(w.enc, l)->o.w, C * C * sizeof(float));
    if (layers > 0)
        assert_true(encoder_fingerprint(back) != encoder_fingerprint(w.enc));
    else
        assert_true(encoder_fingerprint(back) == encoder_fingerprint(w.enc));
    encoder_free(back);
    struct safetensors *s = open_file("model.safetensors");
    for (size_t l = L - (size_t)layers; l < L; l++) check_layer(&w, s, l);
    safetensors_close(s);
    check_rest(&w);
    model_world_close(&w);
    tmpdir_remove(&d);
}

static void test_learnt_layers_are_in_their_places(void **state)
{
    (void)state;
    check_view("pooled", 1);
    check_view("tokens", 2);
    check_view("concat", 3); /* all */
    check_view("pooled", 0); /* none: the base as it was */
}

static void test_the_base_is_not_written_over(void **state)
{
    (void)state;
    struct model_world w;
    struct err e = {0};
    model_world_open(&w, "cpu", "pooled", 1, NULL);
    assert_int_equal(model_export_folder(w.model, w.enc, w.p, encoder_dir(w.enc), NULL, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "base model"));
    assert_int_equal(model_export_folder(w.model, w.enc, w.p, "/nonexistent/folder", NULL, &e), STATUS_IO);
    model_world_close(&w);
}

static void test_each_failing_allocation_is_said(void **state)
{
    (void)state;
    struct model_world w;
    struct err e = {0};
    long n;
    const struct tmpdir d = tmpdir_make("export");
    (void)tmpdir_file(&d, "folder", folder);
    model_world_open(&w, "cpu", "pooled", 2, NULL);
    FAIL_EACH_ALLOCATION(n, model_export_folder(w.model, w.enc, w.p, folder, NULL, &e));
    assert_true(n > 10);
    check_rest(&w);
    model_world_close(&w);
    tmpdir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learnt_layers_are_in_their_places),
        cmocka_unit_test(test_the_base_is_not_written_over),
        cmocka_unit_test(test_each_failing_allocation_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

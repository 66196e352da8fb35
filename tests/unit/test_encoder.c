/* test_encoder.c - folders that are right, wrong and damaged; bounds of a run; export and back. */
#include "base/mem.h"
#include "model/encoder.h"
#include "model/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tmpdir dir;

static int make_dir(void **state)
{
    (void)state;
    dir = tmpdir_make("encoder");
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

static const char *golden(const char *variant)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", files_source("tests/golden/encoder"), variant);
    return path;
}

static void copy_in(const char *variant, const char *name)
{
    char from[500];
    size_t n;
    (void)snprintf(from, sizeof from, "%s/%s", golden(variant), name);
    char *p = files_read(from, &n);
    files_put(&dir, name, p, n);
    free(p);
}

/* A good config.json of the variant "gelu_new" with `extra` put in front: a key that is there twice is replaced. */
#define CONFIG_REST                                                                                                    \
    "\"vocab_size\":48,\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":64," \
    "\"max_position_embeddings\":64}"

static const struct {
    const char *config, *says;
    enum status status;
} configs[] = {
    {"{" CONFIG_REST, NULL, STATUS_OK},
    {"{\"model_type\":\"roberta\"," CONFIG_REST, "roberta", STATUS_UNSUPPORTED},
    {"{\"model_type\":3," CONFIG_REST, "model_type", STATUS_UNSUPPORTED},
    {"{\"position_embedding_type\":\"relative_key\"," CONFIG_REST, "position_embedding_type", STATUS_UNSUPPORTED},
    {"{\"is_decoder\":true," CONFIG_REST, "is_decoder", STATUS_UNSUPPORTED},
    {"{\"add_cross_attention\":true," CONFIG_REST, "add_cross_attention", STATUS_UNSUPPORTED},
    {"{\"pruned_heads\":{\"0\":[1]}," CONFIG_REST, "pruned_heads", STATUS_UNSUPPORTED},
    {"{\"pruned_heads\":{},\"is_decoder\":false,\"position_embedding_type\":\"absolute\"," CONFIG_REST, NULL,
     STATUS_OK},
    {"{\"quantization_config\":{\"bits\":4}," CONFIG_REST, "quantization_config", STATUS_UNSUPPORTED},
    {"{\"embedding_size\":16," CONFIG_REST, "embedding_size", STATUS_UNSUPPORTED},
    {"{\"hidden_act\":\"silu\"," CONFIG_REST, "silu", STATUS_UNSUPPORTED},
    {"{\"hidden_act\":1," CONFIG_REST, "hidden_act", STATUS_UNSUPPORTED},
    {"{\"layer_norm_eps\":0," CONFIG_REST, "layer_norm_eps", STATUS_INVALID},
    {"{\"layer_norm_eps\":\"1e-5\"," CONFIG_REST, "layer_norm_eps", STATUS_INVALID},
    {"{\"type_vocab_size\":0," CONFIG_REST, "type_vocab_size", STATUS_INVALID},
    {"{\"type_vocab_size\":3," CONFIG_REST, "token_type_embeddings", STATUS_INVALID},
    {"{\"vocab_size\":-1," CONFIG_REST, "duplicate", STATUS_INVALID},
    {"{\"vocab_size\":48,\"hidden_size\":32.0}", "hidden_size", STATUS_INVALID},
    {"{\"vocab_size\":48,\"hidden_size\":33,\"num_attention_heads\":4}", "multiple", STATUS_INVALID},
    {"{\"vocab_size\":48,\"hidden_size\":64,\"num_attention_heads\":4,\"max_position_embeddings\":64}",
     "word_embeddings", STATUS_INVALID},
    {"[1]", "object", STATUS_INVALID},
    {"{", "JSON", STATUS_INVALID},
    {"", "JSON", STATUS_INVALID},
};

static void test_configs(void **state)
{
    (void)state;
    copy_in("gelu_new", "model.safetensors");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct encoder *m = (void *)1;
        struct err e = {0};
        files_put_text(&dir, "config.json", configs[i].config);
        const enum status st = encoder_open(&m, NULL, dir.path, &e);
        if (st != configs[i].status) fail_msg("%s: %s %s", configs[i].config, status_name(st), e.text);
        if (st == STATUS_OK) {
            assert_true(encoder_shape(m)->C == 32 && encoder_shape(m)->act == KERN_ACT_GELU);
            encoder_free(m);
            continue;
        }
        assert_null(m);
        if (strstr(e.text, configs[i].says) == NULL) fail_msg("%s: %s", configs[i].config, e.text);
    }
}

static void test_pooling_files(void **state)
{
    (void)state;
    static const struct {
        const char *pooling, *modules, *length, *says;
        bool cls, unit;
        size_t max;
    } cases[] = {
        {"{\"pooling_mode_cls_token\":true}", NULL, NULL, NULL, true, false, 64},
        {"{\"pooling_mode\":\"cls\"}", NULL, "{\"max_seq_length\":17}", NULL, true, false, 17},
        {"{\"pooling_mode_mean_tokens\":true}", NULL, "{\"max_seq_length\":null}", NULL, false, false, 64},
        {"{\"pooling_mode_mean_tokens\":true,\"pooling_mode_cls_token\":true}", NULL, NULL, "mean or cls", false, false,
         0},
        {"{\"pooling_mode_mean_tokens\":false}", NULL, NULL, "mean or cls", false, false, 0},
        {"{\"pooling_mode_max_tokens\":true}", NULL, NULL, "max_tokens", false, false, 0},
        {"[]", NULL, NULL, "object", false, false, 0},
        {"{}", "[{\"type\":\"a.Transformer\",\"path\":\"\"},{\"type\":\"b.Normalize\",\"path\":\"2\"}]", NULL, NULL,
         false, true, 64},
        {"{}", "[{\"type\":\"a.Dense\",\"path\":\"2_Dense\"}]", NULL, "Dense", false, false, 0},
        {"{}", "[{\"type\":\"a.Pooling\",\"path\":\"../x\"}]", NULL, "leaves", false, false, 0},
        {"{}", "[{\"path\":\"\"}]", NULL, "type", false, false, 0},
        {"{}", "{}", NULL, "list", false, false, 0},
        {"{}", NULL, "{\"max_seq_length\":1}", "max_seq_length", false, false, 0},
        {"{}", NULL, "{\"max_seq_length\":100000}", NULL, false, false, 64},
    };
    char path[300];
    copy_in("gelu_new", "model.safetensors");
    copy_in("gelu_new", "config.json");
    (void)mkdir(tmpdir_file(&dir, "1_Pooling", path), 0777);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct encoder *m;
        struct err e = {0};
        files_put_text(&dir, "1_Pooling/config.json", cases[i].pooling);
        (void)unlink(tmpdir_file(&dir, "modules.json", path));
        (void)unlink(tmpdir_file(&dir, "sentence_bert_config.json", path));
        if (cases[i].modules != NULL) files_put_text(&dir, "modules.json", cases[i].modules);
        if (cases[i].length != NULL) files_put_text(&dir, "sentence_bert_config.json", cases[i].length);
        const enum status st = encoder_open(&m, NULL, dir.path, &e);
        if ((st == STATUS_OK) != (cases[i].says == NULL)) fail_msg("case %zu: %s", i, e.text);
        if (st != STATUS_OK) {
            if (strstr(e.text, cases[i].says) == NULL) fail_msg("case %zu: %s", i, e.text);
            continue;
        }
        assert_int_equal(encoder_shape(m)->pool_cls, cases[i].cls);
        assert_int_equal(encoder_shape(m)->unit, cases[i].unit);
        assert_int_equal(encoder_shape(m)->max_tokens, cases[i].max);
        encoder_free(m);
    }
    (void)unlink(tmpdir_file(&dir, "modules.json", path));
    (void)unlink(tmpdir_file(&dir, "sentence_bert_config.json", path));
    (void)unlink(tmpdir_file(&dir, "1_Pooling/config.json", path));
}

static void test_folders_that_are_none(void **state)
{
    (void)state;
    struct encoder *m;
    struct err e = {0};
    assert_int_equal(encoder_open(&m, NULL, "/nonexistent", &e), STATUS_NOT_FOUND);
    assert_non_null(strstr(e.text, "/nonexistent"));
    assert_non_null(strstr(e.text, "config.json"));
    struct tmpdir other = tmpdir_make("encoder2");
    files_put_text(&other, "config.json", "{" CONFIG_REST);
    assert_int_equal(encoder_open(&m, NULL, other.path, &e), STATUS_NOT_FOUND);
    assert_non_null(strstr(e.text, "model.safetensors"));
    files_put_text(&other, "model.safetensors", "junk");
    assert_int_equal(encoder_open(&m, NULL, other.path, &e), STATUS_CORRUPT);
    tmpdir_remove(&other);
    encoder_free(NULL);
}

/* The variant's tensors with one left out or spoilt. */
static enum status open_without(const char *name, bool spoil, struct err *e)
{
    static struct safetensors_tensor t[100];
    char from[500], path[300];
    struct safetensors *s;
    struct encoder *m = NULL;
    size_t n = 0;
    (void)snprintf(from, sizeof from, "%s/model.safetensors", golden("gelu_new"));
    assert_ok(safetensors_open(&s, from, e), e);
    float *bad = NULL;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const struct safetensors_tensor *x = safetensors_at(s, i);
        const bool hit = strcmp(x->name, name) == 0;
        if (hit && !spoil) continue;
        t[n] = *x;
        if (hit) {
            bad = malloc(x->bytes);
            memcpy(bad, x->data, x->bytes);
            bad[x->n / 2] = NAN;
            t[n].data = (const unsigned char *)bad;
        }
        n++;
    }
    assert_ok(safetensors_write(tmpdir_file(&dir, "model.safetensors", path), t, n, e), e);
    const enum status st = encoder_open(&m, NULL, dir.path, e);
    encoder_free(m);
    safetensors_close(s);
    free(bad);
    return st;
}

static void test_missing_and_bad_tensors_are_named(void **state)
{
    (void)state;
    static const char *const names[] = {"bert.embeddings.LayerNorm.bias", "bert.encoder.layer.1.output.dense.weight",
                                        "bert.encoder.layer.0.attention.self.key.bias"};
    struct err e = {0};
    copy_in("gelu_new", "config.json");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(open_without(names[i], false, &e), STATUS_NOT_FOUND);
        assert_non_null(strstr(e.text, names[i]));
        assert_int_equal(open_without(names[i], true, &e), STATUS_INVALID);
        assert_non_null(strstr(e.text, "not finite"));
    }
}

static void test_run_checks_its_input(void **state)
{
    (void)state;
    struct encoder *m;
    struct encoder_run *r = NULL;
    struct err e = {0};
    static float out[65 * 32];
    static int32_t ids[65];
    const uint8_t types[2] = {0, 2};
    assert_ok(encoder_open(&m, NULL, golden("gelu_new"), &e), &e);
    assert_ok(encoder_run_new(&r, m, "cpu", &e), &e);
    assert_int_equal(encoder_run_sentence(r, ids, NULL, 0, 0, NULL, out, &e), STATUS_INVALID);
    assert_int_equal(encoder_run_sentence(r, ids, NULL, 65, 0, NULL, out, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "65"));
    assert_int_equal(encoder_run_sentence(r, ids, NULL, 2, 3, NULL, out, &e), STATUS_INVALID);
    assert_int_equal(encoder_run_sentence(r, ids, types, 2, 0, NULL, out, &e), STATUS_INVALID);
    ids[1] = 48;
    assert_int_equal(encoder_run_sentence(r, ids, NULL, 2, 0, NULL, out, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "48"));
    ids[1] = -1;
    assert_int_equal(encoder_run_sentence(r, ids, NULL, 2, 0, NULL, out, &e), STATUS_INVALID);
    encoder_run_free(r);
    assert_int_equal(encoder_run_new(&r, m, "tpu", &e), STATUS_INVALID);
    encoder_free(m);
}

/* Packed by one backend and run by another is refused. */
static void test_one_backend_packs_and_runs(void **state)
{
    (void)state;
    struct kern *k;
    struct encoder *m;
    struct encoder_run *r;
    struct err e = {0};
    float mid[5 * 32], whole[5 * 32];
    const int32_t ids[] = {3, 9, 27, 1, 40};
    assert_ok(kern_new(&k, "cpu", &e), &e);
    assert_ok(encoder_open(&m, k, golden("gelu"), &e), &e);
    assert_int_equal(encoder_run_new(&r, m, "ref", &e), STATUS_INVALID);
    assert_int_equal(encoder_run_new(&r, m, strstr(kern_describe(k), "base") ? "ref" : "cpu-base", &e), STATUS_INVALID);
    assert_ok(encoder_run_new(&r, m, "cpu", &e), &e);
    assert_ok(encoder_run_sentence(r, ids, NULL, 5, 1, mid, whole, &e), &e);
    const long before = mem_total();
    for (int i = 0; i < 20; i++) assert_ok(encoder_run_sentence(r, ids, NULL, 5, 1, mid, whole, &e), &e);
    assert_int_equal(mem_total(), before); /* the steady state allocates nothing */
    encoder_run_free(r);
    encoder_free(m);
    kern_free(k);
}

/* Nine sentences in one call, each also alone: the same bits on every backend, and more tokens than one pass takes. */
static void check_together(const char *backend)
{
    enum { MANY = 9, LONGEST = 120, C = 32 };
    static const size_t lengths[MANY] = {7, 1, 120, 12, 64, 2, 100, 33, 5};
    static int32_t ids[MANY][LONGEST];
    static float mid[MANY][LONGEST * C], final[MANY][LONGEST * C], one_mid[LONGEST * C], one[LONGEST * C];
    struct encoder_sentence q[MANY];
    struct kern *k;
    struct encoder *m;
    struct encoder_run *r;
    struct err e = {0};
    if (kern_new(&k, backend, &e) == STATUS_UNSUPPORTED) return; /* not on this machine */
    assert_ok(encoder_open(&m, k, golden("gelu"), &e), &e);
    assert_ok(encoder_run_new(&r, m, backend, &e), &e);
    for (size_t i = 0; i < MANY; i++) {
        for (size_t j = 0; j < LONGEST; j++) ids[i][j] = (int32_t)((i * 31 + j * 7) % 48);
        q[i] =
            (struct encoder_sentence){.ids = ids[i], .n = lengths[i], .mid = mid[i], .final = i == 3 ? NULL : final[i]};
    }
    assert_ok(encoder_run_sentences(r, q, MANY, 1, &e), &e);
    for (size_t i = 0; i < MANY; i++) {
        const size_t bytes = lengths[i] * C * sizeof(float);
        assert_ok(encoder_run_sentence(r, ids[i], NULL, lengths[i], 1, one_mid, one, &e), &e);
        assert_memory_equal(mid[i], one_mid, bytes);
        if (i != 3) assert_memory_equal(final[i], one, bytes);
    }
    assert_ok(encoder_run_sentences(r, q, 0, 1, &e), &e);
    encoder_run_free(r);
    encoder_free(m);
    kern_free(k);
}

static void test_together_and_alone_are_the_same_bits(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu", "cpu-avx512", "cpu-avx2", "cpu-base"};
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) check_together(backends[i]);
}

static enum status open_and_run(struct kern *k)
{
    struct encoder *m;
    struct encoder_run *r = NULL;
    enum status st = encoder_open(&m, k, golden("old"), NULL);
    if (st != STATUS_OK) {
        assert_null(m);
        return st;
    }
    st = encoder_run_new(&r, m, "cpu", NULL);
    if (st != STATUS_OK) assert_null(r);
    encoder_run_free(r);
    encoder_free(m);
    return st;
}

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    long met;
    struct kern *k;
    struct err e = {0};
    assert_ok(kern_new(&k, "cpu", &e), &e);
    FAIL_EACH_ALLOCATION(met, open_and_run(k));
    assert_true(met >= 15);
    kern_free(k);
}

static void last_states(const char *folder, float *out, const int32_t *ids, size_t n)
{
    struct encoder *m;
    struct encoder_run *r;
    struct err e = {0};
    assert_ok(encoder_open(&m, NULL, folder, &e), &e);
    assert_ok(encoder_run_new(&r, m, "cpu", &e), &e);
    assert_ok(encoder_run_sentence(r, ids, NULL, n, 0, NULL, out, &e), &e);
    encoder_run_free(r);
    encoder_free(m);
}

static void test_export_without_change_is_the_same_model(void **state)
{
    (void)state;
    static const char *const names[] = {"gelu", "gelu_new", "relu", "old"};
    const int32_t ids[] = {2, 7, 1, 8};
    for (size_t i = 0; i < 4; i++) {
        struct encoder *m, *back;
        struct err e = {0};
        struct tmpdir to = tmpdir_make("export");
        float a[4 * 32], b[4 * 32];
        assert_ok(encoder_open(&m, NULL, golden(names[i]), &e), &e);
        assert_ok(encoder_write_folder(m, to.path, NULL, 0, &e), &e);
        assert_ok(encoder_open(&back, NULL, to.path, &e), &e);
        assert_true(encoder_fingerprint(back) == encoder_fingerprint(m));
        assert_memory_equal(encoder_shape(back), encoder_shape(m), sizeof(struct encoder_shape));
        const size_t C = encoder_shape(m)->C;
        last_states(golden(names[i]), a, ids, 4);
        last_states(to.path, b, ids, 4);
        assert_memory_equal(a, b, 4 * C * sizeof *a);
        encoder_free(m);
        encoder_free(back);
        tmpdir_remove(&to);
    }
}

static void test_export_puts_learnt_layers_in(void **state)
{
    (void)state;
    struct encoder *m, *back;
    struct err e = {0};
    struct tmpdir to = tmpdir_make("export");
    assert_ok(encoder_open(&m, NULL, golden("gelu"), &e), &e);
    const struct kern_layer *was = encoder_layer(m, 1);
    float qkv[3 * 32 * 32], up_b[64];
    memcpy(qkv, was->qkv.w, sizeof qkv);
    memcpy(up_b, was->up_b, sizeof up_b);
    qkv[32 * 32] = 5.0f; /* the first weight of key */
    up_b[63] = -5.0f;
    struct encoder_replaced r = {.layer = 1, .weights = *was};
    r.weights.qkv.w = qkv;
    r.weights.up_b = up_b;
    assert_ok(encoder_write_folder(m, to.path, &r, 1, &e), &e);
    assert_ok(encoder_open(&back, NULL, to.path, &e), &e);
    assert_true(encoder_fingerprint(back) != encoder_fingerprint(m));
    assert_memory_equal(encoder_layer(back, 1)->qkv.w, qkv, sizeof qkv);
    assert_memory_equal(encoder_layer(back, 1)->up_b, up_b, sizeof up_b);
    assert_memory_equal(encoder_layer(back, 0)->qkv.w, encoder_layer(m, 0)->qkv.w, sizeof qkv);
    r.layer = 2;
    assert_int_equal(encoder_write_folder(m, to.path, &r, 1, &e), STATUS_INVALID);
    assert_int_equal(encoder_write_folder(m, encoder_dir(m), NULL, 0, &e), STATUS_INVALID);
    assert_int_equal(encoder_write_folder(m, "/nonexistent/a", NULL, 0, &e), STATUS_IO);
    encoder_free(back);
    encoder_free(m);
    tmpdir_remove(&to);
}

static enum status export_once(const struct encoder *m, const char *to)
{
    return encoder_write_folder(m, to, NULL, 0, NULL);
}

static void test_export_survives_failing_allocations(void **state)
{
    (void)state;
    struct encoder *m;
    struct err e = {0};
    long met;
    struct tmpdir to = tmpdir_make("export");
    assert_ok(encoder_open(&m, NULL, golden("old"), &e), &e);
    FAIL_EACH_ALLOCATION(met, export_once(m, to.path));
    assert_true(met >= 10);
    encoder_free(m);
    tmpdir_remove(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configs),
        cmocka_unit_test(test_pooling_files),
        cmocka_unit_test(test_folders_that_are_none),
        cmocka_unit_test(test_missing_and_bad_tensors_are_named),
        cmocka_unit_test(test_run_checks_its_input),
        cmocka_unit_test(test_one_backend_packs_and_runs),
        cmocka_unit_test(test_together_and_alone_are_the_same_bits),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
        cmocka_unit_test(test_export_without_change_is_the_same_model),
        cmocka_unit_test(test_export_puts_learnt_layers_in),
        cmocka_unit_test(test_export_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

/* test_token.c - token_encode: equal to transformers on the golden texts; bounds; nothing allocated.
 * labels: quick
 * timeout: 60
 *
 * tests/golden/tokens.jsonl and the vocabularies are made by tests/golden/make_tokens.py.
 */
#include "featurize/token.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define SETUPS_MAX 16

struct setup {
    char name[32];
    struct token_vocab *v;
};
static struct setup setups[SETUPS_MAX];
static size_t n_setups;
static bool have_minilm;

static void put_json(const struct tmpdir *folder, const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    assert_non_null(text);
    files_put_text(folder, name, text);
    free(text);
}

/* ---- golden texts ---- */

/* A vocab.txt as {"model":{"vocab":{text: id}}}: the generic setup has it where the library does. */
static void vocab_into(json_t *fast, const char *lines)
{
    json_t *vocab = json_object(), *model = json_object_get(fast, "model");
    char *copy = strdup(lines), *rest = copy;
    json_int_t id = 0;
    assert_int_equal(json_object_set_new(model, "vocab", vocab), 0);
    for (char *line; (line = strsep(&rest, "\n")) != NULL && rest != NULL; id++)
        assert_int_equal(json_object_set_new_nocheck(vocab, line, json_integer(id)), 0);
    free(copy);
}

static void open_setup(const char *name, json_t *s)
{
    char rest[64];
    size_t n;
    struct err e = {0};
    json_t *fast = json_object_get(s, "fast");
    (void)snprintf(rest, sizeof rest, "tests/fixtures/%s/vocab.txt", json_string_value(json_object_get(s, "vocab")));
    char *lines = files_read(files_source(rest), &n);
    const struct tmpdir folder = tmpdir_make("token");
    put_json(&folder, "tokenizer_config.json", json_object_get(s, "config"));
    if (json_is_object(fast)) {
        vocab_into(fast, lines);
        put_json(&folder, "tokenizer.json", fast);
    } else {
        files_put(&folder, "vocab.txt", lines, n);
    }
    free(lines);
    struct setup *x = &setups[n_setups++];
    (void)snprintf(x->name, sizeof x->name, "%s", name);
    if (token_open(&x->v, folder.path, &e) != STATUS_OK) fail_msg("%s: %s", name, e.text);
    tmpdir_remove(&folder);
}

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(files_source("tests/golden/tokens.jsonl"), "rb");
    assert_non_null(f);
    assert_true(getline(&line, &cap, f) > 0);
    (void)fclose(f);
    json_t *first = json_loads(line, JSON_DECODE_INT_AS_REAL, NULL), *s; /* a model_max_length of 1e30 among them */
    free(line);
    assert_non_null(first);
    const char *name;
    json_object_foreach(json_object_get(first, "setups"), name, s) open_setup(name, s);
    json_decref(first);
    const enum status st = token_open(&setups[n_setups].v, files_source("models/all-MiniLM-L6-v2"), &e);
    have_minilm = st == STATUS_OK;
    if (have_minilm)
        (void)snprintf(setups[n_setups++].name, sizeof setups[0].name, "minilm");
    else
        assert_int_equal(st, STATUS_NOT_FOUND);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_setups; i++) token_free(setups[i].v);
    return 0;
}

static const struct token_vocab *vocab_named(const char *name)
{
    for (size_t i = 0; i < n_setups; i++)
        if (strcmp(setups[i].name, name) == 0) return setups[i].v;
    return NULL;
}

static size_t from_hex(const char *hex, char *out, size_t cap)
{
    size_t n = 0;
    for (; hex[0] && hex[1] && n < cap; hex += 2) {
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        out[n++] = (char)v;
    }
    return n;
}

static bool equal_ids(const json_t *want, const int32_t *ids, size_t n)
{
    bool same = json_array_size(want) == n;
    for (size_t i = 0; same && i < n; i++) same = json_integer_value(json_array_get(want, i)) == ids[i];
    return same;
}

static void print_difference(const char *line, const char *name, const int32_t *ids, size_t n)
{
    fprintf(stderr, "%s differs: ours", name);
    for (size_t i = 0; i < n && i < 40; i++) fprintf(stderr, " %d", ids[i]);
    fprintf(stderr, "\n  %.300s\n", line);
}

/* Checks one line in each of its setups; counts encodings, returns differences. */
static size_t check_line(const char *line, size_t *checked)
{
    static int32_t ids[1024];
    char bytes[256];
    size_t bad = 0, n;
    struct err e;
    json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL), *want;
    assert_non_null(row);
    const json_t *t = json_object_get(row, "t");
    const char *hex = json_string_value(json_object_get(row, "x")), *name;
    struct str text = {json_string_value(t), json_string_length(t)};
    if (hex != NULL) text = (struct str){bytes, from_hex(hex, bytes, sizeof bytes)};
    const struct token_opts o = {.special_in_text = !json_is_true(json_object_get(row, "plain")),
                                 .add_special = !json_is_true(json_object_get(row, "bare")),
                                 .max_length = (size_t)json_integer_value(json_object_get(row, "m"))};
    json_object_foreach(json_object_get(row, "i"), name, want)
    {
        const struct token_vocab *v = vocab_named(name);
        if (v == NULL && !have_minilm && strcmp(name, "minilm") == 0) continue;
        assert_non_null(v);
        assert_int_equal(token_encode(v, text, o, ids, 1024, &n, &e), STATUS_OK);
        ++*checked;
        if (equal_ids(want, ids, n)) continue;
        if (bad++ < 3) print_difference(line, name, ids, n);
    }
    json_decref(row);
    return bad;
}

static void test_golden_texts_equal_transformers(void **state)
{
    (void)state;
    char *line = NULL;
    size_t cap = 0, lines = 0, checked = 0, bad = 0;
    FILE *f = fopen(files_source("tests/golden/tokens.jsonl"), "rb");
    assert_non_null(f);
    assert_true(getline(&line, &cap, f) > 0);
    for (; getline(&line, &cap, f) > 0; lines++) bad += check_line(line, &checked);
    free(line);
    (void)fclose(f);
    print_message("%zu texts, %zu encodings, %zu differ%s\n", lines, checked, bad,
                  have_minilm ? "" : " (all-MiniLM-L6-v2's left out: models/ is absent, see deploy/setup.sh)");
    assert_true(lines >= 3000);
    assert_true(checked >= (have_minilm ? 8000 : 5000));
    assert_int_equal(bad, 0);
}

/* ---- bounds ---- */
static void test_encode_reports_missing_room(void **state)
{
    (void)state;
    const struct token_vocab *v = vocab_named("uncased");
    int32_t ids[6] = {-7, -7, -7, -7, -7, -7};
    size_t n = 9;
    struct err e = {0};
    const struct token_opts o = {.add_special = true};
    assert_int_equal(token_encode(v, STR("a b c"), o, ids, 4, &n, &e), STATUS_FULL);
    assert_int_equal(n, 0);
    assert_int_equal(ids[4], -7);
    assert_int_equal(token_encode(v, STR("a b c"), o, ids, 5, &n, &e), STATUS_OK);
    assert_int_equal(n, 5);
    assert_int_equal(ids[5], -7);
    assert_int_equal(token_encode(v, STR("a"), o, NULL, 0, &n, &e), STATUS_FULL);
    assert_int_equal(token_encode(v, STR("a"), o, ids, 1, &n, &e), STATUS_FULL);
    assert_int_equal(token_encode(v, STR("a b c"), (struct token_opts){.max_length = 2}, ids, 2, &n, &e), STATUS_OK);
    assert_int_equal(n, 2);
    assert_int_equal(
        token_encode(v, STR("a"), (struct token_opts){.add_special = true, .max_length = 1}, ids, 6, &n, &e),
        STATUS_INVALID);
    assert_non_null(strstr(e.text, "max_length 1"));
    assert_int_equal(token_encode(v, (struct str){0}, o, ids, 6, &n, &e), STATUS_OK);
    assert_int_equal(n, 2);
}

static void test_encode_cuts_long_text_at_a_character(void **state)
{
    (void)state;
    const struct token_vocab *v = vocab_named("raw"); /* keeps U+FFFD: half a character would show */
    const size_t n_text = TOKEN_TEXT_BYTES_MAX + 30, chars = TOKEN_TEXT_BYTES_MAX / 3, cap = chars + 10;
    char *text = malloc(n_text);
    int32_t *ids = malloc(cap * sizeof *ids);
    size_t n;
    struct err e;
    for (size_t i = 0; i < n_text; i++) text[i] = "中"[i % 3];
    assert_int_equal(
        token_encode(v, (struct str){text, n_text}, (struct token_opts){.max_length = cap}, ids, cap, &n, &e),
        STATUS_OK);
    assert_int_equal(n, chars);
    assert_memory_equal(ids, ids + 1, (n - 1) * sizeof *ids); /* all the same */
    free(text);
    free(ids);
}

static void test_accessors(void **state)
{
    (void)state;
    const struct token_vocab *v = vocab_named("zh");
    const int32_t unk = token_special(v, TOKEN_UNK), ids[] = {unk, 5, unk, 7};
    assert_string_equal(token_text(v, token_special(v, TOKEN_CLS)), "[CLS]");
    assert_string_equal(token_text(v, token_special(v, TOKEN_MASK)), "[MASK]");
    assert_int_equal(token_special(v, TOKEN_SPECIALS), -1);
    assert_null(token_text(v, -1));
    assert_null(token_text(v, (int32_t)token_vocab_size(v)));
    assert_int_equal(token_vocab_size(v), 3979);
    assert_int_equal(token_max_length(v), 128);
    assert_int_equal(token_count_unknown(v, ids, 4), 2);
}

static void test_fingerprint_tells_vocabularies_and_rules_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_setups; i++)
        for (size_t k = 0; k < i; k++) assert_true(token_fingerprint(setups[i].v) != token_fingerprint(setups[k].v));
    struct token_vocab *again;
    assert_int_equal(token_open(&again, files_source("tests/fixtures/uncased"), NULL), STATUS_OK);
    assert_true(token_fingerprint(again) == token_fingerprint(vocab_named("uncased")));
    token_free(again);
}

static void test_encode_allocates_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"WHITE HANGING HEART T-LIGHT HOLDER", "naïve [SEP] が 각 😀 \xff",
                                        "我购买了商品", ""};
    int32_t ids[512];
    size_t n;
    const long before = mem_total();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(token_encode(setups[(size_t)i % n_setups].v, str_from(texts[i % 4]),
                                      (struct token_opts){.special_in_text = i & 1, .add_special = true}, ids, 512, &n,
                                      NULL),
                         STATUS_OK);
    assert_int_equal(mem_total(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_texts_equal_transformers),
        cmocka_unit_test(test_encode_reports_missing_room),
        cmocka_unit_test(test_encode_cuts_long_text_at_a_character),
        cmocka_unit_test(test_accessors),
        cmocka_unit_test(test_fingerprint_tells_vocabularies_and_rules_apart),
        cmocka_unit_test(test_encode_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

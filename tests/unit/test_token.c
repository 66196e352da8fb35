/* test_token.c - token_*: equal to transformers on the golden texts, every code point's properties, bounds, refusals.
 * labels: quick
 * timeout: 60
 *
 * tests/golden/tokens.jsonl and the vocabularies are made by tests/golden/make_tokens.py.
 */
#include "base/buf.h"
#include "base/hash.h"
#include "featurize/token.h"
#include "featurize/token_chars.h"
#include "featurize/token_normalise.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
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

static const char *source_path(const char *rest)
{
    static char path[4][4096];
    static unsigned turn;
    const char *root = getenv("FRESHET_SOURCE");
    char *p = path[turn++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", root ? root : ".", rest);
    return p;
}

/* ---- a model folder for one test ---- */
static struct tmpdir folder;

static void folder_make(void)
{
    folder = tmpdir_make("token");
}

static void folder_remove(void)
{
    tmpdir_remove(&folder);
}

static void folder_put(const char *name, const void *p, size_t n)
{
    char path[300];
    FILE *f = fopen(tmpdir_file(&folder, name, path), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void folder_text(const char *name, const char *text)
{
    folder_put(name, text, strlen(text));
}

static void folder_json(const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    assert_non_null(text);
    folder_text(name, text);
    free(text);
}

static char *read_whole(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *n, f), *n);
    p[*n] = '\0';
    (void)fclose(f);
    return p;
}

/* ---- golden texts ---- */

/* {"model":{"vocab":{text: id}}} of a vocab.txt, so that the generic setup has its vocabulary where the library has it. */
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
    char *lines = read_whole(source_path(rest), &n);
    folder_make();
    folder_json("tokenizer_config.json", json_object_get(s, "config"));
    if (json_is_object(fast)) {
        vocab_into(fast, lines);
        folder_json("tokenizer.json", fast);
    } else {
        folder_put("vocab.txt", lines, n);
    }
    free(lines);
    struct setup *x = &setups[n_setups++];
    (void)snprintf(x->name, sizeof x->name, "%s", name);
    if (token_open(&x->v, folder.path, &e) != STATUS_OK) fail_msg("%s: %s", name, e.text);
    folder_remove();
}

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(source_path("tests/golden/tokens.jsonl"), "rb");
    assert_non_null(f);
    assert_true(getline(&line, &cap, f) > 0);
    (void)fclose(f);
    json_t *first = json_loads(line, JSON_DECODE_INT_AS_REAL, NULL), *s; /* a model_max_length of 1e30 among them */
    free(line);
    assert_non_null(first);
    const char *name;
    json_object_foreach(json_object_get(first, "setups"), name, s) open_setup(name, s);
    json_decref(first);
    const enum status st = token_open(&setups[n_setups].v, source_path("models/all-MiniLM-L6-v2"), &e);
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
    FILE *f = fopen(source_path("tests/golden/tokens.jsonl"), "rb");
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

/* ---- every code point ---- */
static void put_u32(struct buf *b, const uint32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++) buf_u32(b, v[i]);
}

/* The same rows as scan() in tests/fixtures/make_token_exceptions.py. */
static void put_char_row(struct buf *b, uint32_t c)
{
    uint32_t d[TOKEN_CHAR_MAX], low[TOKEN_CHAR_MAX];
    const size_t n = token_char_decompose(c, d), n_low = token_char_lower(c, low);
    const bool stable = n == 1 && d[0] == c;
    const unsigned flags = token_char_flags(c), class = stable ? token_char_class(c) : 0;
    buf_u32(b, c);
    buf_u32(b, stable ? flags : flags & ~(unsigned)TOKEN_CHAR_MARK);
    buf_u32(b, class);
    buf_u32(b, (uint32_t)n);
    put_u32(b, d, n);
    buf_u32(b, (uint32_t)n_low);
    put_u32(b, low, n_low);
    assert_true(class == 0 || !(flags & (TOKEN_CHAR_SPACE | TOKEN_CHAR_PUNCT))); /* so a held run lies in one word */
}

static void test_every_code_point_is_as_in_the_library(void **state)
{
    (void)state;
    struct buf b = {0};
    struct hash_sha256 *h = NULL;
    char hex[HASH_SHA256_HEX], *want;
    size_t n;
    struct err e;
    assert_int_equal(hash_sha256_new(&h, &e), STATUS_OK);
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        put_char_row(&b, c);
        if (b.n < 60000) continue;
        hash_sha256_add(h, b.p, b.n);
        buf_clear(&b);
    }
    assert_false(b.oom);
    hash_sha256_add(h, b.p, b.n);
    hash_sha256_hex(h, hex);
    hash_sha256_free(h);
    want = read_whole(source_path("tests/golden/token_chars.sha256"), &n);
    assert_int_equal(n, HASH_SHA256_HEX);
    buf_fini(&b);
    assert_memory_equal(hex, want, HASH_SHA256_HEX - 1);
    free(want);
}

static void test_utf8_round_trip_and_maximal_subparts(void **state)
{
    (void)state;
    unsigned char u[4];
    uint32_t back;
    for (uint32_t c = 0; c < 0x110000; c++) {
        const size_t n = token_encode_utf8(c, u);
        const size_t used = token_decode_utf8(u, u + n, &back);
        if (c >= 0xD800 && c < 0xE000) {
            assert_true(used == 1 && back == 0xFFFD);
        } else {
            assert_true(used == n && back == c);
            if (n > 1) assert_true(token_decode_utf8(u, u + n - 1, &back) == n - 1 && back == 0xFFFD);
        }
    }
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
    const struct token_vocab *v = vocab_named("zh");
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
    assert_int_equal(token_count_unknown(v, ids, n), 0);
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
    assert_int_equal(token_open(&again, source_path("tests/fixtures/uncased"), NULL), STATUS_OK);
    assert_true(token_fingerprint(again) == token_fingerprint(vocab_named("uncased")));
    token_free(again);
}

/* ---- steady state and failing allocations ---- */
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

static void open_under_failures(const char *dir, long least)
{
    struct token_vocab *v = NULL;
    struct err e;
    long met;
    FAIL_EACH_ALLOCATION(met, token_open(&v, dir, &e));
    assert_true(met >= least);
    token_free(v);
}

static void generic_folder(void)
{
    folder_make();
    folder_text("tokenizer_config.json", "{\"tokenizer_class\":\"PreTrainedTokenizerFast\"}");
    folder_text("tokenizer.json",
                "{\"added_tokens\":[{\"id\":9,\"content\":\"<x>\",\"special\":true}],\"model\":{\"type\":"
                "\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4}}}");
}

static void test_open_survives_each_oom(void **state)
{
    (void)state;
    open_under_failures(source_path("tests/fixtures/zh"), 8);
    generic_folder();
    open_under_failures(folder.path, 6);
    folder_remove();
}

static void *json_mem(size_t n)
{
    return mem_calloc(n, 1);
}

/* The same with the JSON library's own allocations failing. It may overlook one (its string buffer does), so all that
 * can be asked is: no crash, no leak, no half-made vocabulary. */
static void test_open_survives_oom_inside_json(void **state)
{
    (void)state;
    generic_folder();
    json_set_alloc_funcs(json_mem, mem_free);
    const long live = mem_live();
    int failed = 0;
    for (long i = 0; i < 200; i++) {
        struct token_vocab *v = NULL;
        struct err e = {0};
        mem_fail_after(i);
        const enum status st = token_open(&v, folder.path, &e);
        mem_fail_after(-1);
        assert_true((v != NULL) == (st == STATUS_OK));
        assert_true(st == STATUS_OK || e.text[0] != '\0');
        failed += st != STATUS_OK;
        token_free(v);
        assert_int_equal(mem_live(), live);
    }
    json_set_alloc_funcs(malloc, free);
    folder_remove();
    assert_in_range(failed, 20, 199);
}

/* ---- what folders may say ---- */
#define SMALL "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"

static void assert_open(const char *config, const char *fast, enum status want, const char *says)
{
    struct token_vocab *v = NULL;
    struct err e = {0};
    folder_make();
    folder_text("vocab.txt", SMALL);
    if (config != NULL) folder_text("tokenizer_config.json", config);
    if (fast != NULL) folder_text("tokenizer.json", fast);
    const enum status st = token_open(&v, folder.path, &e);
    folder_remove();
    if (st != want || (says && !strstr(e.text, says)))
        fail_msg("%s / %s: %s: %s", config, fast, status_name(st), e.text);
    assert_true((v != NULL) == (want == STATUS_OK));
    token_free(v);
}

static void test_open_refuses_what_it_cannot_do_right(void **state)
{
    (void)state;
    assert_open(NULL, NULL, STATUS_OK, NULL);
    assert_open("{\"model_max_length\":1000000000000000019884624838656}", NULL, STATUS_OK, NULL);
    assert_open("{\"tokenizer_class\":\"RobertaTokenizer\"}", NULL, STATUS_UNSUPPORTED, "RobertaTokenizer");
    assert_open("{\"cls_token\":\"<s>\"}", NULL, STATUS_INVALID, "<s>");
    assert_open("{\"a\":1,\n\"a\":2}", NULL, STATUS_INVALID, "line 2");
    assert_open("[1]", NULL, STATUS_INVALID, "not an object");
    assert_open("{\"x\":\"\xff\"}", NULL, STATUS_INVALID, "tokenizer_config.json");
    assert_open(NULL, "{\"model\":{\"type\":\"BPE\"}}", STATUS_UNSUPPORTED, "\"model\"");
    assert_open(NULL, "{\"normalizer\":{\"type\":\"NFC\"}}", STATUS_UNSUPPORTED, "normalizer");
    assert_open(NULL, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", STATUS_UNSUPPORTED, "pre_tokenizer");
    assert_open(NULL, "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}}", STATUS_UNSUPPORTED,
                "post_processor");
    assert_open(NULL, "{\"model\":{\"continuing_subword_prefix\":\"@\"}}", STATUS_UNSUPPORTED, "prefix");
    assert_open(NULL, "{\"added_tokens\":[{\"id\":5,\"content\":\"a\"}]}", STATUS_UNSUPPORTED, "normalized");
    assert_open(NULL, "{\"added_tokens\":[{\"id\":5,\"content\":\"zz\",\"normalized\":false}]}", STATUS_INVALID, "zz");
    assert_open(NULL, "{\"added_tokens\":[{\"id\":-5,\"content\":\"zz\",\"normalized\":false}]}", STATUS_INVALID,
                "id -5");
    assert_open("{\"tokenizer_class\":\"TokenizersBackend\"}", "{\"model\":{\"max_input_chars_per_word\":1000}}",
                STATUS_UNSUPPORTED, "max_input_chars_per_word 1000");
}

static void test_open_says_what_is_missing(void **state)
{
    (void)state;
    struct token_vocab *v = (void *)1;
    struct err e = {0};
    assert_int_equal(token_open(&v, "/no/such/folder", &e), STATUS_NOT_FOUND);
    assert_null(v);
    assert_non_null(strstr(e.text, "/no/such/folder"));
    folder_make();
    folder_text("vocab.txt", "");
    assert_int_equal(token_open(&v, folder.path, &e), STATUS_INVALID);
    folder_text("vocab.txt", "[UNK]\n[CLS]\n");
    assert_int_equal(token_open(&v, folder.path, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "[SEP]"));
    folder_remove();
}

/* An added token beyond vocab.txt gets its own id and is found in the text; lines may end in CR LF; the last of equal
 * lines counts; the model's own length bounds the tokenizer's. */
static void test_open_reads_the_odd_folder(void **state)
{
    (void)state;
    struct token_vocab *v = NULL;
    int32_t ids[16];
    size_t n;
    struct err e = {0};
    folder_make();
    folder_text("vocab.txt", "[UNK]\r\n[CLS]\r\n[SEP]\r\nb\r\na\r\na\r\n##b\r\n\r\n##c");
    folder_text(
        "tokenizer_config.json",
        "{\"model_max_length\":512,\"mask_token\":null,\"sep_token\":{\"content\":\"[SEP]\"},\"added_tokens_decoder\":"
        "{\"12\":{\"content\":\"<q>\",\"special\":true},\"13\":{\"content\":\"<q>b\",\"special\":true}}}");
    folder_text("config.json", "{\"max_position_embeddings\":40}");
    if (token_open(&v, folder.path, &e) != STATUS_OK) fail_msg("%s", e.text);
    folder_remove();
    assert_int_equal(token_max_length(v), 40);
    assert_int_equal(token_vocab_size(v), 14);
    assert_null(token_text(v, 10));
    assert_string_equal(token_text(v, 12), "<q>");
    assert_int_equal(token_special(v, TOKEN_MASK), -1);
    assert_int_equal(
        token_encode(v, STR("abc<q>a <q>b[MASK]"), (struct token_opts){.special_in_text = true}, ids, 16, &n, &e),
        STATUS_OK);
    const int32_t want[] = {5, 6, 8, 12, 5, 13, 0, 0, 0};
    assert_int_equal(n, 9);
    assert_memory_equal(ids, want, sizeof want);
    token_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_texts_equal_transformers),
        cmocka_unit_test(test_every_code_point_is_as_in_the_library),
        cmocka_unit_test(test_utf8_round_trip_and_maximal_subparts),
        cmocka_unit_test(test_encode_reports_missing_room),
        cmocka_unit_test(test_encode_cuts_long_text_at_a_character),
        cmocka_unit_test(test_accessors),
        cmocka_unit_test(test_fingerprint_tells_vocabularies_and_rules_apart),
        cmocka_unit_test(test_encode_allocates_nothing),
        cmocka_unit_test(test_open_survives_each_oom),
        cmocka_unit_test(test_open_survives_oom_inside_json),
        cmocka_unit_test(test_open_refuses_what_it_cannot_do_right),
        cmocka_unit_test(test_open_says_what_is_missing),
        cmocka_unit_test(test_open_reads_the_odd_folder),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

/* test_token_vocab.c - token_open: odd folders, refusals, failing allocations. */
#include "featurize/token.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct tmpdir folder; /* one test's model folder */

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
    folder = tmpdir_make("token");
    files_put_text(&folder, "tokenizer_config.json", "{\"tokenizer_class\":\"PreTrainedTokenizerFast\"}");
    files_put_text(&folder, "tokenizer.json",
                   "{\"added_tokens\":[{\"id\":9,\"content\":\"<x>\",\"special\":true}],\"model\":{\"type\":"
                   "\"WordPiece\",\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4}}}");
}

static void test_open_survives_each_oom(void **state)
{
    (void)state;
    open_under_failures(files_source("tests/fixtures/zh"), 8);
    generic_folder();
    open_under_failures(folder.path, 6);
    tmpdir_remove(&folder);
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
    tmpdir_remove(&folder);
    assert_in_range(failed, 20, 199);
}

/* ---- what folders may say ---- */
#define SMALL "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"

static void assert_open(const char *config, const char *fast, enum status want, const char *says)
{
    struct token_vocab *v = NULL;
    struct err e = {0};
    folder = tmpdir_make("token");
    files_put_text(&folder, "vocab.txt", SMALL);
    if (config != NULL) files_put_text(&folder, "tokenizer_config.json", config);
    if (fast != NULL) files_put_text(&folder, "tokenizer.json", fast);
    const enum status st = token_open(&v, folder.path, &e);
    tmpdir_remove(&folder);
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
    folder = tmpdir_make("token");
    files_put_text(&folder, "vocab.txt", "");
    assert_int_equal(token_open(&v, folder.path, &e), STATUS_INVALID);
    files_put_text(&folder, "vocab.txt", "[UNK]\n[CLS]\n");
    assert_int_equal(token_open(&v, folder.path, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "[SEP]"));
    tmpdir_remove(&folder);
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
    folder = tmpdir_make("token");
    files_put_text(&folder, "vocab.txt", "[UNK]\r\n[CLS]\r\n[SEP]\r\nb\r\na\r\na\r\n##b\r\n\r\n##c");
    files_put_text(
        &folder, "tokenizer_config.json",
        "{\"model_max_length\":512,\"mask_token\":null,\"sep_token\":{\"content\":\"[SEP]\"},\"added_tokens_decoder\":"
        "{\"12\":{\"content\":\"<q>\",\"special\":true},\"13\":{\"content\":\"<q>b\",\"special\":true}}}");
    files_put_text(&folder, "config.json", "{\"max_position_embeddings\":40}");
    if (token_open(&v, folder.path, &e) != STATUS_OK) fail_msg("%s", e.text);
    tmpdir_remove(&folder);
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
        cmocka_unit_test(test_open_survives_each_oom),
        cmocka_unit_test(test_open_survives_oom_inside_json),
        cmocka_unit_test(test_open_refuses_what_it_cannot_do_right),
        cmocka_unit_test(test_open_says_what_is_missing),
        cmocka_unit_test(test_open_reads_the_odd_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

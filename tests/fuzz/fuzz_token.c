/* fuzz_token.c - any bytes through the tokenizer, with an English, a cased and a Chinese vocabulary.
 *
 * The first byte picks the vocabulary and whether specials count.  Ids are in range and have texts; with [CLS] and [SEP]
 * the sentence has them at its ends; a shorter length gives the beginning of the longer one; a second time gives the same.
 * fuzz: -dict=text -max_len=8192
 */
#include "featurize/token.h"
#include "tests/fuzz/fuzz.h"

#define IDS 16500

static struct token_vocab *vocabs[3];

static void open_all(void)
{
    static const char *const folders[] = {"tests/fixtures/uncased", "tests/fixtures/cased", "tests/fixtures/zh"};
    struct err e = {0};
    for (size_t i = 0; i < 3 && vocabs[i] == NULL; i++)
        FUZZ_OK(token_open(&vocabs[i], fuzz_source(folders[i]), &e), &e);
}

static size_t encode(const struct token_vocab *v, struct str text, struct token_opts o, int32_t *ids)
{
    struct err e = {0};
    size_t n = 0;
    FUZZ_OK(token_encode(v, text, o, ids, IDS, &n, &e), &e);
    FUZZ_CHECK(n <= (o.max_length > 0 ? o.max_length : token_max_length(v)));
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(ids[i] >= 0 && (size_t)ids[i] < token_vocab_size(v));
        FUZZ_CHECK(token_text(v, ids[i]) != NULL);
    }
    FUZZ_CHECK(token_count_unknown(v, ids, n) <= n);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static int32_t all[IDS], some[IDS];
    struct fuzz_input in = {p, n};
    struct err e = {0};
    open_all();
    const uint8_t first = fuzz_byte(&in);
    const struct token_vocab *v = vocabs[first % 3];
    const struct str text = fuzz_rest(&in);
    fuzz_begin();
    struct token_opts o = {.special_in_text = (first & 4) != 0, .max_length = IDS};
    const size_t n_all = encode(v, text, o, all);
    FUZZ_CHECK(n_all <= 4 * text.n); /* a character may decompose into four */
    o.max_length = 1 + first / 8;
    const size_t n_some = encode(v, text, o, some);
    FUZZ_CHECK(n_some == (n_all < o.max_length ? n_all : o.max_length));
    FUZZ_CHECK(memcmp(all, some, n_some * sizeof *some) == 0);
    size_t none = 7;
    if (n_all > 1)
        FUZZ_CHECK(token_encode(v, text, (struct token_opts){.max_length = IDS}, some, 0, &none, &e) == STATUS_FULL ||
                   o.special_in_text);
    o.add_special = true;
    o.max_length = 2 + first / 8;
    const size_t n_special = encode(v, text, o, some);
    FUZZ_CHECK(n_special >= 2 && some[0] == token_special(v, TOKEN_CLS) &&
               some[n_special - 1] == token_special(v, TOKEN_SEP));
    FUZZ_CHECK(memcmp(all, some + 1, (n_special - 2) * sizeof *some) == 0);
    fuzz_end(65536);
    return 0;
}

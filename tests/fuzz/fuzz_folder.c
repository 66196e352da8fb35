/* fuzz_folder.c - the small files of a model folder: vocabulary, settings of the tokenizer, sizes of the encoder.
 *
 * Input, with a NUL between: vocab.txt, tokenizer_config.json, tokenizer.json, config.json, 1_Pooling/config.json, a text.
 * An empty one is not there.  A tokenizer that opens encodes the text within its bounds.
 * fuzz: -dict=folder -max_len=8192
 */
#include "featurize/token.h"
#include "model/encoder_config.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tmpdir.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 5

static struct tmpdir dir;

static void remove_dir(void)
{
    tmpdir_remove(&dir);
}

static void put(const char *name, struct str bytes)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", dir.path, name);
    if (bytes.n == 0) {
        FUZZ_CHECK(unlink(path) == 0 || errno == ENOENT);
        return;
    }
    FILE *f = fopen(path, "wb");
    FUZZ_CHECK(f != NULL && fwrite(bytes.p, 1, bytes.n, f) == bytes.n && fclose(f) == 0);
}

static void encode(const struct token_vocab *v, struct str text)
{
    static int32_t ids[8192];
    struct err e = {0};
    size_t n = 0;
    const struct token_opts o = {.add_special = true, .special_in_text = true, .max_length = 512};
    FUZZ_OK(token_encode(v, text, o, ids, 8192, &n, &e), &e);
    for (size_t i = 0; i < n; i++) FUZZ_CHECK(ids[i] >= 0 && token_text(v, ids[i]) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char *const names[FILES] = {"vocab.txt", "tokenizer_config.json", "tokenizer.json", "config.json",
                                             "1_Pooling/config.json"};
    struct fuzz_input in = {p, n};
    struct token_vocab *v = NULL;
    struct encoder_shape shape;
    struct err e = {0};
    if (dir.path[0] == 0) {
        char path[300];
        dir = tmpdir_make("fuzz");
        FUZZ_CHECK(mkdir(tmpdir_file(&dir, "1_Pooling", path), 0700) == 0 && atexit(remove_dir) == 0);
    }
    for (int i = 0; i < FILES; i++) {
        const uint8_t *end = in.n > 0 ? memchr(in.p, 0, in.n) : NULL;
        put(names[i], fuzz_take(&in, end != NULL ? (size_t)(end - in.p) : in.n));
        (void)fuzz_byte(&in);
    }
    fuzz_begin();
    enum status st = token_open(&v, dir.path, &e);
    if (st == STATUS_OK)
        encode(v, fuzz_rest(&in));
    else
        fuzz_check_refusal(st, &e);
    token_free(v);
    st = encoder_config_read(&shape, dir.path, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    fuzz_end(40000000 + 400 * n);
    return 0;
}

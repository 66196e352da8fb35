/* fuzz_safetensors.c - a tensor file of unknown origin.
 *
 * The first byte says whether the length before the header is the input's own (odd) or made right, with as many bytes of
 * header as the second and third byte say.  Every tensor of an accepted file lies inside it and can be found and read.
 * fuzz: -dict=safetensors
 */
#include "model/safetensors.h"
#include "tests/fuzz/fuzz.h"

static volatile unsigned sink;

static void walk(const struct safetensors *s, size_t file_bytes)
{
    size_t sum = 0;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        struct err e = {0};
        FUZZ_CHECK(safetensors_find(s, t->name) == t && t->type < SAFETENSORS_TYPES && t->rank <= SAFETENSORS_RANK_MAX);
        FUZZ_CHECK(t->n * safetensors_type_bytes(t->type) == t->bytes && t->bytes <= file_bytes);
        for (size_t k = 0; k < t->bytes; k++) sink += t->data[k];
        sum += t->bytes;
        if (t->n > 4096 || t->n == 0) continue;
        float values[4096];
        const enum status st = safetensors_read(t, values, &e);
        if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    }
    FUZZ_CHECK(sum <= file_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    struct safetensors *s = NULL;
    struct buf file = {0};
    struct err e = {0};
    fuzz_begin();
    const bool own = (fuzz_byte(&in) & 1) != 0;
    size_t header = fuzz_byte(&in) | (size_t)fuzz_byte(&in) << 8;
    if (header > in.n) header = in.n;
    if (!own) buf_u64(&file, header);
    const struct str rest = fuzz_rest(&in);
    buf_put(&file, rest.p, rest.n);
    const enum status st = safetensors_open(&s, fuzz_file(0, (struct str){(const char *)file.p, file.n}), &e);
    if (st == STATUS_OK)
        walk(s, file.n);
    else
        fuzz_check_refusal(st, &e);
    safetensors_close(s);
    buf_fini(&file);
    fuzz_end(500000 + 300 * n);
    return 0;
}

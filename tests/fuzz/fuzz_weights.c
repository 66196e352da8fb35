/* fuzz_weights.c - a weight file: from disk, or put together from what lay in Redis.
 *
 * Its XXH3 is made right (a flipped bit is test_weights' business), so that what stands behind it is reached.  A file that
 * is accepted keeps its tensors inside its parameters, and encoded again reads as the same.
 */
#include "base/hash.h"
#include "schemas/weights.h"
#include "tests/fuzz/fuzz.h"

static void check_tensors(const struct weights_view *w)
{
    uint64_t end = 0;
    FUZZ_CHECK(w->n_tensors <= WEIGHTS_TENSORS_MAX);
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        const struct weights_tensor *t = &w->tensors[i];
        uint64_t n = 1;
        FUZZ_CHECK(t->rank <= 4 && t->offset >= end && strlen(t->name) < WEIGHTS_NAME_MAX);
        for (int k = 0; k < t->rank; k++) n *= t->shape[k];
        end = t->offset + n;
        FUZZ_CHECK(end <= w->n_params);
    }
}

static void check_again(const struct weights_view *w, struct arena *a)
{
    struct buf first = {0}, second = {0};
    struct weights_view back;
    struct err e = {0};
    struct weights_view copy = *w;
    float *params = arena_alloc(a, w->n_params + 1, sizeof *params); /* the file's own may be unaligned */
    FUZZ_CHECK(params != NULL);
    memcpy(params, w->params, w->n_params * sizeof *params);
    copy.params = params;
    FUZZ_OK(weights_encode(&first, &copy, &e), &e);
    FUZZ_OK(weights_decode(&back, first.p, first.n, false, a, &e), &e);
    back.params = params;
    FUZZ_OK(weights_encode(&second, &back, &e), &e);
    FUZZ_CHECK(first.n == second.n && memcmp(first.p, second.p, first.n) == 0);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf file = {0};
    struct arena a = {0};
    struct weights_view w;
    struct err e = {0};
    if (n > 0 && p[0] != 'F') return -1;
    fuzz_begin();
    buf_put(&file, p, n);
    buf_u64(&file, hash_bytes(p, n));
    enum status st = weights_decode(&w, file.p, file.n, false, &a, &e);
    if (st == STATUS_OK) {
        check_tensors(&w);
        check_again(&w, &a);
        st = weights_decode(&w, file.p, file.n, true, &a, &e);
    }
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    arena_fini(&a);
    buf_fini(&file);
    fuzz_end(2000000 + 100 * n);
    return 0;
}

/* fuzz_weights.c - a weight file from disk; the dense piece and the touched rows of a published version.
 *
 * Its XXH3 is made right (a flipped bit is test_weights' business), so that what stands behind it is reached.  A file that
 * is accepted keeps its tensors inside its parameters, and encoded again reads as the same.
 */
#include "base/hash.h"
#include "schemas/weights_dense.h"
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

/* Whatever the head says, numbers stay inside it. */
static void check_pieces(const uint8_t *p, size_t n)
{
    struct weights_dense d;
    struct arena a = {0};
    struct err e = {0};
    float rows[64];
    size_t first;
    enum status st = weights_rows_decode(p, n, rows, sizeof rows / sizeof *rows, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    st = weights_dense_decode(&d, p, n, &a, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    if (st == STATUS_OK) check_tensors(&d.view);
    if (st == STATUS_OK && weights_dense_bytes(&d) == n) {
        float *params = arena_alloc(&a, d.n_dense + 1, sizeof *params);
        FUZZ_CHECK(params != NULL && weights_dense_take(&d, 0, p, n, params, &first) == d.n_dense && first == 0);
    }
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf file = {0};
    struct arena a = {0};
    struct weights_view w;
    struct err e = {0};
    if (n > 0 && p[0] != 'F') return -1;
    fuzz_begin();
    check_pieces(p, n);
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

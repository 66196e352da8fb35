/* publish_rows.c - see publish_rows.h. */
#include "serving/publish_rows.h"
#include "base/mem.h"
#include "schemas/weights_dense.h"
#include "serving/publish_manifest.h"
#include <string.h>

enum {
    CHUNK_ROWS = PUBLISH_CHUNK_BYTES / sizeof(float),       /* of a base */
    CHUNK_PAIRS = PUBLISH_CHUNK_BYTES / WEIGHTS_PAIR_BYTES, /* of a run */
    RUNS_SHARE = 8,                                         /* a new base once the runs hold one of so many rows */
    PAGE_BYTES = sizeof(uint32_t) + PUBLISH_PAGE * sizeof(float)
};

static size_t parts_of(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

static void run_fini(struct publish_run *run)
{
    mem_free(run->rows);
    mem_free(run->digests);
    *run = (struct publish_run){0};
}

static void drop_plan(struct publish_rows *r)
{
    run_fini(&r->plan.run);
    buf_clear(&r->plan.bytes);
    r->plan.n_kept = 0;
    r->plan.whole = false;
}

void publish_rows_free(struct publish_rows *r)
{
    if (r == NULL) return;
    drop_plan(r);
    for (size_t i = 0; i < r->n_runs; i++) run_fini(&r->runs[i]);
    buf_fini(&r->plan.bytes);
    mem_free(r->plan.base);
    mem_free(r->runs);
    mem_free(r->base);
    mem_free(r->scratch);
    mem_free(r->changed);
    mem_free(r->image);
    mem_free(r->marks);
    mem_free(r);
}

enum status publish_rows_new(struct publish_rows **out, size_t n, struct err *e)
{
    *out = NULL;
    struct publish_rows *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for %zu hashed rows", n);
    const size_t pages = parts_of(n, PUBLISH_PAGE), chunks = parts_of(n, CHUNK_ROWS);
    r->n = n;
    r->marks = mem_calloc(parts_of(pages, 64), sizeof *r->marks);
    r->image = mem_calloc(pages * PUBLISH_PAGE, sizeof *r->image);
    r->changed = mem_calloc(pages, sizeof *r->changed);
    r->scratch = mem_calloc(pages, sizeof *r->scratch);
    r->base = mem_calloc(chunks, sizeof *r->base);
    r->plan.base = mem_calloc(chunks, sizeof *r->plan.base);
    r->runs = mem_calloc(64, sizeof *r->runs); /* each is twice the next one, and n < 2^64 */
    if (r->marks && r->image && r->changed && r->scratch && r->base && r->plan.base && r->runs) {
        for (size_t i = 0; i < pages; i++) publish_rows_mark(r, i);
        *out = r;
        return STATUS_OK;
    }
    publish_rows_free(r);
    return ERR_SET(e, STATUS_OOM, "publish: no memory for an image of %zu hashed rows", n);
}

/* --- learner ------------------------------------------------------------------------------------------------------ */

void publish_rows_mark(struct publish_rows *r, size_t page)
{
    r->marks[page / 64] |= (uint64_t)1 << (page % 64);
}

static void collect_page(const struct publish_rows *r, const float *rows, size_t page, struct buf *pages)
{
    const size_t from = page * PUBLISH_PAGE, n = r->n - from < PUBLISH_PAGE ? r->n - from : PUBLISH_PAGE;
    unsigned char *out = buf_room(pages, PAGE_BYTES);
    if (out == NULL) return;
    const uint32_t number = (uint32_t)page;
    memcpy(out, &number, sizeof number);
    memcpy(out + sizeof number, rows + from, n * sizeof *rows);
    memset(out + sizeof number + n * sizeof *rows, 0, (PUBLISH_PAGE - n) * sizeof *rows);
}

enum status publish_rows_collect(struct publish_rows *r, const float *rows, struct buf *pages, struct err *e)
{
    const size_t words = parts_of(parts_of(r->n, PUBLISH_PAGE), 64);
    size_t n = 0;
    for (size_t i = 0; i < words; i++) n += (size_t)__builtin_popcountll(r->marks[i]);
    if (buf_room(pages, n * PAGE_BYTES) != NULL) pages->n -= n * PAGE_BYTES; /* at once, not by doubling */
    for (size_t i = 0; i < words; i++)
        for (uint64_t bits = r->marks[i]; bits != 0; bits &= bits - 1)
            collect_page(r, rows, i * 64 + (size_t)__builtin_ctzll(bits), pages);
    TRY(buf_status(pages, e));
    memset(r->marks, 0, words * sizeof *r->marks);
    return STATUS_OK;
}

void publish_rows_again(struct publish_rows *r, const struct buf *pages)
{
    for (size_t at = 0; at < pages->n; at += PAGE_BYTES) {
        uint32_t page;
        memcpy(&page, pages->p + at, sizeof page);
        publish_rows_mark(r, page);
    }
}

/* --- uploader ----------------------------------------------------------------------------------------------------- */

/* The bits of those that differ: a value that came back to what it was counts as one that did not change. */
static void take_page(struct publish_rows *r, size_t page, const unsigned char *bytes)
{
    float *image = r->image + page * PUBLISH_PAGE;
    uint64_t changed = 0;
    for (size_t i = 0; i < PUBLISH_PAGE; i++)
        changed |= (uint64_t)(memcmp(image + i, bytes + i * sizeof *image, sizeof *image) != 0) << i;
    r->changed[page] |= changed;
    memcpy(image, bytes, PUBLISH_PAGE * sizeof *image);
}

void publish_rows_take(struct publish_rows *r, struct buf *pages)
{
    for (size_t at = 0; at < pages->n; at += PAGE_BYTES) {
        uint32_t page;
        memcpy(&page, pages->p + at, sizeof page);
        take_page(r, page, pages->p + at + sizeof page);
    }
    buf_fini(pages);
}

static size_t count_bits(const uint64_t *bits, size_t words)
{
    size_t n = 0;
    for (size_t i = 0; i < words; i++) n += (size_t)__builtin_popcountll(bits[i]);
    return n;
}

/* Digests of n bytes cut into chunks of `size`. */
static enum status digest_all(publish_digest *out, const void *p, size_t n, size_t size, struct err *e)
{
    for (size_t at = 0; at < n; at += size, out++)
        TRY(hash_sha256_of((const unsigned char *)p + at, n - at < size ? n - at : size, *out, e));
    return STATUS_OK;
}

static void add_rows(uint64_t *bits, const struct publish_run *run)
{
    for (size_t i = 0; i < run->n; i++) bits[run->rows[i] / 64] |= (uint64_t)1 << (run->rows[i] % 64);
}

/* The rows of scratch, with their values now, as the plan's run. */
static enum status make_run(struct publish_rows *r, size_t n, struct err *e)
{
    struct publish_run *run = &r->plan.run;
    run->rows = mem_calloc(n, sizeof *run->rows);
    run->digests = mem_calloc(parts_of(n, CHUNK_PAIRS), sizeof *run->digests);
    if (run->rows == NULL || run->digests == NULL)
        return ERR_SET(e, STATUS_OOM, "publish: no memory for %zu touched rows", n);
    for (size_t i = 0; run->n < n; i++)
        for (uint64_t bits = r->scratch[i]; bits != 0; bits &= bits - 1)
            run->rows[run->n++] = (uint32_t)(i * 64 + (size_t)__builtin_ctzll(bits));
    weights_rows_encode(&r->plan.bytes, run->rows, run->n, r->image);
    TRY(buf_status(&r->plan.bytes, e));
    return digest_all(run->digests, r->plan.bytes.p, r->plan.bytes.n, PUBLISH_CHUNK_BYTES, e);
}

static enum status plan_whole(struct publish_rows *r, struct err *e)
{
    r->plan.whole = true;
    return digest_all(r->plan.base, r->image, r->n * sizeof *r->image, PUBLISH_CHUNK_BYTES, e);
}

enum status publish_rows_plan(struct publish_rows *r, bool whole, struct err *e)
{
    const size_t words = parts_of(r->n, PUBLISH_PAGE);
    drop_plan(r);
    if (whole || !r->has_base) return plan_whole(r, e);
    memcpy(r->scratch, r->changed, words * sizeof *r->scratch);
    size_t n = count_bits(r->scratch, words), in_kept = r->n_in_runs, kept = r->n_runs;
    while (n > 0 && kept > 0 && r->runs[kept - 1].n <= 2 * n) {
        add_rows(r->scratch, &r->runs[--kept]);
        in_kept -= r->runs[kept].n;
        n = count_bits(r->scratch, words);
    }
    if (in_kept + n > r->n / RUNS_SHARE) return plan_whole(r, e);
    r->plan.n_kept = kept;
    return n > 0 ? make_run(r, n, e) : STATUS_OK;
}

size_t publish_rows_chunks(const struct publish_rows *r)
{
    size_t n = parts_of(r->n, CHUNK_ROWS);
    for (size_t i = 0; i < r->plan.n_kept; i++) n += parts_of(r->runs[i].n, CHUNK_PAIRS);
    return n + parts_of(r->plan.run.n, CHUNK_PAIRS);
}

static size_t part_bytes(size_t n, size_t i, size_t size, size_t unit)
{
    const size_t left = n - i * size;
    return (left < size ? left : size) * unit;
}

struct publish_piece publish_rows_piece(const struct publish_rows *r, size_t i)
{
    const size_t n_base = parts_of(r->n, CHUNK_ROWS);
    if (i < n_base)
        return (struct publish_piece){r->plan.whole ? r->image + i * CHUNK_ROWS : NULL,
                                      part_bytes(r->n, i, CHUNK_ROWS, sizeof *r->image),
                                      r->plan.whole ? r->plan.base[i] : r->base[i]};
    i -= n_base;
    for (size_t k = 0; k < r->plan.n_kept; k++) {
        const struct publish_run *run = &r->runs[k];
        const size_t n = parts_of(run->n, CHUNK_PAIRS);
        if (i < n)
            return (struct publish_piece){NULL, part_bytes(run->n, i, CHUNK_PAIRS, WEIGHTS_PAIR_BYTES),
                                          run->digests[i]};
        i -= n;
    }
    return (struct publish_piece){r->plan.bytes.p + i * PUBLISH_CHUNK_BYTES,
                                  part_bytes(r->plan.run.n, i, CHUNK_PAIRS, WEIGHTS_PAIR_BYTES),
                                  r->plan.run.digests[i]};
}

void publish_rows_commit(struct publish_rows *r)
{
    if (r->plan.whole) {
        publish_digest *before = r->base;
        r->base = r->plan.base;
        r->plan.base = before;
    }
    while (r->n_runs > r->plan.n_kept) run_fini(&r->runs[--r->n_runs]);
    if (r->plan.run.n > 0) r->runs[r->n_runs++] = r->plan.run;
    r->plan.run = (struct publish_run){0};
    r->n_in_runs = 0;
    for (size_t i = 0; i < r->n_runs; i++) r->n_in_runs += r->runs[i].n;
    memset(r->changed, 0, parts_of(r->n, PUBLISH_PAGE) * sizeof *r->changed);
    r->has_base = true;
    drop_plan(r);
}

size_t publish_rows_most(size_t n)
{
    return n * sizeof(float) + n / RUNS_SHARE * WEIGHTS_PAIR_BYTES;
}

/* publish_rows.h - the hashed rows on their way to Redis: a base of all of them, and runs of rows that changed since.
 *
 * The learner hands over the pages that it touched; the uploader keeps an image of all rows, and a bit for each that is not
 * as in the version in force.  A version then brings one new run.  A run that is not larger than twice the new one is merged
 * into it, so that there are few (each at least twice as large as the next one) and a row is written again at most
 * log2(rows) times; once the runs hold an eighth of the rows, a new base takes their place.  What Redis turns out not to
 * have any more is laid out whole again.  Thread: what stands under "learner" the learner's, the rest the uploader's.
 */
#ifndef SERVING_PUBLISH_ROWS_H
#define SERVING_PUBLISH_ROWS_H
#include "serving/publish.h"

typedef char publish_digest[HASH_SHA256_HEX];
struct publish_run {
    uint32_t *rows; /* (n) ascending */
    size_t n;
    publish_digest *digests; /* of its chunks */
};
struct publish_rows {
    size_t n; /* rows */
    /* learner's */
    uint64_t *marks; /* a bit a page: touched since it was handed over */
    /* uploader's */
    float *image;      /* (n) newest that was handed over */
    uint64_t *changed; /* a bit a row: not as in the version in force */
    uint64_t *scratch; /* likewise, of the run that is being made */
    publish_digest *base;
    bool has_base; /* base and runs are those of the version that we put in force last */
    struct publish_run *runs;
    size_t n_runs, n_in_runs; /* runs; rows in them */
    struct {
        bool whole;             /* a new base, no runs */
        size_t n_kept;          /* runs that stay as they are */
        struct publish_run run; /* n = 0: none */
        publish_digest *base;   /* when whole */
        struct buf bytes;       /* of run */
    } plan;
};
enum status publish_rows_new(struct publish_rows **out, size_t n, struct err *e) MUST_CHECK; /* every page marked */
void publish_rows_free(struct publish_rows *r);                                              /* NULL is fine */

/* Learner.  Marks a page; takes the marked ones of `rows` into pages ({u32 page, PUBLISH_PAGE floats}), and marks again what
 * a pages buffer holds that nobody will take. */
void publish_rows_mark(struct publish_rows *r, size_t page);
enum status publish_rows_collect(struct publish_rows *r, const float *rows, struct buf *pages,
                                 struct err *e) MUST_CHECK;
void publish_rows_again(struct publish_rows *r, const struct buf *pages);

/* Uploader.  Pages go into the image; pages is emptied. */
void publish_rows_take(struct publish_rows *r, struct buf *pages);
/* Decides what the next version names: base, kept runs, new run.  whole: all anew, whatever is in Redis.  OOM leaves what
 * is in force as it was. */
enum status publish_rows_plan(struct publish_rows *r, bool whole, struct err *e) MUST_CHECK;
size_t publish_rows_chunks(const struct publish_rows *r); /* of the plan */
/* Chunk i of the plan: length, bytes (NULL where only Redis has them), and its digest. */
struct publish_piece {
    const void *p;
    size_t n;
    char *digest;
};
struct publish_piece publish_rows_piece(const struct publish_rows *r, size_t i);
void publish_rows_commit(struct publish_rows *r); /* the plan is in force */
size_t publish_rows_most(size_t n);               /* bytes that n rows may take, runs included */
#endif

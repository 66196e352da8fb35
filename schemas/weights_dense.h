/* weights_dense.h - a published version in pieces that change apart, so that a new version costs what changed.
 *
 * First the dense piece: "FRWD" u32 format | u64 base fingerprint | u64 params (floats) | u64 dense (floats) | u64 short
 * (floats) | u32 tensors | tensor table as in weights.h | padding to 64 | parameters 0 … short as bf16 | short … dense as
 * f32.  Then the hashed rows, parameters dense … params, as f32.  Then touched rows: pairs {u32 row, f32 value}, rows
 * ascending, that replace what came before.  Nothing here changes with the version's number: that, SHA-256 and what the
 * pieces' bytes hash to stand in the manifest.  All little-endian.
 */
#ifndef SCHEMAS_WEIGHTS_DENSE_H
#define SCHEMAS_WEIGHTS_DENSE_H
#include "schemas/weights.h"

#define WEIGHTS_DENSE_FORMAT 1
#define WEIGHTS_PAIR_BYTES 8 /* of a touched row */

struct weights_dense {
    struct weights_view view;  /* base_fingerprint, tensors, n_tensors, n_params; the rest zero */
    uint64_t n_dense, n_short; /* n_short <= n_dense <= n_params */
    size_t head_bytes;         /* where the numbers begin: a multiple of 64 */
};
/* Appends the dense piece of w (its params, table and base; its sha256, version and moments are not asked for) at an even
 * place of b.  INVALID as weights_encode, and for n_short > n_dense > w->n_params.  Rounds to nearest even. */
enum status weights_dense_encode(struct buf *b, const struct weights_view *w, uint64_t n_dense, uint64_t n_short,
                                 struct err *e) MUST_CHECK;
bool weights_dense_is(const void *bytes, size_t n); /* begins as a dense piece does, not as a weight file */
/* Reads the head from the first bytes of a piece (all of the head must be among them).  CORRUPT, UNSUPPORTED (another
 * format), OOM; names and table lie in a. */
enum status weights_dense_decode(struct weights_dense *out, const void *bytes, size_t n, struct arena *a,
                                 struct err *e) MUST_CHECK;
uint64_t weights_dense_bytes(const struct weights_dense *w); /* of the whole piece */
/* Numbers among bytes [at, at + n) of the piece go to their places in params, head and padding are passed over; [*first,
 * *first + the result) were written.  at and at + n: at a number's edge or inside the head, as multiples of 4 bytes are. */
size_t weights_dense_take(const struct weights_dense *w, uint64_t at, const void *bytes, size_t n, float *params,
                          size_t *first);

/* Touched rows: rows[i] with the value in all[rows[i]]; rows ascending. */
void weights_rows_encode(struct buf *b, const uint32_t *rows, size_t n, const float *all);
/* The other way round.  CORRUPT: no whole pairs, rows not ascending or not below n_all, a number that is not finite. */
enum status weights_rows_decode(const void *bytes, size_t n, float *all, size_t n_all, struct err *e) MUST_CHECK;
#endif

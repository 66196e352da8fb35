/* param.h - the parameter table and the block it describes: everything learnt, in one run of floats.
 *
 * Table order is file order is SHA-256 order.  Each tensor belongs to a group that says by which rule it is updated, so
 * zero, clip, update, checksum, save and publish are one call each.  The block is laid out by group (ADAMW first, then
 * ADAGRAD, STAT, SPARSE), each tensor at a multiple of 16 floats; the zero padding between tensors belongs to no
 * tensor, but the block is hashed and saved whole, padding included.
 */
#ifndef MODEL_PARAM_H
#define MODEL_PARAM_H
#include "base/hash.h"
#include "base/status.h"
#include "schemas/weights.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARAM_ALIGN 16 /* floats */

enum param_group {
    PARAM_ADAMW,   /* dense, AdamW */
    PARAM_ADAGRAD, /* dense, AdaGrad */
    PARAM_STAT,    /* what parts make themselves between steps (numeric's mean and deviation): no gradient */
    PARAM_SPARSE,  /* rows touched singly, AdaGrad with one accumulator a row: (N) of one float, or (N, C) */
    PARAM_GROUPS
};
struct param {
    char name[WEIGHTS_NAME_MAX];
    enum param_group group;
    uint8_t rank;
    uint32_t shape[4];
    size_t n, offset;   /* floats */
    float rate;         /* learning rate of this tensor (before warm-up) */
    float weight_decay; /* AdamW only */
    bool slow;          /* where others step within a batch, this one steps once at its end (train.step_slates) */
};
struct param_table {
    struct param *params; /* file order once sealed */
    size_t n, cap;
    size_t *place; /* index as given by add → position in params */
    size_t place_cap;
    size_t group_first[PARAM_GROUPS + 1]; /* float offsets: group g is [g], [g+1] of the block */
    size_t total;                         /* floats of the block */
};
/* Building: add in any order, then seal (sorts by group, keeps order inside, gives offsets). The index given by add
 * stays valid through param_at() before and after.  A zeroed struct param_table is a valid empty table.
 * add: shape has `rank` entries, 1..4, each > 0; index may be NULL.  INVALID: a name that is empty, too long or taken,
 * a shape that overflows, too many tensors, or a table already sealed.  OOM leaves the table as it was. */
enum status param_table_add(struct param_table *t, const char *name, enum param_group group, uint8_t rank,
                            const uint32_t *shape, float rate, float weight_decay, size_t *index,
                            struct err *e) MUST_CHECK;
enum status param_table_seal(struct param_table *t, struct err *e) MUST_CHECK;
const struct param *param_at(const struct param_table *t, size_t index);
size_t param_end(const struct param *p); /* where the next tensor of its group begins: behind it, and what fills the gap */
const struct param *param_find(const struct param_table *t, const char *name); /* NULL: there is none */
/* Of a sealed table: how many tensors are in group SPARSE, the i-th of them, the place among them of the one given by
 * index; and the floats of one of its rows. */
size_t param_sparse_count(const struct param_table *t);
const struct param *param_sparse(const struct param_table *t, size_t i);
size_t param_sparse_place(const struct param_table *t, size_t index);
size_t param_width(const struct param *p);
void param_table_fini(struct param_table *t);

/* A block of values: the learner's own (mutable), or a published version (immutable, counted).
 *
 * fetch, where it is not NULL: group ADAMW is newer in a backend's memory, where steps are made, and fetch(from, p) brings it
 * and clears itself.  Whoever reads or overwrites w of a set that is learnt calls param_here first. */
struct param_set;
typedef void param_fetch_fn(void *from, struct param_set *p);
struct param_set {
    float *w; /* table.total floats, 64-byte aligned, zeroed */
    size_t n;
    uint64_t version;             /* 0: never published */
    char sha256[HASH_SHA256_HEX]; /* "" until param_sha256 */
    uint64_t generation;          /* names these values, unique in the process: packed copies compare it */
    param_fetch_fn *fetch;
    void *from;
    atomic_uint refs;
};
enum status param_set_new(struct param_set **out, const struct param_table *t, struct err *e) MUST_CHECK; /* refs = 1 */
void param_set_acquire(struct param_set *p);
void param_set_release(struct param_set *p); /* frees at 0; NULL is fine */
/* w as the last step left it.  Thread: that of the steps. */
void param_here(const struct param_set *p);
/* Whoever changed w in place says so: a new generation, and the SHA-256 is forgotten. */
void param_touch(struct param_set *p);
/* Of the values as the last step left them, to compare replicas by: quick, and no name of a version. */
uint64_t param_hash(const struct param_set *p);
enum status param_sha256(struct param_set *p, struct err *e) MUST_CHECK; /* of all n floats, f32 little-endian */
/* As a weight file (no moments), and back: names, shapes and order must equal the table's; numbers must be finite.
 * view: tensors in a, names and params borrowed from t and p, version and sha256 as p has them.
 * from_view: CONFLICT when the base model differs, INVALID names the first tensor that differs or is not finite; p is
 * changed only on success, and then has the view's version and sha256 and a new generation. */
enum status param_view(const struct param_table *t, const struct param_set *p, uint64_t base_fingerprint,
                       struct arena *a, struct weights_view *out, struct err *e) MUST_CHECK;
enum status param_from_view(const struct param_table *t, const struct weights_view *v, uint64_t base_fingerprint,
                            struct param_set *p, struct err *e) MUST_CHECK;
/* The checks of from_view on a view's table alone. */
enum status param_fits(const struct param_table *t, const struct weights_view *v, uint64_t base_fingerprint,
                       struct err *e) MUST_CHECK;
size_t param_first_not_finite(const float *x, size_t n); /* n: all are; x may be unaligned */
#endif

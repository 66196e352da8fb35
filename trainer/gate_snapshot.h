/* gate_snapshot.h - a line as it was: parameters, moments, sparse accumulators, and the sums behind running statistics.
 *
 * What a rollback puts back, bit by bit.  Kept in memory (the blessed version scores) and in the store, written only when it
 * was taken anew.  Memory: the block of parameters, one float more a sparse row, the dense moments.  Thread: the learner's.
 */
#ifndef TRAINER_GATE_SNAPSHOT_H
#define TRAINER_GATE_SNAPSHOT_H
#include "trainer/optim.h"

struct gate_snapshot;
struct gate_line { /* whose snapshot it is; borrowed for the call */
    const struct param_table *table;
    struct param_set *params;
    struct optim *optim;
    struct model_run *run; /* NULL: nothing behind the statistics */
};
enum status gate_snapshot_new(struct gate_snapshot **out, const struct param_table *t, struct err *e) MUST_CHECK;
void gate_snapshot_free(struct gate_snapshot *s); /* NULL is fine */
bool gate_snapshot_there(const struct gate_snapshot *s);
/* Copies the line as it is between two steps.  OOM: the snapshot is empty then. */
enum status gate_snapshot_take(struct gate_snapshot *s, const struct gate_line *l, struct err *e) MUST_CHECK;
void gate_snapshot_drop(struct gate_snapshot *s); /* it is empty; the memory stays */
/* Puts it back: parameters, moments, accumulators and sums are bit by bit what they were; sparse pages that differ are
 * dirty.  Gradients that wait in the run are the caller's to clear.  INVALID: it is empty; CORRUPT, OOM. */
enum status gate_snapshot_restore(const struct gate_snapshot *s, const struct gate_line *l, struct err *e) MUST_CHECK;
void gate_snapshot_exchange(struct gate_snapshot *a, struct gate_snapshot *b); /* of one table */
/* Its parameters, which no later call but take, drop and load changes; NULL when it is empty. */
struct param_set *gate_snapshot_params(const struct gate_snapshot *s);

/* Into records "<name>/…" of STORE_LEARNER: everything when it was taken (or dropped) since gate_snapshot_saved, else nothing.
 * Sparse pages that are as they were at first are left out. */
enum status gate_snapshot_save(const struct gate_snapshot *s, struct store_txn *t, const char *name,
                               struct err *e) MUST_CHECK;
void gate_snapshot_saved(struct gate_snapshot *s);
/* Back; empty when there is none of that name.  o: whose pages they are.  CORRUPT: sizes that are not the table's, numbers
 * that are not finite; OOM. */
enum status gate_snapshot_load(struct gate_snapshot *s, struct store_txn *t, const char *name, const struct optim *o,
                               struct err *e) MUST_CHECK;
/* All records of it. */
enum status gate_snapshot_forget(struct store_txn *t, const char *name, struct err *e) MUST_CHECK;
size_t gate_snapshot_bytes(const struct param_table *t); /* at most, moments included */
#endif

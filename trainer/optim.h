/* optim.h - the optimiser: AdamW for the dense trainable tensors, AdaGrad for the linear ones and for sparse rows.
 *
 * Gradients come as sums over the batch's examples.  AdamW's (Loshchilov and Hutter 2019, bias-corrected) are scaled by
 * 1/examples, clipped by their global norm (train.clip_norm; 0: off), and its rate rises linearly over train.warmup_steps,
 * then follows train.schedule; train.l2_sp pulls to an anchor.  AdaGrad (Duchi et al. 2011) takes the sums as they are,
 * accumulators start at 1 and forget by train.half_life_examples.  Rates are the tensors' own.  A step with a gradient that
 * is not finite changes nothing and is counted.
 * Moments lie in one block each; what a checkpoint needs is a run of bytes for the dense ones and pages of 64 numbers for
 * the sparse ones, with a bitmap of those that changed.  Thread: the learner's.
 */
#ifndef TRAINER_OPTIM_H
#define TRAINER_OPTIM_H
#include "base/buf.h"
#include "base/status.h"
#include "base/store.h"
#include "kernels/kern.h"
#include "model/model.h"
#include "model/param.h"
#include "schemas/conf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIM_BETA1 0.9f
#define OPTIM_BETA2 0.999f
#define OPTIM_EPS 1e-8f
#define OPTIM_PAGE 64 /* numbers of group SPARSE in one page */

struct optim;
/* t: borrowed until optim_free.  c: read during the call.  The sparse accumulators are allocated when first needed. */
enum status optim_new(struct optim **out, const struct param_table *t, const struct conf *c, struct err *e) MUST_CHECK;
void optim_free(struct optim *o);
/* One step over n_examples (sum over the batch): changes p->w in place and touches p (a new generation).  g is only
 * read; the caller clears it.  n_examples 0: nothing happens.  A gradient that is not finite: nothing changes,
 * optim_refused counts it, and the result is OK.  g->w, where the run has it, is changed as p is; the optimiser then keeps
 * memory of k, so it is freed before k.  OOM: sparse accumulators, or backend memory. */
enum status optim_step(struct optim *o, struct kern *k, struct param_set *p, const struct model_grads *g,
                       uint64_t n_examples, struct err *e) MUST_CHECK;
/* What train.l2_sp pulls the AdamW tensors to, copied (part of the state).  anchor: p as it was initialised from the
 * pretrained model; blessed: p, where train.l2_sp_anchor asks for it.  Nothing without train.l2_sp. */
void optim_anchor(struct optim *o, const struct param_set *p);
void optim_blessed(struct optim *o, const struct param_set *p);
/* The world has changed: the schedule begins anew (its warm-up too) and AdaGrad's sums keep a hundredth. */
void optim_restart(struct optim *o);
uint64_t optim_steps(const struct optim *o);   /* applied */
uint64_t optim_refused(const struct optim *o); /* not applied */

/* First, then second moments of group ADAMW, then the accumulators of group ADAGRAD, as the last step left them; each in the
 * block's order.  n: how many there are.  Valid until the next step. */
const float *optim_moments(const struct optim *o, size_t *n);

/* Step count, schedule, moments, dense accumulators, anchor (weights_view.moments).  decode: CORRUPT when the sizes are not the
 * table's. */
void optim_encode(struct buf *b, const struct optim *o);
enum status optim_decode(struct optim *o, struct buf_reader *r, struct err *e) MUST_CHECK;
/* The same into an optimiser whose sparse accumulators stay as they are: what they have forgotten by now stays, too. */
enum status optim_decode_dense(struct optim *o, struct buf_reader *r, struct err *e) MUST_CHECK;

/* Sparse rows by page: numbers [page*64, page*64+64) of group SPARSE, each with its row's accumulator; beyond the end of
 * a tensor weight 0, accumulator 1. */
struct optim_page {
    float w[OPTIM_PAGE], acc[OPTIM_PAGE];
};
size_t optim_pages(const struct optim *o);
/* The first page at or after `from` that changed since optim_sparse_saved; SIZE_MAX: none. */
size_t optim_dirty_page(const struct optim *o, size_t from);
void optim_page_touch(struct optim *o, size_t page); /* it was put back, and is to be saved */
void optim_page_get(const struct optim *o, const struct param_set *p, size_t page, struct optim_page *out);
/* Puts a page back (p is touched, the page is not dirty by it).  INVALID: no such page; CORRUPT: a number that is not
 * finite or an accumulator below 1; OOM. */
enum status optim_page_put(struct optim *o, struct param_set *p, size_t page, const struct optim_page *in,
                           struct err *e) MUST_CHECK;

#define OPTIM_PAGE_BYTES sizeof(struct optim_page) /* at most */
/* As a record: 64 weights, then one accumulator for each row that begins or goes on in the page (f32); where a row is one
 * number, 64 of them.  encode returns the bytes it wrote to out (OPTIM_PAGE_BYTES of room).  decode: CORRUPT, another length. */
size_t optim_page_encode(const struct optim *o, size_t page, const struct optim_page *in, void *out);
enum status optim_page_decode(const struct optim *o, size_t page, const void *bytes, size_t n, struct optim_page *out,
                              struct err *e) MUST_CHECK;

/* Dirty pages to table STORE_HASHED (key: u32 big-endian page, then the line's name; value: optim_page_encode);
 * back; and the word that what was saved is committed (until then a failed save is simply repeated).  line: a variant's
 * name, "" for the default one.  Errors of the store and of optim_page_put; CORRUPT: a malformed key or record. */
enum status optim_sparse_save(const struct optim *o, const struct param_set *p, struct str line, struct store_txn *t,
                              struct err *e) MUST_CHECK;
void optim_sparse_saved(struct optim *o);
enum status optim_sparse_load(struct optim *o, struct param_set *p, struct str line, struct store_txn *t,
                              struct err *e) MUST_CHECK;
enum status optim_sparse_forget(struct store_txn *t, struct str line, struct err *e) MUST_CHECK; /* all pages of it */
#endif

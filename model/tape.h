/* tape.h - values in backend memory and, when recording, the way back through them (reverse-mode autograd).
 *
 * One idea: every op (model/op.h) takes its memory from the tape, computes forward at once, and, if the tape records
 * and something below wants a gradient, leaves one step behind; tape_backward calls the steps in reverse.  A value
 * without a gradient (dx == NULL) ends the way back: nothing at or below the frozen boundary is ever recorded.  A tape
 * that does not record is scratch memory for the same op code; mark and rewind bound it.
 * Running out of memory sets `oom`, later calls give empty values, and the caller asks tape_status once (as struct
 * buf). Blocks are kept at reset and merged into one, so a warm tape allocates nothing.  Thread: the owner's.
 */
#ifndef MODEL_TAPE_H
#define MODEL_TAPE_H
#include "base/arena.h"
#include "base/status.h"
#include "kernels/kern.h"
#include <stdbool.h>
#include <stddef.h>

/* n rows of c floats in backend memory; dx: same shape, gradients are added there; NULL: no gradient wanted. */
struct tape_value {
    float *x, *dx;
    size_t n, c;
};
struct tape;
typedef void tape_backward_fn(struct tape *t, void *saved);
struct tape_step {
    tape_backward_fn *backward;
    void *saved;
    struct tape_step *below;
};
/* x (n): numbers of the backend's memory in the host's, to be read during the call. */
typedef void tape_told_fn(void *user, const float *x, size_t n);
struct tape_asked {
    const float *x; /* backend memory */
    size_t n;
    tape_told_fn *told;
    void *user;
};
struct tape_block {
    struct tape_block *next;
    float *data;      /* backend memory */
    size_t cap, used; /* floats */
};
struct tape {
    struct kern *kern;
    bool record, oom;
    struct arena host;                  /* steps and what they saved */
    struct tape_block *first, *current; /* backend memory, bumped */
    struct tape_step *last;
    struct tape_asked *asked; /* in order; kept at reset */
    size_t n_asked, asked_cap;
};
struct tape_mark {
    struct arena_mark host;
    struct tape_block *block;
    size_t used;
};

/* kern is borrowed.  Allocates nothing yet. */
void tape_init(struct tape *t, struct kern *kern, bool record);
void tape_fini(struct tape *t);  /* zeroed struct tape is fine */
void tape_reset(struct tape *t); /* forgets values and steps, keeps memory; clears oom */
void tape_forget(struct tape *t,
                 const struct tape_step *stop); /* steps above one that was the last once are not walked */
enum status tape_status(const struct tape *t, struct err *e) MUST_CHECK; /* OOM if anything failed since reset */

/* Temporaries: what was taken after save is given back by rewind.  Not across a recorded step. */
struct tape_mark tape_save(const struct tape *t);
void tape_rewind(struct tape *t, struct tape_mark m);

float *tape_floats(struct tape *t, size_t n); /* undefined contents, 64-byte aligned; NULL: oom */
float *tape_zeros(struct tape *t, size_t n);
void *tape_upload(struct tape *t, const void *host, size_t bytes); /* a copy in backend memory */
void *tape_host(struct tape *t, size_t n, size_t size);            /* zeroed host memory with the tape's life */
/* An (n, c) value with undefined x and, when `grad` and the tape records, a zeroed dx.  x == NULL: oom. */
struct tape_value tape_new(struct tape *t, size_t n, size_t c, bool grad);
struct tape_value tape_constant(struct tape *t, const float *host, size_t n, size_t c); /* uploaded, no gradient */
struct tape_value tape_rows(struct tape_value v, size_t first, size_t n);               /* a view of rows, no copy */

/* Tells what x (n) holds when all that was queued is done: at once where the backend's memory is the host's, else at tape_settle,
 * in one download with all else that was asked for, in order.  x and user stay until then, and the tape is not rewound
 * below x while tape_is_asked. */
void tape_ask(struct tape *t, const float *x, size_t n, tape_told_fn *told, void *user);
bool tape_is_asked(const struct tape *t); /* something was asked for that is not told */
enum status tape_settle(struct tape *t, struct err *e) MUST_CHECK; /* as tape_status */
tape_told_fn tape_keep; /* user: room for the numbers, where they are copied */

/* Leaves a step.  saved lives in tape_host memory.  Only when record is set; else nothing. */
void tape_push(struct tape *t, tape_backward_fn *backward, void *saved);
/* Walks back from the last step.  The caller has put the outermost gradient into its value's dx before. */
void tape_backward(struct tape *t);
/* The same down to a step that was the last once (it stays); NULL: all. */
void tape_backward_to(struct tape *t, const struct tape_step *stop);
#endif

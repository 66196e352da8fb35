/* fetch_weights.h - a version's chunks out of Redis, each checked, into one block of parameters.
 *
 * A chunk that is read has its SHA-256 checked.  What the version before had already is neither fetched nor hashed again:
 * its numbers are copied, changed chunks and touched rows replace theirs, and a hash over all rows says whether that gave what
 * the manifest promises; if not, every chunk is read.  Where all was read, the SHA-256 of all parameters is checked too
 * (unless they were rounded).  Thread: one.
 */
#ifndef SERVING_FETCH_WEIGHTS_H
#define SERVING_FETCH_WEIGHTS_H
#include "base/arena.h"
#include "model/model.h"
#include "schemas/weights_dense.h"
#include "serving/metric.h"
#include "serving/publish_manifest.h"
#include "serving/redis.h"
#include <stdatomic.h>

struct fetch_weights {
    /* the owner's */
    struct redis *redis;
    const char *name;
    const struct model *model;
    const atomic_bool *cancelled; /* may be NULL */
    /* its own; zeroed at first */
    enum metric_fetch stage; /* what is being done, so what failed */
    struct weights_dense head;
    void *head_bytes;                /* as they were read */
    struct arena arena;              /* of both */
    struct publish_manifest last;    /* chunks alone: what params were made of; zeroed: nothing is kept */
    struct param_set *params, *idle; /* of last; a block that nobody else may still read */
    struct buf whole;                /* a version that is one weight file */
    uint64_t fetched_bytes;          /* by the last get */
};
/* *out: m's parameters, checked whole, one reference the caller's; p->sha256 is m's, "" where they were rounded.
 * CORRUPT: a length, hash or number is wrong; INVALID, CONFLICT: not finite, other shapes, another base; IO: connection, or
 * cancelled; OOM; UNSUPPORTED: a format of later. */
enum status fetch_weights_get(struct fetch_weights *f, const struct publish_manifest *m, struct param_set **out,
                              struct err *e) MUST_CHECK;
/* p, which get gave for m, is what the next version is compared with: takes m's chunks, and a reference of its own. */
void fetch_weights_keep(struct fetch_weights *f, struct publish_manifest *m, struct param_set *p);
void fetch_weights_fini(struct fetch_weights *f);
#endif

/* join_private.h - the joiner's insides, shared by join*.c alone. */
#ifndef INGEST_JOIN_PRIVATE_H
#define INGEST_JOIN_PRIVATE_H
#include "ingest/join.h"
#include "ingest/join_heap.h"
#include "ingest/order_map.h"

#define JOIN_SETTLED 65536 /* settled requests that are remembered, to tell a late behaviour from a foreign one */

enum mark_kind { MARK_NONE, MARK_NEGATIVE, MARK_POSITIVE };
/* Open slates that have one of these in common are a list, newest first. */
enum join_common { JOIN_USER, JOIN_REQUEST, JOIN_COMMON };
struct open_slate { /* slate 0: not open */
    uint64_t slate;
    uint64_t of[JOIN_COMMON]; /* hashes; 0: absent */
    int64_t time_ms, due_ms;
    uint64_t *items; /* n hashes */
    float *labels, *weights;
    uint8_t *marks;  /* enum mark_kind */
    uint8_t *early;  /* was positive when join.wait_ms had passed */
    uint32_t *tasks; /* bit t: a behaviour of task t */
    uint32_t n, cap;
    uint32_t newer[JOIN_COMMON], older[JOIN_COMMON];
    bool waited; /* join.wait_ms has passed and it was handed out */
    bool learnt; /* its marks are copies */
};
struct join {
    const struct conf *conf;
    uint32_t task_of[EVENT_TYPES_MAX]; /* by type: the bit of its task, 0 without */
    struct open_slate *pool;
    size_t n_pool, pool_cap, n_spare;
    uint32_t *spare;              /* pool_cap places */
    struct join_heap ends, waits; /* by the window's end; by join.wait_ms (loss importance), some of closed slates */
    bool early;                   /* loss importance: slates are handed out twice */
    uint32_t current;             /* opened or handed out for the first time last */
    struct join_copy copy;        /* of the last mark; weight 0: none */
    size_t forced;                /* slates due at once: open ones beyond the bound */
    uint32_t handed;              /* settled last */
    struct order_map newest[JOIN_COMMON]; /* by hash: the newest open slate */
    uint64_t *settled;                    /* ring of request hashes */
    size_t n_settled, settled_at;
    struct order_map settled_map;
    struct join_counts counts;
};

/* An unused slate of the pool with room for n items; it stays spare until join_index_slate.  OOM. */
enum status join_take_spare(struct join *j, uint32_t n, uint32_t *index, struct err *e) MUST_CHECK;
/* Takes the slate, which is filled, into the tables and the heaps.  OOM: the slate is spare again. */
enum status join_index_slate(struct join *j, uint32_t index, struct err *e) MUST_CHECK;
/* Behaviours that name this request (0: none) come too late from now on. */
void join_remember_settled(struct join *j, uint64_t request);
#endif

/* state_cache.h - inside the frozen-state cache: its entries, its table, and the workers that fill them.
 *
 * One mutex guards everything but the numbers of an entry that is being computed (its worker's alone) and of one that
 * is ready (read-only).  state_table.c keeps the table and the order of use, state_encode.c computes, state.c goes between.
 */
#ifndef MODEL_STATE_CACHE_H
#define MODEL_STATE_CACHE_H
#include "model/state.h"
#include <pthread.h>

#define STATE_TOGETHER 64 /* sentences that a worker takes at once, at most */

enum state_phase { STATE_PENDING, STATE_READY, STATE_FAILED };

/* What one state_acquire waits for; on the caller's stack. */
struct state_job {
    size_t pending;           /* sentences of its own not yet there */
    struct state_slot *filed; /* of these, those that the file knows: read by the caller itself */
    enum status status;       /* the first failure */
    struct err why;
};

struct state_slot {
    struct state_entry entry;         /* first: an entry's address is its slot's */
    struct state_slot *chain;         /* next in the bucket */
    struct state_slot *newer, *older; /* in order of use, while nobody has it pinned */
    struct state_slot *queued;        /* next to be computed */
    struct state_job *job;            /* while pending */
    const int32_t *ids;               /* while pending; the job's, or own_ids */
    int32_t *own_ids;                 /* while pending and only wanted (state_want): pinned by that */
    uint32_t n_ids;
    enum state_phase phase;
    unsigned pins;
    size_t bytes;       /* slot and numbers, one block */
    uint16_t numbers[]; /* pooled (C), final (C), tokens (n, C) */
};

struct state_worker {
    struct state_cache *cache;
    struct encoder_run *run;
    float *mid;    /* (room, C) token states, where they are kept */
    float *pooled; /* (2 * STATE_TOGETHER, C): means at the middle layer, then sentence vectors */
    size_t room;   /* tokens */
    pthread_t thread;
    bool started;
};

struct state_cache {
    const struct encoder *m;
    size_t C, mid;
    bool keep_tokens;
    float scale;
    uint64_t salt; /* of state_key */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool stop;
    struct state_slot **buckets; /* mask + 1 */
    size_t mask;
    struct state_slot *newest, *oldest;          /* unpinned ones */
    struct state_slot *queue_first, *queue_last; /* asked for before wanted ones */
    size_t queue_length;
    struct state_worker *workers;
    unsigned n_workers;
    struct state_file *file; /* NULL: none; fixed before the cache is used */
    struct state_stats stats;
};

/* The table and the order of use, under the lock.  A place is where a hash is, or where it would be put; a slot that is added is pinned
 * once, after the oldest ones that nobody uses made room; where that is not enough, FULL, unless it must be. */
size_t state_bytes(const struct state_cache *c, size_t n_tokens); /* of a slot */
enum status state_make_table(struct state_cache *c, size_t max_bytes, struct err *e) MUST_CHECK;
struct state_slot **state_place(struct state_cache *c, uint64_t hash);
enum status state_add(struct state_cache *c, uint64_t hash, size_t n_tokens, bool must, struct state_slot **out,
                      struct err *e) MUST_CHECK;
void state_take_out(struct state_cache *c, struct state_slot *s); /* of the table alone */
void state_pin(struct state_cache *c, struct state_slot *s);
void state_unpin(struct state_cache *c, struct state_slot *s);
void state_free_slots(struct state_cache *c);

/* A worker's hands, without its thread yet; and the numbers of n sentences into
 * their slots (all or, on failure, none that counts). */
enum status state_worker_init(struct state_worker *w, struct state_cache *c, const char *backend,
                              struct err *e) MUST_CHECK;
void state_worker_fini(struct state_worker *w);
enum status state_worker_encode(struct state_worker *w, struct state_slot *const *slots, size_t n,
                                struct err *e) MUST_CHECK;
/* Mean token norm after layer mid over the probe set. */
enum status state_worker_measure(struct state_worker *w, float *out, struct err *e) MUST_CHECK;
#endif

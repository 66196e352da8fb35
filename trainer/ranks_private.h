/* ranks_private.h - the insides of struct ranks, shared by ranks*.c alone. */
#ifndef TRAINER_RANKS_PRIVATE_H
#define TRAINER_RANKS_PRIVATE_H
#include "trainer/ranks.h"
#include "trainer/ranks_link.h"
#include <pthread.h>
#include <stdbool.h>

#define RANKS_MAGIC 0x31524652u /* "FRR1": little-endian machines that speak this version */
#define RANKS_CHUNK 65536       /* floats of a sum that travel together */
#define RANKS_QUEUE 64          /* sums that may wait */

/* Every message begins with one.  Bytes follow it: of a sum or a record; FAIL: a sentence. */
enum ranks_kind { RANKS_HELLO = 1, RANKS_WELCOME, RANKS_SUM, RANKS_GATHER, RANKS_FAIL };
struct ranks_frame {
    uint32_t magic, kind;
    uint64_t ordinal; /* of the operation; HELLO: n << 32 | rank */
    uint64_t bytes;
};
struct ranks {
    int n, rank;
    char address[512];
    int64_t timeout_ms;
    int listener;         /* rank 0's; -1 */
    int links[RANKS_MAX]; /* rank 0: to each other one; else [0] to rank 0; -1: none */
    uint64_t ordinal;     /* of the operation under way */
    float *chunk;         /* (RANKS_CHUNK) scratch of rank 0 */
    struct buf gathered;  /* all parts, one after the other */
    size_t part_at[RANKS_MAX], part_n[RANKS_MAX];
    enum status failed; /* OK: not yet */
    struct err error;
    /* the thread that carries sums */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more, done;
    bool running, quit;
    struct ranks_wanted {
        float *x;
        size_t n;
    } queue[RANKS_QUEUE];
    size_t first, waiting; /* those not done yet, the one under way among them */
};
enum status ranks_meet(struct ranks *r, struct str common, struct err *e) MUST_CHECK; /* ranks_meet.c */
/* ranks_star.c: what goes over the links.  Each is one operation, and fails by ranks_fail. */
enum status ranks_star_sum(struct ranks *r, float *x, size_t n) MUST_CHECK;
enum status ranks_star_gather(struct ranks *r, const void *p, size_t n) MUST_CHECK;
/* The first failure: it is kept (r->error), rank 0 tells all that are left, anybody else rank 0.  Returns st. */
enum status ranks_fail(struct ranks *r, enum status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A link to `rank` failed with `st` for the reason in why. */
enum status ranks_lost(struct ranks *r, int rank, enum status st, const struct err *why);
enum status ranks_send_frame(int fd, enum ranks_kind kind, uint64_t ordinal, uint64_t bytes, int64_t timeout_ms,
                             struct err *e) MUST_CHECK;
/* The next frame from `rank`; one that says FAIL is ranks_fail with its text. */
enum status ranks_receive_frame(struct ranks *r, int rank, struct ranks_frame *f) MUST_CHECK;
int64_t ranks_patience_ms(const struct ranks *r); /* how long it waits for the others to move */
#endif

/* rand.h - the one source of random numbers: Philox4x32-10 (Salmon et al., SC 2011), counter-based.
 *
 * A stream is named by what it is for, never by when it is drawn: (seed, topic, partition, offset, purpose).  The same
 * name gives the same numbers on every machine and in every order of calls.  Thread: a struct rand belongs to its user.
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H
#include <stddef.h>
#include <stdint.h>

enum rand_purpose {
    RAND_INIT = 1,  /* initial parameters; offset = index in the parameter table */
    RAND_POSITIVES, /* which items of a long order are scored */
    RAND_NEGATIVES, /* sampled negatives */
    RAND_DROPOUT,
    RAND_SIMULATE,
    RAND_REQUEST,
    RAND_RECORDED, /* which negatives of a recorded list are learnt from */
    RAND_TEST,
    RAND_EXPLORE,   /* which requests are answered with a drawn list, and the draw; keyed by the request's id */
    RAND_SWEEP,     /* which settings are tried */
    RAND_REPLAY,    /* which learnt slates are held, and learnt again; offset counts them */
    RAND_GATE = 32, /* slates that the blessed version scores too */
    RAND_BOOTSTRAP = 40, /* weights of a user in the replicates of intervals; offset = hash of the user */
    RAND_UNSAMPLED, /* among which of the active items a slate is ranked */
    RAND_CHECKED,   /* which slates are */
};
struct rand_key {
    uint64_t seed;
    uint32_t topic, partition;
    uint64_t offset;
    uint32_t purpose;
};
struct rand {
    uint32_t key[2], counter[4], block[4];
    unsigned used; /* words of block already given */
};
void rand_init(struct rand *r, struct rand_key k);
uint32_t rand_u32(struct rand *r);
uint64_t rand_u64(struct rand *r);
uint64_t rand_below(struct rand *r, uint64_t n); /* uniform in [0, n), unbiased (Lemire 2019); n > 0 */
double rand_unit(struct rand *r);                /* [0, 1), 53 bits */
double rand_normal(struct rand *r);              /* mean 0, deviation 1 (Box and Muller); last bits are libm's */
void rand_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]); /* the bare function */
#endif

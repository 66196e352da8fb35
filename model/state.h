/* state.h - the frozen-state cache: what the encoder says of a sentence, remembered by hash.
 *
 * An entry holds, as bf16 rounded when produced (so cached or fresh are the same bits): the pooled state after the
 * frozen layers 1..mid (mean of tokens, rescaled to that layer's mean token norm), the final sentence vector (unit
 * length), and if wanted the token states after layer mid.  Misses are computed by a pool of workers, each sentence
 * alone.  Bounded in bytes; the least recently used unpinned entry leaves first.  What is in use at once may be more than the bound,
 * and leaves when it is released.  Entries never go stale: the key contains the weights.
 */
#ifndef MODEL_STATE_H
#define MODEL_STATE_H
#include "base/status.h"
#include "model/encoder.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_cache;
struct state_request {
    uint64_t hash;      /* hash_bytes over the int32 ids (as slate_sentence.hash) */
    const int32_t *ids; /* [CLS] … [SEP] included; read until state_acquire returns */
    uint32_t n;
};
/* Pinned by state_acquire, read-only until state_release. */
struct state_entry {
    uint64_t hash;                           /* of the request */
    uint32_t n_tokens;                       /* of `tokens`; 0 unless the cache keeps token states */
    uint32_t width;                          /* C */
    const uint16_t *pooled, *final, *tokens; /* bf16: (C) (C) (n_tokens, C) */
};
struct state_stats {
    uint64_t hits, misses; /* requests */
    uint64_t encoded, put; /* sentences computed here; inserted by state_put */
    uint64_t wanted;       /* taken by state_want */
    uint64_t file_hits;    /* read from the file of states */
    uint64_t file_damaged; /* in the file, but its record failed its check or could not be read: computed */
    uint64_t evicted;
    size_t entries, bytes, max_bytes;
};

/* mid: 0 … L.  threads ≥ 1 workers, each with its own kernels of `backend` (the one that packed m).  m is borrowed
 * until state_cache_free.  Measures the layer's mean token norm on a fixed probe set of sentences (id sequences).
 * INVALID: mid above L, max_bytes below what 64 entries need; OOM; IO (a thread cannot start). */
enum status state_cache_new(struct state_cache **out, const struct encoder *m, size_t mid, bool keep_tokens,
                            size_t max_bytes, unsigned threads, const char *backend, struct err *e) MUST_CHECK;
/* The same with size, workers and backend as the configuration says. */
enum status state_cache_open(struct state_cache **out, const struct encoder *m, size_t mid, bool keep_tokens,
                             const struct conf *c, struct err *e) MUST_CHECK;
void state_cache_free(struct state_cache *c); /* nothing may be pinned; NULL is fine */

/* out[i] = the entry of req[i], pinned.  Equal hashes share one entry (pinned once per request).  Missing ones are
 * computed now; a sentence that another thread is computing is waited for.  On failure nothing stays pinned and out is
 * all NULL.  INVALID: bad ids; OOM.  When all hit, nothing is allocated.
 * Thread: any. */
enum status state_acquire(struct state_cache *c, const struct state_request *req, size_t n,
                          const struct state_entry **out, struct err *e) MUST_CHECK;
/* Says that a sentence will be asked for soon: it is computed together with others when a worker is free.  ids are copied.
 * Dropped when many wait already or there is no memory: it is computed when it is asked for.  Thread: any. */
void state_want(struct state_cache *c, uint64_t hash, const int32_t *ids, uint32_t n);
void state_release(struct state_cache *c, const struct state_entry *const *entries,
                   size_t n); /* NULL entries are skipped */

/* For what a scorer fetched from Redis.  An entry that is there already stays.  INVALID: another width than C, token
 * states where the cache wants them and there are none, a number that is not finite.  FULL: all there is room for is in use; OOM. */
enum status state_put(struct state_cache *c, uint64_t hash, const struct record_state *s, struct err *e) MUST_CHECK;
/* Is there room for so many sentences, of so many tokens in all, at once?  Said by the bound alone, a quarter of it left for
 * what others use: the same whatever is there at the moment. */
bool state_fits(const struct state_cache *c, size_t n, size_t n_tokens);
bool state_has(struct state_cache *c, uint64_t hash); /* in memory, or in the file that is attached */
/* What is missed is from now on read from this file before it is computed.  Taken over; its index counts among the bytes.
 * Before c is used; once. */
struct state_file;
void state_cache_attach(struct state_cache *c, struct state_file *take_file);
struct record_state state_record(const struct state_entry *entry); /* points into the (pinned) entry */

/* The name of a sentence's states outside this process: the sentence's hash mixed with frozen weights, mid,
 * precision. */
uint64_t state_key(const struct state_cache *c, uint64_t hash);
float state_scale(const struct state_cache *c); /* mean token norm after layer mid: the length of every pooled state */
void state_stats(struct state_cache *c, struct state_stats *out);
/* Share of the requests whose states were in memory before they were asked for (what state_put brought is not); 0: none yet. */
static inline double state_hit_rate(const struct state_stats *s)
{
    const uint64_t all = s->hits + s->misses;
    return all == 0 || s->put >= s->hits ? 0.0 : (double)(s->hits - s->put) / (double)all;
}
#endif

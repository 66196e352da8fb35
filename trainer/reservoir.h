/* reservoir.h - slates that were learnt, some of which are learnt again: a bounded uniform sample of the past.
 *
 * What is held is the packed slate as it was scored: features, token ids, state keys and labels, so every part learns from it
 * what it learnt then.  Of the slates offered each is held with the same probability (algorithm R, Vitter 1985).  With a
 * horizon H the t-th slate comes in as if only H had been there: its chance to be still held falls by 1/H with each further
 * one (an exponential bias, Aggarwal, VLDB 2006).  Bytes are bounded too: beyond them a slate chosen uniformly leaves, and its
 * place with it, which leaves a uniform sample of what there was; one of more than a sixteenth of the bytes is not held.
 *
 * A replayed slate stands for no example of its own (slate_item.examples is 0): recalibration, standardisation and the counts
 * of what was learnt leave it out, its share in the loss is its weight.  So with share s of replay the loss learnt is
 * (1 - s)·now + s·past, and probabilities stay in line with what comes now.
 *
 * Numbers are drawn by counters (RAND_REPLAY), which are part of the state: the same slates give the same sample, and a
 * resumed learner goes on in the same bits.  Thread: the learner's.
 */
#ifndef TRAINER_RESERVOIR_H
#define TRAINER_RESERVOIR_H
#include "base/store.h"
#include "schemas/conf.h"
#include "schemas/slate.h"

struct reservoir;
struct reservoir_counts {
    uint64_t offered, held, bytes; /* bytes: of what is held, its table included */
    uint64_t replayed;             /* slates drawn */
};
/* c: borrowed.  *out NULL and OK when train.replay_share is 0; all functions take NULL, and do nothing then. */
enum status reservoir_new(struct reservoir **out, const struct conf *c, struct err *e) MUST_CHECK;
void reservoir_free(struct reservoir *r);
/* Once for every new slate: true with probability s/(1 - s), when anything is held.  Then out (reset first) is one of the
 * held, each as likely. */
enum status reservoir_draw(struct reservoir *r, struct slate *out, bool *drawn, struct err *e) MUST_CHECK;
/* A new slate was learnt; order: of learning, never less than before.  A replayed one is not taken.  OOM. */
enum status reservoir_offer(struct reservoir *r, const struct slate *s, uint64_t order, struct err *e) MUST_CHECK;
/* Was it drawn?  Without a reservoir none was (other copies that stand for nothing are of early losses, trainer/loss_delay.h). */
bool reservoir_is_replayed(const struct reservoir *r, const struct slate *s);
/* What was learnt after `order` is undone: it is not held any more.  The next slates take the free places. */
void reservoir_undo(struct reservoir *r, uint64_t order);
struct reservoir_counts reservoir_counts(const struct reservoir *r);

/* Into records "<name>" and "<name>/<place>" of STORE_LEARNER: the places that changed since reservoir_saved. */
enum status reservoir_save(struct reservoir *r, struct store_txn *t, const char *name, struct err *e) MUST_CHECK;
void reservoir_saved(struct reservoir *r);
/* Empty when there is none of that name.  CORRUPT, OOM. */
enum status reservoir_load(struct reservoir *r, struct store_txn *t, const char *name, struct err *e) MUST_CHECK;
/* A line that is gone: its records too. */
enum status reservoir_forget(struct store_txn *t, const char *name, struct err *e) MUST_CHECK;
size_t reservoir_bytes_most(const struct conf *c); /* what it takes at most, scratch included; 0: it is off */
#endif

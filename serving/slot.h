/* slot.h - the one place where the version in force lies: swapped whole, read by many, freed off the request path.
 *
 * A reader acquires the version once and keeps it to the end of what it does, whatever is published meanwhile.  The lock
 * inside is held for a pointer and a count only.  A version that is no longer in force and no longer read waits until
 * slot_publish or slot_reap, called by whoever publishes, frees it.
 */
#ifndef SERVING_SLOT_H
#define SERVING_SLOT_H
#include "base/status.h"
#include "model/param.h"
#include "serving/publish_manifest.h"
#include <stdatomic.h>
#include <stdint.h>

struct slot_version {
    struct param_set *params; /* owned: one reference */
    struct publish_manifest manifest;
    int64_t loaded_wall_ms;
    int64_t load_us; /* from its manifest to the end of its checks */
    uint64_t fetched_bytes;
    atomic_bool answered; /* a response was made with it: freshness is counted once */
    /* the slot's own */
    unsigned readers;
    struct slot_version *next;
};
enum status slot_version_new(struct slot_version **out, struct err *e) MUST_CHECK; /* empty */
void slot_version_free(struct slot_version *v); /* one that was never published; NULL is fine */

struct slot;
enum status slot_new(struct slot **out, struct err *e) MUST_CHECK;
void slot_free(struct slot *s);                                 /* nothing may be acquired; NULL is fine */
void slot_publish(struct slot *s, struct slot_version *take_v); /* Thread: one publisher; reaps too */
struct slot_version *slot_acquire(struct slot *s);              /* NULL: nothing published yet.  Thread: any */
void slot_share(struct slot *s, struct slot_version *v);   /* one more reader of what the caller has; NULL is fine */
void slot_release(struct slot *s, struct slot_version *v); /* NULL is fine; frees nothing.  Thread: any */
size_t slot_reap(struct slot *s);                          /* frees what nobody reads; returns how many still wait */
#endif

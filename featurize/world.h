/* world.h - the learner's knowledge of the shop: users, items, counters, sampler; one of it, single writer.
 *
 * Tables of records in memory over the store: users beyond history.users leave to the store (read back on demand), items
 * stay.  Nothing reaches the store between checkpoints (world_save).  Slates are filled from the state BEFORE the
 * event that opens them; world_take then lets the event in.
 */
#ifndef FEATURIZE_WORLD_H
#define FEATURIZE_WORLD_H
#include "base/status.h"
#include "base/store.h"
#include "featurize/feat.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include "schemas/slate.h"

struct world;
struct world_counts {
    uint64_t users, items, users_in_memory, evicted, refused_items;
    uint64_t unconsumed;       /* evicted before world_each_changed handed them out: they are in the store alone */
    size_t bytes, dirty_bytes; /* estimates: of all records in memory, of changed ones */
};
/* f and store are borrowed; store may be NULL (nothing leaves memory, nothing is read back). */
enum status world_new(struct world **out, const struct conf *c, struct feat *f, struct store *store,
                      struct err *e) MUST_CHECK;
void world_free(struct world *w);
/* Shares the candidates of a slate and the lists of an order, which depend on nothing but themselves, with p's workers; p (borrowed,
 * NULL: nobody's) is used by the caller's thread alone. */
void world_use_pool(struct world *w, struct pool *p);
enum status world_load(struct world *w, struct store_txn *t,
                       struct err *e) MUST_CHECK; /* items, sampler; users on demand */
/* Puts changed records into t.  After the caller's commit succeeded: world_saved. */
enum status world_save(struct world *w, struct store_txn *t, struct err *e) MUST_CHECK;
void world_saved(struct world *w);

enum status world_item(struct world *w, const struct event *ev,
                       struct err *e) MUST_CHECK; /* an `item` event: new, changed, deleted */
/* A `user` event.  Of a deleted user nothing is kept, and nothing up to the time of the deletion is taken later, whenever it is
 * taken or settled: until world_expire_erased says that nothing from before before_ms can come any more, or more than
 * world_erased_most were deleted since. */
enum status world_user(struct world *w, const struct event *ev, struct err *e) MUST_CHECK;
void world_expire_erased(struct world *w, int64_t before_ms);
/* As many as take 1/WORLD_ERASED_PART of history.max_bytes. */
#define WORLD_ERASED_PART 64
size_t world_erased_most(const struct conf *c);
/* Fills s (reset, id set by the caller) for a shown list.  Unknown items get stand-ins from the impression's fields. */
enum status world_fill_impression(struct world *w, struct slate *s, const struct event *ev, struct err *e) MUST_CHECK;
/* Fills s for an order: its distinct items that no impression claims (`joined` lines) and that were announced before (at
 * most join.max_positives, seeded), and sampled negatives, none of them of any line.  NOT_FOUND when there is nothing to
 * score (first sales only, no user, ...). */
enum status world_fill_organic(struct world *w, struct slate *s, const struct event *lines, uint32_t n,
                               struct event_position at, struct err *e) MUST_CHECK;
/* The slate s again, filled a moment ago, with all active items as further candidates after its own: `out` (another slate, reset
 * here).  Active and left out as with sampled negatives.  More than at_most: a seeded choice of so many; *n_active is how many
 * there are.  What the world knows is only read. */
struct world_unsampled {
    const struct event *lines; /* of the order that opened s (n_lines); none: a recorded list */
    uint32_t n_lines, n_context, at_most;
    const struct event_attr *context; /* of the list (n_context) */
};
enum status world_fill_unsampled(struct world *w, struct slate *out, const struct slate *s, const struct world_unsampled *o,
                                 uint32_t *n_active, struct err *e) MUST_CHECK;
/* Lets the lines of a compound into history, catalogue and counters.  What they carry (title, price) updates the item. */
enum status world_take(struct world *w, const struct event *lines, uint32_t n, struct err *e) MUST_CHECK;
/* A slate's labels are settled: positives per item, slates per user ("cold" slices). */
enum status world_settled(struct world *w, const struct slate *s, struct err *e) MUST_CHECK;

/* Records changed since the last call with the same `consumer` (0: Redis features): hands out each once, packed by the
 * caller.  A user's of record_user_is_empty: the user was deleted.  Returning non-OK stops; the rest comes next time.  OOM: a user's
 * record can't be unfolded. */
enum status world_each_changed(struct world *w, enum status (*user)(void *arg, const struct record_user *u),
                               enum status (*item)(void *arg, const struct record_item *i), void *arg,
                               struct err *e) MUST_CHECK;
bool world_has_changed(const struct world *w); /* something waits for world_each_changed */
void world_mark_all_changed(struct world *w);  /* Redis lost everything: hand out all that is in memory again */
/* Records out of a published version, into a world that has none of its own; one that comes twice takes the place of the one
 * before.  The record is taken over and zeroed.  Items get rows of this catalogue; beyond catalogue.items they are counted in
 * refused_items.  world_warmed ends it: event time had come to time_ms (INT64_MIN: unknown).  CORRUPT: no id; OOM. */
enum status world_put_user(struct world *w, struct record_user *take_u, struct err *e) MUST_CHECK;
enum status world_put_item(struct world *w, struct record_item *take_i, struct err *e) MUST_CHECK;
enum status world_warmed(struct world *w, int64_t time_ms, struct err *e) MUST_CHECK;
const struct record_user *world_find_user(struct world *w,
                                          struct str id); /* NULL: unknown; valid until the next call */
const struct record_item *world_find_item(struct world *w, struct str id);
const struct world_counts *world_counts(struct world *w);
#endif

/* group.h - how often items of one category, brand or tag are taken when they are shown: bounded tallies by group.
 *
 * Only recorded impressions count, both sides when the list is settled, decayed with the half-life that rates have.  A group has
 * one of GROUP_PLACES places that follow from its key; when all are taken, the one shown least makes room, so names without end
 * (a brand field filled with order numbers) cost no memory and hardly touch what is shown often.  What was evicted begins anew.
 * Deterministic; part of the state (page by page).  Single writer.
 */
#ifndef FEATURIZE_GROUP_H
#define FEATURIZE_GROUP_H
#include "base/status.h"
#include "base/store.h"
#include "schemas/record.h"

#define GROUP_PLACES 8

struct group;
/* limit: groups remembered, rounded up to a power of two.  halvings_per_ms: of their counts. */
enum status group_new(struct group **out, size_t limit, double halvings_per_ms, struct err *e) MUST_CHECK;
void group_free(struct group *g);
size_t group_bytes(size_t limit);                               /* that one for so many takes */
uint64_t group_key(enum record_rate_kind kind, uint64_t value); /* value: hash of its name; never 0 */
void group_count(struct group *g, uint64_t key, int64_t time_ms, double shown, double taken);
/* What is known of it; all 0: nothing. */
struct record_rate group_rate(const struct group *g, uint64_t key);
/* Puts what a record remembers of a group in place of what is older. */
void group_put(struct group *g, uint64_t key, const struct record_rate *r);
/* a and b as of the later of both times, decayed like counts of groups. */
struct record_rate group_sum(const struct group *g, struct record_rate a, struct record_rate b);

/* Changed pages go into t; group_saved after its commit.  load: into an empty one.  CORRUPT. */
enum status group_save(struct group *g, struct store_txn *t, struct err *e) MUST_CHECK;
void group_saved(struct group *g);
enum status group_load(struct group *g, struct store_txn *t, struct err *e) MUST_CHECK;
#endif

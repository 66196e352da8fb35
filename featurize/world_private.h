/* world_private.h - the inside of struct world, shared by world*.c only.
 *
 * Users: a table of entries in a list by last activity; clean ones beyond the bound leave to the store.  Items: the
 * catalogue, with flags by row.  Both have a list of dirty records (for world_save) and one of changed records (for
 * world_each_changed); a record is on each list at most once.
 */
#ifndef FEATURIZE_WORLD_PRIVATE_H
#define FEATURIZE_WORLD_PRIVATE_H
#include "featurize/catalogue.h"
#include "featurize/counter.h"
#include "featurize/history.h"
#include "featurize/sample.h"
#include "featurize/world.h"
#include "featurize/world_table.h"

enum world_list { WORLD_RECENT, WORLD_DIRTY, WORLD_CHANGED, WORLD_LISTS };
struct world_link {
    struct world_user *prev, *next;
};
struct world_user {
    struct record_user record; /* first: the table reads its id */
    uint64_t hash;
    struct world_link links[WORLD_LISTS];
    bool on[WORLD_LISTS];
    bool gone; /* deleted: reads as unknown, leaves the store at the next save */
    size_t bytes;
};
struct world_users {
    struct world_table table;
    struct world_user *first[WORLD_LISTS], *last[WORLD_LISTS]; /* RECENT: newest first; others: oldest change first */
    size_t limit, bytes, max_bytes;
    bool stored_elsewhere; /* the store may hold users that are not in memory */
};
enum world_item_flag { WORLD_ITEM_DIRTY = 1, WORLD_ITEM_CHANGED = 2 };
struct world_rows { /* of items, in order of change */
    uint32_t *rows;
    size_t n, cap;
};
struct world {
    struct feat *feat;
    struct store *store;
    const struct describe *templates;
    struct counter_decay decay;
    struct conf_type types[EVENT_TYPES_MAX]; /* label and weight */
    uint32_t n_types;
    uint64_t seed;
    bool organic;
    uint32_t negatives, max_positives;
    struct world_users users;
    struct catalogue items;
    struct sample sample;
    uint8_t *item_flags;   /* (cap_item_flags) by row */
    uint32_t *item_bytes;  /* as last accounted */
    uint32_t *item_stamps; /* which call met the row last */
    size_t cap_items, all_item_bytes, max_item_bytes;
    uint32_t stamp;
    struct world_rows dirty_items, changed_items;
    struct record_tally all_shown, all_taken; /* settled impressions */
    uint64_t purchases;                       /* purchases taken so far */
    int64_t now_ms;                           /* newest event time let in */
    bool consumed;                            /* somebody has asked for changed records */
    bool saving;                              /* between world_save and world_saved */
    struct world_counts counts;
    struct buf buf;
    /* scratch of one slate */
    struct feat_candidate *candidates;
    struct record_item *stand_ins;
    size_t n_stand_ins, cap_candidates, cap_stand_ins;
    uint32_t *drawn;
    size_t cap_drawn;
};

/* ---- world_users.c ---- */
void world_users_fini(struct world *w);
/* The user in memory, read back from the store if need be; *out NULL: unknown.  Deleted ones read as unknown. */
enum status world_user_find(struct world *w, struct str id, struct world_user **out, struct err *e) MUST_CHECK;
enum status world_user_get(struct world *w, struct str id, struct world_user **out,
                           struct err *e) MUST_CHECK;         /* or new */
void world_user_touch(struct world *w, struct world_user *u); /* active now, dirty, changed, accounted */
void world_user_remove(struct world *w, struct world_user *u, enum world_list list);
void world_user_mark(struct world *w, struct world_user *u, enum world_list list);
void world_users_evict(struct world *w); /* clean ones beyond the bound */

/* ---- world_items.c ---- */
enum status world_items_room(struct world *w, struct err *e) MUST_CHECK; /* flags for every row there is */
/* The item or a new one with this time; *out NULL when the catalogue is full (counted). */
enum status world_item_get(struct world *w, struct str id, int64_t time_ms, struct record_item **out,
                           struct err *e) MUST_CHECK;
enum status world_item_attrs(struct world *w, struct record_item *i, bool behaviour, const struct event_attr *attrs,
                             uint32_t n, struct err *e) MUST_CHECK;
enum status world_item_sentence(struct world *w, struct record_item *i, struct err *e) MUST_CHECK; /* made anew */
enum status world_item_mark(struct world *w, struct record_item *i, unsigned flags, struct err *e) MUST_CHECK;
enum status world_item_touch(struct world *w, struct record_item *i,
                             struct err *e) MUST_CHECK;                                /* dirty, changed, accounted */
double world_item_takes(const struct world *w, const struct record_item *i);           /* what the sampler weighs */
enum status world_resample(struct world *w, struct err *e) MUST_CHECK;                 /* sample_set for every row */
enum status world_advance(struct world *w, int64_t time_ms, struct err *e) MUST_CHECK; /* event time moves on */
#endif

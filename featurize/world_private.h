/* world_private.h - the inside of struct world, shared by world*.c only.
 *
 * Users: a table of entries in a list by last activity; clean ones beyond the bound leave to the store.  In memory a user is an
 * entry and one packed block; the one user that is being looked at is open, unfolded in w->users.open.  Items: the catalogue.
 * Both have a list of dirty records (for world_save) and one of changed records (for world_each_changed); a record is on each
 * list at most once.
 */
#ifndef FEATURIZE_WORLD_PRIVATE_H
#define FEATURIZE_WORLD_PRIVATE_H
#include "featurize/catalogue.h"
#include "featurize/cooccur.h"
#include "featurize/counter.h"
#include "featurize/group.h"
#include "featurize/history.h"
#include "featurize/sample.h"
#include "featurize/world.h"
#include "featurize/world_table.h"

enum world_list { WORLD_RECENT, WORLD_DIRTY, WORLD_CHANGED, WORLD_LISTS };
struct world_link {
    struct world_user *prev, *next;
};
struct world_user {
    struct str id; /* first: the table reads it; lies in rest */
    uint64_t hash;
    void *rest; /* record_user_rest: all there is of the record */
    uint32_t cap_rest;
    bool on[WORLD_LISTS];
    struct world_link links[WORLD_LISTS];
};
struct world_users {
    struct world_table table;
    struct world_user *first[WORLD_LISTS], *last[WORLD_LISTS]; /* RECENT: newest first; others: oldest change first */
    size_t limit, bytes, max_bytes;
    bool stored_elsewhere;     /* the store may hold users that are not in memory */
    struct world_user *opened; /* whose record `open` is; NULL: nobody's */
    struct record_user open;   /* parts in scratch or in opened->rest */
    struct arena scratch;
    void *pack; /* (cap_pack) a record on its way to rest */
    size_t cap_pack;
};
struct world_erased;
struct world_erasures {
    struct world_table table;
    struct world_erased *first, *live, *last; /* oldest first; live: the first that is live, NULL: none */
    size_t n_live, n_untold, most;
};
enum world_item_flag { WORLD_ITEM_DIRTY = 1, WORLD_ITEM_CHANGED = 2 };
struct world_rows { /* of items, in order of change */
    uint32_t *rows;
    size_t first, n, cap; /* those from first to n - 1 are on the list */
};
struct world {
    struct feat *feat;
    struct store *store;
    const struct describe *templates;
    struct counter_decay decay;
    struct cooccur cooccur;
    struct conf_type types[EVENT_TYPES_MAX]; /* label and weight */
    uint32_t n_types;
    uint64_t seed;
    bool organic;
    uint32_t negatives, max_positives;
    bool basket;
    struct world_users users;
    struct world_erasures erased;
    struct catalogue items;
    struct sample sample;
    bool unweighed; /* the sampler has not been told of all items */
    size_t all_item_bytes, max_item_bytes;
    uint32_t stamp; /* of the call under way: catalogue_item.stamp */
    struct world_rows dirty_items, changed_items;
    struct record_tally all_shown, all_taken; /* settled impressions */
    struct group *groups;                     /* the same by category, brand and tag */
    unsigned rate_window;                     /* half-life that rates are counted over */
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
    struct arena scratch;                             /* parts of stand-ins */
    struct cooccur_member members[COOCCUR_ORDER_MAX]; /* of the order that is counted */
    struct record_neighbour *lists;                   /* (cap_lists) what their lists become */
    float *worths;                                    /* (cap_worths) */
    size_t cap_lists, cap_worths;
    struct pool *pool;                                /* NULL: none */
    uint64_t *ahead;                                  /* hashes of items that are read next */
    size_t cap_ahead;
};

/* ---- world_users.c ---- */
void world_users_fini(struct world *w);
/* The user, read back from the store if need be, and its record in w->users.open; *out NULL: unknown. */
enum status world_user_find(struct world *w, struct str id, struct world_user **out, struct err *e) MUST_CHECK;
/* Or a new one, for what happened at time_ms; *out NULL: the user was deleted since. */
enum status world_user_get(struct world *w, struct str id, int64_t time_ms, struct world_user **out,
                           struct err *e) MUST_CHECK;
void world_user_drop(struct world *w, struct world_user *u); /* out of memory, without a word to store or Redis */
enum status world_user_open(struct world *w, struct world_user *u,
                            struct err *e) MUST_CHECK; /* its record in w->users.open */
/* u is as w->users.open has it: put to rest, active now, dirty, changed, accounted. */
enum status world_user_touch(struct world *w, struct world_user *u, struct err *e) MUST_CHECK;
/* The same with another record (its id u's own), which stays the caller's. */
enum status world_user_take(struct world *w, struct world_user *u, const struct record_user *record,
                            struct err *e) MUST_CHECK;
size_t world_user_bytes(const struct world_user *u);
void world_user_remove(struct world *w, struct world_user *u, enum world_list list);
void world_user_mark(struct world *w, struct world_user *u, enum world_list list);
void world_users_evict(struct world *w); /* clean ones beyond the bound */

/* ---- world_erased.c: deleted users ---- */
enum status world_erase(struct world *w, struct str id, int64_t time_ms, struct err *e) MUST_CHECK;
/* What happened at time_ms is not the user's: the deletion came then or later. */
bool world_erased_since(const struct world *w, struct str id, int64_t time_ms);
bool world_erased_unsaved(const struct world *w, struct str id); /* what the store has of the user is no longer so */
void world_erased_back(struct world *w, struct str id);          /* the user has a record again */
void world_erased_fini(struct world *w);
enum status world_erased_save(struct world *w, struct store_txn *t,
                              struct err *e) MUST_CHECK; /* before records are put: some may be back */
void world_erased_saved(struct world *w);
enum status world_erased_load(struct world *w, struct store_txn *t, struct err *e) MUST_CHECK;
/* Records with nothing but an id, before those of users that are back. */
enum status world_erased_each(struct world *w, enum status (*user)(void *arg, const struct record_user *u),
                              void *arg) MUST_CHECK;
void world_erased_mark_all(struct world *w);

/* ---- world_items.c ---- */
/* The item while it is in the catalogue: NULL when it never was, or was deleted. */
struct record_item *world_item_offered(const struct world *w, struct str id, uint64_t hash);
/* The item, to be changed, or a new one with this time; *out NULL when the catalogue is full (counted). */
enum status world_item_get(struct world *w, struct str id, int64_t time_ms, struct record_item **out,
                           struct err *e) MUST_CHECK;
enum status world_item_attrs(struct world *w, struct record_item *i, bool behaviour, const struct event_attr *attrs,
                             uint32_t n, struct err *e) MUST_CHECK;
enum status world_item_sentence(struct world *w, struct record_item *i, struct err *e) MUST_CHECK; /* made anew */
enum status world_item_mark(struct world *w, struct record_item *i, unsigned flags, struct err *e) MUST_CHECK;
/* After the changes that world_item_get or catalogue_edit began: packed and accounted; touch: dirty and changed, too. */
enum status world_item_close(struct world *w, struct record_item *i, struct err *e) MUST_CHECK;
enum status world_item_touch(struct world *w, struct record_item *i, struct err *e) MUST_CHECK;
double world_item_takes(const struct world *w, const struct record_item *i);           /* what the sampler weighs */
enum status world_resample(struct world *w, struct err *e) MUST_CHECK;                 /* sample_set for every row */
enum status world_advance(struct world *w, int64_t time_ms, struct err *e) MUST_CHECK; /* event time moves on */

/* ---- world_rates.c: how often items of one kind are taken when shown ---- */
void world_rates_count(struct world *w, const struct record_item *i, int64_t time_ms, double taken);
void world_rates_remember(const struct world *w, struct record_item *i); /* how the item's groups stand now */
void world_rates_adopt(struct world *w, const struct record_item *i);    /* what it remembers becomes the world's */

/* ---- world_orders.c: items of one order, counted as each other's neighbours ---- */
enum status world_order_take(struct world *w, const struct event *lines, uint32_t n, struct err *e) MUST_CHECK;

/* ---- world_ahead.c: what is read next is fetched all at once, so that memory's latency is paid once ---- */
/* Room for n hashes in w->ahead. */
enum status world_ahead_room(struct world *w, size_t n, struct err *e) MUST_CHECK;
void world_ahead(const struct world *w, struct str user,
                 size_t n); /* the items of w->ahead[0 … n-1], and a user (or none) */
#endif

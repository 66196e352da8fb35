/* catalogue.h - the items: id → record, dense rows in order of first sight, attributes as they were last told.
 *
 * Items never leave memory, so rows are stable and index the sampler's arrays; deleted ones keep their row.  A record stays where
 * it is; its parts (texts, tallies, token ids) lie together in one block, so that reading it touches two places.  Attributes
 * come from item events (all of them) and from behaviours (title, category, brand, tags, description, price, currency,
 * and what templates name): the last word counts.  Bounded by catalogue.items and EVENT_ATTRS_MAX per item.
 */
#ifndef FEATURIZE_CATALOGUE_H
#define FEATURIZE_CATALOGUE_H
#include "base/status.h"
#include "featurize/describe.h"
#include "featurize/history.h"
#include "featurize/world_table.h"
#include "schemas/event.h"
#include "schemas/record.h"

struct catalogue_item {
    struct record_item record; /* first: the table reads its id */
    void *parts;               /* (cap_parts) what the record points to, unless it is being changed */
    uint32_t cap_parts;
    uint32_t counted, stamp; /* the owner's: bytes as last accounted; which call met it last */
    uint8_t flags;           /* the owner's */
};
struct catalogue {
    struct world_table table;
    struct record_item **rows; /* (n_rows) owned, each inside a catalogue_item */
    size_t n_rows, cap_rows, limit;
    struct catalogue_item *open; /* being changed: new parts are in scratch; NULL: none */
    struct arena scratch;
    void *pack; /* (cap_pack) parts on their way to a block */
    size_t cap_pack;
};
/* Of a record that is in a catalogue. */
static inline struct catalogue_item *catalogue_of(const struct record_item *i)
{
    return (struct catalogue_item *)(uintptr_t)i;
}
void catalogue_init(struct catalogue *c, size_t limit);
void catalogue_fini(struct catalogue *c);
struct record_item *catalogue_find(const struct catalogue *c, struct str id); /* or NULL; deleted ones too */
/* Rows that are read next: fetched into the cache. */
void catalogue_ahead(const struct catalogue *c, const uint32_t *rows, size_t n);
/* From here on i's parts may change (in its scratch), until the next catalogue_close, _edit or _add.  OOM: of the close before. */
enum status catalogue_edit(struct catalogue *c, struct record_item *i, struct err *e) MUST_CHECK;
enum status catalogue_close(struct catalogue *c,
                            struct err *e) MUST_CHECK; /* packs what was being changed.  OOM: it stays open */
/* A new item with the next row, open for changes. FULL at the limit, OOM; *out is the catalogue's, NULL on failure. */
enum status catalogue_add(struct catalogue *c, struct str id, int64_t time_ms, struct record_item **out,
                          struct err *e) MUST_CHECK;
/* Takes a record read from the store into its row (record fini'd on success).  CORRUPT: the row or id is taken; FULL. */
enum status catalogue_put(struct catalogue *c, struct record_item *take_item, struct err *e) MUST_CHECK;
/* The record of i becomes take_item's (same id and row; fini'd on success), open for changes. */
enum status catalogue_replace(struct catalogue *c, struct record_item *i, struct record_item *take_item,
                              struct err *e) MUST_CHECK;
enum status catalogue_check(const struct catalogue *c, struct err *e) MUST_CHECK; /* CORRUPT: a row is missing */

enum catalogue_change {
    CATALOGUE_ATTRS = 1,
    CATALOGUE_SENTENCE = 2
}; /* SENTENCE: one that the item's template names */
/* Lays attributes over an item's own.  behaviour: only those listed above, and a price only if it is above 0.
 * *changed: flags of enum catalogue_change.  OOM: what came before the failing one is kept. */
enum status catalogue_set_attrs(struct record_item *i, const struct describe *d, bool behaviour,
                                const struct event_attr *attrs, uint32_t n, unsigned *changed,
                                struct err *e) MUST_CHECK;
/* The same for any list of attributes (users); scratch: the record's. */
enum status catalogue_set_attr(struct arena *scratch, struct record_attr **list, uint32_t *n,
                               const struct event_attr *attr, bool *changed, struct err *e) MUST_CHECK;
/* Hashes of the values of `tags` (parted by list or comma), at most HISTORY_TAGS_MAX. */
uint32_t catalogue_tags(const struct record_item *i, uint32_t out[HISTORY_TAGS_MAX]);
size_t catalogue_bytes(const struct record_item *i); /* of an item in a catalogue: what it holds on the heap */
#endif

/* catalogue.h - the items: id → record, dense rows in order of first sight, attributes as they were last told.
 *
 * Items never leave memory, so rows are stable and index the sampler's arrays; deleted ones keep their row.  Attributes
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

struct catalogue {
    struct world_table table;
    struct record_item **rows; /* (n_rows) owned */
    size_t n_rows, cap_rows, limit;
};
void catalogue_init(struct catalogue *c, size_t limit);
void catalogue_fini(struct catalogue *c);
struct record_item *catalogue_find(const struct catalogue *c, struct str id); /* or NULL; deleted ones too */
/* A new item with the next row. FULL at the limit, OOM; *out is the catalogue's, NULL on failure. */
enum status catalogue_add(struct catalogue *c, struct str id, int64_t time_ms, struct record_item **out,
                          struct err *e) MUST_CHECK;
/* Takes a record read from the store into its row (record zeroed on success).  CORRUPT: the row or id is taken; FULL. */
enum status catalogue_put(struct catalogue *c, struct record_item *take_item, struct err *e) MUST_CHECK;
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
/* The same for any list of attributes (users). */
enum status catalogue_set_attr(struct record_attr **list, uint32_t *n, const struct event_attr *attr, bool *changed,
                               struct err *e) MUST_CHECK;
/* Hashes of the values of `tags` (parted by list or comma), at most HISTORY_TAGS_MAX. */
uint32_t catalogue_tags(const struct record_item *i, uint32_t out[HISTORY_TAGS_MAX]);
size_t catalogue_bytes(const struct record_item *i); /* estimate of what the record holds on the heap */
#endif

/* history.h - what a user did, inside a user's record: newest events, dealings with single items, counts, mean price.
 *
 * All of it is bounded (history.events, history.pairs); what is oldest goes first.  Taking an event changes the record
 * whole or, when memory runs out, not at all.  Nothing here knows where items come from: the caller brings the
 * sentence's token ids and the hashes of category, brand and tags.
 */
#ifndef FEATURIZE_HISTORY_H
#define FEATURIZE_HISTORY_H
#include "base/status.h"
#include "featurize/counter.h"
#include "schemas/conf.h"
#include "schemas/record.h"

#define HISTORY_TAGS_MAX 8 /* tags of an event that are remembered, as 32-bit hashes in record_event.words */

struct history_limits {
    uint32_t events, pairs;
};
struct history_event { /* borrowed during the call */
    uint64_t item;     /* hash_str of the id */
    int64_t time_ms;
    uint8_t type;
    bool positive; /* its price counts towards the user's mean */
    double price;  /* NaN: unknown */
    uint64_t category, brand;
    const int32_t *ids;
    uint16_t n_ids;
    const uint32_t *tags;
    uint32_t n_tags; /* at most HISTORY_TAGS_MAX */
};
struct history_limits history_limits(const struct conf *c);

/* Takes ev into u: in front of all that are not newer, counted in pairs and tallies.  OOM: u is as before. */
enum status history_take(struct record_user *u, const struct history_event *ev, const struct counter_decay *decay,
                         struct history_limits limits, struct err *e) MUST_CHECK;
const struct record_pair *history_pair(const struct record_user *u, uint64_t item, uint8_t type); /* or NULL */
/* All of an item's pairs, by type: the first of *n (0: none). */
const struct record_pair *history_pairs(const struct record_user *u, uint64_t item, uint32_t *n);
uint32_t history_tags(const struct record_event *ev, uint32_t out[HISTORY_TAGS_MAX]); /* how many */
#endif

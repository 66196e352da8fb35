/* record.h - a user and an item as they are remembered: in memory, in the store and (packed the same way) in Redis.
 *
 * One struct serves the learner's tables and the scorer's view, so featurize reads both alike.  Records are packed between
 * a format byte and XXH3-64 of all before it, so any damage shows, wherever they lay; formats 1 (no such check) and 2 (items without
 * rates and neighbours) are still read.  Counters travel with the time they were last decayed, decay is applied at reading.
 */
#ifndef SCHEMAS_RECORD_H
#define SCHEMAS_RECORD_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "schemas/event.h"
#include <stdbool.h>
#include <stdint.h>

#define RECORD_FORMAT 4       /* 3 is one flipped bit away from 1, which has no check */
#define RECORD_FORMAT_ALONE 2 /* items without rates, orders and neighbours */
#define RECORD_FORMAT_UNCHECKED 1
#define RECORD_NEIGHBOURS_MAX 4096 /* that are read back; what is kept is cooccur.neighbours */
#define RECORD_HALF_LIVES 4        /* decayed counts kept per tally; counter.half_life_hours names them */

/* Tallies beside those of behaviours, counted when an impression is settled: what it showed and what of that was taken; of
 * the record's owner, and (in users) of all items together as they stood then: the parent that a rate is shrunk to. */
enum record_tally_type {
    RECORD_SHOWN = EVENT_TYPES_MAX,
    RECORD_TAKEN,
    RECORD_ALL_SHOWN,
    RECORD_ALL_TAKEN,
    RECORD_TALLY_TYPES
};
/* Exponentially decayed counts of one event type (weights of events at their half-lives), and the plain total. */
struct record_tally {
    uint8_t type;    /* enum event_type, the user's own, or enum record_tally_type */
    int64_t time_ms; /* decayed[] is as of this time */
    double total;
    double decayed[RECORD_HALF_LIVES];
};
/* The same of what an item belongs to, in one pair of decayed counts, as it stood when the item's record was last touched. */
enum record_rate_kind { RECORD_RATE_ALL, RECORD_RATE_CATEGORY, RECORD_RATE_BRAND, RECORD_RATE_TAGS, RECORD_RATES };
struct record_rate {
    int64_t time_ms; /* the counts are as of this time */
    float shown, taken;
};
/* A user's dealings with one item, by type. */
struct record_pair {
    uint64_t item; /* hash_str of the item's id */
    int64_t last_ms;
    uint32_t count;
    uint8_t type;
};
/* One remembered event of a user, newest first in the record. */
struct record_event {
    uint64_t item;
    int64_t time_ms;
    uint64_t sentence; /* hash of the token ids */
    int32_t *ids;      /* the sentence's token ids, owned by the record */
    uint16_t n_ids;
    uint8_t type;
    float price;              /* NaN: unknown */
    uint64_t category, brand; /* hashes; 0: none */
    struct str words;         /* unused bytes are absent: reserved for parts that need text; may be {NULL,0} */
};
/* An item that was in the same orders as the record's. */
struct record_neighbour {
    uint32_t item;  /* lower half of hash_str of its id */
    float together; /* orders with both */
    float orders;   /* orders with the neighbour, as of the last one with both */
    float chances;  /* orders with the record's item since the neighbour came in */
};
struct record_attr { /* attribute as text or number; lists are joined by \x1f in text */
    struct str name, text;
    double number; /* NaN when not a number */
};
struct record_user {
    struct str id;
    int64_t first_ms, last_ms;
    uint32_t n_slates;         /* orders or lists scored so far: "cold" below 2 */
    double price_sum, price_n; /* log1p prices taken: the user's mean */
    struct record_attr *attrs;
    uint32_t n_attrs;
    struct record_tally *tallies;
    uint32_t n_tallies;
    struct record_event *events;
    uint32_t n_events, cap_events; /* newest first, bounded by history.events */
    struct record_pair *pairs;
    uint32_t n_pairs, cap_pairs; /* sorted by (item, type), bounded by history.pairs */
    struct arena
        *scratch; /* NULL: every part lies in a mem_* block of its own.  Else parts are made in this arena (or lie in
                            * memory that somebody else frees) and fini frees none of them */
};
struct record_item {
    struct str id;
    uint64_t hash;    /* hash_str(id) */
    uint32_t row;     /* dense index, from 0, in order of first sight; stable */
    int64_t first_ms; /* announced or first taken */
    int64_t last_ms;  /* announced or last taken: activity for the sampler */
    bool announced, deleted;
    struct record_attr *attrs;
    uint32_t n_attrs; /* title, category, brand, tags, price, ... */
    struct record_tally *tallies;
    uint32_t n_tallies;
    uint64_t positives;     /* positive labels so far: "cold" below 4 */
    uint32_t sample_weight; /* fixed-point weight in the sampler's tree, as of when the record was handed out */
    int32_t *ids;
    uint16_t n_ids;
    uint64_t sentence;                      /* the item's own sentence, made from attrs; n_ids 0: not made yet */
    uint64_t category, brand;               /* hashes; 0: none */
    float price;                            /* NaN: unknown */
    struct record_rate rates[RECORD_RATES]; /* by enum record_rate_kind; nothing shown: none */
    int64_t orders_ms; /* orders and neighbours are as of this time (they may decay: cooccur.half_life_days) */
    double orders;     /* orders of several items that had this one */
    struct record_neighbour *neighbours;
    uint32_t n_neighbours; /* by item, bounded by cooccur.neighbours */
    struct arena *scratch; /* as in a user's record */
};
/* fini frees what the record owns and zeroes it, but for `scratch`; both records may be reused. */
void record_user_fini(struct record_user *u);
void record_item_fini(struct record_item *i);
bool record_user_is_empty(const struct record_user *u); /* nothing but an id: what is left of who was deleted */
void record_user_encode(struct buf *b, const struct record_user *u);
void record_item_encode(struct buf *b, const struct record_item *i);
/* Memory for a part of a record with this scratch (NULL: mem_*): zeroed; a larger copy of what is there, p gone; freed. */
void *record_part(struct arena *scratch, size_t n, size_t size);
void *record_part_grow(struct arena *scratch, void *p, size_t n_old, size_t n, size_t size);
void record_part_drop(struct arena *scratch, void *p);
struct str record_part_text(struct arena *scratch, struct str s); /* a copy, NUL after it; .p NULL: out of memory */
/* Decode into a zeroed (or fini'd) record, whose scratch may be set.  CORRUPT with the reason, OOM; the record is then empty. */
enum status record_user_decode(struct record_user *u, struct buf_reader *r, struct err *e) MUST_CHECK;
enum status record_item_decode(struct record_item *i, struct buf_reader *r, struct err *e) MUST_CHECK;
bool record_rate_valid(const struct record_rate *r); /* finite counts, nothing below 0 */
const struct record_attr *record_attr(const struct record_attr *attrs, uint32_t n, const char *name); /* or NULL */

/* A user's record at rest in memory: one block of so many bytes (8-aligned), written by record_user_rest, which returns them
 * too.  record_user_open unfolds it into u's scratch, which must be set: id, texts, counts and pairs then lie in the block
 * itself and may be changed there.  False: out of memory, u as before. */
size_t record_user_rest_bytes(const struct record_user *u);
size_t record_user_rest(void *block, const struct record_user *u);
struct str record_user_rest_id(void *block);
bool record_user_open(struct record_user *u, void *block) MUST_CHECK;

/* A sentence's frozen states as the scorer fetches them: bf16, C each; tokens (n, C) only for the `tokens` view. */
struct record_state {
    uint32_t n_tokens; /* 0 unless token states are kept */
    uint32_t width;    /* C */
    const uint16_t *pooled, *final,
        *tokens; /* pooled after layer m, final sentence vector (unit length), token states */
};
void record_state_encode(struct buf *b, const struct record_state *s);
/* Points into r, where the vectors may be unaligned: copy before reading. */
enum status record_state_decode(struct record_state *s, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif

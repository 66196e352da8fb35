/* shop.h - a synthetic shop whose truth is known: items with titles that mean something, users with tastes over those words
 * and over single items, lists shown, clicks that come late, purchases that follow, new items, drifting tastes.
 *
 * Truth: P(click | looked at) = sigmoid(bias + taste_u · words(i) + quality_i), taste_u ~ N(0, s²) per word, quality_i ~ N(0, q²);
 * each day a share `drift` of a taste's variance is renewed (an Ornstein-Uhlenbeck walk, so its spread stays).  With season_ms
 * tastes and qualities are others in every second season, and what they were returns with the one after it.  Every
 * number comes from base/rand.h: equal options give equal bytes.
 */
#ifndef SIMULATE_SHOP_H
#define SIMULATE_SHOP_H
#include "base/buf.h"
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

#define SHOP_NOUNS 24 /* categories are groups of nouns */
#define SHOP_COLOURS 10
#define SHOP_MATERIALS 10
#define SHOP_WORDS (SHOP_NOUNS + SHOP_COLOURS + SHOP_MATERIALS)
#define SHOP_SLATE_MAX 100

enum shop_fault { SHOP_FAULT_NONE, SHOP_FAULT_FLIP, SHOP_FAULT_FLOOD, SHOP_FAULT_LABELS1, SHOP_FAULT_PRICES0 };

struct shop_options {
    uint32_t users, items, slate; /* slate: items of one shown list */
    uint64_t events;              /* lines to write at most, catalogue included */
    uint64_t seed;
    double drift;                          /* share of taste variance renewed per day */
    int64_t season_ms;                     /* length of a season; 0: there are none */
    double new_items;                      /* share of the catalogue that arrives later, evenly over the log */
    double lists_per_s;                    /* of event time */
    double delay_ms;                       /* mean delay of a click (exponential) */
    double buy;                            /* P(purchase | click) */
    double stop;                           /* P(nothing further down the list is looked at | click) */
    double word_taste, item_quality, bias; /* s, q, and the intercept */
    int64_t start_ms, window_ms;           /* window: labels later than this are nobody's */
    bool chinese;
    uint32_t sources; /* events name one of so many sources, by user; 0: none */
    enum shop_fault fault;
    int64_t fault_at_ms, fault_ms; /* after the start; how long */
};
void shop_defaults(struct shop_options *o);

struct shop_item {
    uint32_t noun, colour, material;
    float quality[2], price; /* quality: in even and in odd seasons */
    int64_t since_ms;
};
struct shop_list {   /* one shown list and what came of it */
    uint64_t number; /* from 1 */
    int64_t time_ms;
    uint32_t user, n;
    bool left;       /* a click ended it: nothing further down was looked at (stop) */
    uint32_t source; /* of the user, from 1; 0: none */
    uint32_t items[SHOP_SLATE_MAX];
    int64_t click_ms[SHOP_SLATE_MAX]; /* 0: never */
    bool bought[SHOP_SLATE_MAX];
    double p[SHOP_SLATE_MAX]; /* the truth, of one that is looked at */
};
struct shop;
enum status shop_new(struct shop **out, const struct shop_options *o, struct err *e) MUST_CHECK;
void shop_free(struct shop *s);
const struct shop_item *shop_item(const struct shop *s, uint32_t i);
bool shop_is_chinese(const struct shop *s);
/* The next shown list, without end: the caller counts lines. */
void shop_next(struct shop *s, struct shop_list *out);
/* Items in the catalogue at that time (they arrive in order of their number). */
uint32_t shop_items_at(const struct shop *s, int64_t time_ms);
bool shop_clicked(const struct shop_options *o, const struct shop_list *l, uint32_t k); /* inside the window */
/* Leading items that were looked at as far as clicks tell (join.cascade): all, where a click may end it up to the last one. */
uint32_t shop_looked(const struct shop_options *o, const struct shop_list *l);
/* The three words of an item as indices 0 … SHOP_WORDS-1. */
void shop_words(const struct shop_item *i, uint32_t out[3]);
/* Native events as JSON lines. */
/* What the log says of an item's price at that time. */
double shop_price(const struct shop *s, uint32_t i, int64_t time_ms, uint32_t source);
void shop_write_item(struct buf *b, const struct shop *s, uint32_t i);
void shop_write_list(struct buf *b, const struct shop_list *l);
void shop_write_click(struct buf *b, const struct shop_list *l, uint32_t k);
void shop_write_purchase(struct buf *b, const struct shop *s, const struct shop_list *l, uint32_t k, int64_t time_ms);
#endif

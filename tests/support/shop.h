/* shop.h - a small shop for tests of featurize: config, vocabulary, templates, features, world, and events to feed it.
 *
 * Events lie in the shop's arena until it closes.  Any failure fails the test with its sentence.
 */
#ifndef TESTS_SUPPORT_SHOP_H
#define TESTS_SUPPORT_SHOP_H
#include "base/arena.h"
#include "base/store.h"
#include "featurize/feat.h"
#include "featurize/world.h"
#include "schemas/conf.h"

#define SHOP_DAY_MS INT64_C(86400000)
#define SHOP_START_MS (INT64_C(1600000000000) / SHOP_DAY_MS * SHOP_DAY_MS) /* midnight */

struct shop {
    struct conf *conf;
    struct token_vocab *vocab;
    struct describe *templates;
    struct feat *feat;
    struct store *store; /* borrowed; may be NULL */
    struct world *world;
    struct slate *slate;
    struct arena arena;
    uint64_t offset;
};
/* vocab: folder under tests/fixtures, NULL for none; options: "section.key=value", ended by NULL. */
void shop_open(struct shop *s, const char *vocab, const char *const *options, struct store *store);
void shop_close(struct shop *s);
void shop_load(struct shop *s); /* world_load from the shop's store */
void shop_save(struct shop *s); /* world_save, commit, world_saved */

struct event shop_behaviour(struct shop *s, uint8_t type, const char *user, const char *item, int64_t time_ms);
void shop_text(struct shop *s, struct event *ev, const char *name, const char *text);
void shop_number(struct shop *s, struct event *ev, const char *name, double x); /* price also sets ev->price */
void shop_list(struct shop *s, struct event *ev, const char *name, const char *comma_separated);
/* An `item` event: title may be NULL. */
void shop_announce(struct shop *s, const char *item, const char *title, int64_t time_ms);
/* One purchase of one item is taken (not scored). */
void shop_take(struct shop *s, uint8_t type, const char *user, const char *item, int64_t time_ms);
/* Items (comma-separated) are one order: filled into s->slate, settled and taken.  False: nothing to score (taken all
 * the same). */
bool shop_order(struct shop *s, const char *user, const char *items, int64_t time_ms);
/* A list was shown: filled into s->slate, open. */
void shop_show(struct shop *s, const char *user, const char *items, int64_t time_ms);
/* s->slate packed, for comparing bits; in the shop's arena. */
struct str shop_slate_bytes(struct shop *s);
int shop_find(const struct shop *s, const char *item);             /* index in s->slate or -1 */
float shop_feature(const struct shop *s, int k, const char *name); /* of candidate k */
#endif

/* serving_world.h - a learner's side in small, for tests of serving: a base folder with a tiny encoder, a shop with users
 * and items, a model with shaken parameters, and their publication into a private Redis.
 *
 * Any failure fails the test with its sentence.
 */
#ifndef TESTS_SUPPORT_SERVING_WORLD_H
#define TESTS_SUPPORT_SERVING_WORLD_H
#include "model/model.h"
#include "serving/publish.h"
#include "tests/support/redis_server.h"
#include "tests/support/shop.h"

#define SERVING_WORLD_NOW_MS (SHOP_START_MS + 10 * SHOP_DAY_MS) /* watermark of what is published */

struct serving_world {
    struct redis_server redis;
    struct tmpdir base; /* Hugging Face folder */
    struct shop shop;   /* its conf is that of learner and scorer; redis.url and model.base set */
    struct kern *kern;
    struct encoder *encoder;
    struct model *model;
    struct state_cache *states;
    struct model_run *run;
    struct param_set *params;
    struct publish *publish;
    int64_t watermark_ms; /* of versions: SERVING_WORLD_NOW_MS */
};
/* options: "section.key=value", ended by NULL; may be NULL.  Items i0…i9 with titles and prices, users u0…u3 with history. */
void serving_world_open(struct serving_world *w, const char *const *options);
void serving_world_close(struct serving_world *w);
/* Other numbers in all tensors (seed 0: zero-headed as initialised), bound to run. */
void serving_world_shake(struct serving_world *w, unsigned seed);
void serving_world_features(struct serving_world *w); /* what changed, states too */
/* All weights, every row touched, and waits until all is in. */
void serving_world_version(struct serving_world *w, uint64_t version);
/* Only those of the rows that publish_touch was told of; rounded: the dense part in bf16. */
void serving_world_hand(struct serving_world *w, uint64_t version, bool rounded);
struct publish_hashed serving_world_hashed(const struct serving_world *w);
struct buf serving_world_dense(struct serving_world *w, bool rounded);    /* the dense piece; buf_fini */
struct buf serving_world_file(struct serving_world *w, uint64_t version); /* as one weight file; buf_fini */
/* Fills shop.slate as an impression at the watermark and scores it with the learner's own run. */
void serving_world_score(struct serving_world *w, const char *user, const char *items, float *logits);
#endif

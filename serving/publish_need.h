/* publish_need.h - how much memory of Redis a model needs, computed from the configuration.
 *
 * Weights exactly: the versions that are kept and one more that is being uploaded; chunks that versions share make it less.
 * Records by the most that one may take besides its own attributes (title, price, …), with Redis's overhead for a key; how
 * many users, items and sentences there are within publish.feature_ttl_s is the shop's matter.  Thread: any.
 */
#ifndef SERVING_PUBLISH_NEED_H
#define SERVING_PUBLISH_NEED_H
#include "schemas/conf.h"

struct publish_need {
    uint64_t version_bytes, versions, weights_bytes; /* one weight file; how many at once; all of them with overhead */
    uint64_t user_bytes, item_bytes;                 /* of one record */
    uint64_t state_bytes;                            /* of one sentence's frozen states; 0: not known or not used */
    uint64_t stream_bytes;                           /* metrics, log of versions */
};
/* width: C of the encoder, 0 when no frozen states are published; tokens: token states too. */
void publish_need(const struct conf *c, uint64_t version_bytes, uint64_t width, bool tokens, struct publish_need *out);
void publish_need_weights(struct publish_need *n, uint64_t version_bytes); /* once a version's size is known */
/* For that many records: everything. */
uint64_t publish_need_bytes(const struct publish_need *n, uint64_t users, uint64_t items, uint64_t states);
#define PUBLISH_NEED_TEXT 300
void publish_need_text(const struct publish_need *n, char out[PUBLISH_NEED_TEXT]);
#endif

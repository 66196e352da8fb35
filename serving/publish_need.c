/* publish_need.c - sums over the packed layouts of schemas/record.c; each bound is tested against the packing itself. */
#include "serving/publish_need.h"
#include "schemas/event.h"
#include "schemas/record.h"
#include "serving/publish_manifest.h"
#include <stdio.h>

#define KEY_BYTES 176                /* Redis's entry, key text with a usual id, expiry (measured: 158) */
#define VARINT_BYTES 10              /* at most */
#define ID_BYTES 3                   /* varint of a token id below 2,097,152 */
#define STREAMS ((uint64_t)24 << 20) /* 10,000 entries of metrics:ts, 1,000 of log (measured: 17 MiB for 60 figures) */

/* format, id's length, two times, slates, two sums, counts of the lists, check */
#define USER_HEAD (1 + 2 + 2 * 8 + VARINT_BYTES + 2 * 8 + 4 * VARINT_BYTES + 8)
#define EVENT_BYTES (8 + 8 + VARINT_BYTES + 1 + 4 + 8 + 8 + 1)
#define PAIR_BYTES (8 + 8 + VARINT_BYTES + 1)
#define TALLIES (RECORD_TALLY_TYPES * (1 + 8 + 8 + 8 * RECORD_HALF_LIVES))
#define STATE_HEAD (1 + 1 + 4 + 4 + 8)
#define MANIFEST_CHUNK 200 /* one chunk's line in a manifest */
#define MANIFEST_HEAD 8192
#define ITEM_HEAD (1 + 2 + VARINT_BYTES + 2 * 8 + 1 + 5 * VARINT_BYTES + 2 * 8 + 4 + RATES + 2 * 8 + VARINT_BYTES + 8)
#define RATES (1 + RECORD_RATES * 16)
#define NEIGHBOUR_BYTES (4 + 3 * 4)

/* As a value in Redis: the allocator's size classes are up to a quarter apart. */
static uint64_t in_redis(uint64_t bytes)
{
    return KEY_BYTES + bytes + bytes / 4;
}

void publish_need_weights(struct publish_need *n, uint64_t version_bytes)
{
    const uint64_t chunks = (version_bytes + PUBLISH_CHUNK_BYTES - 1) / PUBLISH_CHUNK_BYTES;
    n->version_bytes = version_bytes;
    n->weights_bytes = n->versions * (in_redis(version_bytes) + chunks * (KEY_BYTES + MANIFEST_CHUNK) + MANIFEST_HEAD);
}

void publish_need(const struct conf *c, uint64_t version_bytes, uint64_t width, bool tokens, struct publish_need *out)
{
    const uint64_t ids = (uint64_t)c->model_max_tokens * ID_BYTES, row = 2 * width;
    const uint64_t events = (uint64_t)c->history_events, pairs = (uint64_t)c->history_pairs;
    *out = (struct publish_need){.versions = (uint64_t)c->publish_keep + 1, .stream_bytes = STREAMS};
    publish_need_weights(out, version_bytes);
    out->user_bytes = in_redis(USER_HEAD + TALLIES + events * (EVENT_BYTES + ids) + pairs * PAIR_BYTES);
    out->item_bytes = in_redis(ITEM_HEAD + TALLIES + ids + (uint64_t)c->cooccur_neighbours * NEIGHBOUR_BYTES);
    const uint64_t rows = 2 + (tokens ? (uint64_t)c->model_max_tokens : 0);
    out->state_bytes = width == 0 ? 0 : in_redis(STATE_HEAD + rows * row);
}

uint64_t publish_need_bytes(const struct publish_need *n, uint64_t users, uint64_t items, uint64_t states)
{
    return n->weights_bytes + n->stream_bytes + users * n->user_bytes + items * n->item_bytes + states * n->state_bytes;
}

void publish_need_text(const struct publish_need *n, char out[PUBLISH_NEED_TEXT])
{
    const int at =
        snprintf(out, PUBLISH_NEED_TEXT,
                 "%.1f MiB for %llu versions of %.1f MiB, %.0f MiB for figures; and at most %.1f KiB a user, "
                 "%.1f KiB an item",
                 (double)n->weights_bytes / 0x1p20, (unsigned long long)n->versions, (double)n->version_bytes / 0x1p20,
                 (double)n->stream_bytes / 0x1p20, (double)n->user_bytes / 0x1p10, (double)n->item_bytes / 0x1p10);
    if (n->state_bytes > 0 && at > 0 && at < PUBLISH_NEED_TEXT)
        (void)snprintf(out + at, PUBLISH_NEED_TEXT - (size_t)at, ", %.1f KiB a sentence",
                       (double)n->state_bytes / 0x1p10);
}

/* publish_manifest.h - what a version says of itself in Redis: the JSON at fr:{m}:manifest:<version>.
 *
 * Written by the publisher, read by every scorer, which believes nothing of it that it has not checked.  Chunk i lies
 * at fr:{m}:chunk:<version>:<i>, where <version> is the one that first brought these bytes.  All chunks in order are the
 * pieces of schemas/weights_dense.h, each piece beginning with a chunk of its own; or, as versions of before were written,
 * one weight file.
 */
#ifndef SERVING_PUBLISH_MANIFEST_H
#define SERVING_PUBLISH_MANIFEST_H
#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUBLISH_CHUNK_BYTES ((size_t)1 << 20)
#define PUBLISH_CHUNKS_MAX 4096 /* 4 GiB of weights */
#define PUBLISH_OFFSETS_MAX 4096
#define PUBLISH_KEPT_MAX 1000
#define PUBLISH_TOPICS_BYTES 512 /* as ingest.topics is bounded */
#define PUBLISH_MANIFEST_BYTES_MAX ((size_t)4 << 20)

struct publish_offset { /* where a partition stands, as the checkpoint holds it (source.h has the meanings) */
    uint32_t topic, partition;
    uint64_t next, mark, records, chain;
};
struct publish_chunk {
    uint64_t version; /* in the key */
    size_t bytes;     /* 1 to PUBLISH_CHUNK_BYTES */
    char sha256[HASH_SHA256_HEX];
};
struct publish_manifest {
    uint64_t version, parent, examples, bytes, epoch;
    int64_t watermark_ms; /* 0: before the first event */
    int64_t settled_ms, settled_wall_ms, published_wall_ms;
    int64_t consumed_wall_ms, learnt_wall_ms; /* of the event that settled the last slate; 0: not said */
    bool
        live; /* events come as they happen: a request's time is the wall clock's, else the watermark where there is one */
    char sha256[HASH_SHA256_HEX]; /* of the parameters as the learner has them */
    bool rounded;                 /* what the chunks hold of the dense part is bf16 (publish.dense) */
    bool has_rows;                /* there are hashed rows, in pieces: */
    uint64_t rows_xxh3;           /* of all of them as the learner has them, f32: what base and runs must come to */
    char base[HASH_SHA256_HEX];   /* fingerprint of the frozen base and the parts, in hex */
    uint64_t features;            /* feat_recipe of the learner; 0: not said (of a version from before it was) */
    char reason[64], verdict[64];
    char topics
        [PUBLISH_TOPICS_BYTES]; /* names that offsets' topics are places in, "a,b"; "": not said (a replay's, or of
                                          a version from before they were) */
    struct publish_chunk *chunks;
    size_t n_chunks;
    struct publish_offset *offsets;
    size_t n_offsets;
    uint64_t *kept; /* versions still in Redis when this one was published, itself included, newest first */
    size_t n_kept;
};
/* Frees what m holds and zeroes it.  Zeroed is valid. */
void publish_manifest_fini(struct publish_manifest *m);
/* Appends the JSON.  INVALID: a field beyond its bound; OOM. */
enum status publish_manifest_encode(struct buf *b, const struct publish_manifest *m, const char *model,
                                    struct err *e) MUST_CHECK;
/* Reads into a zeroed m, which is empty again on failure.  CORRUPT names the field: the text's own check, JSON, types,
 * bounds, chunk keys of another model or index, chunks that cannot hold `bytes`, hashes that are none. */
enum status publish_manifest_decode(struct publish_manifest *m, struct str json, const char *model,
                                    struct err *e) MUST_CHECK;
/* INVALID, with both fingerprints: the version is of another frozen base or other parts than a model whose model_fingerprint this is. */
enum status publish_manifest_fits(const struct publish_manifest *m, uint64_t fingerprint, struct err *e) MUST_CHECK;
/* INVALID, with what to compare: the version's learner makes sentences or features otherwise than one whose feat_recipe this is, so
 * that scores differ.  A version that says nothing of it agrees. */
enum status publish_manifest_agrees(const struct publish_manifest *m, uint64_t recipe, struct err *e) MUST_CHECK;
#endif

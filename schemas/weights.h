/* weights.h - the weight file: what is learnt, in one checked run of bytes, on disk and (without moments) in Redis.
 *
 * Layout, little-endian: "FRWT" u32 format | u64 version | u64 base fingerprint | u32 tensors | u32 flags |
 * u64 params (floats) | u64 moments (bytes) | SHA-256 of the parameters (32) | tensor table {str name, u8 kind,
 * u8 rank, u32 shape[], u64 offset in floats} | padding to 64 | parameters f32 | moments | XXH3-64 of all before.
 * The SHA-256 is over the parameters alone, f32 little-endian in table order: the same number everywhere in freshet.
 */
#ifndef SCHEMAS_WEIGHTS_H
#define SCHEMAS_WEIGHTS_H
#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

#define WEIGHTS_FORMAT 1
#define WEIGHTS_TENSORS_MAX 4096
#define WEIGHTS_NAME_MAX 200

struct weights_tensor {
    const char *name; /* NUL-terminated; owned by whoever made the table */
    uint8_t rank;
    uint32_t shape[4];
    uint64_t offset;  /* floats into the parameter run */
};
struct weights_view { /* a decoded file; points into the bytes given, names into an arena */
    uint64_t version, base_fingerprint;
    char sha256[HASH_SHA256_HEX];
    struct weights_tensor *tensors;
    uint32_t n_tensors;
    const float *params;   /* 4-byte aligned only if the bytes are; use memcpy when unsure */
    uint64_t n_params;
    const unsigned char *moments;
    uint64_t n_moments;    /* bytes */
};
struct arena;
/* Encodes.  moments may be {NULL, 0}.  sha256 is the caller's (computed once per version). */
enum status weights_encode(struct buf *b, const struct weights_view *w, struct err *e) MUST_CHECK;
/* Checks everything: magic, format, bounds, overlap, shapes against offsets, XXH3, and with `verify_sha` SHA-256. */
enum status weights_decode(struct weights_view *out, const void *bytes, size_t n, bool verify_sha, struct arena *a,
                           struct err *e) MUST_CHECK;
/* Writes b to path durably: temporary name, fsync, rename, fsync of the folder.  FULL: the disk is. */
enum status weights_write_file(const char *path, const struct buf *b, struct err *e) MUST_CHECK;
/* Reads a whole file (at most max bytes) into b. */
enum status weights_read_file(const char *path, size_t max, struct buf *b, struct err *e) MUST_CHECK;
#endif

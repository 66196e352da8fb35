/* safetensors.h - reads and writes Hugging Face's tensor file: u64 header length | JSON header | tensor bytes.
 *
 * The reader maps the file and trusts nothing: header length, JSON (an object, no duplicate names), types, shapes
 * against byte ranges, and ranges that cover the data without hole or overlap.  The writer lays tensors out as
 * Hugging Face's own does (by type, then name; header padded to 8 bytes).  What a tensor means is not known here.
 * Source: the format's description and the reference implementation (safetensors 0.4, Rust).
 */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

#define SAFETENSORS_HEADER_MAX 100000000 /* bytes; the format's own limit */
#define SAFETENSORS_TENSORS_MAX 100000
#define SAFETENSORS_RANK_MAX 8

/* In the order of the reference implementation: the writer puts later ones first. */
enum safetensors_type {
    SAFETENSORS_BOOL,
    SAFETENSORS_U8,
    SAFETENSORS_I8,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_I16,
    SAFETENSORS_U16,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I32,
    SAFETENSORS_U32,
    SAFETENSORS_F32,
    SAFETENSORS_F64,
    SAFETENSORS_I64,
    SAFETENSORS_U64,
    SAFETENSORS_TYPES
};

struct safetensors_tensor {
    const char *name; /* the file's, or the caller's when writing */
    enum safetensors_type type;
    uint8_t rank;
    uint64_t shape[SAFETENSORS_RANK_MAX];
    size_t n; /* elements; 1 for rank 0 */
    const unsigned char *data;
    size_t bytes;
};

struct safetensors;
/* *out is the caller's (safetensors_close), NULL on failure.  NOT_FOUND: no such file; CORRUPT: the file breaks the
 * format, naming path and tensor; OOM, IO.  The file must not shrink while it is open. */
enum status safetensors_open(struct safetensors **out, const char *path, struct err *e) MUST_CHECK;
void safetensors_close(struct safetensors *s); /* NULL is fine */
size_t safetensors_count(const struct safetensors *s);
const struct safetensors_tensor *safetensors_at(const struct safetensors *s, size_t i);           /* in file order */
const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name); /* or NULL */
/* The values as they lie in the map: NULL unless they are F32 and 4-byte aligned. */
const float *safetensors_f32(const struct safetensors_tensor *t);
/* out (t->n) = the values of an F32, F16 or BF16 tensor, exactly.  UNSUPPORTED: another type. */
enum status safetensors_read(const struct safetensors_tensor *t, float *out, struct err *e) MUST_CHECK;

size_t safetensors_type_bytes(enum safetensors_type type);
const char *safetensors_type_name(enum safetensors_type type); /* "F32" */

/* Writes n tensors (name, type, rank, shape, data, bytes; any order) with metadata {"format":"pt"}: to a temporary
 * name, fsync, rename, fsync of the folder.  INVALID: bytes that disagree with the shape, equal names; OOM, IO. */
enum status safetensors_write(const char *path, const struct safetensors_tensor *t, size_t n, struct err *e) MUST_CHECK;
#endif

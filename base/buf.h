/* buf.h - a growing byte buffer, and the reader that takes the same bytes apart.
 *
 * The one way records are packed: little-endian fixed integers, LEB128 varints, length-prefixed strings.  A writer that
 * runs out of memory sets `oom` and ignores what follows, so callers check once at the end; a reader that meets a short
 * or malformed buffer sets `bad`, and every later read gives 0.  Zeroed struct buf is a valid empty buffer.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    unsigned char *p;
    size_t n, cap;
    bool oom;
};
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* n = 0, oom = false; memory kept */
void buf_put(struct buf *b, const void *p, size_t n);
void *buf_room(struct buf *b, size_t n); /* appends n undefined bytes and returns them; NULL when out of memory */
void buf_u8(struct buf *b, uint8_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_f32(struct buf *b, float v);
void buf_f64(struct buf *b, double v);
void buf_varint(struct buf *b, uint64_t v);
void buf_str(struct buf *b, struct str s); /* varint length+1 (0: absent), bytes */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* text, no NUL kept */
void buf_figure(struct buf *b, int width, int decimals, double x);     /* a column of a table; "-": x is not finite */
enum status buf_status(const struct buf *b, struct err *e) MUST_CHECK; /* OOM if any write failed */

struct buf_reader {
    const unsigned char *p, *end;
    bool bad;
};
struct buf_reader buf_reader(const void *p, size_t n);
size_t buf_left(const struct buf_reader *r);
const void *buf_get(struct buf_reader *r, size_t n); /* n bytes inside the buffer; NULL when bad */
uint8_t buf_get_u8(struct buf_reader *r);
uint32_t buf_get_u32(struct buf_reader *r);
uint64_t buf_get_u64(struct buf_reader *r);
int64_t buf_get_i64(struct buf_reader *r);
float buf_get_f32(struct buf_reader *r);
double buf_get_f64(struct buf_reader *r);
uint64_t buf_get_varint(struct buf_reader *r);
struct str buf_get_str(struct buf_reader *r);                   /* points into the buffer */
size_t buf_get_count(struct buf_reader *r, size_t least_bytes); /* varint count, bad when count*least_bytes > left */
#endif

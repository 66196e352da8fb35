/* buf.c - little-endian packing by shifts, so that the bytes are the same on every machine. */
#include "base/buf.h"
#include "base/mem.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->oom = false;
}

void *buf_room(struct buf *b, size_t n)
{
    if (b->oom) return NULL;
    if (n > SIZE_MAX - 1 - b->n) goto oom;
    if (b->n + n > b->cap || b->p == NULL) {
        void *p = b->p;
        if (mem_grow(&p, &b->cap, b->n + n + 1, 1) != 0) goto oom;
        b->p = p;
    }
    unsigned char *at = b->p + b->n;
    b->n += n;
    return at;
oom:
    b->oom = true;
    return NULL;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    void *at = buf_room(b, n);
    if (at != NULL && n > 0) memcpy(at, p, n);
}

static void put_le(struct buf *b, uint64_t v, size_t n)
{
    unsigned char *at = buf_room(b, n);
    if (at == NULL) return;
    for (size_t i = 0; i < n; i++) at[i] = (unsigned char)(v >> (8 * i));
}

void buf_u8(struct buf *b, uint8_t v)
{
    put_le(b, v, 1);
}

void buf_u32(struct buf *b, uint32_t v)
{
    put_le(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v)
{
    put_le(b, v, 8);
}

void buf_i64(struct buf *b, int64_t v)
{
    put_le(b, (uint64_t)v, 8);
}

void buf_f32(struct buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_le(b, bits, 4);
}

void buf_f64(struct buf *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_le(b, bits, 8);
}

void buf_varint(struct buf *b, uint64_t v)
{
    unsigned char tmp[10];
    size_t n = 0;
    while (v >= 0x80) {
        tmp[n++] = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    tmp[n++] = (unsigned char)v;
    buf_put(b, tmp, n);
}

void buf_str(struct buf *b, struct str s)
{
    if (s.p == NULL) {
        buf_varint(b, 0);
        return;
    }
    buf_varint(b, (uint64_t)s.n + 1);
    buf_put(b, s.p, s.n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) { /* only an encoding error of %ls: nobody uses it */
        b->oom = true;
        return;
    }
    char *at = buf_room(b, (size_t)n + 1);
    if (at == NULL) return;
    va_start(ap, fmt);
    (void)vsnprintf(at, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n--; /* the NUL is not kept */
}

void buf_figure(struct buf *b, int width, int decimals, double x)
{
    if (isfinite(x))
        buf_printf(b, " %*.*f", width, decimals, x);
    else
        buf_printf(b, " %*s", width, "-");
}

enum status buf_status(const struct buf *b, struct err *e)
{
    if (!b->oom) return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "buffer: no memory beyond %zu bytes", b->n);
}

struct buf_reader buf_reader(const void *p, size_t n)
{
    static const unsigned char nothing[1];
    const unsigned char *at = p != NULL ? p : nothing; /* an empty record still has an address */
    return (struct buf_reader){at, at + (p != NULL ? n : 0), p == NULL && n > 0};
}

size_t buf_left(const struct buf_reader *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

const void *buf_get(struct buf_reader *r, size_t n)
{
    if (r->bad || n > (size_t)(r->end - r->p)) {
        r->bad = true;
        return NULL;
    }
    const unsigned char *at = r->p;
    r->p += n;
    return at;
}

static uint64_t get_le(struct buf_reader *r, size_t n)
{
    const unsigned char *at = buf_get(r, n);
    uint64_t v = 0;
    if (at == NULL) return 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)at[i] << (8 * i);
    return v;
}

uint8_t buf_get_u8(struct buf_reader *r)
{
    return (uint8_t)get_le(r, 1);
}

uint32_t buf_get_u32(struct buf_reader *r)
{
    return (uint32_t)get_le(r, 4);
}

uint64_t buf_get_u64(struct buf_reader *r)
{
    return get_le(r, 8);
}

int64_t buf_get_i64(struct buf_reader *r)
{
    return (int64_t)get_le(r, 8);
}

float buf_get_f32(struct buf_reader *r)
{
    const uint32_t bits = buf_get_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

double buf_get_f64(struct buf_reader *r)
{
    const uint64_t bits = buf_get_u64(r);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

uint64_t buf_get_varint(struct buf_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t byte = buf_get_u8(r);
        if (r->bad) return 0;
        if (shift == 63 && byte > 1) break; /* more than 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return v;
    }
    r->bad = true;
    return 0;
}

struct str buf_get_str(struct buf_reader *r)
{
    const uint64_t n = buf_get_varint(r);
    if (n == 0 || n - 1 > SIZE_MAX) {
        if (n != 0) r->bad = true;
        return (struct str){NULL, 0};
    }
    const char *p = buf_get(r, (size_t)(n - 1));
    return p != NULL ? (struct str){p, (size_t)(n - 1)} : (struct str){NULL, 0};
}

size_t buf_get_count(struct buf_reader *r, size_t least_bytes)
{
    const uint64_t n = buf_get_varint(r);
    if (n > buf_left(r) / (least_bytes ? least_bytes : 1)) {
        r->bad = true;
        return 0;
    }
    return (size_t)n;
}

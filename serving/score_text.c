/* score_text.c - a float's digits are those of a nine-digit whole number, found by one multiplication in double. */
#include "serving/score_text.h"
#include "base/clock.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DIGITS 9
#define TEXT_MAX 24
#define EXACT 22 /* powers of ten that a double holds exactly */

static const double powers[EXACT + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* v's nine digits, rounded, and its decimal exponent; false: outside what one exact power of ten reaches. */
static bool take_apart(double v, uint32_t *digits, int *exponent)
{
    int x = 0;
    while (x < DIGITS && v >= powers[x + 1]) x++;
    while (v * powers[x < 0 ? -x : 0] < 1 && x > DIGITS - 1 - EXACT) x--;
    if (x >= DIGITS || DIGITS - 1 - x > EXACT) return false;
    const uint32_t n = (uint32_t)lrint(v * powers[DIGITS - 1 - x]);
    *digits = n;
    *exponent = x;
    return n >= 100000000 && n < 1000000000;
}

static size_t write_digits(char *out, uint32_t n)
{
    for (int i = DIGITS; i-- > 0; n /= 10) out[i] = (char)('0' + n % 10);
    size_t used = DIGITS;
    while (used > 1 && out[used - 1] == '0') used--;
    return used;
}

/* Writes at most TEXT_MAX bytes, returns how many. */
static size_t write_float(char *out, float v)
{
    char digits[DIGITS], *at = out;
    uint32_t n;
    int x;
    if (v < 0) *at++ = '-';
    if (v == 0) return *at = '0', (size_t)(at - out) + 1;
    if (!take_apart(fabs((double)v), &n, &x) || x < -4)
        return (size_t)snprintf(out, TEXT_MAX, "%.9g", (double)v); /* rare */
    const size_t used = write_digits(digits, n);
    if (x < 0) {
        *at++ = '0', *at++ = '.';
        for (int i = -1; i > x; i--) *at++ = '0';
    }
    for (size_t i = 0; i < used || (int)i <= x; i++) {
        if (x >= 0 && (int)i == x + 1) *at++ = '.';
        *at++ = i < used ? digits[i] : '0';
    }
    return (size_t)(at - out);
}

void score_text_float(struct buf *b, float v)
{
    assert(isfinite(v));
    char *at = buf_room(b, TEXT_MAX);
    if (at != NULL) b->n -= TEXT_MAX - write_float(at, v);
}

void score_text_float_wide(char out[SCORE_TEXT_WIDE], float v)
{
    char text[TEXT_MAX];
    const size_t n = write_float(text, v);
    assert(n <= SCORE_TEXT_WIDE);
    memset(out, ' ', SCORE_TEXT_WIDE - n);
    memcpy(out + SCORE_TEXT_WIDE - n, text, n);
}

void score_text_u64(struct buf *b, uint64_t v)
{
    char text[20], *at = text + sizeof text;
    do *--at = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    buf_put(b, at, (size_t)(text + sizeof text - at));
}

void score_text_put(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void score_text_time(struct buf *b, int64_t ms)
{
    char text[CLOCK_TEXT];
    clock_format(ms, text);
    if (ms == 0)
        score_text_put(b, "null");
    else
        buf_printf(b, "\"%s\"", text);
}

/* jsonwide.c - see jsonwide.h. */
#include "base/jsonwide.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDE 19           /* digits of INT64_MAX */
#define DIGITS 17         /* that tell a double from all others */
#define AFTER 16          /* of them behind the point */
#define POWER (AFTER + 3) /* where "%.16e" has its exponent */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The end of the text that begins at p. */
static char *after_text(char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\') p++;
    return p < end ? p + 1 : p;
}

/* What begins with 0 is no number of JSON, and stays none. */
static bool is_wide(const char *digits, size_t n, bool below)
{
    if (digits[0] == '0') return false;
    return n > WIDE || (n == WIDE && memcmp(digits, below ? "9223372036854775808" : "9223372036854775807", WIDE) > 0);
}

/* The n digits as 17 of them and a power of ten, and spaces; false: it is beyond double. */
static bool shorten(char *digits, size_t n)
{
    char text[40], power[12];
    const double x = strtod(digits, NULL);
    if (!isfinite(x)) return false;
    (void)snprintf(text, sizeof text, "%.*e", AFTER, x);
    const int m = snprintf(power, sizeof power, "e%ld", strtol(text + POWER, NULL, 10) - AFTER);
    memset(digits, ' ', n);
    digits[0] = text[0];
    memcpy(digits + 1, text + 2, AFTER);
    memcpy(digits + DIGITS, power, (size_t)m);
    return true;
}

/* The end of the number whose first digit is at p. */
static char *after_number(char *p, const char *end, bool *real)
{
    *real = false;
    for (; p < end && (is_digit(*p) || *p == '.' || *p == 'e' || *p == 'E' || *p == '+' || *p == '-'); p++)
        *real = *real || !is_digit(*p);
    return p;
}

bool jsonwide_put(struct buf *out, struct str text)
{
    const size_t first = out->n;
    bool any = false, real;
    buf_put(out, text.p, text.n);
    buf_u8(out, 0); /* where strtod stops at the latest */
    if (out->oom) return false;
    out->n--;
    char *p = (char *)out->p + first;
    for (char *const end = p + text.n, *from; p < end;) {
        if (*p == '"') {
            p = after_text(p, end);
        } else if (is_digit(*p)) {
            from = p;
            p = after_number(p, end, &real);
            if (real || !is_wide(from, (size_t)(p - from), from > (char *)out->p + first && from[-1] == '-')) continue;
            if (!shorten(from, (size_t)(p - from))) return false;
            any = true;
        } else {
            p++;
        }
    }
    return any;
}

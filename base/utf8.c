/* utf8.c - see utf8.h.  Unicode 15, section 3.9, table 3-7. */
#include "base/utf8.h"
#include <stdint.h>
#include <string.h>

size_t utf8_length(const void *bytes, size_t left)
{
    const unsigned char *p = bytes;
    const unsigned char c = p[0];
    if (c < 0x80) return 1;
    const size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n > left) return 0;
    unsigned char lo = 0x80, hi = 0xbf;
    if (c == 0xe0) lo = 0xa0;
    if (c == 0xed) hi = 0x9f;
    if (c == 0xf0) lo = 0x90;
    if (c == 0xf4) hi = 0x8f;
    if (p[1] < lo || p[1] > hi) return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

bool utf8_valid(struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        uint64_t eight;
        if (s.n - i >= 8 && (memcpy(&eight, s.p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        const size_t n = utf8_length(s.p + i, s.n - i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

size_t utf8_cut(const char *p, size_t n)
{
    size_t at = n;
    while (at > 0 && n - at < 3 && ((unsigned char)p[at - 1] & 0xc0) == 0x80) at--;
    return at > 0 && (unsigned char)p[at - 1] >= 0xc0 && utf8_length(p + at - 1, n - at + 1) == 0 ? at - 1 : n;
}

void utf8_copy(char *out, size_t size, struct str s)
{
    const size_t n = utf8_cut(s.p, s.n < size ? s.n : size - 1);
    if (n > 0) memcpy(out, s.p, n);
    out[n] = '\0';
}

void utf8_clean(char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        const size_t length = utf8_length(text + i, n - i);
        if (length == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) text[i] = '?';
        i += length > 0 ? length : 1;
    }
}

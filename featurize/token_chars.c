/* token_chars.c - see token_chars.h.  The only file of the tokenizer that includes utf8proc. */
#include "featurize/token_chars.h"
#include <stdbool.h>
#include <utf8proc.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

struct token_range {
    uint32_t first, last;
    uint8_t value;
};
struct token_mapping {
    uint32_t from, to[3]; /* to ends at 0 */
};
#include "featurize/token_exceptions.inc"

/* Short and frozen in Unicode; the Han list is the library's, with its gap at U+2B820 to U+2B91F. */
static const struct token_range spaces[] = {
    {0x9, 0xD, 0},       {0x20, 0x20, 0},     {0x85, 0x85, 0},     {0xA0, 0xA0, 0},     {0x1680, 0x1680, 0},
    {0x2000, 0x200A, 0}, {0x2028, 0x2029, 0}, {0x202F, 0x202F, 0}, {0x205F, 0x205F, 0}, {0x3000, 0x3000, 0},
};
static const struct token_range hans[] = {
    {0x3400, 0x4DBF, 0},   {0x4E00, 0x9FFF, 0},   {0xF900, 0xFAFF, 0},   {0x20000, 0x2A6DF, 0},
    {0x2A700, 0x2B73F, 0}, {0x2B740, 0x2B81F, 0}, {0x2B920, 0x2CEAF, 0}, {0x2F800, 0x2FA1F, 0},
};

static const struct token_range *find_range(const struct token_range *t, size_t n, uint32_t c)
{
    size_t lo = 0;
    while (lo < n) {
        const size_t mid = lo + (n - lo) / 2;
        if (c > t[mid].last)
            lo = mid + 1;
        else if (c < t[mid].first)
            n = mid;
        else
            return &t[mid];
    }
    return NULL;
}

static const struct token_mapping *find_mapping(const struct token_mapping *t, size_t n, uint32_t c)
{
    size_t lo = 0;
    while (lo < n) {
        const size_t mid = lo + (n - lo) / 2;
        if (t[mid].from == c) return &t[mid];
        if (t[mid].from < c)
            lo = mid + 1;
        else
            n = mid;
    }
    return NULL;
}

static size_t copy_mapping(const struct token_mapping *m, uint32_t out[TOKEN_CHAR_MAX])
{
    size_t n = 0;
    while (n < COUNT(m->to) && m->to[n] != 0) {
        out[n] = m->to[n];
        n++;
    }
    return n;
}

static bool ascii_punct(uint32_t c)
{
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

/* The part of the flags that hangs on Unicode's version. */
static unsigned category_flags(uint32_t c)
{
    const struct token_range *x = find_range(token_flag_exceptions, COUNT(token_flag_exceptions), c);
    if (x != NULL) return x->value;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO: return c == '\t' || c == '\n' || c == '\r' ? 0 : TOKEN_CHAR_DROP;
    case UTF8PROC_CATEGORY_MN: return TOKEN_CHAR_MARK;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return TOKEN_CHAR_PUNCT;
    default: return c == 0xFFFD ? TOKEN_CHAR_DROP : 0;
    }
}

unsigned token_char_flags(uint32_t c)
{
    unsigned flags = category_flags(c);
    if (ascii_punct(c)) flags |= TOKEN_CHAR_PUNCT;
    if (find_range(spaces, COUNT(spaces), c) != NULL) flags |= TOKEN_CHAR_SPACE;
    if (c >= hans[0].first && find_range(hans, COUNT(hans), c) != NULL) flags |= TOKEN_CHAR_HAN;
    return flags;
}

unsigned token_char_class(uint32_t c)
{
    const int k = utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
    if (k == 0) return 0; /* the table holds no class where utf8proc has none: the library's Unicode is older */
    const struct token_range *x = find_range(token_class_exceptions, COUNT(token_class_exceptions), c);
    return x != NULL ? x->value : (unsigned)k;
}

size_t token_char_decompose(uint32_t c, uint32_t out[TOKEN_CHAR_MAX])
{
    utf8proc_int32_t room[TOKEN_CHAR_MAX] = {0};
    int last = 0;
    const struct token_mapping *x =
        find_mapping(token_decomposition_exceptions, COUNT(token_decomposition_exceptions), c);
    if (x != NULL) return copy_mapping(x, out);
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, room, TOKEN_CHAR_MAX, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &last);
    if (n < 1 || n > TOKEN_CHAR_MAX) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) out[i] = (uint32_t)room[i];
    return (size_t)n;
}

size_t token_char_lower(uint32_t c, uint32_t out[TOKEN_CHAR_MAX])
{
    const struct token_mapping *x = find_mapping(token_lower_exceptions, COUNT(token_lower_exceptions), c);
    if (x != NULL) return copy_mapping(x, out);
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

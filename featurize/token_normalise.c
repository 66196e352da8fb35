/* token_normalise.c - see token_normalise.h */
#include "featurize/token_normalise.h"
#include "featurize/token_chars.h"

static void emit_lower(struct token_normaliser *s, uint32_t c)
{
    uint32_t low[TOKEN_CHAR_MAX] = {c};
    const size_t n = s->rules.lower ? token_char_lower(c, low) : 1;
    for (size_t i = 0; i < n; i++) s->emit(s->user, low[i], token_char_flags(low[i]));
}

void token_normaliser_flush(struct token_normaliser *s)
{
    const size_t n = s->n_held;
    s->n_held = 0;
    for (size_t i = 0; i < n; i++) emit_lower(s, s->held[i]);
}

/* Insertion keeps marks of one class in the order of the text, as the canonical ordering demands. */
static void hold(struct token_normaliser *s, uint32_t c, unsigned class)
{
    if (s->n_held == TOKEN_WORD_CHARS_MAX) token_normaliser_flush(s);
    size_t i = s->n_held++;
    for (; i > 0 && s->held_class[i - 1] > class; i--) {
        s->held[i] = s->held[i - 1];
        s->held_class[i] = s->held_class[i - 1];
    }
    s->held[i] = c;
    s->held_class[i] = (uint8_t) class;
}

/* One code point of the NFD. A mark that is dropped cannot change the order of those that stay, but a starter that is
 * dropped (U+034F) still parts the run. */
static void feed_decomposed(struct token_normaliser *s, uint32_t c)
{
    const unsigned class = token_char_class(c);
    const bool dropped = (token_char_flags(c) & TOKEN_CHAR_MARK) != 0;
    if (class == 0) token_normaliser_flush(s);
    if (dropped) return;
    if (class != 0)
        hold(s, c, class);
    else
        emit_lower(s, c);
}

static void feed_accents(struct token_normaliser *s, uint32_t c)
{
    uint32_t parts[TOKEN_CHAR_MAX];
    if (!s->rules.strip) {
        emit_lower(s, c);
        return;
    }
    const size_t n = token_char_decompose(c, parts);
    for (size_t i = 0; i < n; i++) feed_decomposed(s, parts[i]);
}

static void feed_space(struct token_normaliser *s)
{
    if (s->n_held > 0) token_normaliser_flush(s);
    s->emit(s->user, ' ', TOKEN_CHAR_SPACE);
}

static void feed_ascii(struct token_normaliser *s, uint32_t c)
{
    const unsigned flags = s->ascii_flags[c];
    if (s->rules.clean && (flags & TOKEN_CHAR_DROP)) return;
    if (s->n_held > 0) token_normaliser_flush(s);
    s->emit(s->user, s->rules.lower && c >= 'A' && c <= 'Z' ? c + 32 : c, flags);
}

void token_normaliser_feed(struct token_normaliser *s, uint32_t c)
{
    if (c < 0x80) {
        feed_ascii(s, c);
        return;
    }
    const unsigned flags = token_char_flags(c);
    if (s->rules.clean && (flags & TOKEN_CHAR_DROP)) return;
    if (s->rules.clean && (flags & TOKEN_CHAR_SPACE)) {
        feed_space(s);
        return;
    }
    const bool apart = s->rules.han && (flags & TOKEN_CHAR_HAN);
    if (apart) feed_space(s);
    feed_accents(s, c);
    if (apart) feed_space(s);
}

/* Bytes of a sequence by its first; 0: none begins so. */
static size_t sequence_bytes(unsigned char lead)
{
    if (lead >= 0xC2 && lead <= 0xDF) return 2;
    if (lead >= 0xE0 && lead <= 0xEF) return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* The second byte's range depends on the first (Unicode 15, table 3-7). */
static void second_range(unsigned char lead, unsigned char *lo, unsigned char *hi)
{
    *lo = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *hi = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
}

size_t token_decode_utf8(const unsigned char *p, const unsigned char *end, uint32_t *c)
{
    const unsigned char lead = p[0];
    const size_t left = (size_t)(end - p);
    unsigned char lo, hi;
    *c = lead;
    if (lead < 0x80) return 1;
    const size_t need = sequence_bytes(lead);
    uint32_t value = need == 2 ? lead & 0x1Fu : need == 3 ? lead & 0x0Fu : lead & 0x07u;
    *c = 0xFFFD;
    if (need == 0) return 1;
    second_range(lead, &lo, &hi);
    for (size_t i = 1; i < need; i++) {
        if (i == left || p[i] < lo || p[i] > hi) return i;
        value = value << 6 | (p[i] & 0x3Fu);
        lo = 0x80;
        hi = 0xBF;
    }
    *c = value;
    return need;
}

size_t token_encode_utf8(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (unsigned char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (unsigned char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | c);
    return n;
}

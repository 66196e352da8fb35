/* token.c - text → ids: added tokens, the normaliser's stream cut into words, the longest pieces of each word. */
#include "featurize/token.h"
#include "featurize/token_chars.h"
#include "featurize/token_vocab.h"

/* One encoding under way. `word` holds what the stream gave since the last break. */
struct encoder {
    const struct token_vocab *v;
    int32_t *ids;
    size_t n, limit, room; /* limit: where the text is cut; room: what the caller's array takes of it */
    bool over;             /* an id was due beyond room, before the limit */
    size_t word_bytes, word_chars;
    unsigned char word[TOKEN_WORD_CHARS_MAX * 4];
};

static bool done(const struct encoder *x)
{
    return x->over || x->n >= x->limit;
}

static void put_id(struct encoder *x, int32_t id)
{
    if (x->n >= x->limit) return;
    if (x->n >= x->room)
        x->over = true;
    else
        x->ids[x->n++] = id;
}

/* The longest piece that word[start …) begins with; its bytes, or 0. Only ends of characters are tried. */
static size_t longest_piece(const struct encoder *x, size_t start, int32_t *id)
{
    const size_t longest = x->v->longest[start > 0];
    size_t n = x->word_bytes - start;
    if (n > longest) {
        n = longest;
        while (n > 0 && (x->word[start + n] & 0xC0) == 0x80) n--;
    }
    while (n > 0) {
        *id = token_vocab_find(x->v, x->word + start, n, start > 0);
        if (*id >= 0) return n;
        do n--;
        while (n > 0 && (x->word[start + n] & 0xC0) == 0x80);
    }
    return 0;
}

/* Longest match first (Wu et al. 2016); a word with one piece unknown is [UNK] as a whole. */
static void end_word(struct encoder *x)
{
    int32_t pieces[TOKEN_WORD_CHARS_MAX];
    size_t n_pieces = 0, start = 0;
    if (x->word_chars == 0) return;
    bool known = x->word_chars <= x->v->word_chars;
    while (known && start < x->word_bytes) {
        const size_t n = longest_piece(x, start, &pieces[n_pieces]);
        known = n > 0;
        start += n;
        n_pieces += known;
    }
    if (!known) put_id(x, x->v->special[TOKEN_UNK]);
    for (size_t i = 0; known && i < n_pieces; i++) put_id(x, pieces[i]);
    x->word_bytes = x->word_chars = 0;
}

static void put_char(struct encoder *x, uint32_t c)
{
    if (x->word_chars++ < x->v->word_chars) x->word_bytes += token_encode_utf8(c, x->word + x->word_bytes);
}

/* What the normaliser gives: BertPreTokenizer's split at white space and around punctuation. */
static void take_char(void *user, uint32_t c, unsigned flags)
{
    struct encoder *x = user;
    if (flags & TOKEN_CHAR_SPACE) {
        end_word(x);
    } else if (flags & TOKEN_CHAR_PUNCT) {
        end_word(x);
        put_char(x, c);
        end_word(x);
    } else {
        put_char(x, c);
    }
}

/* The longest added token that the text begins with at p; NULL when none does. */
static const struct token_added *added_at(const struct token_vocab *v, const unsigned char *p, const unsigned char *end,
                                          bool specials)
{
    for (size_t i = 0; i < v->n_added; i++) {
        const struct str t = token_vocab_text(v, v->added[i].id);
        if (v->added[i].special && !specials) continue;
        if (t.n <= (size_t)(end - p) && memcmp(t.p, p, t.n) == 0) return &v->added[i];
    }
    return NULL;
}

static void encode_text(struct encoder *x, struct str text, bool specials)
{
    struct token_normaliser norm;
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    norm.rules = x->v->rules;
    norm.emit = take_char;
    norm.user = x;
    norm.ascii_flags = x->v->ascii_flags;
    norm.n_held = 0;
    while (p < end && !done(x)) {
        uint32_t c;
        const struct token_added *a = x->v->added_first[*p] ? added_at(x->v, p, end, specials) : NULL;
        if (a != NULL) {
            token_normaliser_flush(&norm);
            end_word(x);
            put_id(x, a->id);
            p += token_vocab_text(x->v, a->id).n;
        } else {
            p += token_decode_utf8(p, end, &c);
            token_normaliser_feed(&norm, c);
        }
    }
    token_normaliser_flush(&norm);
    end_word(x);
}

/* At most TOKEN_TEXT_BYTES_MAX bytes, no character cut in two. */
static struct str bounded(struct str text)
{
    if (text.p == NULL) return (struct str){"", 0};
    if (text.n <= TOKEN_TEXT_BYTES_MAX) return text;
    size_t n = TOKEN_TEXT_BYTES_MAX;
    for (int back = 0; back < 3 && ((unsigned char)text.p[n] & 0xC0) == 0x80; back++) n--;
    return (struct str){text.p, n};
}

enum status token_encode(const struct token_vocab *v, struct str text, struct token_opts o, int32_t *ids, size_t cap,
                         size_t *n, struct err *e)
{
    const size_t length = o.max_length ? o.max_length : v->max_length, around = o.add_special ? 1 : 0;
    struct encoder x;
    *n = 0;
    if (length < 2 * around)
        return ERR_SET(e, STATUS_INVALID, "token: max_length %zu leaves no room for [CLS] and [SEP]; give 2 or more",
                       length);
    x.v = v;
    x.ids = cap > around ? ids + around : ids;
    x.n = 0;
    x.limit = length - 2 * around;
    x.room = cap > 2 * around ? cap - 2 * around : 0;
    x.over = cap < 2 * around;
    x.word_bytes = x.word_chars = 0;
    if (!done(&x)) encode_text(&x, bounded(text), o.special_in_text);
    if (x.over)
        return ERR_SET(e, STATUS_FULL,
                       "token: a text of %zu bytes gives more ids than the %zu there is room for; "
                       "make room for max_length (%zu)",
                       text.n, cap, length);
    if (o.add_special) {
        ids[0] = v->special[TOKEN_CLS];
        ids[x.n + 1] = v->special[TOKEN_SEP];
    }
    *n = x.n + 2 * around;
    return STATUS_OK;
}

size_t token_count_unknown(const struct token_vocab *v, const int32_t *ids, size_t n)
{
    size_t unknown = 0;
    for (size_t i = 0; i < n; i++) unknown += ids[i] == v->special[TOKEN_UNK];
    return unknown;
}

size_t token_max_length(const struct token_vocab *v)
{
    return v->max_length;
}

size_t token_vocab_size(const struct token_vocab *v)
{
    return v->size;
}

uint64_t token_fingerprint(const struct token_vocab *v)
{
    return v->fingerprint;
}

int32_t token_special(const struct token_vocab *v, enum token_special_id which)
{
    return (unsigned)which < TOKEN_SPECIALS ? v->special[which] : -1;
}

const char *token_text(const struct token_vocab *v, int32_t id)
{
    if (id < 0 || (size_t)id >= v->size || v->entries[id].offset == UINT32_MAX) return NULL;
    return token_vocab_text(v, id).p;
}

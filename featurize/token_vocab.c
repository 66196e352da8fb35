/* token_vocab.c - token_open: vocabulary, table and rules from a folder; look-up of one text. */
#include "featurize/token_vocab.h"
#include "base/hash.h"
#include "base/mem.h"
#include "featurize/token_chars.h"
#include "featurize/token_settings.h"
#include <stdlib.h>
#include <string.h>

#define TOKEN_FORMAT 1 /* raise it when the same vocabulary would give other ids */

static uint32_t slot_hash(const void *p, size_t n, bool continuation)
{
    return ((uint32_t)hash_bytes(p, n) & ~1u) | continuation;
}

static bool slot_holds(const struct token_vocab *v, const struct token_slot *s, const void *p, size_t n)
{
    const size_t skip = s->hash & 1u ? TOKEN_PREFIX_BYTES : 0;
    const struct str t = token_vocab_text(v, s->id);
    return t.n - skip == n && memcmp(t.p + skip, p, n) == 0;
}

int32_t token_vocab_find(const struct token_vocab *v, const void *p, size_t n, bool continuation)
{
    const uint32_t h = slot_hash(p, n, continuation);
    for (size_t i = h >> 1;; i++) {
        const struct token_slot *s = &v->slots[i & v->slot_mask];
        if (s->id < 0) return -1;
        if (s->hash == h && slot_holds(v, s, p, n)) return s->id;
    }
}

/* Of equal texts the last id stays, as in a Python dict. */
static void insert(struct token_vocab *v, int32_t id, bool continuation)
{
    struct str t = token_vocab_text(v, id);
    if (continuation) t = (struct str){t.p + TOKEN_PREFIX_BYTES, t.n - TOKEN_PREFIX_BYTES};
    const uint32_t h = slot_hash(t.p, t.n, continuation);
    size_t i = h >> 1;
    for (;; i++) {
        struct token_slot *s = &v->slots[i & v->slot_mask];
        if (s->id < 0 || (s->hash == h && slot_holds(v, s, t.p, t.n))) {
            *s = (struct token_slot){h, id};
            break;
        }
    }
    if (t.n > v->longest[continuation]) v->longest[continuation] = t.n;
}

static enum status build_table(struct token_vocab *v, struct err *e)
{
    size_t n = 16;
    while (n < v->size * 4) n *= 2; /* at most two keys an entry: half full */
    v->slots = mem_calloc(n, sizeof *v->slots);
    if (v->slots == NULL) return ERR_SET(e, STATUS_OOM, "token: no memory for a table of %zu entries", v->size);
    v->slot_mask = n - 1;
    for (size_t i = 0; i < n; i++) v->slots[i].id = -1;
    for (size_t id = 0; id < v->size; id++) {
        if (v->entries[id].offset == UINT32_MAX) continue;
        const struct str t = token_vocab_text(v, (int32_t)id);
        insert(v, (int32_t)id, false);
        if (t.n > TOKEN_PREFIX_BYTES && memcmp(t.p, TOKEN_PREFIX, TOKEN_PREFIX_BYTES) == 0)
            insert(v, (int32_t)id, true);
    }
    return STATUS_OK;
}

/* entries[id] = text; ids between are holes. */
static enum status put_entry(struct token_vocab *v, size_t id, struct str text, struct err *e)
{
    if (id >= TOKEN_VOCAB_MAX)
        return ERR_SET(e, STATUS_INVALID, "token: id %zu of \"%.40s\"; a vocabulary may have %d entries", id, text.p,
                       TOKEN_VOCAB_MAX);
    if (MEM_GROW(v->entries, &v->entries_cap, id + 1) != 0 ||
        MEM_GROW(v->text, &v->text_cap, v->text_bytes + text.n + 1) != 0)
        return ERR_SET(e, STATUS_OOM, "token: no memory for vocabulary entry %zu", id);
    for (; v->size <= id; v->size++) v->entries[v->size] = (struct token_entry){UINT32_MAX, 0};
    v->entries[id] = (struct token_entry){(uint32_t)v->text_bytes, (uint32_t)text.n};
    memcpy(v->text + v->text_bytes, text.p, text.n);
    v->text_bytes += text.n;
    v->text[v->text_bytes++] = '\0';
    return STATUS_OK;
}

/* One entry a line, its number the id. Trailing white space goes, as in the library. */
static enum status read_lines(struct token_vocab *v, const char *p, size_t n, struct err *e)
{
    const char *end = p + n;
    for (size_t id = 0; p < end; id++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p)), *last = eol ? eol : end;
        while (last > p && strchr(" \t\r\v\f", last[-1]) && last[-1]) last--;
        TRY(put_entry(v, id, (struct str){p, (size_t)(last - p)}, e));
        p = eol ? eol + 1 : end;
    }
    return STATUS_OK;
}

static enum status read_json_vocab(struct token_vocab *v, json_t *vocab, struct err *e)
{
    const char *key;
    size_t key_bytes;
    json_t *value;
    json_object_keylen_foreach(vocab, key, key_bytes, value)
    {
        const double id = json_number_value(value);
        if (!json_is_number(value) || !(id >= 0 && id < TOKEN_VOCAB_MAX))
            return ERR_SET(e, STATUS_INVALID, "token: tokenizer.json: id of \"%.40s\" is not 0 to %d", key,
                           TOKEN_VOCAB_MAX - 1);
        TRY(put_entry(v, (size_t)id, (struct str){key, key_bytes}, e));
    }
    return STATUS_OK;
}

static enum status read_vocab(struct token_vocab *v, const struct token_settings *s, const char *dir, struct err *e)
{
    char *p = NULL;
    size_t n = 0;
    enum status st = s->generic && s->vocab ? STATUS_NOT_FOUND : token_read_file(&p, &n, dir, "vocab.txt", e);
    if (st == STATUS_OK)
        st = read_lines(v, p, n, e);
    else if (st == STATUS_NOT_FOUND && json_is_object(s->vocab))
        st = read_json_vocab(v, s->vocab, e);
    mem_free(p);
    if (st == STATUS_OK && v->size == 0)
        return ERR_SET(e, STATUS_INVALID, "token: the vocabulary in %s has no entries", dir);
    if (st == STATUS_NOT_FOUND)
        return ERR_SET(e, st,
                       "token: neither vocab.txt nor tokenizer.json with a vocabulary in %s; set model.base to a BERT "
                       "model folder (deploy/setup.sh fetches one)",
                       dir);
    return st;
}

/* Notes an added token. One the vocabulary lacks gets an entry if its id is named; else it stays plain text. */
static enum status add_token(void *user, struct str text, int32_t id, bool special, struct err *e)
{
    struct token_vocab *v = user;
    const int32_t known = token_vocab_find(v, text.p, text.n, false);
    if (known < 0 && id < 0) return STATUS_OK;
    if (known < 0 && ((size_t)id >= v->size || v->entries[id].offset == UINT32_MAX))
        TRY(put_entry(v, (size_t)id, text, e));
    else if (known < 0 ? !str_eq(token_vocab_text(v, id), text) : id >= 0 && id != known)
        return ERR_SET(e, STATUS_INVALID,
                       "token: added token \"" STR_FMT "\" has id %d, which the vocabulary gives to "
                       "another (its own is %d)",
                       STR_ARG(text), id, known);
    if (known >= 0) id = known;
    for (size_t i = 0; i < v->n_added; i++)
        if (v->added[i].id == id) return STATUS_OK;
    if (v->n_added == TOKEN_ADDED_MAX)
        return ERR_SET(e, STATUS_UNSUPPORTED, "token: more than %d added tokens", TOKEN_ADDED_MAX);
    v->added[v->n_added++] = (struct token_added){id, special};
    v->added_first[(unsigned char)text.p[0]] = true;
    return STATUS_OK;
}

static void sort_added(struct token_vocab *v)
{
    for (size_t i = 1; i < v->n_added; i++) {
        const struct token_added t = v->added[i];
        size_t k = i;
        for (; k > 0 && v->entries[v->added[k - 1].id].n < v->entries[t.id].n; k--) v->added[k] = v->added[k - 1];
        v->added[k] = t;
    }
}

static enum status set_specials(struct token_vocab *v, const struct token_settings *s, const char *dir, struct err *e)
{
    for (int i = 0; i < TOKEN_SPECIALS; i++) {
        v->special[i] = token_vocab_find(v, s->special[i].p, s->special[i].n, false);
        if (v->special[i] < 0 && i != TOKEN_PAD && i != TOKEN_MASK)
            return ERR_SET(e, STATUS_INVALID, "token: special token \"" STR_FMT "\" is not in the vocabulary of %s",
                           STR_ARG(s->special[i]), dir);
    }
    return STATUS_OK;
}

static void set_fingerprint(struct token_vocab *v)
{
    uint64_t h = TOKEN_FORMAT;
    const uint64_t rules = (uint64_t)v->rules.clean | (uint64_t)v->rules.han << 1 | (uint64_t)v->rules.strip << 2 |
                           (uint64_t)v->rules.lower << 3;
    h = hash_mix(h, hash_mix(rules, v->word_chars << 32 | v->max_length));
    for (size_t i = 0; i < v->size; i++) {
        const struct token_entry *t = &v->entries[i];
        h = hash_mix(h, t->offset == UINT32_MAX ? i : hash_bytes(v->text + t->offset, t->n));
    }
    for (int i = 0; i < TOKEN_SPECIALS; i++) h = hash_mix(h, (uint64_t)v->special[i]);
    for (size_t i = 0; i < v->n_added; i++) h = hash_mix(h, (uint64_t)v->added[i].id << 1 | v->added[i].special);
    v->fingerprint = h;
}

static enum status fill(struct token_vocab *v, const struct token_settings *s, const char *dir, struct err *e)
{
    v->rules = s->rules;
    v->word_chars = s->word_chars;
    v->max_length = s->max_length;
    for (uint32_t c = 0; c < 128; c++) v->ascii_flags[c] = (uint8_t)token_char_flags(c);
    TRY(read_vocab(v, s, dir, e));
    TRY(build_table(v, e));
    TRY(set_specials(v, s, dir, e));
    TRY(token_settings_each_added(s, add_token, v, e));
    sort_added(v);
    set_fingerprint(v);
    return STATUS_OK;
}

enum status token_open(struct token_vocab **out, const char *model_dir, struct err *e)
{
    struct token_settings s = {0};
    struct token_vocab *v = NULL;
    enum status st;
    *out = NULL;
    TRY_OUT(st, token_settings_open(&s, model_dir, e));
    v = mem_calloc(1, sizeof *v);
    if (v == NULL) {
        st = ERR_SET(e, STATUS_OOM, "token: no memory for the vocabulary of %s", model_dir);
        goto out;
    }
    TRY_OUT(st, fill(v, &s, model_dir, e));
    *out = v;
    v = NULL;
out:
    token_settings_close(&s);
    token_free(v);
    return st;
}

void token_free(struct token_vocab *v)
{
    if (v == NULL) return;
    mem_free(v->text);
    mem_free(v->entries);
    mem_free(v->slots);
    mem_free(v);
}

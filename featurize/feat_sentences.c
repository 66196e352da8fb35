/* feat_sentences.c - a direct-mapped table: no list to keep in order, nothing to evict. */
#include "featurize/feat_sentences.h"
#include "base/hash.h"
#include "base/mem.h"
#include <string.h>

#define PLACES 4096
#define TEXT_BYTES 160
#define IDS 48

struct feat_sentences {
    struct place {
        uint16_t n_text, n_ids; /* n_text 0: free */
        char text[TEXT_BYTES];
        int32_t ids[IDS];
    } places[PLACES];
};

struct feat_sentences *feat_sentences_new(void)
{
    return mem_calloc(1, sizeof(struct feat_sentences));
}

void feat_sentences_free(struct feat_sentences *s)
{
    mem_free(s);
}

static size_t place_of(struct str text)
{
    return (size_t)(hash_str(text) % PLACES);
}

const int32_t *feat_sentences_get(const struct feat_sentences *s, struct str text, uint32_t *n)
{
    const struct place *p = &s->places[place_of(text)];
    if (text.n == 0 || p->n_text != text.n || memcmp(p->text, text.p, text.n) != 0) return NULL;
    *n = p->n_ids;
    return p->ids;
}

void feat_sentences_put(struct feat_sentences *s, struct str text, const int32_t *ids, uint32_t n)
{
    if (text.n == 0 || text.n > TEXT_BYTES || n > IDS) return;
    struct place *p = &s->places[place_of(text)];
    p->n_text = (uint16_t)text.n;
    p->n_ids = (uint16_t)n;
    memcpy(p->text, text.p, text.n);
    if (n > 0) memcpy(p->ids, ids, n * sizeof *ids);
}

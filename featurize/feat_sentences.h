/* feat_sentences.h - sentences that were cut into tokens lately: their text, and the ids it gave.
 *
 * The same few sentences come again and again ("I bought {title}").  One place a hash: a new sentence takes the old one's.
 * Long ones are not kept.  What is found is what the tokenizer would give again.  Thread: one.  Not for other rooms.
 */
#ifndef FEATURIZE_FEAT_SENTENCES_H
#define FEATURIZE_FEAT_SENTENCES_H
#include "base/str.h"
#include <stdint.h>

struct feat_sentences;
struct feat_sentences *feat_sentences_new(void); /* 1.4 MiB, touched as it fills; NULL: OOM */
void feat_sentences_free(struct feat_sentences *s);
/* The ids of this text (*n of them, valid until the next feat_sentences_put), or NULL. */
const int32_t *feat_sentences_get(const struct feat_sentences *s, struct str text, uint32_t *n);
void feat_sentences_put(struct feat_sentences *s, struct str text, const int32_t *ids, uint32_t n);
#endif

/* token_settings.h - what the JSON files of a model folder say about its tokenizer.
 *
 * As transformers 5 reads them: with tokenizer_class BertTokenizer (or none) tokenizer_config.json decides and what it
 * leaves out has BERT's default; with a generic class (PreTrainedTokenizerFast, TokenizersBackend) tokenizer.json does.
 * Anything but BERT's own chain of steps is refused.  Only token_*.c includes this.
 */
#ifndef FEATURIZE_TOKEN_SETTINGS_H
#define FEATURIZE_TOKEN_SETTINGS_H
#include "base/status.h"
#include "base/str.h"
#include "featurize/token.h"
#include "featurize/token_normalise.h"
#include <jansson.h>

#define TOKEN_FILE_BYTES_MAX ((size_t)64 << 20)
#define TOKEN_TEXT_MAX 512 /* bytes of a special or added token */

struct token_settings {
    json_t *config, *fast, *model; /* tokenizer_config.json, tokenizer.json, config.json; NULL: not there */
    bool generic;                  /* tokenizer.json rules */
    struct token_rules rules;
    size_t word_chars, max_length;
    struct str special[TOKEN_SPECIALS]; /* borrowed from the objects above or static; .p NULL: none */
    json_t *vocab;                      /* borrowed: text → id of tokenizer.json, or NULL */
};

enum status token_settings_open(struct token_settings *s, const char *dir, struct err *e) MUST_CHECK;
void token_settings_close(struct token_settings *s); /* zeroed is fine */

/* Calls fn for each added token: special ones first, then those of tokenizer_config.json or tokenizer.json. id -1:
 * named only. UNSUPPORTED: a token that matches by rules not known here. */
enum status token_settings_each_added(const struct token_settings *s,
                                      enum status (*fn)(void *user, struct str text, int32_t id, bool special,
                                                        struct err *e),
                                      void *user, struct err *e) MUST_CHECK;

/* The whole of dir/name in *p (mem_free), a NUL after it. NOT_FOUND; INVALID over TOKEN_FILE_BYTES_MAX; IO; OOM. */
enum status token_read_file(char **p, size_t *n, const char *dir, const char *name, struct err *e) MUST_CHECK;
#endif

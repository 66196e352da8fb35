/* token.h - text → WordPiece ids, as the Hugging Face `tokenizers` library does it for BERT.
 *
 * A vocabulary is opened once from a model folder and is immutable afterwards.  Encoding walks the text once: decode
 * UTF-8, clean, set Chinese characters apart, decompose (NFD) and drop accents, lower-case, split at white space and
 * punctuation, look up the longest pieces.  No text of the whole is ever built, so nothing is allocated.  What is not
 * here: pairs of sentences (callers put [SEP] and segments together), padding, and decoding beyond one id's text.
 */
#ifndef FEATURIZE_TOKEN_H
#define FEATURIZE_TOKEN_H
#include "base/status.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_TEXT_BYTES_MAX ((size_t)1 << 20) /* longer text is cut here first, at a character's edge */
#define TOKEN_VOCAB_MAX 1000000                /* entries of a vocabulary */
#define TOKEN_LENGTH_DEFAULT 512               /* where the folder names no length */

struct token_vocab;

enum token_special_id { TOKEN_PAD, TOKEN_UNK, TOKEN_CLS, TOKEN_SEP, TOKEN_MASK, TOKEN_SPECIALS };

struct token_opts {
    bool special_in_text; /* true: "[SEP]" in the text is the special token, as in Hugging Face; false: plain text */
    bool add_special;     /* [CLS] … [SEP] around the ids */
    size_t max_length;    /* ids at most, [CLS] and [SEP] included; 0: token_max_length */
};

/* Opens the tokenizer of a Hugging Face BERT folder.
 *
 * Read are vocab.txt (else the vocabulary in tokenizer.json), tokenizer_config.json (do_lower_case, strip_accents,
 * tokenize_chinese_chars, model_max_length, names of the special tokens, added tokens), tokenizer.json (for what the
 * former leaves open), config.json (max_position_embeddings bounds the length).  Only vocab.txt or tokenizer.json must
 * be there; the rest has Hugging Face's defaults.
 *
 * *out is the caller's (token_free), NULL on failure.  NOT_FOUND: no vocabulary; INVALID: malformed file, missing
 * special token, a bound passed; UNSUPPORTED: another tokenizer than BERT's WordPiece, or an added token with rules
 * not known here; OOM, IO.
 */
enum status token_open(struct token_vocab **out, const char *model_dir, struct err *e) MUST_CHECK;
void token_free(struct token_vocab *v); /* NULL is fine */

/* ids[0 … *n) = the text's ids, cut at the length in o (the text is cut, [SEP] stays last).
 *
 *   text  any bytes; invalid UTF-8 counts as U+FFFD, one per maximal subpart (Unicode 15 section 3.9, as in Rust).
 *         Empty or absent text gives no ids ([CLS] [SEP] with add_special)
 *   ids   (cap) written; cap ≥ the length in o is always enough
 *
 * INVALID: max_length leaves no room for [CLS] and [SEP]; FULL: more ids than cap (then *n = 0).  Stops reading when
 * the length is reached.  Allocates nothing.  Thread: any; v is shared.
 * Source: Devlin et al. 2018; tokenizers 0.22 BertNormalizer, BertPreTokenizer, WordPiece, TemplateProcessing.
 */
enum status token_encode(const struct token_vocab *v, struct str text, struct token_opts o, int32_t *ids, size_t cap,
                         size_t *n, struct err *e) MUST_CHECK;

size_t token_count_unknown(const struct token_vocab *v, const int32_t *ids, size_t n); /* how many are [UNK] */
size_t token_max_length(const struct token_vocab *v); /* ids the model takes, special ones included */
size_t token_vocab_size(const struct token_vocab *v); /* largest id + 1 */
int32_t token_special(const struct token_vocab *v, enum token_special_id which);
const char *token_text(const struct token_vocab *v, int32_t id); /* NUL-terminated, v's; NULL: no such id */

/* Hash of vocabulary and settings: two tokenizers with equal fingerprints give equal ids for every text (so it is part
 * of what a saved state means). */
uint64_t token_fingerprint(const struct token_vocab *v);
#endif

/* describe.h - an event or an item as a short natural-language sentence, from templates that are data.
 *
 *   I bought {title}[ by {brand}]        {a|b}: the first of the fields that is there; {type}: the behaviour's name
 *
 * A bracket vanishes when a field in it is missing, or when all its fields stand in the sentence already.  Outside a
 * bracket a missing field reads as the template `unknown` ("an unknown item"): an id is no language.  {{ }} [[ ]] are
 * the characters themselves.  Lists are joined by ", ".  Nothing that changes at every event (time, count, value) has a
 * place here, so that sentences repeat and what is computed from them can be kept.
 * Precedence of templates: type.NAME.template, then the file describe.templates, then the set describe.language.
 */
#ifndef FEATURIZE_DESCRIBE_H
#define FEATURIZE_DESCRIBE_H
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DESCRIBE_ITEM 255         /* in place of a type: the item's own sentence */
#define DESCRIBE_BYTES_MAX 2048   /* longest sentence; longer ones are cut at a character's edge */
#define DESCRIBE_TEMPLATE_MAX 512 /* bytes of a template, as in the config */

struct describe;

/* Compiles the templates that c names.  *out is the caller's (describe_close), NULL on failure.  c is not kept.
 * INVALID: a malformed template or an unknown name, as path:line (or the config key); IO: the file can't be read; OOM. */
enum status describe_open(struct describe **out, const struct conf *c, struct err *e) MUST_CHECK;
void describe_close(struct describe *d); /* NULL is fine */

/* The sentence of behaviour `type` (index in the config's types) with an item of these attributes, or of the item itself
 * (DESCRIBE_ITEM).  type_name is what {type} reads; types without a template of their own use `other`.
 *
 *   out  (cap) written, not NUL-terminated; returns the bytes written, at most min(cap, DESCRIBE_BYTES_MAX)
 *
 * attrs may be NULL with n 0: nothing is known but the id.  Allocates nothing.  Thread: any; d is shared. */
size_t describe_render(const struct describe *d, uint8_t type, const char *type_name, const struct record_attr *attrs,
                       uint32_t n_attrs, char *out, size_t cap);

bool describe_uses(const struct describe *d, struct str attr);      /* some template names this attribute */
bool describe_item_uses(const struct describe *d, struct str attr); /* the item's own template does */
uint64_t describe_fingerprint(const struct describe *d); /* of all templates in force: part of a state's meaning */
const char *describe_shipped(const char *language);      /* the file of a shipped set ("en", "zh"), or NULL */
/* A number as sentences and attributes show it: no exponent, at most 6 decimals, no trailing zeros. Returns bytes, no
 * NUL counted; out has room for DESCRIBE_NUMBER_MAX. */
#define DESCRIBE_NUMBER_MAX 40
size_t describe_number(char out[DESCRIBE_NUMBER_MAX], double x);
#endif

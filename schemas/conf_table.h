/* conf_table.h - the configuration table as an array, for the files that read, check and print it.
 *
 * Made from CONF_LIST (conf.h) in conf.c; also the only way in for generated help texts.  Callers that only want values
 * read struct conf.
 */
#ifndef SCHEMAS_CONF_TABLE_H
#define SCHEMAS_CONF_TABLE_H
#include "schemas/conf.h"
#include <stddef.h>

#define CONF_KEY_MAX 160 /* bytes of a whole key "section.key", NUL included */

enum conf_kind { CONF_KIND_INT, CONF_KIND_NUM, CONF_KIND_BOOL, CONF_KIND_TEXT, CONF_KIND_WORD };
struct conf_key {
    const char *key;
    enum conf_kind kind;
    size_t offset; /* in struct conf */
    double lo, hi; /* numbers: range; TEXT: bytes */
    const char *unit; /* WORD: its choices, "a|b" */
    const char *flags, *text;
};
extern const struct conf_key conf_keys[];
extern const size_t conf_n_keys;

const struct conf *conf_defaults(void); /* without types; static */
const struct conf_key *conf_key_find(const char *key); /* NULL: none of that name */
const char *conf_builtin_name(int type);             /* enum event_type below EVENT_TYPES_BUILTIN */
enum conf_label conf_builtin_label(int type);
const char *conf_label_name(enum conf_label l);
/* Appends the value as text, as conf_set would take it (numbers in the fewest digits that read back the same). */
void conf_value_text(struct buf *b, const struct conf *c, const struct conf_key *k);

/* Levenshtein distance in bytes; texts longer than 200 bytes count as infinitely far (SIZE_MAX). */
size_t conf_edit_distance(const char *a, const char *b);
/* Key and value must survive a round trip through an INI file: no control characters, no outer blanks, no " ;". */
enum status conf_check_line(const char *key, const char *value, struct err *e) MUST_CHECK;
/* What a text key demands of its value beyond length. */
enum status conf_check_text(const char *key, const char *value, struct err *e) MUST_CHECK;
enum status conf_check_type_name(const char *key, struct str name, struct err *e) MUST_CHECK;
#endif

/* str.h - a borrowed run of bytes with its length.
 *
 * Not NUL-terminated unless the maker says so; never owned by the holder.  An absent string is {NULL, 0}; an empty one
 * has p != NULL.
 */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, ((s).p ? (s).p : "")

/* clang-format off */
static inline struct str str_from(const char *z) { return (struct str){z, z ? strlen(z) : 0}; }
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || (a.p[0] == b.p[0] && memcmp(a.p, b.p, a.n) == 0));
}
static inline bool str_is(struct str a, const char *z) { return str_eq(a, str_from(z)); }
static inline bool str_has(struct str a) { return a.p != NULL && a.n > 0; }
/* clang-format on */

/* The next word of a list whose words are parted by commas and blanks ("a, b c"); *at moves behind it.  False, and an empty
 * word: there is none. */
static inline bool str_next_word(const char **at, struct str *word)
{
    *at += strspn(*at, ", ");
    *word = (struct str){*at, strcspn(*at, ", ")};
    *at += word->n;
    return word->n > 0;
}

/* The word at that place of such a list; empty: there is none. */
static inline struct str str_word_at(const char *list, size_t place)
{
    struct str word;
    for (size_t i = 0; str_next_word(&list, &word) && i < place; i++) continue;
    return word;
}
#endif

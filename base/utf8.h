/* utf8.h - where well-formed characters are in bytes: the one place that knows Unicode's table 3-7.
 *
 * No overlong forms, no surrogates, nothing beyond U+10FFFF.  What a character means is featurize/token_*'s.  Thread: any.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include "base/str.h"

size_t utf8_length(const void *p, size_t left); /* bytes of the character at p; 0: there is none.  left > 0 */
bool utf8_valid(struct str s);                  /* absent and empty are */
size_t utf8_cut(const char *p, size_t n);       /* n, less a character at the end that was cut short */
void utf8_copy(char *out, size_t size, struct str s); /* as much as fits, cut so, NUL-terminated; size > 0 */
/* Bytes that belong to no character become '?', control characters (C0, DEL) too: what may stand in a log line. */
void utf8_clean(char *text); /* NUL-terminated; its length stays */
#endif

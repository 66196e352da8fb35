/* score_text.h - numbers as JSON text, without printf: a reply of a thousand candidates holds some six thousand of them.
 *
 * Thread: any.  Allocates only when the buffer grows; what does not fit marks the buffer as every other writer does.
 */
#ifndef SERVING_SCORE_TEXT_H
#define SERVING_SCORE_TEXT_H
#include "base/buf.h"

/* Nine significant digits, the fewest from which every float is read back as it was; trailing zeros left out, an exponent
 * below 1e-4 and from 1e9 on: the form of printf's %.9g.  v is finite. */
void score_text_float(struct buf *b, float v);
/* The same in exactly SCORE_TEXT_WIDE bytes, blanks before it. */
#define SCORE_TEXT_WIDE 15
void score_text_float_wide(char out[SCORE_TEXT_WIDE], float v);
void score_text_u64(struct buf *b, uint64_t v);
/* An event time in RFC 3339, quoted; 0, where none has come yet: null. */
void score_text_time(struct buf *b, int64_t ms);
/* A text of our own, as it is. */
void score_text_put(struct buf *b, const char *text);
#endif

/* jsonwide.h - integers of a JSON text that 64 bits don't hold, made numbers that jansson reads.
 *
 * JSON knows no limit, jansson refuses the whole text.  What it has refused for that is copied with those integers written as
 * the nearest double, in as many bytes, so places in the text stay; all others stay integers.  Thread: any.
 */
#ifndef BASE_JSONWIDE_H
#define BASE_JSONWIDE_H
#include "base/buf.h"

/* Appends the copy to out.  False: no integer is too wide, or one is beyond double too, or out->oom. */
bool jsonwide_put(struct buf *out, struct str text);
#endif

/* event_json.h - the pieces of JSON text that are written without a library: strings and numbers.
 *
 * What event_write_json, reports and manifests are made of.  Output is always valid: strings are escaped and cleaned to
 * UTF-8, numbers read back as the same double.  Parsing is not here.
 */
#ifndef SCHEMAS_EVENT_JSON_H
#define SCHEMAS_EVENT_JSON_H
#include "base/buf.h"
#include "base/str.h"

/* "text" with quotes; control characters, quote and backslash escaped, bytes that are no UTF-8 become U+FFFD.  An absent
 * string is written as "". */
void event_json_string(struct buf *b, struct str s);
/* In the fewest digits that read back as the same double; NaN and infinities are null. */
void event_json_number(struct buf *b, double v);
#endif

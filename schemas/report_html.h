/* report_html.h - the report as one HTML page that needs nothing beside it: figures, curves, reliability, slices, segments.
 *
 * Dark or light as the reader's system has it.  What the figures mean is said beside them.  Texts that come from outside
 * (names of segments, codes) are escaped.
 */
#ifndef SCHEMAS_REPORT_HTML_H
#define SCHEMAS_REPORT_HTML_H
#include "schemas/report.h"

/* r->detail must be set.  title: of the run, any text.  wall_ms: when it was written. */
void report_write_html(struct buf *b, const struct report *r, const char *title, int64_t wall_ms);
void report_html_text(struct buf *b, const char *text); /* escaped for an element or a quoted attribute */
#endif

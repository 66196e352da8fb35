/* page.h - the scorer's own page at /: one self-contained HTML document that polls /v1/models and /metrics.
 *
 * It holds no data itself, so it asks for no token; a field takes the token that its own calls send.
 */
#ifndef SERVING_PAGE_H
#define SERVING_PAGE_H
#include "base/buf.h"

void page_write(struct buf *b); /* appends the document */
#endif

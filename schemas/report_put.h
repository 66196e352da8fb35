/* report_put.h - the pieces of the report's JSON, shared by the files that write it: indented, one key a line.
 *
 * depth: how deep the object lies that the key belongs to; *first: true before its first key, then false.
 */
#ifndef SCHEMAS_REPORT_PUT_H
#define SCHEMAS_REPORT_PUT_H
#include "schemas/report.h"
#include <stdbool.h>

void report_put_key(struct buf *b, int depth, const char *key, bool *first);
void report_put_count(struct buf *b, int depth, const char *key, uint64_t n, bool *first);
void report_put_number(struct buf *b, int depth, const char *key, double v, bool *first); /* NaN: null */
void report_put_text(struct buf *b, int depth, const char *key, const char *text, bool *first);
bool report_put_open(struct buf *b, int depth, const char *key, bool *first); /* an object: its own `first` */
void report_put_close(struct buf *b, int depth, bool empty);
void report_put_figures(struct buf *b, int depth, const char *key, const struct report_figures *f, bool *first);
void report_put_interval(struct buf *b, int depth, const char *key, const struct report_interval *x, bool *first);
/* Its value, after a key: counts and rates; from_ms and to_ms unless both are 0. */
void report_put_cohort(struct buf *b, const struct report_cohort *c);
void report_put_detail(struct buf *b, const struct report_detail *d, const struct report *r, bool *first);
#endif

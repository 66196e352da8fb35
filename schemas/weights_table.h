/* weights_table.h - the tensor table inside weight files and published versions.
 *
 * A tensor is {str name, u8 kind, u8 rank, u32 shape[], u64 offset in floats}; one after another by offset.
 */
#ifndef SCHEMAS_WEIGHTS_TABLE_H
#define SCHEMAS_WEIGHTS_TABLE_H
#include "schemas/weights.h"

/* INVALID: too many, a name too long, tensors that overlap or reach past w->n_params. */
enum status weights_table_put(struct buf *b, const struct weights_view *w, struct err *e) MUST_CHECK;
/* out->n_tensors of them into out->tensors, names and table from a.  CORRUPT as put's INVALID; OOM. */
enum status weights_table_get(struct buf_reader *r, struct weights_view *out, struct arena *a,
                              struct err *e) MUST_CHECK;
#endif

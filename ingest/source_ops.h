/* source_ops.h - what a kind of source fills in behind source.h.
 *
 * The batch is emptied before `next` is called; everything else is as source.h says.  Not for other rooms.
 */
#ifndef INGEST_SOURCE_OPS_H
#define INGEST_SOURCE_OPS_H
#include "ingest/source.h"

struct source { /* the first member of each kind's struct */
    void (*close)(struct source *s);
    enum status (*next)(struct source *s, struct source_batch *b, int wait_ms, struct err *e);
    void (*commit)(struct source *s, const struct source_offset *offsets, size_t n);
    uint64_t (*bytes_read)(const struct source *s);
    uint64_t (*bytes_total)(const struct source *s);
    size_t (*partitions)(const struct source *s, struct source_offset *out, size_t cap);
    enum status (*hold)(struct source *s, int wait_ms, struct err *e); /* NULL: nothing to keep alive */
    void (*released)(struct source *s, uint64_t barrier);              /* NULL: nothing ever leaves */
    void (*health)(struct source *s, struct source_health *out);       /* NULL: always up */
};
bool source_interrupted(void); /* source_interrupt was called: waiting for a broker has lost its point */
#endif

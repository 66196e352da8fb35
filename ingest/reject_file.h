/* reject_file.h - dead letters as lines of a file: there exactly once, whatever is killed.
 *
 * What a checkpoint counts is durable; what is longer at the start is cut off, because its messages are read again.  All
 * that was written since the last sync is kept in memory too, so that a write or an fsync that fails loses nothing.
 * Not for other rooms (reject.h is).  Thread: one.
 */
#ifndef INGEST_REJECT_FILE_H
#define INGEST_REJECT_FILE_H
#include "base/buf.h"
#include "base/status.h"
#include <stdbool.h>

struct reject_file;
struct reject_file_start {
    bool known;      /* a checkpoint knows the file: `length` of it counts */
    uint64_t length; /* a file that is there but shorter is CORRUPT; one that is not there begins anew */
    bool keep;       /* not known: what is in it stays; else it begins empty */
    bool new_file;   /* copied, and put in the old one's place: who has that one open writes where nobody looks */
};
enum status reject_file_open(struct reject_file **out, const char *path, struct reject_file_start start,
                             struct err *e) MUST_CHECK;
void reject_file_close(struct reject_file *f); /* NULL is fine */
/* Where the next line goes; reject_file_wrote then takes it over.  FULL: the disk is, or much waits for a sync: the line is kept
 * all the same. */
struct buf *reject_file_line(struct reject_file *f);
enum status reject_file_wrote(struct reject_file *f, struct err *e) MUST_CHECK;
/* *length: what is durable now.  FULL: the disk is; nothing is lost, call again when there is room. */
enum status reject_file_sync(struct reject_file *f, uint64_t *length, struct err *e) MUST_CHECK;
#endif

/* job_file.h - files that a command leaves for people: reports, pictures.
 *
 * Tried before a long run, so that it does not end in a path that can't be written, and written after it.  "-" is stdout.
 * Nothing of the state is written here (base/file.h).  Thread: any.
 */
#ifndef JOB_JOB_FILE_H
#define JOB_JOB_FILE_H
#include "base/buf.h"
#include "base/status.h"

/* Can it be written?  Leaves no file behind.  NULL: nothing is asked for, which is fine.  IO names path and cause. */
enum status job_file_check(const char *path, struct err *e) MUST_CHECK;
/* IO, OOM.  path: not NULL. */
enum status job_file_write(const char *path, const struct buf *b, struct err *e) MUST_CHECK;
#endif

/* checkpoint_backup.h - the backups of a state folder: which there are, and whether one is sound.
 *
 * backup/<version>/ is laid out like a state folder (state.mdb, weights/<version>) with SHA256SUMS beside (`sha256sum -c`
 * reads it): copied anywhere else it is a state folder.  It gets its name only when it is whole and on disk.
 */
#ifndef JOB_CHECKPOINT_BACKUP_H
#define JOB_CHECKPOINT_BACKUP_H
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

#define CHECKPOINT_BACKUPS_MAX 1024

/* The versions of the backups in <dir>/backup, newest first, at most CHECKPOINT_BACKUPS_MAX; returns how many. */
size_t checkpoint_backups(const char *dir, uint64_t out[CHECKPOINT_BACKUPS_MAX]);
/* CORRUPT: a sum does not match, or the state in it is damaged; what is in the text.  drop_fd as child_run's. */
enum status checkpoint_backup_verify(const char *dir, uint64_t version, int drop_fd, struct err *e) MUST_CHECK;
#endif

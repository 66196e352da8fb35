/* child.h - runs a function in a forked child, for work on bytes that may kill or hang whoever reads them.
 *
 * The child shares nothing but its answer; it dies with its parent.  Begin it before other threads exist: a child of many
 * threads may only compute.
 */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H
#include "base/status.h"
#include <stddef.h>

/* What fn returned, with its sentence and the n bytes that it left at `answer` (at most 3,000).  CORRUPT when the child
 * ended by a signal or took longer than timeout_ms.  drop_fd: closed in the child first (a lock that it must not hold on
 * to); -1: none. */
enum status child_run(enum status (*fn)(void *user, void *answer, struct err *e), void *user, void *answer, size_t n,
                      int timeout_ms, int drop_fd, struct err *e) MUST_CHECK;
#endif

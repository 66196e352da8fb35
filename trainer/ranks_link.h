/* ranks_link.h - a connection between two processes of one training: addresses, whole messages, deadlines.
 *
 * Nothing here knows what is said.  A call ends when all bytes are through, or when none moved for timeout_ms, so that a peer
 * that hangs is noticed and one that is merely slow is not.  Descriptors are plain, non-blocking sockets.  Thread: any, one
 * at a time for each descriptor and direction.
 */
#ifndef TRAINER_RANKS_LINK_H
#define TRAINER_RANKS_LINK_H
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* address: "host:port", "unix:/path" or "/path".  A path's old socket that nobody listens on is replaced; ranks_unlisten
 * removes it again.  INVALID: no such address; CONFLICT: somebody listens there already; IO. */
enum status ranks_listen(int *fd, const char *address, struct err *e) MUST_CHECK;
void ranks_unlisten(int fd, const char *address);
/* Tries again until somebody listens there or until_us (monotonic) is over: AGAIN. */
enum status ranks_connect(int *fd, const char *address, int64_t until_us, struct err *e) MUST_CHECK;
enum status ranks_accept(int *fd, int listener, int64_t until_us, struct err *e) MUST_CHECK; /* AGAIN; IO */
void ranks_hang_up(int *fd);                                                                 /* and -1 */
/* Nothing more is sent: waits until the other side hangs up, at most so long, so that what was sent arrives. */
void ranks_say_goodbye(int fd, int64_t timeout_ms);
void ranks_cut(int fd); /* nothing moves from now on: who waits on it comes back; it stays open */

/* END: the other side has closed it; AGAIN: nothing moved for timeout_ms; IO. */
enum status ranks_send(int fd, const void *p, size_t n, int64_t timeout_ms, struct err *e) MUST_CHECK;
enum status ranks_receive(int fd, void *p, size_t n, int64_t timeout_ms, struct err *e) MUST_CHECK;
/* Waits until fd can be written (where write) or read; *writable, *readable say which.  AGAIN. */
enum status ranks_wait(int fd, bool write, bool *readable, bool *writable, int64_t timeout_ms,
                       struct err *e) MUST_CHECK;
/* As much as goes at once: *moved bytes, which may be 0. */
enum status ranks_send_some(int fd, const void *p, size_t n, size_t *moved, struct err *e) MUST_CHECK;
enum status ranks_receive_some(int fd, void *p, size_t n, size_t *moved, struct err *e) MUST_CHECK;
#endif

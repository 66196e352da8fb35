/* http_door.h - who may come in: accepts connections, knows what each is doing, and ends those that dawdle.
 *
 * A connection has a seat, named by its file descriptor, from accept to close.  It waits (for a whole head), reads (a
 * body), is answered, is sent to.  Waiting, reading and sending have an end, however slowly bytes trickle in or out; being
 * answered has none.  When all seats are taken the longest waiting connection makes room; when none waits long enough the
 * new one is told 503 and goes.  Knows nothing of HTTP beyond that one answer.
 */
#ifndef SERVING_HTTP_DOOR_H
#define SERVING_HTTP_DOOR_H
#include "base/clock.h"
#include "base/status.h"
#include "serving/metric.h"
#include <stdbool.h>
#include <sys/socket.h>

enum http_seat { HTTP_SEAT_FREE, HTTP_SEAT_WAITS, HTTP_SEAT_READS, HTTP_SEAT_ANSWERED, HTTP_SEAT_SENT };
struct http_door_options {
    int listen_fd; /* non-blocking; taken over once the door is open (closed by http_door_shut) */
    size_t most;   /* connections */
    struct clock *clock;
    struct metric *metric;
    /* Takes the connection over and closes it in any case; false: it was not taken.  Thread: the door's. */
    bool (*hand_over)(void *user, int fd, const struct sockaddr *a, socklen_t n);
    void *user;
};
struct http_door;
enum status http_door_new(struct http_door **out, const struct http_door_options *o, struct err *e) MUST_CHECK;
enum status http_door_open(struct http_door *d, struct err *e) MUST_CHECK; /* from now on connections come */
/* Nobody comes in any more: who stands before the door already is let in, then the listening socket is closed.  The seats
 * are watched on. */
void http_door_shut(struct http_door *d);
void http_door_free(struct http_door *d); /* ends its thread if it was opened; NULL is fine */

void http_door_seat(struct http_door *d, int fd, enum http_seat s); /* what it does now.  Thread: any */
void http_door_leave(struct http_door *d, int fd);                  /* about to be closed.  Thread: any */
/* True when nobody is in, or all who are have waited at least so long.  Thread: any. */
bool http_door_quiet(struct http_door *d, int64_t waited_ms);
#endif

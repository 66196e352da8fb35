/* http_routes.h - a whole request → status, type and body: everything of HTTP that needs no HTTP library.
 *
 * Shared by http.c and http_routes.c alone (and the tests of both).
 */
#ifndef SERVING_HTTP_ROUTES_H
#define SERVING_HTTP_ROUTES_H
#include "base/buf.h"
#include "serving/http.h"
#include <stdatomic.h>
#include <stdbool.h>

struct http_shared { /* what all requests read */
    struct http_options o;
    struct buf page, token; /* token.n 0: none is asked for */
    atomic_bool draining;   /* not ready any more */
};
struct http_request {
    struct str method, path, body;
    struct str bearer; /* of the Authorization header; .p NULL: none */
};
struct http_reply {
    int status;
    const char *type;  /* content type */
    const char *allow; /* methods, with 405 */
    struct buf *body;  /* written */
    bool usual;        /* JSON with status 200 of a kind that comes again and again: blanks may be put behind it */
    enum metric_route route;
};
/* Routes, checks the token, answers.  Never fails: what goes wrong is in the reply.  Thread: any. */
void http_answer(struct http_shared *s, const struct http_request *q, struct http_reply *r);
/* {"error":{"code","message"}} for a status of our list. */
void http_error(struct http_reply *r, int status, const char *code, const char *message);
/* Whether its answer may have to wait for Kafka: no thread that others need gives it.  False without the token, too. */
bool http_waits(const struct http_shared *s, const struct http_request *q);
void http_answer_busy(const struct http_request *q, struct http_reply *r); /* instead: too many wait already */
enum metric_route http_route_of(struct str path);                          /* OTHER: no such path is known */
#endif

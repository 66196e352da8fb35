/* http.h - the scorer's HTTP door: routes, limits, errors.  What is asked of the model is score.h's.
 *
 *   POST /v1/rerank   POST /v1/events   GET /v1/models   GET /metrics   GET /   (DESIGN "HTTP")
 *   GET /v2  GET /v2/health/live  GET /v2/health/ready  GET /v2/models/<m>  POST /v2/models/<m>/infer
 *   GET /v2/models/<m>/ready                            (Open Inference Protocol v2; after <m> may stand /versions/<v>, which
 *                                                       is 404 unless v is the version that answers)
 *
 * The only file that includes microhttpd.h is http.c; without the library http_none.c stands in (UNSUPPORTED).  Errors are
 * {"error":{"code","message"}}.  serving.threads threads answer; bodies, items, connections and time are bounded.
 */
#ifndef SERVING_HTTP_H
#define SERVING_HTTP_H
#include "base/clock.h"
#include "base/status.h"
#include "base/str.h"
#include "schemas/conf.h"
#include "serving/metric.h"
#include "serving/score.h"

/* Where POST /v1/events goes.  take: INVALID (400), FULL (413), anything else (503); OK: all are acknowledged, *n of them.
 * Thread: one of its own, which may wait for as long as it likes. */
struct http_intake {
    void *user;
    enum status (*take)(void *user, struct str body, size_t *n, struct err *e);
};
struct http_options {
    const struct conf *conf; /* serving.* */
    struct clock *clock;
    struct score *score;
    struct metric *metric;
    const struct http_intake *intake; /* NULL: 501 */
    const char *version;              /* of freshet */
};
struct http;
/* Listens on serving.listen; all of o is borrowed.  IO names the address; INVALID: a malformed address or an empty token
 * file; UNSUPPORTED, OOM. */
enum status http_open(struct http **out, const struct http_options *o, struct err *e) MUST_CHECK;
/* Goes down in order within drain_ms (and the time of the scoring under way): an eighth of it health is not ready while
 * connections are taken still, so that balancers see it; then the listening socket closes, what was sent by then is
 * answered, and kept connections are closed with their last answer or when they are silent.  NULL is fine. */
void http_close(struct http *h, int64_t drain_ms);
const char *http_address(const struct http *h); /* "127.0.0.1" */
int http_port(const struct http *h);            /* the one in use, when port 0 was asked for */
#endif

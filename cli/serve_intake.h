/* serve_intake.h - POST /v1/events of `freshet serve`: native events, one JSON object a line, into the Kafka topic.
 *
 * All lines are checked before the first is sent; the answer comes after Kafka has acknowledged all of them.
 */
#ifndef CLI_SERVE_INTAKE_H
#define CLI_SERVE_INTAKE_H
#include "schemas/conf.h"
#include "serving/http.h"

struct serve_intake;
/* *out NULL with OK: kafka.bootstrap.servers is not set, or ingest.schema is not native.  The broker may be away: it is
 * looked for again by a later call, though not for two seconds.  OOM. */
enum status serve_intake_open(struct serve_intake **out, const struct conf *c, struct err *e) MUST_CHECK;
void serve_intake_close(struct serve_intake *i);
const struct http_intake *serve_intake_door(const struct serve_intake *i); /* NULL for NULL */
#endif

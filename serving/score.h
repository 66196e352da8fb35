/* score.h - the scorer: a request → records from Redis → features → model → ranking, with the version in force.
 *
 * struct score holds what is shared (base model, templates, caches, slot) and a watch thread that fetches versions and
 * binds them.  struct score_hand is one request's hands: Redis connection, features, scratch; there is one for each request
 * thread.  Passes over the model are fewer (kernels.threads, and one more to bind to a new version while no request waits
 * for it): requests that are ready while all are at work are scored together.  A request sees one version from beginning
 * to end, and its scores are the same alone or together.  A request whose records are at hand allocates nothing, whatever
 * it brings along itself.
 */
#ifndef SERVING_SCORE_H
#define SERVING_SCORE_H
#include "base/clock.h"
#include "base/status.h"
#include "model/model.h"
#include "schemas/conf.h"
#include "serving/metric.h"
#include "serving/score_request.h"
#include "serving/slot.h"
#include <stdbool.h>

struct score;
struct score_hand;

/* Loads base folder, tokenizer and templates; conf, clock and metric are borrowed.  NOT_FOUND: redis.url is empty, or no
 * base folder; other errors as of what is opened. */
enum status score_open(struct score **out, const struct conf *c, struct clock *clock, struct metric *m,
                       struct err *e) MUST_CHECK;
enum status score_start(struct score *s, struct err *e) MUST_CHECK; /* the watch and the log of answers begin */
void score_close(struct score *s);                                  /* no hand may be out; NULL is fine */
/* One look for a new version, by the caller instead of the watch. Errors as fetch_next. */
enum status score_look(struct score *s, struct err *e) MUST_CHECK;

struct score_hand *score_borrow(struct score *s); /* waits while all are out.  Thread: any */
void score_return(struct score *s, struct score_hand *h);

struct score_ranked {
    uint32_t index;   /* in request.items */
    float score;      /* probability of the one label; with rank.utility the sum that it ranks by */
    float logit;      /* of that probability */
    float propensity; /* of being next, given those before it; 0: the list was not drawn, or it is not known */
    bool known;
};
struct score_answer { /* lives in the hand until its next request */
    char request[EVENT_ID_MAX + 1];
    struct score_ranked *items; /* (n) best first; at most request.limit */
    uint32_t n;
    const float *part_logits; /* (parts and tasks, K), K = request.n_items */
    uint32_t n_parts;
    uint32_t *features;        /* (candidates) slate_features of each, in the request's order */
    bool explored;             /* the order was drawn (serving.explore) */
    bool user_known, degraded; /* degraded: Redis was away, made from what was at hand */
    const struct slot_version *version;
    int64_t time_ms; /* that was scored at */
};
struct score_request *score_request_of(struct score_hand *h); /* to parse into, or to fill */
/* Scores the hand's request.  NOT_FOUND: no version is there yet; INVALID, OOM, CORRUPT (a score that is not finite). */
enum status score_rank(struct score_hand *h, const struct score_answer **out, struct err *e) MUST_CHECK;
/* The reply's JSON (DESIGN "HTTP"). */
void score_write_answer(const struct score_hand *h, const struct score_answer *a, struct buf *b);
/* After the reply is made: freshness, counters, the stream of served answers (dropped and counted when its queue is full). */
void score_answered(struct score_hand *h, const struct score_answer *a);

/* {"models":[{"name","version","sha256",…}],"fetch":{"state",…}}; an empty list while there is no version.  fetch says what
 * keeps a newer version out: state starting, ok, nothing_published, redis_away or refused, with reason, failures in a row and the
 * time until the next try. */
void score_write_models(struct score *s, struct buf *b);
void score_write_health(struct score *s, struct buf *b); /* {"ready","version","age_ms","fetch":{…}}, for everybody */
void score_why_not(struct score *s, struct err *e);      /* NOT_FOUND: why there is no version yet */
void score_write_metadata(struct score *s, struct buf *b); /* Open Inference Protocol: model metadata */
uint64_t score_looks(struct score *s);   /* of the watch thread for versions, good or failed: it lives */
bool score_ready(struct score *s);       /* a version is in force */
uint64_t score_version(struct score *s); /* in force in the variant in charge; 0: none yet */
const char *score_model_name(const struct score *s);
void score_update_gauges(struct score *s); /* before /metrics is written */
#endif

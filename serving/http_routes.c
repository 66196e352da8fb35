/* http_routes.c - one small function per route, and the table that leads to them. */
#include "serving/http_routes.h"
#include "base/log.h"
#include "schemas/event_json.h"
#include "serving/score_infer.h"
#include <stdio.h>
#include <string.h>

#define JSON "application/json"
#define MODELS "/v2/models/"
#define VERSIONS "/versions/"

void http_error(struct http_reply *r, int status, const char *code, const char *message)
{
    buf_clear(r->body);
    r->status = status;
    r->type = JSON;
    buf_printf(r->body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    event_json_string(r->body, str_from(message));
    buf_printf(r->body, "}}\n");
}

/* A failed call's status as HTTP says it. */
static void failed(struct http_reply *r, enum status st, const struct err *e)
{
    switch (st) {
    case STATUS_INVALID: http_error(r, 400, "invalid_request", e->text); break;
    case STATUS_FULL: http_error(r, 413, "too_large", e->text); break;
    case STATUS_NOT_FOUND: http_error(r, 503, "no_model", e->text); break;
    case STATUS_OOM: http_error(r, 503, "out_of_memory", e->text); break;
    default:
        log_limited(LOG_ERROR, "request", "%s", e->text);
        http_error(r, 500, "internal", "the request could not be scored; see the scorer's log");
    }
}

/* Compares in a time that depends on the given text's length alone. */
static bool token_is(const struct buf *want, struct str given)
{
    unsigned diff = want->n != given.n;
    for (size_t i = 0; i < given.n; i++) diff |= (unsigned)(unsigned char)given.p[i] ^ want->p[i % want->n];
    return diff == 0;
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

typedef void route_fn(struct http_shared *s, const struct http_request *q, struct http_reply *r);

static void rerank(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    struct err e = {0};
    const struct score_answer *a;
    struct score_hand *h = score_borrow(s->o.score);
    enum status st = score_request_parse(score_request_of(h), q->body, s->o.conf, &e);
    if (st == STATUS_OK) st = score_rank(h, &a, &e);
    if (st == STATUS_OK) {
        score_write_answer(h, a, r->body);
        score_answered(h, a);
        r->usual = true;
    }
    score_return(s->o.score, h);
    if (st != STATUS_OK) failed(r, st, &e);
}

static bool begins(struct str s, const char *head)
{
    const size_t n = strlen(head);
    return s.n >= n && memcmp(s.p, head, n) == 0;
}

/* The path is MODELS, our model's name, then tail, or VERSIONS, *version and tail (.p NULL: none is asked for); else answers 404
 * itself. */
static bool is_our_model(struct http_shared *s, struct str path, const char *tail, struct str *version,
                         struct http_reply *r)
{
    const char *name = score_model_name(s->o.score);
    const size_t head = strlen(MODELS) + strlen(name), end = strlen(tail);
    *version = (struct str){NULL, 0};
    if (path.n >= head + end && begins((struct str){path.p + strlen(MODELS), path.n - strlen(MODELS)}, name)) {
        const struct str rest = {path.p + head, path.n - head - end};
        if (begins(rest, VERSIONS)) *version = (struct str){rest.p + strlen(VERSIONS), rest.n - strlen(VERSIONS)};
        if (rest.n == 0 || version->p != NULL) return true;
    }
    http_error(r, 404, "no_such_model", "this scorer serves another model; GET /v1/models names it");
    return false;
}

/* Whether what is asked for is the version in force (0: none is); answers 404 itself when it is another. */
static bool is_version(struct str asked, uint64_t in_force, struct http_reply *r)
{
    char ours[24], text[160];
    (void)snprintf(ours, sizeof ours, "%llu", (unsigned long long)in_force);
    if (asked.p == NULL || (in_force != 0 && str_is(asked, ours))) return true;
    bool number = asked.n > 0 && asked.n <= 20;
    for (size_t i = 0; i < asked.n; i++) number = number && asked.p[i] >= '0' && asked.p[i] <= '9';
    (void)snprintf(text, sizeof text,
                   "%s" STR_FMT " is not the version in force, which is %s; leave /versions/… out to ask for that",
                   number ? "version " : "what stands after /versions/", STR_ARG(number ? asked : STR("")),
                   in_force != 0 ? ours : "none yet");
    http_error(r, 404, "no_such_version", text);
    return false;
}

static void infer(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    struct err e = {0};
    const struct score_answer *a;
    struct str version;
    if (!is_our_model(s, q->path, "/infer", &version, r)) return;
    struct score_hand *h = score_borrow(s->o.score);
    enum status st = score_infer_parse(score_request_of(h), q->body, s->o.conf, &e);
    if (st == STATUS_OK) st = score_rank(h, &a, &e);
    if (st == STATUS_OK && is_version(version, a->version->manifest.version, r)) {
        score_infer_write(score_request_of(h), a, score_model_name(s->o.score), r->body);
        score_answered(h, a);
        r->usual = true;
    }
    score_return(s->o.score, h);
    if (st != STATUS_OK) failed(r, st, &e);
}

static void events(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    struct err e = {0};
    size_t n = 0;
    if (s->o.intake == NULL) {
        http_error(r, 501, "no_intake",
                   "this scorer takes no events: set kafka.bootstrap.servers, or produce to the topic");
        return;
    }
    const enum status st = s->o.intake->take(s->o.intake->user, q->body, &n, &e);
    if (st == STATUS_INVALID) {
        http_error(r, 400, "invalid_event", e.text);
    } else if (st == STATUS_FULL) {
        http_error(r, 413, "too_many_events", e.text);
    } else if (st != STATUS_OK) {
        http_error(r, 503, "intake_away", e.text);
    } else {
        metric_add(s->o.metric, METRIC_EVENTS_ACCEPTED, n);
        r->status = 202;
        buf_printf(r->body, "{\"accepted\":%zu}\n", n);
    }
}

static void models(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    (void)q;
    score_write_models(s->o.score, r->body);
}

static void server(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    (void)q;
    buf_printf(r->body, "{\"name\":\"freshet\",\"version\":");
    event_json_string(r->body, str_from(s->o.version));
    buf_printf(r->body, ",\"extensions\":[]}");
}

static void metadata(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    struct str version;
    if (is_our_model(s, q->path, "", &version, r) && is_version(version, score_version(s->o.score), r))
        score_write_metadata(s->o.score, r->body);
}

static void live(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    (void)s, (void)q;
    buf_printf(r->body, "{\"live\":true}");
}

static void ready(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    struct err e = {0};
    (void)q;
    if (atomic_load(&s->draining)) {
        http_error(r, 503, "draining", "the scorer is going down");
    } else if (!score_ready(s->o.score)) {
        score_why_not(s->o.score, &e);
        http_error(r, 503, "no_model", e.text);
    } else {
        score_write_health(s->o.score, r->body);
    }
}

static void model_ready(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    struct str version;
    if (is_our_model(s, q->path, "/ready", &version, r) && is_version(version, score_version(s->o.score), r))
        ready(s, q, r);
}

static void metrics(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    (void)q;
    score_update_gauges(s->o.score);
    metric_write_prometheus(s->o.metric, r->body);
    r->type = "text/plain; version=0.0.4; charset=utf-8";
}

static void page(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    (void)q;
    buf_put(r->body, s->page.p, s->page.n);
    r->type = "text/html; charset=utf-8";
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

struct route {
    const char *path, *tail; /* tail: the path is MODELS, a name or a name, VERSIONS and one of them, this */
    bool post, open;         /* open: asks for no token (the page holds no data) */
    bool waits;              /* for others than the model and Redis */
    enum metric_route metric;
    route_fn *fn;
};
static const struct route table[] = {
    {"/v1/rerank", NULL, true, false, false, METRIC_ROUTE_RERANK, rerank},
    {"/v1/events", NULL, true, false, true, METRIC_ROUTE_EVENTS, events},
    {"/v1/models", NULL, false, false, false, METRIC_ROUTE_MODELS, models},
    {"/v2/health/live", NULL, false, true, false, METRIC_ROUTE_HEALTH, live},
    {"/v2/health/ready", NULL, false, true, false, METRIC_ROUTE_HEALTH, ready},
    {"/v2", NULL, false, false, false, METRIC_ROUTE_METADATA, server},
    {NULL, "/infer", true, false, false, METRIC_ROUTE_INFER, infer},
    {NULL, "/ready", false, false, false, METRIC_ROUTE_HEALTH, model_ready},
    {NULL, "", false, false, false, METRIC_ROUTE_METADATA, metadata},
    {"/metrics", NULL, false, false, false, METRIC_ROUTE_METRICS, metrics},
    {"/", NULL, false, true, false, METRIC_ROUTE_PAGE, page},
};

static bool ends(struct str s, const char *tail)
{
    const size_t n = strlen(tail);
    return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

static const struct route *find(struct str path)
{
    const bool model = path.n > strlen(MODELS) && begins(path, MODELS);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct route *r = &table[i];
        if (r->path != NULL ? str_is(path, r->path) : model && ends(path, r->tail)) return r;
    }
    return NULL;
}

enum metric_route http_route_of(struct str path)
{
    const struct route *r = find(path);
    return r != NULL ? r->metric : METRIC_ROUTE_OTHER;
}

static bool let_in(const struct http_shared *s, const struct route *to, const struct http_request *q)
{
    return s->token.n == 0 || (to != NULL && to->open) || (q->bearer.p != NULL && token_is(&s->token, q->bearer));
}

bool http_waits(const struct http_shared *s, const struct http_request *q)
{
    const struct route *to = find(q->path);
    return to != NULL && to->waits && str_is(q->method, to->post ? "POST" : "GET") && let_in(s, to, q);
}

void http_answer_busy(const struct http_request *q, struct http_reply *r)
{
    r->route = http_route_of(q->path);
    http_error(r, 429, "intake_busy", "too many requests wait for Kafka already; try again");
}

void http_answer(struct http_shared *s, const struct http_request *q, struct http_reply *r)
{
    const struct route *to = find(q->path);
    const bool get = str_is(q->method, "GET") || str_is(q->method, "HEAD");
    buf_clear(r->body);
    r->status = 200;
    r->type = JSON;
    r->allow = NULL;
    r->usual = false;
    r->route = to ? to->metric : METRIC_ROUTE_OTHER;
    if (!let_in(s, to, q)) {
        http_error(r, 401, "unauthorized", "give the token: Authorization: Bearer <token>");
    } else if (to == NULL) {
        http_error(r, 404, "no_such_path", "no such path; GET / shows what there is");
    } else if (to->post ? !str_is(q->method, "POST") : !get) {
        http_error(r, 405, "method_not_allowed", to->post ? "this path takes POST" : "this path takes GET");
        r->allow = to->post ? "POST" : "GET, HEAD";
    } else {
        to->fn(s, q, r);
    }
    if (r->body->oom) r->status = 503, r->usual = false, buf_clear(r->body);
}

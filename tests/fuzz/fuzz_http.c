/* fuzz_http.c - a whole HTTP request: method, path, token and body, against a scorer with a version in force.
 *
 * Input: a letter that picks the route (or `?`: method, path and token are lines of the input), then the body.  Every
 * answer is JSON where it says so, errors have code and message, scores are probabilities in order.  Redis runs while the
 * scorer opens and is then gone, so that a request costs no round trip: records come from memory.
 * fuzz: -dict=json
 * sources: cli/serve_intake.c
 */
#include "cli/serve_intake.h"
#include "ingest/source_kafka_producer.h"
#include "serving/http_routes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/serving_world.h"
#include <jansson.h>
#include <stdlib.h>

static struct serving_world world;
static struct http_shared shared;
static struct buf body;

/* The producer's place is taken: what would go to Kafka is looked at. */
enum status source_producer_open(struct source_producer **out, const struct conf *c, const char *topic, struct err *e)
{
    static int there;
    (void)c, (void)e;
    FUZZ_CHECK(topic[0] != 0);
    *out = (struct source_producer *)(void *)&there;
    return STATUS_OK;
}

enum status source_producer_send(struct source_producer *p, struct str key, struct str value,
                                 const struct source_producer_header *headers, size_t n, struct err *e)
{
    (void)p, (void)headers, (void)e;
    FUZZ_CHECK(n == 0 && key.n <= EVENT_ID_MAX && value.n > 0 && value.n <= body.n + (1u << 20));
    return STATUS_OK;
}

enum status source_producer_flush(struct source_producer *p, int wait_ms, struct err *e)
{
    (void)p, (void)wait_ms, (void)e;
    return STATUS_OK;
}

void source_producer_close(struct source_producer *p)
{
    (void)p;
}

static void close_all(void)
{
    serving_world_close(&world);
}

static void ask(struct fuzz_input in, char route, int *status);

static void open_all(void)
{
    static const char *const options[] = {"serving.max_items=100", "serving.served_max=0",
                                          "redis.timeout_ms=10",   "kafka.bootstrap.servers=none:1",
                                          "ingest.topics=events",  NULL};
    static const char warm[] =
        "{\"user\":\"u1\",\"items\":[\"i0\",\"i1\",\"i2\",\"i3\",\"i4\",\"i5\",\"i6\",\"i7\",\"i8\",\"i9\"]}";
    struct err e = {0};
    struct metric *metric = NULL;
    struct serve_intake *intake = NULL;
    int status = 0;
    FUZZ_CHECK(setenv("LC_ALL", "C", 1) == 0 && atexit(close_all) == 0);
    serving_world_open(&world, options);
    serving_world_features(&world);
    serving_world_version(&world, 1);
    FUZZ_OK(metric_new(&metric, &e), &e);
    FUZZ_OK(serve_intake_open(&intake, world.shop.conf, &e), &e);
    shared.o =
        (struct http_options){.conf = world.shop.conf, .clock = clock_system(), .metric = metric, .version = "0"};
    shared.o.intake = serve_intake_door(intake);
    FUZZ_OK(score_open(&shared.o.score, world.shop.conf, clock_system(), metric, &e), &e);
    FUZZ_OK(score_look(shared.o.score, &e), &e);
    ask((struct fuzz_input){(const uint8_t *)warm, sizeof warm - 1}, 'r', &status);
    FUZZ_CHECK(status == 200);
    redis_server_kill(&world.redis);
}

static void check_ranked(json_t *items)
{
    double before = 2;
    const char *name;
    json_t *one, *v;
    size_t i;
    FUZZ_CHECK(json_is_array(items) && json_array_size(items) > 0);
    json_array_foreach(items, i, one)
    {
        const double score = json_number_value(json_object_get(one, "score"));
        FUZZ_CHECK(score >= 0 && score <= 1 && score <= before);
        FUZZ_CHECK(json_integer_value(json_object_get(one, "rank")) == (json_int_t)i + 1);
        before = score;
        json_object_foreach(one, name, v) FUZZ_CHECK(!json_is_null(v));
    }
}

static void check_answer(const struct http_reply *r, char route)
{
    json_error_t why;
    FUZZ_CHECK(r->status >= 200 && r->status < 600 && r->status != 500 && !body.oom);
    if (strcmp(r->type, "application/json") != 0) return;
    json_t *o = json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL) fuzz_fail(__FILE__, __LINE__, "the answer is JSON", why.text);
    if (r->status >= 400) {
        const json_t *error = json_object_get(o, "error");
        FUZZ_CHECK(json_is_string(json_object_get(error, "code")) &&
                   json_string_length(json_object_get(error, "message")) > 0);
    } else if (route == 'r') {
        check_ranked(json_object_get(o, "items"));
    }
    json_decref(o);
}

static void ask(struct fuzz_input in, char route, int *status)
{
    static const struct {
        char route;
        struct str method, path;
    } routes[] = {{'r', {"POST", 4}, {"/v1/rerank", 10}},
                  {'i', {"POST", 4}, {"/v2/models/default/infer", 24}},
                  {'e', {"POST", 4}, {"/v1/events", 10}}};
    struct http_request q = {.method = STR("POST")};
    struct http_reply r = {.body = &body};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (routes[i].route == route) q = (struct http_request){.method = routes[i].method, .path = routes[i].path};
    if (q.path.p == NULL) {
        q.method = fuzz_line(&in);
        q.path = fuzz_line(&in);
        q.bearer = fuzz_line(&in);
    }
    q.body = fuzz_rest(&in);
    http_answer(&shared, &q, &r);
    check_answer(&r, route);
    *status = r.status;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    int status;
    if (shared.o.score == NULL) open_all();
    fuzz_begin();
    const char route = (char)fuzz_byte(&in);
    ask(in, route, &status);
    return 0;
}

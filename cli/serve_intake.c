/* serve_intake.c - lines to events (checked by the learner's own parser) to the producer. */
#include "cli/serve_intake.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/parse.h"
#include "ingest/source_kafka_producer.h"
#include <stdio.h>
#include <string.h>

#define LINES_MAX 10000
#define ACK_MS 10000
#define REST_MS 2000 /* after a failure, in which nobody waits for a broker that is away */

struct serve_intake {
    struct http_intake door;
    const struct conf *conf;
    char topic[256];
    struct parse *parse;
    struct arena arena;
    struct source_producer *producer; /* NULL: not open */
    int64_t again_us;                 /* not before then is it opened again */
    struct err away;                  /* … and why */
};

static int64_t now_us(void)
{
    return clock_system()->mono_us(clock_system());
}

static bool next_line(struct str *rest, struct str *line)
{
    while (rest->n > 0) {
        const char *end = memchr(rest->p, '\n', rest->n);
        const size_t n = end ? (size_t)(end - rest->p) : rest->n;
        *line = (struct str){rest->p, n};
        rest->p += end ? n + 1 : n;
        rest->n -= end ? n + 1 : n;
        while (line->n > 0 && strchr(" \t\r", line->p[line->n - 1]) != NULL) line->n--;
        if (line->n > 0) return true;
    }
    return false;
}

static enum status check_line(struct serve_intake *i, struct str line, size_t number, struct event *ev, struct err *e)
{
    struct reject r;
    memset(&r, 0, sizeof r);
    if (line.n > (size_t)i->conf->ingest_max_bytes)
        return ERR_SET(e, STATUS_INVALID, "line %zu: longer than ingest.max_bytes=%lld", number,
                       (long long)i->conf->ingest_max_bytes);
    const enum status st = parse_event(i->parse, line, &i->arena, ev, &r, e);
    return st == STATUS_INVALID ? ERR_SET(e, STATUS_INVALID, "line %zu: %s", number, r.text) : st;
}

static enum status send_all(struct serve_intake *i, struct str body, struct err *e)
{
    struct str line;
    struct event ev;
    if (i->producer == NULL) TRY(source_producer_open(&i->producer, i->conf, i->topic, e));
    while (next_line(&body, &line)) {
        arena_reset(&i->arena);
        TRY(check_line(i, line, 0, &ev, e)); /* was good before: gives the key */
        TRY(source_producer_send(i->producer, ev.user, line, NULL, 0, e));
    }
    return source_producer_flush(i->producer, ACK_MS, e);
}

static enum status take(void *user, struct str body, size_t *n, struct err *e)
{
    struct serve_intake *i = user;
    struct str rest = body, line;
    struct event ev;
    *n = 0;
    while (next_line(&rest, &line)) {
        arena_reset(&i->arena);
        if (++*n > LINES_MAX)
            return ERR_SET(e, STATUS_FULL, "more than %d events at once; send them in parts", LINES_MAX);
        TRY(check_line(i, line, *n, &ev, e));
    }
    if (*n == 0) return ERR_SET(e, STATUS_INVALID, "the body holds no event; give one JSON object a line");
    if (i->producer == NULL && now_us() < i->again_us) {
        *e = i->away;
        return e->code;
    }
    const enum status st = send_all(i, body, e);
    if (st == STATUS_OK) return st;
    log_limited(LOG_WARN, "events", "%s", e->text);
    source_producer_close(i->producer); /* one that failed once is of no use */
    i->producer = NULL;
    i->away = *e;
    i->again_us = now_us() + REST_MS * 1000;
    return st;
}

static bool has_kafka(const struct conf *c)
{
    for (size_t k = 0; k < c->n_kafka; k++)
        if (strcmp(c->kafka[k].key, "bootstrap.servers") == 0 || strcmp(c->kafka[k].key, "metadata.broker.list") == 0)
            return true;
    return false;
}

enum status serve_intake_open(struct serve_intake **out, const struct conf *c, struct err *e)
{
    *out = NULL;
    if (!has_kafka(c) || strcmp(c->ingest_schema, "native") != 0) return STATUS_OK;
    struct serve_intake *i = mem_calloc(1, sizeof *i);
    if (i == NULL) return ERR_SET(e, STATUS_OOM, "serve: no memory for the intake");
    i->door = (struct http_intake){i, take};
    i->conf = c;
    const size_t n = strcspn(c->ingest_topics, ", ");
    (void)snprintf(i->topic, sizeof i->topic, "%.*s", n < 255 ? (int)n : 255, c->ingest_topics);
    const enum status st = parse_new(&i->parse, c, e);
    if (st == STATUS_OK)
        *out = i;
    else
        serve_intake_close(i);
    return st;
}

void serve_intake_close(struct serve_intake *i)
{
    if (i == NULL) return;
    source_producer_close(i->producer);
    parse_free(i->parse);
    arena_fini(&i->arena);
    mem_free(i);
}

const struct http_intake *serve_intake_door(const struct serve_intake *i)
{
    return i ? &i->door : NULL;
}

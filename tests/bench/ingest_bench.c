/* ingest_bench.c - how fast bytes become events: the parser alone over several shapes, and a source's own loop with and
 * without it.  Checks what came out before it says a figure.
 *
 *   ingest_bench parse [SHAPE...]              one thread, messages in memory: shapes below (default all)
 *   ingest_bench source raw|parsed RECORDS [-o KEY=VALUE...] PATH...
 *   ingest_bench kafka raw|parsed RECORDS [-o KEY=VALUE...]      -o kafka.bootstrap.servers=... -o ingest.topics=...
 *   ingest_bench produce TOPIC MESSAGES -o kafka.bootstrap.servers=...   so many messages of 100 bytes
 *
 * RECORDS must come out, no more and no fewer (0: not checked).  raw: messages go through the source as they do for a
 * learner, batch by batch and with all their checks, but the parser is left out (the linker puts a stand-in into its place).
 * One line a figure: name, unit, least, median and most of the rounds.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/parse.h"
#include "ingest/preset.h"
#include "ingest/source.h"
#include "ingest/source_kafka_producer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, MESSAGES = 512, WAIT_MS = 20, QUIET_S = 30, PARTITIONS = 64 };

static bool parse_left_out;

enum status __real_preset_parse(struct preset *p, struct str message, struct arena *a, struct source_record *rec,
                                struct err *e);
enum status __wrap_preset_parse(struct preset *p, struct str message, struct arena *a, struct source_record *rec,
                                struct err *e);
enum status __wrap_preset_parse(struct preset *p, struct str message, struct arena *a, struct source_record *rec,
                                struct err *e)
{
    if (!parse_left_out) return __real_preset_parse(p, message, a, rec, e);
    rec->kind = SOURCE_EVENT;
    rec->event.time_ms = 1;
    return STATUS_OK;
}

static double now_s(void)
{
    return (double)clock_system()->mono_us(clock_system()) * 1e-6;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void say(const char *name, const char *unit, double *rates, size_t n)
{
    qsort(rates, n, sizeof *rates, by_size);
    (void)printf("%-24s %-12s %12.0f %12.0f %12.0f\n", name, unit, rates[0], rates[n / 2], rates[n - 1]);
    (void)fflush(stdout);
}

static int failed(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "ingest_bench: %s: %s\n", what, e->text);
    return 1;
}

/* ---- messages ---- */

static void put_small(struct buf *b, unsigned i)
{
    buf_printf(b, "{\"type\":\"view\",\"time\":%llu,\"user\":\"u%u\",\"item\":\"i%u\",\"session\":\"s-%08u\"}",
               1767225600000ull + i * 37ull, i % 977, i * 7 % 4093, i / 5);
}

static void put_purchase(struct buf *b, unsigned i)
{
    buf_printf(
        b,
        "{\"id\":\"%08x-77aa-4c1d-9e0f-0123456789ab\",\"source\":\"shop/web\",\"type\":\"purchase\","
        "\"time\":\"2026-01-%02uT%02u:%02u:07.125Z\",\"user\":\"customer-%u\",\"item\":\"sku-%05u\","
        "\"session\":\"s-%u\",\"order\":\"o-%u\",\"title\":\"Set of %u \\u201cRetro\\u201d spot tea towels, "
        "caf\xc3\xa9\","
        "\"category\":\"kitchen\",\"brand\":\"Lark & Fern\",\"tags\":[\"cotton\",\"gift\",\"red\"],"
        "\"price\":%u.95,\"currency\":\"GBP\",\"quantity\":%u,\"context\":{\"page\":\"basket\",\"device\":\"phone\"}}",
        i * 2654435761u, 1 + i % 28, i % 24, i % 60, i % 4001, i % 5003, i / 3, i / 4, 1 + i % 9, 1 + i % 40,
        1 + i % 6);
}

static void put_item(struct buf *b, unsigned i)
{
    buf_printf(b,
               "{\"type\":\"item\",\"time\":%llu,\"item\":\"sku-%05u\",\"title\":\"hanging heart %u\",\"price\":%u.5,"
               "\"category\":\"home > decoration > hearts\",\"description\":\"",
               1767225600000ull + i, i % 5003, i, i % 90);
    for (unsigned w = 0; w < 150; w++) buf_printf(b, "%s word%u,", w % 12 == 0 ? "\\n" : "", (i + w * 31) % 997);
    buf_printf(b, "\"}");
}

/* 48 fields that nobody named: texts, numbers, booleans, nulls, lists. */
static void put_unknown(struct buf *b, unsigned i)
{
    buf_printf(b, "{\"type\":\"click\",\"time\":%llu,\"user\":\"u%u\",\"item\":\"i%u\"", 1767225600000ull + i, i % 977,
               i % 4093);
    for (unsigned f = 0; f < 48; f++) {
        buf_printf(b, ",\"field_%02u\":", f);
        if (f % 6 == 0)
            buf_printf(b, "[\"a%u\",\"b\",%u,true]", i % 50, f);
        else if (f % 6 == 1)
            buf_printf(b, "%u.%02u", i % 1000, f);
        else if (f % 6 == 2)
            buf_printf(b, "%s", i % 2 ? "true" : "null");
        else
            buf_printf(b, "\"value %u of %u\"", i % 300, f);
    }
    buf_printf(b, "}");
}

static void put_shown(struct buf *b, unsigned i, unsigned items, bool objects)
{
    buf_printf(b, "{\"type\":\"impression\",\"time\":%llu,\"user\":\"u%u\",\"request\":\"r-%u\",\"items\":[",
               1767225600000ull + i, i % 977, i);
    for (unsigned k = 0; k < items; k++)
        if (objects)
            buf_printf(b, "%s{\"item\":\"sku-%u-%u\",\"price\":%u.25,\"slot\":\"row %u\"}", k ? "," : "", i % 7, k,
                       k % 50, k / 4);
        else
            buf_printf(b, "%s\"sku-%u-%u\"", k ? "," : "", i % 7, k);
    buf_printf(b, "],\"context\":{\"page\":\"home\",\"query\":\"red heart\"}}");
}

static void put_list_10(struct buf *b, unsigned i)
{
    put_shown(b, i, 10, false);
}
static void put_list_300(struct buf *b, unsigned i)
{
    put_shown(b, i, 300, false);
}
static void put_list_fields(struct buf *b, unsigned i)
{
    put_shown(b, i, 200, true);
}

static const struct shape {
    const char *name;
    void (*put)(struct buf *b, unsigned i);
} shapes[] = {{"small", put_small},
              {"purchase", put_purchase},
              {"item_1500_bytes", put_item},
              {"unknown_48", put_unknown},
              {"list_10", put_list_10},
              {"list_300", put_list_300},
              {"list_200_fields", put_list_fields}};

/* ---- parse ---- */

static int parse_round(struct parse *p, const struct buf *text, const size_t *ends, struct arena *a, double *rate)
{
    uint64_t done = 0;
    const double start = now_s();
    double spent = 0;
    while (spent < 0.25) {
        for (size_t i = 0; i < MESSAGES; i++) {
            struct event ev;
            struct reject r;
            struct err e;
            const size_t from = i > 0 ? ends[i - 1] : 0;
            if (i % 64 == 0) arena_reset(a);
            const struct str m = {(const char *)text->p + from, ends[i] - from};
            if (parse_event(p, m, a, &ev, &r, &e) == STATUS_OK) continue;
            (void)fprintf(stderr, "ingest_bench: message %zu is refused: %s\n", i, r.text);
            return 1;
        }
        done += MESSAGES;
        spent = now_s() - start;
    }
    *rate = (double)done / spent;
    return 0;
}

static int parse_shape(const struct conf *c, const struct shape *s)
{
    struct err e;
    struct parse *p = NULL;
    struct buf text = {0};
    struct arena a = {.block_bytes = 262144};
    size_t ends[MESSAGES];
    double rates[ROUNDS], bytes[ROUNDS];
    char name[64];
    int rc = parse_new(&p, c, &e) == STATUS_OK ? 0 : failed("parse", &e);
    for (unsigned i = 0; i < MESSAGES; i++) {
        s->put(&text, i);
        ends[i] = text.n;
    }
    for (int r = 0; r < ROUNDS && rc == 0; r++) {
        rc = parse_round(p, &text, ends, &a, &rates[r]);
        bytes[r] = rates[r] * (double)text.n / MESSAGES * 1e-6;
    }
    (void)snprintf(name, sizeof name, "parse %s", s->name);
    if (rc == 0) say(name, "events/s", rates, ROUNDS);
    if (rc == 0) say("", "MB/s", bytes, ROUNDS);
    parse_free(p);
    arena_fini(&a);
    buf_fini(&text);
    return rc;
}

static int parse_all(const struct conf *c, char **names, int n)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bool wanted = n == 0;
        for (int k = 0; k < n; k++) wanted = wanted || strcmp(names[k], shapes[i].name) == 0;
        if (wanted && rc == 0) rc = parse_shape(c, &shapes[i]);
    }
    return rc;
}

/* ---- sources ---- */

/* Each partition's records come one after the other, none twice, none left out. */
static bool in_order(const struct source_batch *b, uint64_t next[PARTITIONS], uint64_t *n)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct source_record *r = &b->records[i];
        if (r->kind == SOURCE_JOINED) next[r->at.partition % PARTITIONS] = r->at.offset;
        if (r->kind > SOURCE_SKIP) continue;
        if (r->at.offset != next[r->at.partition % PARTITIONS]++) return false;
        ++*n;
    }
    return true;
}

/* Reads to the end (files), or until `want` records were there (Kafka); the clock runs from the first batch on. */
static int drain(struct source *s, struct source_batch *b, uint64_t want, bool live, double *rate)
{
    struct err e;
    uint64_t n = 0, first = 0, next[PARTITIONS] = {0};
    double start = 0, heard = now_s();
    while (!live || n < want) {
        const enum status st = source_next(s, b, WAIT_MS, &e);
        if (st == STATUS_END) break;
        if (st != STATUS_OK && st != STATUS_AGAIN) return failed("source", &e);
        if (st == STATUS_AGAIN && now_s() - heard > QUIET_S) break;
        if (st == STATUS_AGAIN) continue;
        heard = now_s();
        if (!in_order(b, next, &n)) {
            (void)fprintf(stderr, "ingest_bench: records are out of order behind %llu\n", (unsigned long long)n);
            return 1;
        }
        if (b->barrier != 0) source_released(s, b->barrier);
        if (start <= 0) start = heard, first = n;
    }
    *rate = (double)(n - first) / (now_s() - start);
    if (live ? n >= want : want == 0 || n == want) return 0;
    (void)fprintf(stderr, "ingest_bench: %llu records came, %llu were to come\n", (unsigned long long)n,
                  (unsigned long long)want);
    return 1;
}

static int source_rounds(const struct conf *c, char **paths, int n_paths, uint64_t want, bool kafka, const char *name)
{
    struct err e;
    struct source_batch *b = NULL;
    double rates[ROUNDS];
    int rc = source_batch_new(&b, &e) == STATUS_OK ? 0 : failed("batch", &e);
    for (int r = 0; r < ROUNDS && rc == 0; r++) {
        struct source *s = NULL;
        const enum status st = kafka ? source_open_kafka(&s, c, clock_system(), NULL, 0, &e)
                                     : source_open_files(&s, c, (const char *const *)paths, (size_t)n_paths, NULL, &e);
        rc = st == STATUS_OK ? drain(s, b, want, kafka, &rates[r]) : failed(name, &e);
        source_close(s);
    }
    if (rc == 0) say(name, "messages/s", rates, ROUNDS);
    source_batch_free(b);
    return rc;
}

static int produce(const struct conf *c, const char *topic, uint64_t n)
{
    struct err e;
    struct source_producer *p = NULL;
    struct buf text = {0};
    enum status st = source_producer_open(&p, c, topic, &e);
    for (unsigned i = 0; i < n && st == STATUS_OK; i++) {
        char key[16];
        const int k = snprintf(key, sizeof key, "u%u", i % 977);
        buf_clear(&text);
        put_small(&text, i);
        st = source_producer_send(p, (struct str){key, (size_t)k}, (struct str){(const char *)text.p, text.n}, NULL, 0,
                                  &e);
    }
    if (st == STATUS_OK) st = source_producer_flush(p, 120000, &e);
    source_producer_close(p);
    buf_fini(&text);
    return st == STATUS_OK ? 0 : failed("produce", &e);
}

/* Takes "-o key=value" out of the arguments. */
static int options(struct conf *c, int argc, char **argv, int *rest)
{
    struct err e;
    *rest = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-o") != 0 || i + 1 == argc)
            argv[(*rest)++] = argv[i];
        else if (conf_set_option(c, argv[++i], &e) != STATUS_OK)
            return failed("options", &e);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct err e;
    struct conf *c = NULL;
    char name[64];
    int n = 0, rc;
    if (argc < 2 || conf_new(&c, &e) != STATUS_OK || options(c, argc - 2, argv + 2, &n) != 0) return 2;
    char **args = argv + 2;
    const char *what = argv[1];
    const bool kafka = strcmp(what, "kafka") == 0;
    if (strcmp(what, "parse") == 0) {
        rc = parse_all(c, args, n);
    } else if (strcmp(what, "produce") == 0 && n == 2) {
        rc = produce(c, args[0], strtoull(args[1], NULL, 10));
    } else if (n >= 2 && (kafka || strcmp(what, "source") == 0)) {
        parse_left_out = strcmp(args[0], "raw") == 0;
        (void)snprintf(name, sizeof name, "%s %s", what, args[0]);
        rc = source_rounds(c, args + 2, n - 2, strtoull(args[1], NULL, 10), kafka, name);
    } else {
        (void)fprintf(stderr, "ingest_bench: see the opening comment of tests/bench/ingest_bench.c\n");
        rc = 2;
    }
    conf_free(c);
    return rc;
}

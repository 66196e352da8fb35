/* bench_memory.c - what a user, an item and an open slate cost in memory, and what a whole learner and scorer come to.
 *
 * A learner of its own takes events of one kind after another, and the heap is looked at at half of them and at the end: a record
 * is what one more costs, tables' slack included, without what is there once.  Tables double, and both counts are powers of two, so
 * both sit at the same place between two doublings.  Known truth: it has as many users, items and open slates afterwards as were sent.
 */
#include "base/mem.h"
#include "cli/bench_site.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORDS = 32768, RECORDS_QUICK = 4096, EVENTS = 5, SLATE = 10 };
enum what { ITEM, USER, SLATE_OPEN, WHATS };

static double heap_bytes(void)
{
    const struct mallinfo2 m = mallinfo2();
    return (double)m.uordblks + (double)m.hblkhd;
}

struct feed {
    struct cmd_bench *b;
    struct learner *learner;
    struct buf line;
    uint64_t n; /* records taken; one a millisecond */
};

/* The line in f->line, as the next record. */
static enum status take(struct feed *f, struct err *e)
{
    struct reject r = {0};
    struct source_record rec = {.kind = SOURCE_EVENT, .at = {.offset = f->n++}};
    arena_reset(&f->b->arena);
    TRY(buf_status(&f->line, e));
    TRY(parse_event(f->b->parse, (struct str){(const char *)f->line.p, f->line.n}, &f->b->arena, &rec.event, &r, e));
    rec.event.at = rec.at;
    buf_clear(&f->line);
    return learner_record(f->learner, &rec, e);
}

static void put_time(struct feed *f)
{
    buf_printf(&f->line, "\"time\":%lld", 1700000000000ll + (long long)f->n);
}

/* The i-th event of a kind; users come one after the other, each with all its events. */
static enum status send_one(struct feed *f, enum what what, uint64_t i, uint64_t records, struct err *e)
{
    if (what == USER) {
        buf_printf(&f->line, "{\"type\":\"click\",\"user\":\"u%llu\",\"item\":\"i%llu\",",
                   (unsigned long long)(i / EVENTS), (unsigned long long)(i * 7 % records));
    } else if (what == ITEM) {
        buf_printf(&f->line,
                   "{\"type\":\"item\",\"item\":\"i%llu\",\"title\":\"red wooden lantern %llu\",\"price\":3.5,",
                   (unsigned long long)i, (unsigned long long)(i % 1000));
    } else {
        buf_printf(&f->line, "{\"type\":\"impression\",\"user\":\"u%llu\",\"request\":\"r%llu\",\"items\":[",
                   (unsigned long long)(i % records), (unsigned long long)i);
        for (uint64_t k = 0; k < SLATE; k++)
            buf_printf(&f->line, "%s\"i%llu\"", k > 0 ? "," : "", (unsigned long long)((i * 13 + k) % records));
        buf_printf(&f->line, "],");
    }
    put_time(f);
    buf_printf(&f->line, "}");
    return take(f, e);
}

static enum status check(const struct feed *f, uint64_t records, struct err *e)
{
    const struct world_counts *w = world_counts(learner_world(f->learner));
    const uint64_t open = learner_open_slates(f->learner);
    if (w->users == records && w->items == records && open == records) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "%llu each were sent; there are %llu users, %llu items, %llu open slates",
                   (unsigned long long)records, (unsigned long long)w->users, (unsigned long long)w->items,
                   (unsigned long long)open);
}

static enum status weigh(struct feed *f, uint64_t records, double bytes[WHATS], struct err *e)
{
    for (int what = 0; what < WHATS; what++) {
        const uint64_t n = what == USER ? records * EVENTS : records;
        double half = 0.0;
        for (uint64_t i = 0; i < n; i++) {
            if (i == n / 2) half = heap_bytes();
            TRY(send_one(f, (enum what)what, i, records, e));
        }
        bytes[what] = (heap_bytes() - half) / (double)(records - records / 2);
    }
    return check(f, records, e);
}

/* glibc tells; a sanitizer's allocator, or one that was put in its place, does not. */
static enum status need_heap(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    (void)b;
    (void)c;
    if (heap_bytes() > 0.0) return STATUS_OK;
    return ERR_SET(e, STATUS_UNSUPPORTED, "the allocator does not tell what it has handed out");
}

static enum status sample_record(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max,
                                 size_t *n, struct err *e)
{
    struct feed f = {.b = b};
    double bytes[WHATS] = {0};
    struct conf patient = *b->conf; /* read only: nothing of it is freed */
    (void)max;
    patient.join_window_ms = 3600000; /* no slate is due before the end */
    enum status st = cmd_bench_learner(&f.learner, b, &(struct cmd_bench_learner){&patient, NULL, false}, e);
    if (st == STATUS_OK) st = weigh(&f, b->quick ? RECORDS_QUICK : RECORDS, bytes, e);
    learner_free(f.learner);
    buf_fini(&f.line);
    *n = 1;
    out[0] = bytes[c->n];
    return st;
}

static enum status need_site(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    struct cmd_bench_site *s;
    (void)c;
    return cmd_bench_site(b, &s, e);
}

static enum status sample_scorer(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max,
                                 size_t *n, struct err *e)
{
    char path[64];
    struct buf text = {0};
    (void)c;
    (void)max;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)b->site->scorer.process.pid);
    enum status st = cmd_file_read(&text, path, e);
    const char *rss = st == STATUS_OK ? strstr((const char *)text.p, "VmRSS:") : NULL;
    if (st == STATUS_OK && rss == NULL) st = ERR_SET(e, STATUS_IO, "%s has no VmRSS", path);
    out[0] = rss != NULL ? strtod(rss + 6, NULL) / 1024.0 : 0.0;
    *n = 1;
    buf_fini(&text);
    return st;
}

static enum status sample_learner(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max,
                                  size_t *n, struct err *e)
{
    (void)c;
    (void)max;
    (void)e;
    *n = 1;
    out[0] = b->site->learner.rss_bytes / 1048576.0;
    return STATUS_OK;
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "memory.item", .what = "one more item with a title of four words", .kind = CMD_BENCH_SAMPLES, .unit = "bytes",
     .n = ITEM, .setup = need_heap, .sample = sample_record},
    {.name = "memory.user", .what = "one more user with five events", .kind = CMD_BENCH_SAMPLES, .unit = "bytes",
     .n = USER, .setup = need_heap, .sample = sample_record},
    {.name = "memory.slate", .what = "one more open slate of ten items", .kind = CMD_BENCH_SAMPLES, .unit = "bytes",
     .n = SLATE_OPEN, .setup = need_heap, .sample = sample_record},
    {.name = "memory.learner", .what = "a learner that has learnt the site's log: largest resident set", .unit = "MiB",
     .kind = CMD_BENCH_SAMPLES, .setup = need_site, .sample = sample_learner},
    {.name = "memory.scorer", .what = "its scorer after the requests: resident set", .unit = "MiB",
     .kind = CMD_BENCH_SAMPLES, .setup = need_site, .sample = sample_scorer},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_memory = {.name = "memory",
                                                 .title = "heap of one more record, tables' slack included; processes",
                                                 CMD_BENCH_CASES(cases),
                                                 .shop = true,
                                                 .outside = true};

/* bench_ingest.c - what comes in: texts to word-piece ids, messages to checked events, and those to histories, counters and lists;
 * one core. */
#include "base/mem.h"
#include "cli/bench.h"
#include "featurize/token.h"
#include <stdio.h>
#include <string.h>

#define TOKENS_MAX 128

static void line_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[CMD_BENCH_MEMORY] = (double)b->log.n / (double)b->n_lines; /* each byte is read once */
}

/* ---- tokenize ---- */

static enum status make_ids(struct cmd_bench *b, struct err *e)
{
    b->ids = mem_calloc(TOKENS_MAX, sizeof *b->ids);
    return b->ids != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "no memory for %d ids", TOKENS_MAX);
}

/* The title inside an item's line, as text to cut into pieces; the whole line of other events. */
static struct str text_of(const struct cmd_bench *b, size_t i)
{
    const struct str line = cmd_bench_line(b, i);
    const char *title = memmem(line.p, line.n, "\"title\":\"", 9);
    if (title == NULL) return line;
    const char *end = memchr(title + 9, '"', (size_t)(line.p + line.n - title - 9));
    return (struct str){title + 9, (size_t)(end - title - 9)};
}

static enum status tokenize_line(struct cmd_bench *b, size_t i, size_t *n, struct err *e)
{
    const struct token_opts o = {.add_special = true, .max_length = TOKENS_MAX};
    return token_encode(b->vocab, text_of(b, i), o, b->ids, TOKENS_MAX, n, e);
}

/* Two texts with a blank between them give the ids of the one and then of the other. */
static enum status check_tokens(struct cmd_bench *b, struct str first, struct str second, struct err *e)
{
    char both[512];
    int32_t one[TOKENS_MAX], two[TOKENS_MAX];
    size_t n, n_one, n_two;
    const struct token_opts o = {.max_length = TOKENS_MAX};
    const int length = snprintf(both, sizeof both, STR_FMT " " STR_FMT, STR_ARG(first), STR_ARG(second));
    if (length < 0 || (size_t)length >= sizeof both) return STATUS_OK;
    TRY(token_encode(b->vocab, (struct str){both, (size_t)length}, o, b->ids, TOKENS_MAX, &n, e));
    TRY(token_encode(b->vocab, first, o, one, TOKENS_MAX, &n_one, e));
    TRY(token_encode(b->vocab, second, o, two, TOKENS_MAX, &n_two, e));
    if (n == TOKENS_MAX) return STATUS_OK; /* cut */
    if (n_one > 0 && n == n_one + n_two && memcmp(b->ids, one, n_one * sizeof *one) == 0 &&
        memcmp(b->ids + n_one, two, n_two * sizeof *two) == 0)
        return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "'%s' gives %zu ids, its two parts %zu and %zu", both, n, n_one, n_two);
}

static enum status tokenize_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    (void)c;
    TRY(make_ids(b, e));
    for (size_t i = 1; i < b->n_lines; i += 97) TRY(check_tokens(b, text_of(b, i - 1), text_of(b, i), e));
    return STATUS_OK;
}

static enum status tokenize_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    size_t n;
    for (*units = 0; *units < 64; ++*units) TRY(tokenize_line(b, b->next++ % b->n_lines, &n, e));
    return STATUS_OK;
}

/* ---- parse ---- */

/* What is written from a parsed event parses to the same event. */
static enum status parse_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    enum status st = STATUS_OK;
    struct buf once = {0}, twice = {0};
    (void)c;
    for (size_t i = 0; i < b->n_lines && st == STATUS_OK; i += 97) {
        struct event ev;
        struct reject r = {0};
        buf_clear(&once);
        buf_clear(&twice);
        TRY_OUT(st, cmd_bench_parse(b, i, &ev, e));
        event_write_json(&once, &ev);
        arena_reset(&b->arena);
        st = parse_event(b->parse, (struct str){(const char *)once.p, once.n}, &b->arena, &ev, &r, e);
        if (st == STATUS_OK) event_write_json(&twice, &ev);
        if (st == STATUS_OOM) break;
        if (st != STATUS_OK || once.n != twice.n || memcmp(once.p, twice.p, once.n) != 0)
            st = ERR_SET(e, STATUS_CORRUPT, "parse: line %zu does not survive being written and read", i);
    }
out:
    buf_fini(&once);
    buf_fini(&twice);
    return st;
}

static enum status parse_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    struct event ev;
    for (*units = 0; *units < 64; ++*units) TRY(cmd_bench_parse(b, b->next++ % b->n_lines, &ev, e));
    return STATUS_OK;
}

/* ---- take ---- */

/* A learner of its own that learns nothing; b->next is the line that it takes next. */
static enum status begin_log(struct cmd_bench *b, struct err *e)
{
    struct learner *l = NULL;
    learner_free(b->own);
    b->next = 0;
    const enum status st = cmd_bench_learner(&l, b, &(struct cmd_bench_learner){b->conf, NULL, false}, e);
    b->own = l;
    return st;
}

static size_t lines_with(const struct cmd_bench *b, const char *type)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_lines; i++) {
        const struct str line = cmd_bench_line(b, i);
        n += memmem(line.p, line.n, type, strlen(type)) != NULL;
    }
    return n;
}

/* Once through the log: nothing is refused, and every list is settled or still open. */
static enum status take_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    (void)c;
    TRY(begin_log(b, e));
    for (; b->next < b->n_lines; b->next++) TRY(cmd_bench_take(b, b->own, b->next, e));
    const struct learner_counts *n = learner_counts(b->own);
    const uint64_t lists = n->slates + learner_open_slates(b->own), want = lines_with(b, "\"type\":\"impression\"");
    if (n->accepted != b->n_lines || lists != want || want == 0)
        return ERR_SET(e, STATUS_CORRUPT, "take: of %zu lines with %llu lists it took %llu with %llu", b->n_lines,
                       (unsigned long long)want, (unsigned long long)n->accepted, (unsigned long long)lists);
    return STATUS_OK;
}

static enum status take_before(struct cmd_bench *b, struct err *e)
{
    return b->next == b->n_lines ? begin_log(b, e) : STATUS_OK;
}

static enum status take_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    for (*units = 0; *units < 64 && b->next < b->n_lines; ++*units, b->next++)
        TRY(cmd_bench_take(b, b->own, b->next, e));
    return STATUS_OK;
}

static void end(struct cmd_bench *b)
{
    mem_free(b->ids);
    b->ids = NULL;
    learner_free(b->own);
    b->own = NULL;
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "tokenize", .what = "texts to word-piece ids", .unit = "sentences",
     .setup = tokenize_setup, .run = tokenize_run, .cost = line_cost},
    {.name = "parse", .what = "native JSON to checked events", .unit = "events",
     .setup = parse_setup, .run = parse_run, .cost = line_cost},
    {.name = "take", .what = "messages to histories, counters, settled lists; no learning", .unit = "events",
     .setup = take_setup, .before = take_before, .run = take_run, .cost = line_cost},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_ingest = {
    .name = "ingest", .title = "what comes in, one core", CMD_BENCH_CASES(cases), .shop = true, .end = end};

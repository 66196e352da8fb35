/* bench_answer.c - one case on demand, for a program that measures it in turn with others (tests/gpu/peers.py).
 *
 * After setup and a warm round a line {"ready": …} goes out, with what the case works on; then for each line on stdin, a number
 * of seconds, the case runs at least so long and answers {"units": …, "seconds": …}.
 */
#include "cli/bench.h"
#include "cli/model.h"
#include "cli/process.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cmd_bench_case *find(const char *name, const struct cmd_bench_topic **topic)
{
    for (size_t t = 0; name != NULL && t < cmd_bench_n_topics; t++)
        for (size_t i = 0; i < cmd_bench_topics[t]->n; i++) {
            const struct cmd_bench_case *c = &cmd_bench_topics[t]->cases[i];
            *topic = cmd_bench_topics[t];
            if (strcmp(c->name, name) == 0) return c;
        }
    return NULL;
}

static enum status say(json_t *line, struct err *e)
{
    const int rc = line != NULL ? json_dumpf(line, stdout, JSON_COMPACT) : -1;
    json_decref(line);
    return rc == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? STATUS_OK
                                                                  : ERR_SET(e, STATUS_IO, "an answer can't be written");
}

/* Of each slate: its candidates and events. */
static json_t *slates_json(const struct cmd_bench *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < b->n_slates; i++)
        (void)json_array_append_new(list, json_pack("[i,i]", (int)b->slates[i]->n_items, (int)b->slates[i]->n_events));
    return list;
}

#define ASK_MOST_S 3600.0

static enum status seconds_of(const char *line, double *out, struct err *e)
{
    char *end;
    *out = strtod(line, &end);
    while (*end == ' ' || *end == '\n' || *end == '\r') end++;
    if (end != line && *end == 0 && *out >= 0.0 && *out <= ASK_MOST_S) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "--ask: '%.*s' is no number of seconds from 0 to %g", (int)strcspn(line, "\r\n"),
                   line, ASK_MOST_S);
}

static enum status answer(struct cmd_bench *b, const struct cmd_bench_case *c, double least_s, struct err *e)
{
    uint64_t done = 0, units;
    double spent = 0.0;
    do {
        TRY(cmd_process_told(e));
        if (c->before != NULL) TRY(c->before(b, e));
        const double start = cmd_bench_now_s();
        TRY(c->run(b, &units, e));
        spent += cmd_bench_now_s() - start;
        done += units;
    } while (spent < least_s);
    return say(json_pack("{s:I, s:f}", "units", (json_int_t)done, "seconds", spent), e);
}

enum status cmd_bench_check_ask(const char *name, struct err *e)
{
    const struct cmd_bench_topic *topic;
    const struct cmd_bench_case *c = find(name, &topic);
    if (c != NULL && c->run != NULL) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "--ask: no case that runs again and again is named %s (--only NAME; --list)",
                   name != NULL ? name : "so");
}

enum status cmd_bench_answer(struct cmd_bench *b, const char *name, struct err *e)
{
    const struct cmd_bench_topic *topic = NULL;
    const struct cmd_bench_case *c = find(name, &topic);
    char line[64];
    uint64_t units;
    double least_s;
    if (topic->shop) TRY(cmd_bench_shop(b, e));
    enum status st = c->setup(b, c, e);
    if (st == STATUS_OK) st = c->run(b, &units, e);
    if (st == STATUS_OK)
        st = say(json_pack("{s:{s:s, s:o}}", "ready", "kernels", kern_describe(b->kern), "slates", slates_json(b)), e);
    while (st == STATUS_OK && fgets(line, sizeof line, stdin) != NULL) {
        st = seconds_of(line, &least_s, e);
        if (st == STATUS_OK) st = answer(b, c, least_s, e);
    }
    if (topic->end != NULL) topic->end(b);
    cmd_bench_case_end(b);
    return st;
}

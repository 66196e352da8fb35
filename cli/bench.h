/* bench.h - what the benchmark's pieces share: the machine's measured limits, a small learnt world, the table of cases.
 *
 * A case is one row: it sets up and checks its result first, then does its work again and again.  What a unit costs at least
 * (FLOP, bytes of memory, bytes to disk) over what the machine can do, measured in the same run, is the least time that it
 * could take; that over the time it took is its share (a roofline).  Everything runs on one core.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H
#include "base/buf.h"
#include "base/status.h"
#include "ingest/parse.h"
#include "job/checkpoint.h"
#include "job/learner.h"
#include <stdbool.h>
#include <stdint.h>

#define CMD_BENCH_SLATES 256
#define CMD_BENCH_CANDIDATES 100
#define CMD_BENCH_PATH 600

enum cmd_bench_limit { CMD_BENCH_FLOP, CMD_BENCH_MEMORY, CMD_BENCH_DISK, CMD_BENCH_LIMITS };
struct cmd_bench_machine {
    char isa[16];                   /* of the peak's loop */
    double limit[CMD_BENCH_LIMITS]; /* FLOP/s (f32, one core), bytes/s read and written, bytes/s with fsync */
};
/* dir: where the disk is measured.  seconds: about how long each of the three takes. */
enum status cmd_bench_measure(struct cmd_bench_machine *m, const char *dir, double seconds, struct err *e) MUST_CHECK;

/* A shop's first hours, learnt: what the cases work on. */
struct cmd_bench {
    const struct conf *conf;
    bool quick;
    char dir[CMD_BENCH_PATH]; /* temporary state folder */
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    struct checkpoint *checkpoint;
    struct learner *learner;
    struct parse *parse;
    struct arena arena;                /* of the event last parsed */
    struct buf log;                    /* the shop's lines */
    size_t *lines, n_lines, cap_lines; /* offsets in log; n_lines + 1 of them */
    size_t n_fed;
    struct slate *slates[CMD_BENCH_SLATES]; /* settled ones, with their labels */
    size_t n_slates;
    struct slate *request; /* CMD_BENCH_CANDIDATES candidates */
    struct event impression;
    struct event_item shown[CMD_BENCH_CANDIDATES];
    char names[CMD_BENCH_CANDIDATES][16];
    /* the running case's own */
    struct encoder_run *run;
    struct model_run *model;
    struct param_set *params;
    struct optim *optim;
    int32_t *ids;
    float *states;
    struct buf file;
    size_t next;
};
enum status cmd_bench_open(struct cmd_bench *b, struct conf *c, bool quick,
                           struct err *e) MUST_CHECK; /* changes join.window_ms */
void cmd_bench_close(struct cmd_bench *b);
/* Parses line i into b->arena (emptied first). */
enum status cmd_bench_parse(struct cmd_bench *b, size_t i, struct event *out, struct err *e) MUST_CHECK;
enum status cmd_bench_feed(struct cmd_bench *b, size_t n,
                           struct err *e) MUST_CHECK;           /* the next n lines to the learner */
struct str cmd_bench_line(const struct cmd_bench *b, size_t i); /* newline not counted */

struct cmd_bench_case {
    const char *name, *what;
    const char *unit; /* of a rate: "sentences"; NULL: a latency, reported in ms */
    size_t n;         /* the case's own number: tokens of a sentence */
    /* Makes what run needs, and checks its result: CORRUPT names what is wrong.  What it leaves in b is released by
     * cmd_bench_case_end. */
    enum status (*setup)(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e);
    enum status (*before)(struct cmd_bench *b, struct err *e);               /* untimed, before each run; may be NULL */
    enum status (*run)(struct cmd_bench *b, uint64_t *units, struct err *e); /* units done */
    /* What a unit costs of each limit; cost is zeroed by the caller. */
    void (*cost)(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS]);
};
extern const struct cmd_bench_case cmd_bench_cases[];
extern const size_t cmd_bench_n_cases;
void cmd_bench_case_end(struct cmd_bench *b);
#endif

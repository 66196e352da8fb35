/* bench.h - what the benchmark's pieces share: the machine's measured limits, a small learnt world, the topics of cases.
 *
 * A case is one row of a topic (cli/bench_<topic>.c; all are listed in bench_topics.c): it sets up and checks its result
 * first, then does its work again and again.  What a unit costs at least (operations, bytes of memory, bytes to disk) over
 * what the machine can do, measured in the same run, is the least time that it could take; that over the time it took is
 * its share (a roofline).
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
#define CMD_BENCH_CORES_MAX 256
#define CMD_BENCH_SAMPLES_MAX 20000

/* ---- the machine ---- */

/* Operations count a multiply-add as two. */
enum cmd_bench_limit {
    CMD_BENCH_F32,
    CMD_BENCH_BF16,
    CMD_BENCH_INT8,
    CMD_BENCH_MEMORY,
    CMD_BENCH_DISK,
    CMD_BENCH_LIMITS
};
#define CMD_BENCH_PEAKS 3 /* the first three: arithmetic */
struct cmd_bench_limit_name {
    const char *name, *json, *unit;
    double scale;
};
extern const struct cmd_bench_limit_name cmd_bench_limit_names[CMD_BENCH_LIMITS];

enum cmd_bench_span { CMD_BENCH_ONE, CMD_BENCH_ALL, CMD_BENCH_SPANS }; /* cores at work */
struct cmd_bench_machine {
    int cores;                                       /* that this process may use */
    const char *by[CMD_BENCH_PEAKS];                 /* the instruction of each peak */
    double limit[CMD_BENCH_SPANS][CMD_BENCH_LIMITS]; /* operations/s, bytes/s read and written, bytes/s with fsync */
    bool device;                                     /* f32 and bf16 are a device's, whatever cores are at work */
};
/* bench_device.c: m's arithmetic in f32 and bf16 becomes that of k's device.  OOM: of its memory. */
struct kern;
enum status cmd_bench_device(struct cmd_bench_machine *m, struct kern *k, struct err *e) MUST_CHECK;
/* dir: where the disk is measured.  seconds: about how long each of the nine takes.  OOM, IO. */
enum status cmd_bench_measure(struct cmd_bench_machine *m, const char *dir, double seconds, struct err *e) MUST_CHECK;
/* The peaks of all cores once more, for a moment: they count if they are higher, as others may have been busy before. */
enum status cmd_bench_measure_again(struct cmd_bench_machine *m, struct err *e) MUST_CHECK;

struct cmd_bench_peak {
    double (*loop)(void); /* some microseconds of work; the operations done */
    const char *by;
};
struct cmd_bench_peak cmd_bench_peak(enum cmd_bench_limit limit); /* one of the first three */
double cmd_bench_now_s(void);                                     /* monotonic */
void cmd_bench_sort(double *x, size_t n);                         /* ascending */
int cmd_bench_cores(void);

/* work(user, i) on each of n threads at once, i in 0 … n-1; returns when all have ended, with the first failure.  OOM when no
 * thread can be made. */
typedef enum status cmd_bench_work(void *user, int i, struct err *e);
enum status cmd_bench_crew(int n, cmd_bench_work *work, void *user, struct err *e) MUST_CHECK;

/* ---- what the cases work on ---- */

struct cmd_bench_site;
struct cmd_bench {
    struct conf *conf;
    bool quick;
    int cores;
    char dir[CMD_BENCH_PATH]; /* temporary state folder */
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    /* a shop's first hours, learnt; there when a case asks for it */
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
    struct cmd_bench_site *site; /* bench_site.h */
    float *ref_states;           /* bench_encode.c: of its check, once made */
    /* the running case's own */
    struct model_run *model;
    struct param_set *params;
    struct optim *optim;
    int32_t *ids;
    struct buf file;
    size_t next;
    void *own; /* a topic's own, released by its `end` */
};
/* The base model and a temporary folder.  Of c what is not about the work itself (ingest.*, join.*, redis.*, …) becomes the
 * benchmark's own. */
enum status cmd_bench_open(struct cmd_bench *b, struct conf *c, bool quick, struct err *e) MUST_CHECK;
enum status cmd_bench_shop(struct cmd_bench *b, struct err *e) MUST_CHECK; /* the learnt shop, unless it is there */
void cmd_bench_close(struct cmd_bench *b);
/* Parses line i into b->arena (emptied first). */
enum status cmd_bench_parse(struct cmd_bench *b, size_t i, struct event *out, struct err *e) MUST_CHECK;
/* A learner with b's encoder and texts, before its first record.  store: NULL, none. */
struct cmd_bench_learner {
    const struct conf *conf;
    struct store *store;
    bool learn;
};
enum status cmd_bench_learner(struct learner **out, const struct cmd_bench *b, const struct cmd_bench_learner *o,
                              struct err *e) MUST_CHECK;
enum status cmd_bench_take(struct cmd_bench *b, struct learner *l, size_t i,
                           struct err *e) MUST_CHECK; /* line i to l, as its next record */
enum status cmd_bench_feed(struct cmd_bench *b, size_t n,
                           struct err *e) MUST_CHECK;                             /* the next n lines to the learner */
struct str cmd_bench_line(const struct cmd_bench *b, size_t i);                   /* newline not counted */
enum status cmd_bench_copy_params(struct cmd_bench *b, struct err *e) MUST_CHECK; /* the learner's into b->params */
/* CORRUPT, naming what, unless |got - want| <= tolerance * |want|, norms over n; and over each row of so many. */
enum status cmd_bench_near(const char *what, const float *got, const float *want, size_t n, double tolerance,
                           struct err *e) MUST_CHECK;
enum status cmd_bench_near_rows(const char *what, const float *got, const float *want, size_t rows, size_t width,
                                double tolerance, struct err *e) MUST_CHECK;

/* Of one slate scored, of which part `text` sees `joint` items. */
double cmd_bench_slate_flop(const struct cmd_bench *b, double events, double items, double joint);
/* What b->model scores against the reference backend. */
enum status cmd_bench_check_scores(struct cmd_bench *b, struct err *e) MUST_CHECK;

/* bench_check.c: two steps of learning on a few of b->slates, by the backend with pool (NULL: none) and by ref: losses, each
 * tensor's gradient, update and moments, rows' sums of squares.  CORRUPT names the tensor that is furthest off. */
struct pool;
enum status cmd_bench_check_steps(struct cmd_bench *b, struct pool *pool, struct err *e) MUST_CHECK;

/* Operations of the products that are done between on and off, and the seconds spent in what is dense. */
struct cmd_bench_tally {
    double operations, seconds;
};
void cmd_bench_tally_on(struct kern *k, struct cmd_bench_tally *t); /* t is borrowed until off; one at a time */
void cmd_bench_tally_off(struct kern *k);
enum cmd_bench_limit cmd_bench_trained(const struct cmd_bench *b); /* peak that the trainable layers' products meet */

/* ---- cases ---- */

enum cmd_bench_kind {
    CMD_BENCH_RATE,    /* units a second: the work of a round over its time */
    CMD_BENCH_LATENCY, /* milliseconds of every single run */
    CMD_BENCH_SAMPLES, /* what `sample` says, in `unit` */
};
struct cmd_bench_case {
    const char *name, *what;
    enum cmd_bench_kind kind;
    const char *unit; /* of a rate: "sentences"; of samples: "GFLOP/s" */
    enum cmd_bench_span span;
    enum cmd_bench_limit limit; /* precision of its arithmetic */
    size_t n;                   /* the case's own number: tokens of a sentence, candidates */
    /* Makes what run needs, and checks its result: CORRUPT names what is wrong, UNSUPPORTED why the case is left out.  What
     * it leaves in b is released by cmd_bench_case_end, b->own by the topic's end. */
    enum status (*setup)(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e);
    enum status (*before)(struct cmd_bench *b, struct err *e);               /* untimed, before each run; may be NULL */
    enum status (*run)(struct cmd_bench *b, uint64_t *units, struct err *e); /* units done */
    /* Instead of run: at most max values of `unit`, in any order. */
    enum status (*sample)(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                          struct err *e);
    /* What a unit (a run, a second's worth of a sample of 1) costs of each limit; zeroed by the caller.  NULL: no share. */
    void (*cost)(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS]);
};
struct cmd_bench_topic {
    const char *name, *title;
    const struct cmd_bench_case *cases;
    size_t n;
    bool shop;                        /* wants the learnt shop */
    bool outside;                     /* the work is done by other processes */
    void (*end)(struct cmd_bench *b); /* after each case, failed ones too; may be NULL */
};
extern const struct cmd_bench_topic *const cmd_bench_topics[];
extern const size_t cmd_bench_n_topics;
extern const struct cmd_bench_topic cmd_bench_gemm, cmd_bench_encode, cmd_bench_ingest, cmd_bench_train,
    cmd_bench_score, cmd_bench_rerank, cmd_bench_load, cmd_bench_live, cmd_bench_publish, cmd_bench_state,
    cmd_bench_memory;
void cmd_bench_case_end(struct cmd_bench *b);
/* bench_answer.c: may the case of this name be asked for?  INVALID: there is none, or it does not run again and again. */
enum status cmd_bench_check_ask(const char *name, struct err *e) MUST_CHECK;
/* That case, whenever a line on stdin asks.  UNSUPPORTED: it is left out. */
enum status cmd_bench_answer(struct cmd_bench *b, const char *name, struct err *e) MUST_CHECK;
#define CMD_BENCH_CASES(LIST) .cases = LIST, .n = sizeof LIST / sizeof *LIST

/* ---- what came of them ---- */

struct cmd_bench_figure { /* rates in units/s, latencies in ms, samples in their unit */
    const struct cmd_bench_topic *topic;
    const struct cmd_bench_case *c;
    double least, median, most, p99, p999; /* p…: latencies and samples */
    double cost[CMD_BENCH_LIMITS], shares[CMD_BENCH_LIMITS];
    double share, share_least;  /* of the median, and of the worst: least of a rate, most of a latency; < 0: none */
    enum cmd_bench_limit limit; /* that binds */
    double cpu_frac;            /* this process's CPU time over the time that passed */
    size_t n;                   /* rounds, runs or samples */
    char skipped[sizeof((struct err *)0)->text]; /* why it was left out; "": it was not */
};
struct cmd_bench_report {
    struct cmd_bench_machine machine;
    struct cmd_bench_figure *figures;
    size_t n;
    const char *kernels; /* kern_describe */
    bool quick;
    int64_t time_ms;
};
/* bench_show.c: the table, line by line as things are known; at most 100 columns. */
void cmd_bench_put_machine(struct buf *b, const struct cmd_bench_report *r);
void cmd_bench_put_topic(struct buf *b, const struct cmd_bench_topic *t);
void cmd_bench_put_figure(struct buf *b, const struct cmd_bench_figure *f);
/* The unit of a case's numbers: "sentences/s", "ms"; whether more of them is better. */
void cmd_bench_unit(char out[32], const struct cmd_bench_case *c);
bool cmd_bench_more(const struct cmd_bench_case *c);
bool cmd_bench_is_latency(const struct cmd_bench_case *c); /* shown by its quantiles, the rest by its spread */
/* bench_against.c: is it the JSON of an earlier run, and this run beside it.  INVALID: it is none. */
enum status cmd_bench_check_against(const char *path, struct err *e) MUST_CHECK;
enum status cmd_bench_put_against(struct buf *b, const struct cmd_bench_report *r, const char *path,
                                  struct err *e) MUST_CHECK;
void cmd_bench_put_svg(struct buf *b, const struct cmd_bench_report *r); /* bench_svg.c */
/* bench_html.c, bench_json.c.  IO, OOM. */
enum status cmd_bench_write_html(const struct cmd_bench_report *r, const char *path, struct err *e) MUST_CHECK;
enum status cmd_bench_write_svg(const struct cmd_bench_report *r, const char *path, struct err *e) MUST_CHECK;
enum status cmd_bench_write_json(const struct cmd_bench_report *r, const char *path, struct err *e) MUST_CHECK;
#endif

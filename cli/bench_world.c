/* bench_world.c - see bench.h: a synthetic shop's log, the learner that has read its beginning, and settled slates. */
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/bench_site.h"
#include "featurize/describe.h"
#include "featurize/token.h"
#include "kernels/kern.h"
#include "model/encoder.h"
#include "simulate/stream.h"
#include "trainer/optim.h"
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 200, ITEMS = 400, LINES_QUICK = 4000, LINES = 24000, FED_QUICK = 1500, FED = 4000, WINDOW_MS = 10000 };

static enum status keep_line(void *user, int64_t time_ms, struct str text)
{
    struct cmd_bench *b = user;
    (void)time_ms;
    if (MEM_GROW(b->lines, &b->cap_lines, b->n_lines + 2) != 0) return STATUS_OOM;
    buf_put(&b->log, text.p, text.n);
    b->lines[++b->n_lines] = b->log.n;
    return b->log.oom ? STATUS_OOM : STATUS_OK;
}

static enum status make_log(struct cmd_bench *b, struct err *e)
{
    struct shop_options o;
    struct stream_truth truth;
    shop_defaults(&o);
    o.users = USERS;
    o.items = ITEMS;
    o.events = b->quick ? LINES_QUICK : LINES;
    o.delay_ms = WINDOW_MS / 5;
    o.window_ms = WINDOW_MS;
    o.new_items = 0.1;
    if (MEM_GROW(b->lines, &b->cap_lines, 1) != 0) return ERR_SET(e, STATUS_OOM, "no memory for a log");
    b->lines[0] = 0;
    return stream_run(&o, false, keep_line, b, &truth, e) == STATUS_OK
               ? STATUS_OK
               : ERR_SET(e, STATUS_OOM, "no memory for a log of %zu lines", b->n_lines);
}

struct str cmd_bench_line(const struct cmd_bench *b, size_t i)
{
    return (struct str){(const char *)b->log.p + b->lines[i], b->lines[i + 1] - b->lines[i] - 1};
}

enum status cmd_bench_parse(struct cmd_bench *b, size_t i, struct event *out, struct err *e)
{
    struct reject r = {0};
    arena_reset(&b->arena);
    const enum status st = parse_event(b->parse, cmd_bench_line(b, i), &b->arena, out, &r, e);
    return st == STATUS_INVALID ? ERR_SET(e, STATUS_CORRUPT, "line %zu of the synthetic log is refused", i) : st;
}

enum status cmd_bench_take(struct cmd_bench *b, struct learner *l, size_t i, struct err *e)
{
    struct source_record rec = {.kind = SOURCE_EVENT, .at = {.offset = i}};
    TRY(cmd_bench_parse(b, i, &rec.event, e));
    rec.event.at = rec.at;
    return learner_record(l, &rec, e);
}

enum status cmd_bench_feed(struct cmd_bench *b, size_t n, struct err *e)
{
    for (; n > 0 && b->n_fed < b->n_lines; n--, b->n_fed++) TRY(cmd_bench_take(b, b->learner, b->n_fed, e));
    return STATUS_OK;
}

/* A copy of a settled slate, as it will be learnt. */
static enum status keep_slate(void *user, const struct learner_seen *seen, struct err *e)
{
    struct cmd_bench *b = user;
    struct buf bytes = {0};
    enum status st = STATUS_OK;
    if (b->n_slates == CMD_BENCH_SLATES || seen->slate->n_events == 0) return STATUS_OK;
    slate_encode(&bytes, seen->slate);
    TRY_OUT(st, buf_status(&bytes, e));
    TRY_OUT(st, slate_new(&b->slates[b->n_slates], e));
    struct buf_reader r = buf_reader(bytes.p, bytes.n);
    st = slate_decode(b->slates[b->n_slates++], &r, e);
out:
    buf_fini(&bytes);
    return st;
}

/* A list of the catalogue's first items, shown to a user who has a history, at the time of the last line. */
static enum status make_request(struct cmd_bench *b, struct err *e)
{
    const struct slate *like = b->slates[b->n_slates - 1];
    for (uint32_t i = 0; i < CMD_BENCH_CANDIDATES; i++) {
        (void)snprintf(b->names[i], sizeof b->names[i], "i%u", i);
        b->shown[i].item = str_from(b->names[i]);
    }
    b->impression = (struct event){.kind = EVENT_IMPRESSION,
                                   .time_ms = like->time_ms,
                                   .user = like->user,
                                   .items = b->shown,
                                   .n_items = CMD_BENCH_CANDIDATES};
    return slate_new(&b->request, e);
}

static enum status open_model(struct cmd_bench *b, struct err *e)
{
    const struct conf *c = b->conf;
    TRY(token_open(&b->vocab, c->model_base, e));
    TRY(describe_open(&b->templates, c, e));
    return encoder_open_conf(&b->encoder, &b->kern, c, e);
}

enum status cmd_bench_learner(struct learner **out, const struct cmd_bench *b, const struct cmd_bench_learner *o,
                              struct err *e)
{
    const struct learner_parts_in in = {
        .conf = o->conf, .vocab = b->vocab, .templates = b->templates, .encoder = b->encoder, .store = o->store};
    TRY(learner_new(out, &in, (struct learner_options){.learn = o->learn}, e));
    return learner_expect(*out, (struct event_position){0}, e);
}

static enum status open_learner(struct cmd_bench *b, struct err *e)
{
    TRY(checkpoint_open(&b->checkpoint, b->conf, b->dir, (struct checkpoint_options){0}, e));
    const struct cmd_bench_learner o = {b->conf, checkpoint_store(b->checkpoint), true};
    TRY(cmd_bench_learner(&b->learner, b, &o, e));
    learner_on_seen(b->learner, keep_slate, b);
    return STATUS_OK;
}

/* Where events come from and go to, and with whom a learner learns: here all of that is the benchmark's own. */
static enum status make_own(struct conf *c, struct err *e)
{
    static const char *const others[] = {
        "ingest.",  "join.",      "state.",     "redis.",         "kafka.",
        "variant.", "model.name", "train.rank", "serving.listen", "serving.token_file"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) TRY(conf_reset(c, others[i], e));
    TRY(conf_set(c, "join.window_ms", "10000", e));
    return conf_check(c, e);
}

enum status cmd_bench_open(struct cmd_bench *b, struct conf *c, bool quick, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    b->conf = c;
    b->quick = quick;
    b->cores = cmd_bench_cores();
    TRY(make_own(c, e));
    (void)snprintf(b->dir, sizeof b->dir, "%s/freshet-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(b->dir) == NULL) {
        b->dir[0] = 0;
        return ERR_SET(e, STATUS_IO, "no temporary folder: %s (set TMPDIR)", strerror(errno));
    }
    return open_model(b, e);
}

enum status cmd_bench_shop(struct cmd_bench *b, struct err *e)
{
    if (b->request != NULL) return STATUS_OK;
    (void)fprintf(stderr, "freshet bench: a synthetic shop is learnt, to work on\n");
    TRY(open_learner(b, e));
    TRY(parse_new(&b->parse, b->conf, e));
    TRY(make_log(b, e));
    TRY(cmd_bench_feed(b, b->quick ? FED_QUICK : FED, e));
    if (b->n_slates == 0) return ERR_SET(e, STATUS_INVALID, "no slate was settled: model.events is 0?");
    return make_request(b, e);
}

enum status cmd_bench_copy_params(struct cmd_bench *b, struct err *e)
{
    const struct param_set *from = learner_params(b->learner);
    TRY(param_set_new(&b->params, model_table(learner_model(b->learner)), e));
    memcpy(b->params->w, from->w, from->n * sizeof *from->w);
    param_touch(b->params);
    return STATUS_OK;
}

enum status cmd_bench_near(const char *what, const float *got, const float *want, size_t n, double tolerance,
                           struct err *e)
{
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    if (sqrt(difference) <= tolerance * (sqrt(size) + 1e-6)) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "%s: differs from ref by %g in a norm of %g", what, sqrt(difference), sqrt(size));
}

enum status cmd_bench_near_rows(const char *what, const float *got, const float *want, size_t rows, size_t width,
                                double tolerance, struct err *e)
{
    for (size_t r = 0; r < rows; r++) {
        const enum status st = cmd_bench_near(what, got + r * width, want + r * width, width, tolerance, e);
        if (st != STATUS_OK) return e == NULL ? st : err_prefix(e, "row %zu of %zu", r, rows);
    }
    return STATUS_OK;
}

enum cmd_bench_limit cmd_bench_trained(const struct cmd_bench *b)
{
    return kern_precision_of(b->conf->kernels_train_precision) == KERN_BF16 ? CMD_BENCH_BF16 : CMD_BENCH_F32;
}

void cmd_bench_case_end(struct cmd_bench *b)
{
    optim_free(b->optim); /* may hold memory of the run's kernels */
    model_run_free(b->model);
    param_set_release(b->params);
    buf_fini(&b->file);
    b->model = NULL;
    b->optim = NULL;
    b->params = NULL;
    b->next = 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

void cmd_bench_close(struct cmd_bench *b)
{
    cmd_bench_case_end(b);
    cmd_bench_site_free(b->site);
    mem_free(b->ref_states);
    slate_free(b->request);
    for (size_t i = 0; i < b->n_slates; i++) slate_free(b->slates[i]);
    parse_free(b->parse);
    learner_free(b->learner);
    checkpoint_close(b->checkpoint);
    encoder_free(b->encoder);
    kern_free(b->kern);
    describe_close(b->templates);
    token_free(b->vocab);
    mem_free(b->lines);
    buf_fini(&b->log);
    arena_fini(&b->arena);
    if (b->dir[0] != 0) (void)nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    *b = (struct cmd_bench){0};
}

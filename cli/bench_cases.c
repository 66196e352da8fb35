/* bench_cases.c - the table of cases: tokenizer, encoder, parser, training, scoring, checkpoint, swap.
 *
 * Sizes in the costs: C hidden, F FFN width, L layers, K trainable layers, E user events.  FLOP counts a multiply-add as two.
 */
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/model.h"
#include "featurize/token.h"
#include "model/encoder.h"
#include "schemas/weights.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TOKENS_MAX 128
static const double flop_tolerance = 1e-4;  /* of a result against ref: absolute, and relative to its size */
static const double score_tolerance = 1e-5; /* of logits, relative to their norm: what is promised of a scorer */

/* ---- costs ---- */

static double layer_flop(const struct encoder_shape *s)
{
    return 2.0 * (4.0 * (double)(s->C * s->C) + 2.0 * (double)(s->C * s->F)); /* of a token, attention apart */
}

static void encode_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    const struct encoder_shape *s = encoder_shape(b->encoder);
    const double n = (double)c->n;
    cost[CMD_BENCH_FLOP] = (double)s->L * (n * layer_flop(s) + 4.0 * n * n * (double)s->C);
}

static void line_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[CMD_BENCH_MEMORY] = (double)b->log.n / (double)b->n_lines; /* each byte is read once */
}

/* Of one slate scored: the user's rows once, every candidate's row, match; view `pooled`. */
static double slate_flop(const struct cmd_bench *b, double events, double items)
{
    const struct conf *c = b->conf;
    const struct encoder_shape *s = encoder_shape(b->encoder);
    const double C = (double)s->C, K = (double)c->model_trainable_layers;
    double flop = 0.0;
    if (conf_list_has(c->model_parts, "text") && K > 0)
        flop += (K - 1.0) * events * layer_flop(s) + events * 4.0 * C * C +
                items * K * (layer_flop(s) + 4.0 * (events + 1.0) * C);
    if (conf_list_has(c->model_parts, "match")) flop += events * 2.0 * C * C + items * (events + 2.0) * 2.0 * C;
    return flop;
}

/* Forward and twice that backward; and AdamW, once a step, reads weight, gradient and two moments and writes three. */
static void train_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    double flop = 0.0, items = 0.0;
    const size_t *first = model_table(learner_model(b->learner))->group_first;
    (void)c;
    for (size_t i = 0; i < b->n_slates; i++) {
        flop += slate_flop(b, (double)b->slates[i]->n_events, (double)b->slates[i]->n_items);
        items += (double)b->slates[i]->n_items;
    }
    cost[CMD_BENCH_FLOP] = 3.0 * flop / items;
    cost[CMD_BENCH_MEMORY] = 7.0 * sizeof(float) * (double)(first[PARAM_ADAMW + 1] - first[PARAM_ADAMW]) /
                             (items / (double)b->n_slates * (double)b->conf->train_batch_slates);
}

static void request_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[CMD_BENCH_FLOP] = slate_flop(b, (double)b->request->n_events, (double)b->request->n_items);
}

static void file_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[CMD_BENCH_DISK] = (double)b->file.n;
}

/* Read by the hash, by the checks and by the copy, written by the copy. */
static void swap_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[CMD_BENCH_MEMORY] = 4.0 * (double)b->file.n;
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

/* ---- encode ---- */

static void make_sentence(struct cmd_bench *b, size_t n)
{
    const size_t V = encoder_shape(b->encoder)->V;
    for (size_t i = 0; i < n; i++) b->ids[i] = (int32_t)((i * 7919 + 1013 * n + 5) % V);
}

/* The same sentence by the reference backend, from weights as they lie in the file. */
static enum status check_encoder(const struct cmd_bench *b, size_t n, struct err *e)
{
    enum status st;
    struct encoder *plain = NULL;
    struct encoder_run *ref = NULL;
    const size_t C = encoder_shape(b->encoder)->C;
    float *want = mem_calloc(n * C, sizeof *want);
    TRY_OUT(st, want != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "no memory for %zu states", n));
    TRY_OUT(st, encoder_open(&plain, NULL, encoder_dir(b->encoder), e));
    TRY_OUT(st, encoder_run_new(&ref, plain, "ref", e));
    TRY_OUT(st, encoder_run_sentence(ref, b->ids, NULL, n, 0, NULL, want, e));
    TRY_OUT(st, encoder_run_sentence(b->run, b->ids, NULL, n, 0, NULL, b->states, e));
    for (size_t i = 0; i < n * C; i++)
        if (!(fabs((double)b->states[i] - (double)want[i]) <= flop_tolerance * (1.0 + fabs((double)want[i])))) {
            st = ERR_SET(e, STATUS_CORRUPT, "encode: state %zu of a sentence of %zu tokens is %g, ref has %g", i, n,
                         (double)b->states[i], (double)want[i]);
            break;
        }
out:
    encoder_run_free(ref);
    encoder_free(plain);
    mem_free(want);
    return st;
}

static enum status encode_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    TRY(make_ids(b, e));
    b->states = mem_calloc(TOKENS_MAX * encoder_shape(b->encoder)->C, sizeof *b->states);
    if (b->states == NULL) return ERR_SET(e, STATUS_OOM, "no memory for states");
    TRY(encoder_run_new(&b->run, b->encoder, b->conf->kernels_backend, e));
    TRY(encoder_run_reserve(b->run, c->n, e));
    b->next = c->n;
    make_sentence(b, c->n < 16 ? c->n : 16);
    TRY(check_encoder(b, c->n < 16 ? c->n : 16, e));
    make_sentence(b, c->n);
    return STATUS_OK;
}

static enum status encode_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    *units = 1;
    return encoder_run_sentence(b->run, b->ids, NULL, b->next, 0, NULL, b->states, e);
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

/* ---- training and scoring ---- */

static enum status copy_params(struct cmd_bench *b, struct err *e)
{
    const struct param_set *from = learner_params(b->learner);
    TRY(param_set_new(&b->params, model_table(learner_model(b->learner)), e));
    memcpy(b->params->w, from->w, from->n * sizeof *from->w);
    param_touch(b->params);
    return STATUS_OK;
}

static enum status near(const char *what, const float *got, const float *want, size_t n, double tolerance,
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

/* Loss and all dense gradients of one slate against the reference backend, on the same frozen states. */
static enum status check_model(struct cmd_bench *b, struct slate *s, struct err *e)
{
    enum status st;
    struct conf ref_conf = *b->conf; /* read only: nothing of it is freed */
    struct model *ref = NULL;
    struct model_run *run = NULL;
    double loss, want;
    const struct model *m = learner_model(b->learner);
    const size_t dense = model_table(m)->group_first[PARAM_STAT];
    (void)snprintf(ref_conf.kernels_backend, sizeof ref_conf.kernels_backend, "ref");
    TRY_OUT(st, model_new(&ref, &ref_conf, b->encoder, s->n_numeric, e));
    TRY_OUT(st, model_run_new(&run, ref, learner_states(b->learner), true, e));
    TRY_OUT(st, model_bind(run, b->params, e));
    TRY_OUT(st, model_learn(run, s, 1, &want, e));
    TRY_OUT(st, model_learn(b->model, s, 1, &loss, e));
    TRY_OUT(st, near("train", model_grads(b->model)->dense, model_grads(run)->dense, dense, flop_tolerance, e));
    if (!(fabs(loss - want) <= flop_tolerance * want))
        st = ERR_SET(e, STATUS_CORRUPT, "train: loss %g, ref has %g", loss, want);
out:
    model_run_free(run);
    model_free(ref);
    return st;
}

static enum status train_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    const struct model *m = learner_model(b->learner);
    (void)c;
    TRY(copy_params(b, e));
    TRY(optim_new(&b->optim, model_table(m), b->conf, e));
    TRY(model_run_new(&b->model, m, learner_states(b->learner), true, e));
    TRY(model_bind(b->model, b->params, e));
    TRY(check_model(b, b->slates[b->n_slates - 1], e));
    model_grads_clear(b->model);
    return STATUS_OK;
}

/* One step: train.batch_slates slates learnt, then the optimiser. */
static enum status train_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    *units = 0;
    for (int64_t i = 0; i < b->conf->train_batch_slates; i++) {
        double loss;
        struct slate *s = b->slates[b->next++ % b->n_slates];
        TRY(model_learn(b->model, s, 1, &loss, e));
        *units += s->n_items;
    }
    TRY(optim_step(b->optim, model_run_kern(b->model), b->params, model_grads(b->model), *units, e));
    model_apply_stats(b->model, b->params);
    model_grads_clear(b->model);
    return STATUS_OK;
}

static enum status rank(struct cmd_bench *b, float *logits, struct err *e)
{
    slate_reset(b->request);
    TRY(world_fill_impression(learner_world(b->learner), b->request, &b->impression, e));
    return model_score(b->model, b->request, 0, logits, NULL, e);
}

static enum status check_scores(struct cmd_bench *b, struct err *e)
{
    enum status st;
    float got[CMD_BENCH_CANDIDATES], want[CMD_BENCH_CANDIDATES];
    struct conf ref_conf = *b->conf;
    struct model *ref = NULL;
    struct model_run *run = NULL;
    (void)snprintf(ref_conf.kernels_backend, sizeof ref_conf.kernels_backend, "ref");
    TRY_OUT(st, rank(b, got, e));
    TRY_OUT(st, model_new(&ref, &ref_conf, b->encoder, b->request->n_numeric, e));
    TRY_OUT(st, model_run_new(&run, ref, learner_states(b->learner), false, e));
    TRY_OUT(st, model_bind(run, b->params, e));
    TRY_OUT(st, model_score(run, b->request, 0, want, NULL, e));
    st = near("score", got, want, b->request->n_items, score_tolerance, e);
out:
    model_run_free(run);
    model_free(ref);
    return st;
}

static enum status score_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    (void)c;
    TRY(copy_params(b, e));
    TRY(model_run_new(&b->model, learner_model(b->learner), learner_states(b->learner), false, e));
    TRY(model_bind(b->model, b->params, e));
    return check_scores(b, e);
}

static enum status score_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    float logits[CMD_BENCH_CANDIDATES];
    *units = 1;
    return rank(b, logits, e);
}

/* ---- checkpoint and swap ---- */

static enum status write_checkpoint(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    *units = 1;
    return checkpoint_write(b->checkpoint, b->learner, e);
}

static enum status weights_path(const struct cmd_bench *b, char out[CMD_MODEL_PATH], struct err *e)
{
    return cmd_model_weights_path(out, b->dir, checkpoint_version(b->checkpoint), e);
}

/* The file of the first checkpoint is read back and compared with what was in memory. */
static enum status checkpoint_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    uint64_t units;
    char path[CMD_MODEL_PATH];
    struct weights_view v;
    struct arena a = {0};
    (void)c;
    TRY(write_checkpoint(b, &units, e));
    TRY(weights_path(b, path, e));
    TRY(weights_read_file(path, CMD_MODEL_FILE_MAX, &b->file, e));
    enum status st = weights_decode(&v, b->file.p, b->file.n, true, &a, e);
    const struct param_set *p = learner_params(b->learner);
    if (st == STATUS_OK && (v.n_params != p->n || memcmp(v.params, p->w, p->n * sizeof *p->w) != 0))
        st = ERR_SET(e, STATUS_CORRUPT, "checkpoint: %s is not what is in memory", path);
    arena_fini(&a);
    return st;
}

/* Between checkpoints the shop goes on: users, items, open slates and hashed rows change. */
static enum status more_events(struct cmd_bench *b, struct err *e)
{
    return cmd_bench_feed(b, 50, e);
}

static enum status swap_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    struct weights_view v;
    struct arena a = {0};
    const struct model *m = learner_model(b->learner);
    *units = 1;
    enum status st = weights_decode(&v, b->file.p, b->file.n, true, &a, e);
    if (st == STATUS_OK) st = param_from_view(model_table(m), &v, model_fingerprint(m), b->params, e);
    if (st == STATUS_OK) st = model_bind(b->model, b->params, e);
    arena_fini(&a);
    return st;
}

/* A version as a scorer gets it (without moments), verified and bound; then it scores what the learner scores. */
static enum status swap_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    enum status st;
    uint64_t units;
    struct weights_view v = {0};
    struct arena a = {0};
    const struct model *m = learner_model(b->learner);
    (void)c;
    TRY(param_set_new(&b->params, model_table(m), e));
    TRY(model_run_new(&b->model, m, learner_states(b->learner), false, e));
    TRY(param_sha256(learner_params(b->learner), e));
    TRY_OUT(st, param_view(model_table(m), learner_params(b->learner), model_fingerprint(m), &a, &v, e));
    TRY_OUT(st, weights_encode(&b->file, &v, e));
    TRY_OUT(st, swap_run(b, &units, e));
    if (memcmp(b->params->w, learner_params(b->learner)->w, b->params->n * sizeof(float)) != 0)
        st = ERR_SET(e, STATUS_CORRUPT, "swap: the parameters are not those of the learner");
    if (st == STATUS_OK) st = check_scores(b, e);
out:
    arena_fini(&a);
    return st;
}

void cmd_bench_case_end(struct cmd_bench *b)
{
    encoder_run_free(b->run);
    model_run_free(b->model);
    optim_free(b->optim);
    param_set_release(b->params);
    mem_free(b->ids);
    mem_free(b->states);
    buf_fini(&b->file);
    b->run = NULL;
    b->model = NULL;
    b->optim = NULL;
    b->params = NULL;
    b->ids = NULL;
    b->states = NULL;
    b->next = 0;
}

/* clang-format off */
const struct cmd_bench_case cmd_bench_cases[] = {
    {"tokenize", "texts to word-piece ids", "sentences",
     0, tokenize_setup, NULL, tokenize_run, line_cost},
    {"encode.16", "a sentence of 16 tokens through all layers", "sentences",
     16, encode_setup, NULL, encode_run, encode_cost},
    {"encode.32", "32 tokens", "sentences",
     32, encode_setup, NULL, encode_run, encode_cost},
    {"encode.128", "128 tokens", "sentences",
     128, encode_setup, NULL, encode_run, encode_cost},
    {"parse", "native JSON to checked events", "events",
     0, parse_setup, NULL, parse_run, line_cost},
    {"train", "steps on synthetic slates, all parts", "examples",
     0, train_setup, NULL, train_run, train_cost},
    {"score.100", "100 candidates: records to features to logits", NULL,
     0, score_setup, NULL, score_run, request_cost},
    {"checkpoint", "all that 50 events changed, and the weight file", NULL,
     0, checkpoint_setup, more_events, write_checkpoint, file_cost},
    {"swap", "a fetched version: hashed, checked, bound", NULL,
     0, swap_setup, NULL, swap_run, swap_cost},
};
/* clang-format on */
const size_t cmd_bench_n_cases = sizeof cmd_bench_cases / sizeof *cmd_bench_cases;

/* bench_train.c - steps of learning on settled slates: forward, backward, optimiser; on one core and all.
 *
 * Checked first: two steps against the reference backend, tensor by tensor (bench_check.c), on the cores that are timed.  The
 * operations are those that the kernels were asked for, counted over one round of the slates.
 */
#include "base/mem.h"
#include "base/pool.h"
#include "cli/bench.h"
#include "kernels/kern.h"
#include "trainer/optim.h"
#include <stdio.h>

enum { ROUNDS = 7, ROUNDS_QUICK = 3 };

/* Examples of a step at least, where the case says no other number: two orders of the plain protocol, 8 bought and 32 others
 * each. */
#define STEP_EXAMPLES 80

struct own {
    struct pool *pool;
    size_t slates;     /* of a step: train.batch_slates, and as many as its examples take */
    double operations; /* of an example */
    double *losses;    /* (slates) */
};

static double mean_items(const struct cmd_bench *b)
{
    double items = 0.0;
    for (size_t i = 0; i < b->n_slates; i++) items += (double)b->slates[i]->n_items;
    return items / (double)b->n_slates;
}

static size_t slates_of_step(const struct cmd_bench *b, size_t examples)
{
    size_t n = examples > 0 ? 1 : (size_t)b->conf->train_batch_slates;
    const double least = (double)(examples > 0 ? examples : STEP_EXAMPLES);
    while ((double)n * mean_items(b) < least && n < b->n_slates) n++;
    return n < b->n_slates ? n : b->n_slates;
}

/* AdamW, once a step, reads weight, gradient and two moments and writes three. */
static void train_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    const struct own *o = b->own;
    const size_t *first = model_table(learner_model(b->learner))->group_first;
    (void)c;
    cost[cmd_bench_trained(b)] = o->operations;
    cost[CMD_BENCH_MEMORY] = 7.0 * sizeof(float) * (double)(first[PARAM_ADAMW + 1] - first[PARAM_ADAMW]) /
                             (mean_items(b) * (double)o->slates);
}

/* One step: its slates learnt, then the optimiser, as the learner does. */
static enum status train_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    const struct own *o = b->own;
    const size_t n = o->slates;
    if (b->next + n > b->n_slates) b->next = 0;
    struct slate *const *batch = &b->slates[b->next];
    b->next += n;
    *units = 0;
    for (size_t i = 0; i < n; i++) *units += batch[i]->n_items;
    TRY(model_learn_many(b->model, (const struct slate *const *)batch, n, 1, o->losses, e));
    TRY(optim_step(b->optim, model_run_kern(b->model), b->params, model_grads_owed(b->model), *units, e));
    model_apply_stats(b->model, b->params);
    TRY(model_stepped(b->model, b->params, e));
    model_grads_clear(b->model);
    return STATUS_OK;
}

/* Steps over all slates once, or for so many seconds; *examples learnt. */
static enum status tally_steps(struct cmd_bench *b, double seconds, struct cmd_bench_tally *t, double *examples,
                               struct err *e)
{
    enum status st = STATUS_OK;
    const double begun = cmd_bench_now_s();
    *t = (struct cmd_bench_tally){0};
    *examples = 0.0;
    cmd_bench_tally_on(model_run_kern(b->model), t);
    for (size_t seen = 0; st == STATUS_OK && (seen < b->n_slates || cmd_bench_now_s() - begun < seconds);) {
        uint64_t units;
        st = train_run(b, &units, e);
        *examples += (double)units;
        seen += ((const struct own *)b->own)->slates;
    }
    cmd_bench_tally_off(model_run_kern(b->model));
    return st;
}

static enum status train_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    const struct model *m = learner_model(b->learner);
    struct own *o = b->own = mem_calloc(1, sizeof *o);
    struct cmd_bench_tally t;
    double examples;
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a case");
    if (c->sample != NULL && !b->kern->ops->host_visible)
        return ERR_SET(e, STATUS_UNSUPPORTED, "what a device does inside its operations is not seen from here");
    if (c->n > 0 && b->kern->ops->host_visible)
        return ERR_SET(e, STATUS_UNSUPPORTED, "a size for devices; on the processor see train.all");
    o->slates = slates_of_step(b, c->n);
    o->losses = mem_calloc(o->slates, sizeof *o->losses);
    if (o->losses == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a batch");
    if (c->span == CMD_BENCH_ALL) TRY(pool_new(&o->pool, (unsigned)b->cores, b->conf->kernels_pin, e));
    TRY(cmd_bench_check_steps(b, o->pool, e));
    TRY(cmd_bench_copy_params(b, e));
    TRY(optim_new(&b->optim, model_table(m), b->conf, e));
    TRY(model_run_new(&b->model, m, learner_states(b->learner), true, e));
    TRY(model_bind(b->model, b->params, e));
    if (o->pool != NULL) kern_use_pool(model_run_kern(b->model), o->pool);
    TRY(tally_steps(b, 0.0, &t, &examples, e));
    o->operations = t.operations / examples;
    return STATUS_OK;
}

/* What is dense in a step, alone. */
static enum status sample_dense(struct cmd_bench *b, const struct cmd_bench_case *c, double *out, size_t max, size_t *n,
                                struct err *e)
{
    const size_t rounds = b->quick ? ROUNDS_QUICK : ROUNDS;
    (void)c;
    for (*n = 0; *n < rounds && *n < max; ++*n) {
        struct cmd_bench_tally t;
        double examples;
        TRY(tally_steps(b, b->quick ? 0.15 : 0.6, &t, &examples, e));
        out[*n] = t.operations / t.seconds * 1e-9;
    }
    return STATUS_OK;
}

static void dense_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[cmd_bench_trained(b)] = 1e9;
}

static void end(struct cmd_bench *b)
{
    struct own *o = b->own;
    if (o == NULL) return;
    if (b->model != NULL) kern_use_pool(model_run_kern(b->model), NULL);
    pool_free(o->pool);
    mem_free(o->losses);
    mem_free(o);
    b->own = NULL;
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "train", .what = "steps of 80 synthetic examples, all parts, one core", .unit = "examples",
     .setup = train_setup, .run = train_run, .cost = train_cost},
    {.name = "train.dense", .what = "of them products, AdamW on matrices, attention, GELU, LayerNorm", .kind = CMD_BENCH_SAMPLES,
     .unit = "GFLOP/s", .setup = train_setup, .sample = sample_dense, .cost = dense_cost},
    {.name = "train.all", .what = "the same steps on all cores", .unit = "examples", .span = CMD_BENCH_ALL,
     .setup = train_setup, .run = train_run, .cost = train_cost},
    {.name = "train.64", .what = "steps of 64 examples on a device", .unit = "examples", .n = 64,
     .setup = train_setup, .run = train_run, .cost = train_cost},
    {.name = "train.2048", .what = "steps of 2048 examples on a device", .unit = "examples", .n = 2048,
     .setup = train_setup, .run = train_run, .cost = train_cost},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_train = {
    .name = "train", .title = "steps of learning, all parts", CMD_BENCH_CASES(cases), .shop = true, .end = end};

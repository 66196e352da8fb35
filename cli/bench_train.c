/* bench_train.c - steps of learning on settled slates: forward, backward, optimiser; one core.
 *
 * Checked first: loss and every dense gradient of one slate against the reference backend.
 */
#include "cli/bench.h"
#include "kernels/kern.h"
#include "trainer/optim.h"
#include <math.h>
#include <stdio.h>

static const double tolerance = 1e-4; /* f32, of a norm against ref */

/* Forward and twice that backward; and AdamW, once a step, reads weight, gradient and two moments and writes three. */
static void train_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    double flop = 0.0, items = 0.0;
    const size_t *first = model_table(learner_model(b->learner))->group_first;
    for (size_t i = 0; i < b->n_slates; i++) {
        const double n = (double)b->slates[i]->n_items;
        flop += cmd_bench_slate_flop(b, (double)b->slates[i]->n_events, n, n);
        items += n;
    }
    cost[c->limit] = 3.0 * flop / items;
    cost[CMD_BENCH_MEMORY] = 7.0 * sizeof(float) * (double)(first[PARAM_ADAMW + 1] - first[PARAM_ADAMW]) /
                             (items / (double)b->n_slates * (double)b->conf->train_batch_slates);
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
    TRY_OUT(st, cmd_bench_near("train", model_grads(b->model)->dense, model_grads(run)->dense, dense, tolerance, e));
    if (!(fabs(loss - want) <= tolerance * want))
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
    TRY(cmd_bench_copy_params(b, e));
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

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "train", .what = "steps on synthetic slates, all parts", .unit = "examples",
     .setup = train_setup, .run = train_run, .cost = train_cost},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_train = {
    .name = "train", .title = "steps of learning, all parts, one core", CMD_BENCH_CASES(cases), .shop = true};

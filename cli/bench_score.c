/* bench_score.c - a list of candidates scored in memory, without Redis or HTTP: records to features to logits; one core.
 *
 * Checked first: every logit against the reference backend.  C is the encoder's width, K its trainable layers.
 */
#include "cli/bench.h"
#include "model/encoder.h"
#include <stdio.h>

/* Of the logits' norm: what is promised of a scorer in f32, and of operands in bf16. */
static const double tolerance = 1e-5, rounded = 2e-2;

static double layer_flop(const struct encoder_shape *s)
{
    return 2.0 * (4.0 * (double)(s->C * s->C) + 2.0 * (double)(s->C * s->F)); /* of a token, attention apart */
}

/* Of one slate scored: the user's rows once, every candidate's row, match; view `pooled`. */
double cmd_bench_slate_flop(const struct cmd_bench *b, double events, double items, double joint)
{
    const struct conf *c = b->conf;
    const struct encoder_shape *s = encoder_shape(b->encoder);
    const double C = (double)s->C, K = (double)c->model_trainable_layers;
    double flop = 0.0;
    if (conf_list_has(c->model_parts, "text") && K > 0)
        flop += (K - 1.0) * events * layer_flop(s) + events * 4.0 * C * C +
                joint * K * (layer_flop(s) + 4.0 * (events + 1.0) * C);
    if (conf_list_has(c->model_parts, "match")) flop += events * 2.0 * C * C + items * (events + 2.0) * 2.0 * C;
    return flop;
}

static void request_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    (void)c;
    cost[cmd_bench_trained(b)] =
        cmd_bench_slate_flop(b, (double)b->request->n_events, (double)b->request->n_items, (double)b->request->n_items);
}

static enum status rank(struct cmd_bench *b, float *logits, struct err *e)
{
    slate_reset(b->request);
    TRY(world_fill_impression(learner_world(b->learner), b->request, &b->impression, e));
    return model_score(b->model, b->request, 0, logits, NULL, e);
}

enum status cmd_bench_check_scores(struct cmd_bench *b, struct err *e)
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
    st = cmd_bench_near("score", got, want, b->request->n_items,
                        cmd_bench_trained(b) == CMD_BENCH_F32 ? tolerance : rounded, e);
out:
    model_run_free(run);
    model_free(ref);
    return st;
}

static enum status score_setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    (void)c;
    TRY(cmd_bench_copy_params(b, e));
    TRY(model_run_new(&b->model, learner_model(b->learner), learner_states(b->learner), false, e));
    TRY(model_bind(b->model, b->params, e));
    return cmd_bench_check_scores(b, e);
}

static enum status score_run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    float logits[CMD_BENCH_CANDIDATES];
    *units = 1;
    return rank(b, logits, e);
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "score.100", .what = "100 candidates: records to features to logits", .kind = CMD_BENCH_LATENCY,
     .setup = score_setup, .run = score_run, .cost = request_cost},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_score = {
    .name = "score", .title = "a list scored in memory, one core", CMD_BENCH_CASES(cases), .shop = true};

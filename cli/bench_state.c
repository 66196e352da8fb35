/* bench_state.c - versions: a checkpoint made durable, a fetched version checked and put in force; one core.
 *
 * Checked first: a written file is read back and is what is in memory; a swapped version scores what the learner scores.
 */
#include "cli/bench.h"
#include "cli/model.h"
#include "schemas/weights.h"
#include <string.h>

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
    if (st == STATUS_OK) st = cmd_bench_check_scores(b, e);
out:
    arena_fini(&a);
    return st;
}

/* clang-format off */
static const struct cmd_bench_case cases[] = {
    {.name = "checkpoint", .what = "all that 50 events changed, and the weight file", .kind = CMD_BENCH_LATENCY,
     .setup = checkpoint_setup, .before = more_events, .run = write_checkpoint, .cost = file_cost},
    {.name = "swap", .what = "a fetched version: hashed, checked, bound", .kind = CMD_BENCH_LATENCY,
     .setup = swap_setup, .run = swap_run, .cost = swap_cost},
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_state = {
    .name = "state", .title = "versions, one core", CMD_BENCH_CASES(cases), .shop = true};

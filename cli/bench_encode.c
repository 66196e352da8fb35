/* bench_encode.c - sentences through all layers of the encoder to their vectors, many at a time as the frozen-state cache does;
 * in each precision, on one core and all.  A backend whose memory is apart gets a batch that keeps it busy for a while.
 *
 * Checked first: a short sentence against the reference backend in f32 (of rounded layers, their cosine), and some sentences
 * of the batch against themselves alone, whose bits must be the same.
 */
#include "base/mem.h"
#include "cli/bench.h"
#include "model/encoder.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOKENS = 2048, TOKENS_QUICK = 512 /* of a batch */, SHORT = 16, ALONE = 4 /* sentences compared */ };
enum { TOKENS_FAR = 1 << 17 /* at most */ };
#define SHORT_S 0.01                  /* a batch for a backend apart that takes less may be twice as large */
static const double tolerance = 1e-4; /* f32, of the states' norm against ref */

struct hand { /* one core's */
    struct encoder_run *run;
    struct encoder_sentence *sentences; /* (count) */
    float *vectors;                     /* (count, C) */
};
struct own {
    struct kern *kern;
    struct encoder *encoder; /* in the case's precision */
    char backend[KERN_NAME_MAX];
    int n;
    struct hand hands[CMD_BENCH_CORES_MAX];
    int32_t *ids;               /* of a batch */
    size_t count;               /* sentences of a batch */
    float states[SHORT * 2048]; /* of the sentence that ref is asked about */
};

static void encode_cost(const struct cmd_bench *b, const struct cmd_bench_case *c, double cost[CMD_BENCH_LIMITS])
{
    const struct encoder_shape *s = encoder_shape(b->encoder);
    const double n = (double)c->n, C = (double)s->C, layer = 2.0 * (4.0 * C * C + 2.0 * C * (double)s->F);
    cost[c->limit] = (double)s->L * (n * layer + 4.0 * n * n * C);
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static enum status compare(const struct cmd_bench *b, const float *got, const float *want, size_t n,
                           enum cmd_bench_limit precision, struct err *e)
{
    if (precision == CMD_BENCH_F32) return cmd_bench_near("states", got, want, n, tolerance, e);
    const double c = cosine(got, want, n);
    return c >= b->conf->kernels_min_cosine
               ? STATUS_OK
               : ERR_SET(e, STATUS_CORRUPT, "the states' cosine to f32 is %.4f, below kernels.min_cosine", c);
}

/* What the reference backend says of the first n ids, from weights as they lie in the file: once for all cases. */
static enum status run_ref(struct cmd_bench *b, size_t n, struct err *e)
{
    enum status st;
    struct encoder *plain = NULL;
    struct encoder_run *ref = NULL;
    const struct own *o = b->own;
    float *states = mem_calloc(n * encoder_shape(b->encoder)->C, sizeof *states);
    TRY_OUT(st, states != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "no memory for %zu states", n));
    TRY_OUT(st, encoder_open(&plain, NULL, encoder_dir(b->encoder), e));
    TRY_OUT(st, encoder_run_new(&ref, plain, "ref", e));
    TRY_OUT(st, encoder_run_sentence(ref, o->ids, NULL, n, 0, NULL, states, e));
    b->ref_states = states;
    states = NULL;
out:
    encoder_run_free(ref);
    encoder_free(plain);
    mem_free(states);
    return st;
}

static enum status check_ref(struct cmd_bench *b, enum cmd_bench_limit precision, size_t n, struct err *e)
{
    struct own *o = b->own;
    float *got = o->states;
    if (encoder_shape(b->encoder)->C > sizeof o->states / sizeof *got / SHORT)
        return ERR_SET(e, STATUS_UNSUPPORTED, "the model is wider than the check has room for");
    if (b->ref_states == NULL) TRY(run_ref(b, n, e));
    TRY(encoder_run_sentence(o->hands[0].run, o->ids, NULL, n, 0, NULL, got, e));
    return compare(b, got, b->ref_states, n * encoder_shape(b->encoder)->C, precision, e);
}

/* The batch's vectors are there already. */
static enum status check_alone(const struct cmd_bench *b, size_t n, struct err *e)
{
    struct own *o = b->own;
    struct hand *h = &o->hands[0];
    const size_t C = encoder_shape(b->encoder)->C;
    enum status st = STATUS_OK;
    float *alone = mem_calloc(C, sizeof *alone);
    if (alone == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a vector of %zu", C);
    for (size_t i = 0; i < o->count && st == STATUS_OK; i += (o->count + ALONE - 1) / ALONE) {
        const struct encoder_sentence one = {.ids = h->sentences[i].ids, .n = n, .vector = alone};
        st = encoder_run_sentences(h->run, &one, 1, 0, e);
        if (st == STATUS_OK && memcmp(alone, h->sentences[i].vector, C * sizeof *alone) != 0)
            st =
                ERR_SET(e, STATUS_CORRUPT, "sentence %zu of a batch of %zu has another vector than alone", i, o->count);
    }
    mem_free(alone);
    return st;
}

static enum status make_hand(const struct cmd_bench *b, struct hand *h, size_t n, size_t most, struct err *e)
{
    const struct own *o = b->own;
    const size_t C = encoder_shape(b->encoder)->C;
    TRY(encoder_run_new(&h->run, o->encoder, o->backend, e));
    TRY(encoder_run_reserve(h->run, n, e));
    h->sentences = mem_calloc(most, sizeof *h->sentences);
    h->vectors = mem_calloc(most, C * sizeof *h->vectors);
    if (h->sentences == NULL || h->vectors == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %zu vectors", most);
    for (size_t i = 0; i < most; i++)
        h->sentences[i] = (struct encoder_sentence){.ids = o->ids + i * n, .n = n, .vector = h->vectors + i * C};
    return STATUS_OK;
}

static enum status work_once(void *user, int i, struct err *e)
{
    const struct own *o = user;
    return encoder_run_sentences(o->hands[i].run, o->hands[i].sentences, o->count, 0, e);
}

/* The base model again, with its layers in the case's precision. */
static enum status open_rounded(struct cmd_bench *b, enum cmd_bench_limit precision, struct err *e)
{
    static const char *const words[] = {"f32", "bf16", "int8"};
    struct own *o = b->own;
    struct conf c = *b->conf; /* read only: nothing of it is freed */
    (void)snprintf(c.kernels_precision, sizeof c.kernels_precision, "%s", words[precision]);
    kern_name(&c, o->backend);
    return encoder_open_conf(&o->encoder, &o->kern, &c, e);
}

/* Twice as many sentences as long as that is short. */
static enum status fit_far(const struct cmd_bench *b, size_t n, struct err *e)
{
    struct own *o = b->own;
    for (o->count = TOKENS_QUICK / n;; o->count *= 2) {
        TRY(work_once(o, 0, e)); /* plans, scratch */
        const double start = cmd_bench_now_s();
        TRY(work_once(o, 0, e));
        if (cmd_bench_now_s() - start > SHORT_S || 2 * o->count > TOKENS_FAR / n) return STATUS_OK;
    }
}

static enum status setup(struct cmd_bench *b, const struct cmd_bench_case *c, struct err *e)
{
    struct own *o = b->own = mem_calloc(1, sizeof *o);
    const bool far = !b->kern->ops->host_visible;
    if (o == NULL) return ERR_SET(e, STATUS_OOM, "no memory for a case");
    if (c->n > encoder_shape(b->encoder)->P)
        return ERR_SET(e, STATUS_UNSUPPORTED, "the model reads %zu tokens at most", encoder_shape(b->encoder)->P);
    TRY(open_rounded(b, c->limit, e));
    const size_t tokens = far ? TOKENS_FAR : b->quick ? TOKENS_QUICK : TOKENS, most = tokens / c->n;
    o->count = most;
    o->ids = mem_calloc(tokens, sizeof *o->ids);
    if (o->ids == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %zu ids", tokens);
    for (size_t i = 0; i < tokens; i++) o->ids[i] = (int32_t)((i * 7919 + 5) % encoder_shape(b->encoder)->V);
    for (o->n = 0; o->n < (c->span == CMD_BENCH_ALL ? b->cores : 1); o->n++)
        TRY(make_hand(b, &o->hands[o->n], c->n, most, e));
    TRY(check_ref(b, c->limit, SHORT, e));
    TRY(far ? fit_far(b, c->n, e) : work_once(o, 0, e));
    return check_alone(b, c->n, e);
}

static enum status run(struct cmd_bench *b, uint64_t *units, struct err *e)
{
    struct own *o = b->own;
    *units = o->count * (uint64_t)o->n;
    return o->n == 1 ? work_once(o, 0, e) : cmd_bench_crew(o->n, work_once, o, e);
}

static void end(struct cmd_bench *b)
{
    struct own *o = b->own;
    if (o == NULL) return;
    for (int i = 0; i < CMD_BENCH_CORES_MAX; i++) {
        encoder_run_free(o->hands[i].run);
        mem_free(o->hands[i].sentences);
        mem_free(o->hands[i].vectors);
    }
    encoder_free(o->encoder);
    kern_free(o->kern);
    mem_free(o->ids);
    mem_free(o);
    b->own = NULL;
}

#define ENCODE(NAME, N, LIMIT, SPAN, WHAT)                                                                             \
    {                                                                                                                  \
        .name = "encode." NAME #N, .what = #N " tokens each, " WHAT, .unit = "sentences", .n = N, .limit = LIMIT,      \
        .span = SPAN, .setup = setup, .run = run, .cost = encode_cost                                                  \
    }
#define LENGTHS(NAME, LIMIT, SPAN, WHAT)                                                                               \
    ENCODE(NAME, 16, LIMIT, SPAN, WHAT), ENCODE(NAME, 32, LIMIT, SPAN, WHAT), ENCODE(NAME, 128, LIMIT, SPAN, WHAT)
/* clang-format off */
static const struct cmd_bench_case cases[] = {
    LENGTHS("f32.", CMD_BENCH_F32, CMD_BENCH_ONE, "f32, one core"),
    LENGTHS("bf16.", CMD_BENCH_BF16, CMD_BENCH_ONE, "bf16, one core"),
    LENGTHS("int8.", CMD_BENCH_INT8, CMD_BENCH_ONE, "int8, one core"),
    LENGTHS("f32.all.", CMD_BENCH_F32, CMD_BENCH_ALL, "f32, all cores"),
    LENGTHS("bf16.all.", CMD_BENCH_BF16, CMD_BENCH_ALL, "bf16, all cores"),
    LENGTHS("int8.all.", CMD_BENCH_INT8, CMD_BENCH_ALL, "int8, all cores"),
};
/* clang-format on */
const struct cmd_bench_topic cmd_bench_encode = {
    .name = "encode",
    .title = "sentences of 16, 32 and 128 tokens through all layers, in batches",
    CMD_BENCH_CASES(cases),
    .end = end};

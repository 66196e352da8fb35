/* job_bound.c - see job_bound.h. */
#include "job/job_bound.h"
#include "featurize/feat.h"
#include "featurize/group.h"
#include "featurize/history.h"
#include "featurize/world.h"
#include "ingest/order.h"
#include "ingest/source.h"
#include "job/answers.h"
#include "schemas/conf_variant.h"
#include "schemas/record.h"
#include "serving/publish.h"
#include "trainer/reservoir.h"
#include <stdlib.h>

enum {
    MIB = 1 << 20,
    PROCESS_MIB = 64, /* code, libraries, stacks, the allocator's own */
    KAFKA_MIB = 128, /* what the source lets librdkafka fetch ahead (ingest/source_kafka_wake.c), and a producer's queue */
    TABLE_BYTES = 112,     /* per item: row, table places (of two sizes while it grows), lists, the sampler's arrays */
    USER_TABLE_BYTES = 72, /* per user: table places */
    USER_LEAST = 256,
    STORE_PAGE = 4096, /* of the store, copied to the heap when a record in it changes, and kept for the next one */
    STORE_PAGES = 512 * MIB,   /* so much of them: beyond it LMDB writes pages out within a transaction */
    DEDUPE_BYTES = 64,         /* per id: ring and a table at most half full */
    OPEN_BYTES = 224,          /* per open slate: the joiner's entry, heap and tables */
    MESSAGE_COPIES = 4,        /* of the longest message: raw, parsed, on the way */
    PARAM_COPIES = 11,         /* parameters, gradients, two moments; file and moments of a checkpoint; three uploads */
    CANDIDATE_ROWS = 12,       /* activations of one candidate in the trainable layers, rows of width C ... */
    CANDIDATE_WIDE = 3,        /* ... and of width F */
    EVALUATOR_BYTES = 4 * MIB, /* meters, windows, curve, segments of a line */
    UNSAMPLED_BYTES = 4096,    /* a candidate of the unsampled check: features, token ids, logits */
    KEPT_COPIES = 2,           /* versions that scorers may still answer with (job/learner_served.c) */
    GATE_COPIES = 6,           /* two snapshots: parameters, two moments or the accumulators of hashed rows */
    WORKER_BYTES = 16 * MIB,
    ALLOCATOR_PART = 5 /* a fifth on top of everything that consists of small blocks */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t attrs_most(void)
{
    return (size_t)EVENT_ATTRS_MAX * (sizeof(struct record_attr) + EVENT_TEXT_MAX + EVENT_ID_MAX);
}

static size_t user_most(const struct conf *c)
{
    const size_t event =
        sizeof(struct record_event) + (size_t)c->model_max_tokens * sizeof(int32_t) + HISTORY_TAGS_MAX * 4;
    return sizeof(struct record_user) + attrs_most() + (size_t)c->history_events * event +
           (size_t)c->history_pairs * sizeof(struct record_pair) + RECORD_TALLY_TYPES * sizeof(struct record_tally);
}

static size_t item_most(const struct conf *c)
{
    return sizeof(struct record_item) + attrs_most() + (size_t)c->model_max_tokens * sizeof(int32_t) +
           RECORD_TALLY_TYPES * sizeof(struct record_tally) +
           (size_t)c->cooccur_neighbours * sizeof(struct record_neighbour);
}

/* Pages of one checkpoint's transaction: one a changed record, where they lie far from each other. */
static size_t store_pages(const struct conf *c)
{
    return least(STORE_PAGES, least((size_t)c->history_users, (size_t)c->state_dirty_bytes / USER_LEAST) * STORE_PAGE);
}

/* A quarter more while Redis is away, then the changed ones, which can't leave before a checkpoint. */
static size_t users(const struct conf *c)
{
    const size_t n = least((size_t)c->history_max_bytes, (size_t)c->history_users * user_most(c));
    return n + n / 4 + (size_t)c->state_dirty_bytes + store_pages(c) +
           least((size_t)c->history_users, n / USER_LEAST) * USER_TABLE_BYTES +
           (size_t)c->history_max_bytes / WORLD_ERASED_PART;
}

static size_t items(const struct conf *c)
{
    const size_t n = least((size_t)c->catalogue_max_bytes, (size_t)c->catalogue_items * item_most(c));
    return n + least((size_t)c->catalogue_items, n / sizeof(struct record_item)) * TABLE_BYTES +
           group_bytes((size_t)c->counter_groups);
}

/* The joiner's own lists of items and marks are less than a quarter of what a slate packs of the same items. */
static size_t slates(const struct conf *c)
{
    const size_t n = (size_t)c->join_max_bytes;
    return n + n / 4 + least((size_t)c->join_open_slates, n / 256) * OPEN_BYTES;
}

/* Open ones, and memory that closed ones leave to the next. */
static size_t orders(const struct conf *c)
{
    return order_max_bytes(c) + order_keep_bytes(c);
}

static size_t layer_floats(const struct encoder_shape *s)
{
    return 4 * s->C * s->C + 2 * s->C * s->F + 9 * s->C + s->F;
}

static size_t parameters(const struct conf *c, const struct encoder_shape *s)
{
    size_t floats = (size_t)65536;
    if (conf_list_has(c->model_parts, "hashed")) floats += (size_t)1 << c->model_hashed_bits;
    if (s != NULL && conf_list_has(c->model_parts, "text"))
        floats += (size_t)c->model_trainable_layers * layer_floats(s) + (size_t)(c->model_events + 64) * s->C +
                  (size_t)c->model_user_units * (((size_t)1 << c->model_user_bits) + s->C);
    if (s != NULL && conf_list_has(c->model_parts, "match")) floats += s->C * s->C;
    if (s != NULL && conf_list_has(c->model_parts, "idvec")) floats += s->C << c->model_idvec_bits;
    if (conf_list_has(c->model_parts, "deep"))
        floats += (size_t)c->model_deep_units * (FEAT_NUMERIC_MAX + (size_t)c->model_deep_units);
    if (conf_list_has(c->model_parts, "itembias")) floats += (size_t)1 << c->model_idvec_bits;
    const size_t kept = c->redis_url[0] != '\0' && c->eval_served_answers > 0 ? KEPT_COPIES : 0;
    return floats * sizeof(float) * ((size_t)PARAM_COPIES + (c->gate_share > 0 ? GATE_COPIES : 0) + kept);
}

static size_t reservoir(const struct conf *c, const struct encoder_shape *s)
{
    (void)s;
    return reservoir_bytes_most(c);
}

/* Every line has its own of them, of the parts that it has. */
static size_t of_all_lines(const struct conf *c, const struct encoder_shape *s,
                           size_t (*of)(const struct conf *, const struct encoder_shape *))
{
    size_t sum = of(c, s);
    for (size_t i = 1; i < conf_lines(c); i++) {
        struct conf *own = NULL;
        const bool made = conf_line_new(&own, c, i, NULL) == STATUS_OK;
        sum += of(made ? own : c, s);
        conf_free(own);
    }
    return sum;
}

/* Answers of the log that wait for their lists. */
static size_t answers(const struct conf *c)
{
    return c->redis_url[0] != '\0' ? (size_t)c->eval_served_answers * (ANSWERS_BYTES + 64) : 0;
}

/* The mapped file, touched once, and its packed matrices. */
static size_t encoder(const struct encoder_shape *s)
{
    if (s == NULL) return 0;
    return ((s->V + s->P) * s->C + 2 * s->L * layer_floats(s)) * sizeof(float);
}

/* A slate of the most candidates, forward and backward; the evaluator; the workers that compute frozen states. */
static size_t workspaces(const struct conf *c, const struct encoder_shape *s)
{
    const size_t row = s != NULL ? CANDIDATE_ROWS * s->C + CANDIDATE_WIDE * s->F : 512;
    const size_t checked = c->eval_unsampled > 0.0 ? (size_t)c->eval_unsampled_items + EVENT_ITEMS_MAX : 0;
    return 2 * (size_t)EVENT_ITEMS_MAX * row * sizeof(float) + EVALUATOR_BYTES + checked * UNSAMPLED_BYTES +
           (size_t)c->kernels_threads * WORKER_BYTES;
}

static size_t batches(const struct conf *c)
{
    return (size_t)c->ingest_queue * (sizeof(struct source_batch) + SOURCE_BATCH_BYTES) +
           least((size_t)c->ingest_queue, 16) * MESSAGE_COPIES * (size_t)c->ingest_max_bytes;
}

static size_t uploads(const struct conf *c)
{
    return c->redis_url[0] == '\0' ? 0 : (size_t)(PUBLISH_BATCHES_MAX + 2) * PUBLISH_BATCH_BYTES + 8 * (size_t)MIB;
}

static int larger(const void *a, const void *b)
{
    const struct job_bound_share *x = a, *y = b;
    return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : 0;
}

void job_bound(struct job_bound *out, const struct conf *c, const struct encoder_shape *shape)
{
    const size_t states = shape != NULL ? (size_t)c->kernels_cache_bytes : 0;
    const struct job_bound_share all[] = {
        {"users", users(c)},
        {"items", items(c)},
        {"open_slates", slates(c)},
        {"orders", orders(c)},
        {"frozen_states", states + states / 8},
        {"reservoir", of_all_lines(c, shape, reservoir)},
        {"dedupe", (size_t)c->ingest_dedupe_ids * DEDUPE_BYTES},
        {"batches", batches(c)},
        {"kafka", c->n_kafka > 0 ? (size_t)KAFKA_MIB * MIB : 0},
        {"redis", uploads(c)},
        {"parameters", of_all_lines(c, shape, parameters)},
        {"answers", answers(c)},
        {"encoder", encoder(shape)},
        {"workspaces", of_all_lines(c, shape, workspaces)},
        {"process", (size_t)PROCESS_MIB * MIB},
    };
    _Static_assert(sizeof all / sizeof *all <= JOB_BOUND_SHARES, "room for each share");
    *out = (struct job_bound){0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        out->shares[out->n] = all[i];
        if (i < 4) out->shares[out->n].bytes += all[i].bytes / ALLOCATOR_PART;
        out->total += out->shares[out->n++].bytes;
    }
    qsort(out->shares, out->n, sizeof *out->shares, larger);
}

void job_bound_text(const struct job_bound *x, struct buf *b)
{
    buf_printf(b, "total_mib=%zu", x->total / MIB + 1);
    for (size_t i = 0; i < x->n; i++)
        if (x->shares[i].bytes >= MIB) buf_printf(b, " %s_mib=%zu", x->shares[i].name, x->shares[i].bytes / MIB);
}

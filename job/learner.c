/* learner.c - building the learner and reading it from outside; what it does is in learner_event.c. */
#include "base/hash.h"
#include "base/mem.h"
#include "job/learner_private.h"
#include <string.h>

static enum status open_stream(struct learner *l, const struct learner_parts_in *in, struct err *e)
{
    const struct conf *c = in->conf;
    TRY(conf_world_new(&l->world_conf, c, e));
    TRY(feat_new(&l->feat, l->world_conf, in->vocab, in->templates, e));
    TRY(world_new(&l->world, l->world_conf, l->feat, in->store, e));
    TRY(dedupe_new(&l->dedupe, (size_t)c->ingest_dedupe_ids, e));
    TRY(watermark_new(&l->watermark, c, e));
    TRY(order_new(&l->order, c, e));
    TRY(segment_new(&l->segment, c, e));
    TRY(guard_new(&l->guard, c, e));
    return join_new(&l->join, c, e);
}

/* A sentence that new histories hold will be scored with soon. */
static void want_state(void *learner, const int32_t *ids, uint32_t n)
{
    struct learner *l = learner;
    for (size_t i = 0; i <= variants_count(l->variants); i++) {
        const struct line *line = variants_line(l->variants, i);
        if (line->owns_states) state_want(line->states, hash_bytes(ids, n * sizeof *ids), ids, n);
    }
}

static enum status open_lines(struct learner *l, const struct learner_parts_in *in, struct err *e)
{
    const struct learner_options *o = &l->options;
    TRY(line_new(&l->line, in->conf, in->encoder, feat_count(l->feat), o->learn, o->warmup, e));
    world_use_pool(l->world, l->line->pool);
    TRY(variants_new(&l->variants, in->conf, in->encoder, l->line, feat_count(l->feat), o->warmup, e));
    if (in->encoder != NULL && o->learn) feat_on_sentence(l->feat, want_state, l);
    return open_new(&l->open, variants_rows(l->variants), e);
}

enum status learner_new(struct learner **out, const struct learner_parts_in *in, struct learner_options o,
                        struct err *e)
{
    enum status st;
    *out = NULL;
    struct learner *l = mem_calloc(1, sizeof *l);
    if (l == NULL) return ERR_SET(e, STATUS_OOM, "learner: %zu bytes", sizeof *l);
    l->conf = in->conf;
    l->options = o;
    l->next_slate = 1;
    l->first_ms = INT64_MIN;
    TRY_OUT(st, open_stream(l, in, e));
    TRY_OUT(st, open_lines(l, in, e));
    TRY_OUT(st, slate_new(&l->slate, e));
    *out = l;
    l = NULL;
out:
    learner_free(l);
    return st;
}

void learner_free(struct learner *l)
{
    if (l == NULL) return;
    learner_served_fini(l);
    slate_free(l->slate);
    open_free(l->open);
    variants_free(l->variants);
    segment_free(l->segment);
    learner_unsampled_free(l);
    line_free(l->line);
    guard_free(l->guard);
    join_free(l->join);
    order_free(l->order);
    watermark_free(l->watermark);
    dedupe_free(l->dedupe);
    reject_places_fini(&l->retried);
    world_free(l->world);
    feat_free(l->feat);
    learner_gate_fini(l);
    conf_free(l->world_conf);
    mem_free(l->lines);
    mem_free(l->offsets);
    mem_free(l);
}

void learner_on_seen(struct learner *l, learner_seen_fn *fn, void *user)
{
    l->seen = fn;
    l->seen_user = user;
}

void learner_on_settled(struct learner *l, learner_settled_fn *fn, void *user)
{
    l->settled = fn;
    l->settled_user = user;
}

void learner_on_going(struct learner *l, learner_going_fn *fn, void *user)
{
    l->going = fn;
    l->going_user = user;
}

struct line *learner_line(struct learner *l)
{
    return l->line;
}

void learner_on_refused(struct learner *l, learner_refused_fn *fn, void *user)
{
    l->refused = fn;
    l->refused_user = user;
}

enum status learner_begin_at(struct learner *l, const struct source_offset *offsets, size_t n, int64_t settled_ms,
                             uint64_t examples, struct err *e)
{
    if (MEM_GROW(l->offsets, &l->cap_offsets, n) != 0)
        return ERR_SET(e, STATUS_OOM, "offsets of %zu partitions", n);
    if (n > 0) memcpy(l->offsets, offsets, n * sizeof *offsets);
    l->n_offsets = n;
    l->settled_ms = settled_ms;
    l->line->counts.learnt_examples = examples;
    return STATUS_OK;
}

size_t learner_dirty_bytes(const struct learner *l)
{
    return world_counts(l->world)->dirty_bytes + open_unsaved(l->open);
}

struct param_set *learner_params(struct learner *l)
{
    return l->line->params;
}

struct optim *learner_optim(struct learner *l)
{
    return l->line->optim;
}

const struct model *learner_model(const struct learner *l)
{
    return l->line->model;
}

void learner_reloaded(struct learner *l)
{
    variants_split(l->variants, l->next_slate);
}

struct variants *learner_variants(struct learner *l)
{
    return l->variants;
}

struct world *learner_world(struct learner *l)
{
    return l->world;
}

struct state_cache *learner_states(struct learner *l)
{
    return l->line->states;
}

struct eval *learner_eval(struct learner *l)
{
    return l->line->eval;
}

const struct eval_logged *learner_logged(const struct learner *l)
{
    return &l->served.figures;
}

struct feat *learner_feat(struct learner *l)
{
    return l->feat;
}

const struct learner_counts *learner_counts(const struct learner *l)
{
    return &l->counts;
}

const struct line_counts *learner_learnt(const struct learner *l)
{
    return &l->line->counts;
}

uint32_t learner_quarantined(const struct learner *l, const char **name, int64_t *until_ms)
{
    return guard_in_quarantine(l->guard, name, until_ms);
}

const char *learner_guarded(const struct learner *l)
{
    return guard_trouble(l->guard);
}

uint64_t learner_open_slates(const struct learner *l)
{
    return open_count(l->open);
}

int64_t learner_first_ms(const struct learner *l)
{
    return l->first_ms;
}

int64_t learner_watermark(const struct learner *l)
{
    return watermark_ms(l->watermark);
}

int64_t learner_settled_ms(const struct learner *l)
{
    return l->settled_ms;
}

const struct source_offset *learner_offsets(const struct learner *l, size_t *n)
{
    *n = l->n_offsets;
    return l->offsets;
}

const struct source_offset *learner_file(const struct learner *l)
{
    return &l->file;
}

uint64_t learner_file_next(const struct learner *l)
{
    return l->file.next;
}

static struct report_join join_report(const struct join_counts *c)
{
    return (struct report_join){c->matched, c->duplicate, c->expired, c->early_settled};
}

/* A weight that something was learnt of is not exactly 0. */
struct report_hashed learner_hashed(const struct learner *l)
{
    struct report_hashed h = {0};
    const struct param *p = param_find(model_table(l->line->model), "hashed.weight");
    if (p == NULL) return h;
    h.rows = p->n;
    for (size_t row = 0; row < p->n; row++) h.used += l->line->params->w[p->offset + row] != 0.0f;
    return h;
}

void learner_report(const struct learner *l, struct report *out)
{
    const struct learner_counts *c = &l->counts;
    struct model_cost costs[MODEL_PARTS_MAX];
    memset(out, 0, sizeof *out);
    line_report(l->line, out);
    line_gate_report(l->line->gate, &out->gate);
    out->gate.pinned = l->said.pinned;
    model_costs(l->line->run, costs);
    for (uint32_t i = 0; i < out->n_parts; i++) {
        out->parts[i].score_us = costs[i].score_us;
        out->parts[i].learn_us = costs[i].learn_us;
        out->parts[i].cost_share = costs[i].share;
    }
    out->events = c->events;
    out->skipped = c->skipped;
    out->duplicates = c->duplicates;
    out->examples = c->examples;
    out->slates = c->slates;
    out->open = open_count(l->open);
    out->late = join_counts(l->join)->late;
    out->unmatched = join_counts(l->join)->unmatched;
    out->join = join_report(join_counts(l->join));
    const struct reservoir_counts held = reservoir_counts(l->line->reservoir);
    out->reservoir = (struct report_reservoir){held.offered, held.held, held.bytes, held.replayed};
    out->tokens = feat_tokens_seen(l->feat);
    out->unknown_tokens = feat_tokens_unknown(l->feat);
    reject_tally_report(&l->tally, out);
    ope_report(l->line->ope, &out->ope);
    variants_report(l->variants, out);
    guard_report(l->guard, &out->guard);
    out->guard.spikes = l->line->spike.skipped;
    out->guard.spike_examples = l->line->spike.examples;
}

void learner_report_detail(const struct learner *l, struct report_detail *out)
{
    const struct eval_names names = segment_names(l->segment);
    eval_report_detail(l->line->eval, &names, out);
    eval_logged_report(&l->served.figures, l->conf, &out->logged);
}

/* report.c - the figures of a run as indented JSON, keys in the order that DESIGN gives, then what it leaves open. */
#include "schemas/report.h"
#include "schemas/event_json.h"
#include "schemas/report_put.h"
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>

const char *const report_baseline_names[REPORT_BASELINES] = {"popularity", "repeat", "frozen", "constant", "cheap"};
const char *const report_slice_names[REPORT_SLICES] = {"cold_user",  "cold_item",  "first_time", "repeated",
                                                       "young_item", "impression", "organic"};

void report_cohort_add(struct report_cohort *into, const struct report_cohort *from)
{
    into->lists += from->lists;
    into->shown += from->shown;
    into->taken += from->taken;
    into->converted += from->converted;
    into->converted_lists += from->converted_lists;
}

static void put_rejects(struct buf *b, const struct report *r, bool *first)
{
    bool inner = report_put_open(b, 1, "rejects", first);
    for (uint32_t i = 0; i < r->n_rejects; i++) report_put_count(b, 2, r->rejects[i].code, r->rejects[i].n, &inner);
    report_put_close(b, 1, inner);
}

static void put_groups(struct buf *b, const struct report *r, bool *first)
{
    report_put_figures(b, 1, "progressive", &r->progressive, first);
    bool inner = report_put_open(b, 1, "baselines", first);
    for (int i = 0; i < REPORT_BASELINES; i++)
        report_put_figures(b, 2, report_baseline_names[i], &r->baselines[i], &inner);
    report_put_close(b, 1, inner);
    inner = report_put_open(b, 1, "by", first);
    for (int i = 0; i < REPORT_SLICES; i++) report_put_figures(b, 2, report_slice_names[i], &r->slices[i], &inner);
    report_put_close(b, 1, inner);
}

static void put_parts(struct buf *b, const struct report *r, bool *first)
{
    bool inner = report_put_open(b, 1, "parts", first);
    for (uint32_t i = 0; i < r->n_parts; i++) {
        bool fields = report_put_open(b, 2, r->parts[i].name, &inner);
        report_put_number(b, 3, "gauc_without", r->parts[i].gauc_without, &fields);
        report_put_number(b, 3, "auc_without", r->parts[i].auc_without, &fields);
        report_put_number(b, 3, "logloss_without", r->parts[i].logloss_without, &fields);
        report_put_close(b, 2, fields);
    }
    report_put_close(b, 1, inner);
}

static void put_costs(struct buf *b, const struct report *r, bool *first)
{
    bool inner = report_put_open(b, 1, "costs", first);
    for (uint32_t i = 0; i < r->n_parts; i++) {
        bool fields = report_put_open(b, 2, r->parts[i].name, &inner);
        report_put_number(b, 3, "score_us_per_candidate", r->parts[i].score_us, &fields);
        report_put_number(b, 3, "learn_us_per_example", r->parts[i].learn_us, &fields);
        report_put_number(b, 3, "share", r->parts[i].cost_share, &fields);
        report_put_close(b, 2, fields);
    }
    report_put_close(b, 1, inner);
}

static void put_tasks(struct buf *b, const struct report *r, bool *first)
{
    if (r->n_tasks == 0) return;
    bool inner = report_put_open(b, 1, "tasks", first);
    for (uint32_t i = 0; i < r->n_tasks; i++) report_put_figures(b, 2, r->tasks[i].name, &r->tasks[i].figures, &inner);
    report_put_close(b, 1, inner);
}

static void put_protocol(struct buf *b, const struct report_protocol *p, bool *first)
{
    bool inner = report_put_open(b, 1, "protocol", first);
    report_put_text(
        b, 2, "order_logits",
        p->sampling_correction
            ? "s - log(k*q) about its mean: of the label in the sampled slate, which also orders it; s is served"
            : "s, as served",
        &inner);
    report_put_text(b, 2, "probabilities",
                    p->recalibration ? "recalibrated on settled labels" : "as the parts' sum says", &inner);
    report_put_number(b, 2, "softmax_share", p->softmax_share, &inner);
    report_put_close(b, 1, inner);
}

static void put_buckets(struct buf *b, const char *key, const struct report_bucket *buckets, size_t n, bool *first)
{
    bool inner = report_put_open(b, 2, key, first);
    for (size_t i = 0; i < n; i++) {
        if (buckets[i].name[0] == 0) continue;
        report_put_key(b, 3, buckets[i].name, &inner);
        buf_printf(b, "{\"examples\": %llu, \"positives\": %llu}", (unsigned long long)buckets[i].examples,
                   (unsigned long long)buckets[i].positives);
    }
    report_put_close(b, 2, inner);
}

static void put_join(struct buf *b, const struct report_join *j, bool *first)
{
    bool inner = report_put_open(b, 1, "join", first);
    report_put_count(b, 2, "matched", j->matched, &inner);
    report_put_count(b, 2, "duplicate", j->duplicate, &inner);
    report_put_count(b, 2, "expired", j->expired, &inner);
    report_put_count(b, 2, "early_settled", j->early_settled, &inner);
    report_put_close(b, 1, inner);
}

static void put_reservoir(struct buf *b, const struct report_reservoir *r, bool *first)
{
    bool inner = report_put_open(b, 1, "reservoir", first);
    report_put_count(b, 2, "offered", r->offered, &inner);
    report_put_count(b, 2, "held", r->held, &inner);
    report_put_count(b, 2, "bytes", r->bytes, &inner);
    report_put_count(b, 2, "replayed", r->replayed, &inner);
    report_put_close(b, 1, inner);
}

/* Of features spread evenly: that one shares its weight with another is as likely as that a weight is in use. */
static void put_hashed(struct buf *b, const struct report_hashed *h, bool *first)
{
    bool inner = report_put_open(b, 1, "hashed", first);
    report_put_count(b, 2, "rows", h->rows, &inner);
    report_put_count(b, 2, "used", h->used, &inner);
    report_put_number(b, 2, "collision_rate", h->rows > 0 ? (double)h->used / (double)h->rows : (double)NAN, &inner);
    report_put_close(b, 1, inner);
}

/* Only where there was an event. */
static void put_span(struct buf *b, const struct report *r, bool *first)
{
    if (r->from_ms == INT64_MIN || r->to_ms == INT64_MIN) return;
    report_put_key(b, 1, "from_ms", first);
    buf_printf(b, "%" PRId64, r->from_ms);
    report_put_key(b, 1, "to_ms", first);
    buf_printf(b, "%" PRId64, r->to_ms);
}

static void put_details(struct buf *b, const struct report *r, bool *first)
{
    put_span(b, r, first);
    report_put_count(b, 1, "duplicates", r->duplicates, first);
    report_put_count(b, 1, "late", r->late, first);
    report_put_count(b, 1, "cut_off", r->cut_off, first);
    report_put_count(b, 1, "unmatched", r->unmatched, first);
    put_join(b, &r->join, first);
    put_reservoir(b, &r->reservoir, first);
    put_hashed(b, &r->hashed, first);
    report_put_count(b, 1, "refused_jumps", r->refused_jumps, first);
    report_put_count(b, 1, "tokens", r->tokens, first);
    report_put_count(b, 1, "unknown_tokens", r->unknown_tokens, first);
    report_put_number(b, 1, "peak_rss_bytes", r->peak_rss_bytes, first);
    report_put_text(b, 1, "backend", r->backend, first);
    bool inner = report_put_open(b, 1, "positives", first);
    put_buckets(b, "by_item_age", r->by_age, sizeof r->by_age / sizeof *r->by_age, &inner);
    put_buckets(b, "by_popularity", r->by_popularity, sizeof r->by_popularity / sizeof *r->by_popularity, &inner);
    report_put_close(b, 1, inner);
}

static void put_guard(struct buf *b, const struct report_guard *g, bool *first)
{
    static const char *const names[REPORT_GUARDS] = {"labels", "volume", "scores", "schema", "rejects", "loss"};
    bool inner = report_put_open(b, 1, "guard", first);
    report_put_key(b, 2, "paused", &inner);
    buf_printf(b, g->paused ? "true" : "false");
    report_put_count(b, 2, "alarms", g->alarms, &inner);
    bool groups = report_put_open(b, 2, "alarms_by_monitor", &inner);
    for (int i = 0; i < REPORT_GUARDS; i++) report_put_count(b, 3, names[i], g->alarms_of[i], &groups);
    report_put_close(b, 2, groups);
    report_put_count(b, 2, "pauses", g->pauses, &inner);
    report_put_count(b, 2, "paused_ms", g->paused_ms, &inner);
    report_put_count(b, 2, "paused_slates", g->paused_slates, &inner);
    report_put_count(b, 2, "paused_examples", g->paused_examples, &inner);
    report_put_count(b, 2, "accepted_levels", g->accepted, &inner);
    report_put_count(b, 2, "capped_user_examples", g->capped[0], &inner);
    report_put_count(b, 2, "capped_item_examples", g->capped[1], &inner);
    report_put_count(b, 2, "capped_source_examples", g->capped[2], &inner);
    report_put_count(b, 2, "quarantines", g->quarantines, &inner);
    report_put_count(b, 2, "quarantined_events", g->quarantined_events, &inner);
    report_put_count(b, 2, "quarantined_examples", g->quarantined_examples, &inner);
    report_put_count(b, 2, "loss_spikes", g->spikes, &inner);
    report_put_count(b, 2, "loss_spike_examples", g->spike_examples, &inner);
    report_put_count(b, 2, "optimiser_restarts", g->restarts, &inner);
    report_put_close(b, 1, inner);
}

static void put_partitions(struct buf *b, const struct report *r, bool *first)
{
    report_put_key(b, 1, "partitions", first);
    buf_u8(b, '[');
    for (size_t i = 0; i < r->n_partitions; i++) {
        const struct report_partition *p = &r->partitions[i];
        buf_printf(b, "%s\n    {\"topic\": ", i > 0 ? "," : "");
        event_json_string(b, str_from(p->topic));
        buf_printf(b, ", \"partition\": %u, \"next\": %llu, \"records\": %llu, \"chain\": \"%016llx\"}", p->partition,
                   (unsigned long long)p->next, (unsigned long long)p->records, (unsigned long long)p->chain);
    }
    buf_printf(b, "%s]", r->n_partitions > 0 ? "\n  " : "");
}

static void put_estimate(struct buf *b, const char *key, const struct report_estimate *e, bool *first)
{
    report_put_key(b, 3, key, first);
    buf_printf(b, "{\"mean\": ");
    event_json_number(b, e->mean);
    buf_printf(b, ", \"error\": ");
    event_json_number(b, e->error);
    buf_printf(b, ", \"slates\": %llu}", (unsigned long long)e->slates);
}

static void put_gate(struct buf *b, const struct report_gate *g, bool *first)
{
    bool inner = report_put_open(b, 1, "gate", first);
    report_put_number(b, 2, "share", g->share, &inner);
    report_put_count(b, 2, "judged", g->judged, &inner);
    report_put_count(b, 2, "rollbacks", g->rollbacks, &inner);
    report_put_count(b, 2, "blessings", g->blessings, &inner);
    report_put_count(b, 2, "refused", g->refused, &inner);
    report_put_count(b, 2, "slates_not_learnt", g->rested, &inner);
    report_put_count(b, 2, "blessed_version", g->blessed, &inner);
    report_put_count(b, 2, "blessed_examples", g->blessed_examples, &inner);
    report_put_number(b, 2, "worse", g->worse, &inner);
    report_put_number(b, 2, "loss_harm", g->loss_harm, &inner);
    report_put_number(b, 2, "auc_harm", g->auc_harm, &inner);
    if (g->holdout_frac > 0) {
        bool fields = report_put_open(b, 2, "holdout", &inner);
        report_put_number(b, 3, "users_frac", g->holdout_frac, &fields);
        report_put_count(b, 3, "slates_not_learnt", g->held_out_slates, &fields);
        put_estimate(b, "logloss", &g->held_out_loss, &fields);
        put_estimate(b, "auc", &g->held_out_auc, &fields);
        put_estimate(b, "logloss_of_others", &g->taught_loss, &fields);
        put_estimate(b, "auc_of_others", &g->taught_auc, &fields);
        report_put_text(
            b, 3, "limits",
            "labels of these users train no parameter, but counters, histories and co-occurrence know them; few users: "
            "look at the errors (clustered by user); the same users stay held out for the life of the state folder",
            &fields);
        report_put_close(b, 2, fields);
    }
    report_put_close(b, 1, inner);
}

static void put_bool(struct buf *b, int depth, const char *key, bool yes, bool *first)
{
    report_put_key(b, depth, key, first);
    buf_printf(b, "%s", yes ? "true" : "false");
}

/* Only where lists were drawn. */
static void put_ope(struct buf *b, int depth, const struct report_ope *o, bool *first)
{
    if (o->lists + o->partial == 0) return;
    bool inner = report_put_open(b, depth, "off_policy", first);
    report_put_count(b, depth + 1, "lists", o->lists, &inner);
    report_put_count(b, depth + 1, "partial", o->partial, &inner);
    report_put_number(b, depth + 1, "effective_lists", o->effective, &inner);
    report_put_interval(b, depth + 1, "logged", &o->logged, &inner);
    report_put_interval(b, depth + 1, "ips", &o->ips, &inner);
    report_put_interval(b, depth + 1, "snips", &o->snips, &inner);
    report_put_interval(b, depth + 1, "dr", &o->dr, &inner);
    report_put_close(b, depth, inner);
}

static void put_variant(struct buf *b, const struct report_variant *v, bool *first)
{
    bool inner = report_put_open(b, 2, v->name, first);
    put_bool(b, 3, "in_charge", v->in_charge, &inner);
    report_put_number(b, 3, "share", v->share, &inner);
    put_bool(b, 3, "shadow", v->shadow, &inner);
    report_put_count(b, 3, "learnt_examples", v->learnt_examples, &inner);
    report_put_number(b, 3, "score_core_seconds", v->score_core_s, &inner);
    report_put_number(b, 3, "learn_core_seconds", v->learn_core_s, &inner);
    report_put_text(b, 3, "sha256", v->sha256, &inner);
    report_put_figures(b, 3, "progressive", &v->progressive, &inner);
    if (!v->in_charge) {
        bool paired = report_put_open(b, 3, "paired", &inner);
        report_put_count(b, 4, "slates", v->paired.slates, &paired);
        report_put_interval(b, 4, "logloss", &v->paired.logloss, &paired);
        report_put_interval(b, 4, "gauc", &v->paired.gauc, &paired);
        report_put_close(b, 3, paired);
    }
    put_ope(b, 3, &v->ope, &inner);
    report_put_close(b, 2, inner);
}

static void put_arm(struct buf *b, const struct report_arm *a, bool *first)
{
    bool inner = report_put_open(b, 2, a->name, first);
    report_put_number(b, 3, "share", a->share, &inner);
    report_put_count(b, 3, "lists", a->lists, &inner);
    report_put_count(b, 3, "sampled_users", a->users, &inner);
    report_put_interval(b, 3, "ctr", &a->ctr, &inner);
    report_put_interval(b, 3, "conversion", &a->conversion, &inner);
    report_put_interval(b, 3, "ctr_difference", &a->ctr_difference, &inner);
    report_put_interval(b, 3, "conversion_difference", &a->conversion_difference, &inner);
    report_put_key(b, 3, "cohorts", &inner);
    for (uint32_t i = 0; i < a->n_cohorts; i++) {
        buf_printf(b, "%s\n        ", i == 0 ? "[" : ",");
        report_put_cohort(b, &a->cohorts[i]);
    }
    buf_printf(b, a->n_cohorts > 0 ? "\n      ]" : "[]");
    report_put_close(b, 2, inner);
}

/* Only where there are challengers. */
static void put_variants(struct buf *b, const struct report *r, bool *first)
{
    if (r->n_variants == 0) return;
    bool inner = report_put_open(b, 1, "variants", first);
    for (uint32_t i = 0; i < r->n_variants; i++) put_variant(b, &r->variants[i], &inner);
    report_put_close(b, 1, inner);
    inner = report_put_open(b, 1, "arms", first);
    for (uint32_t i = 0; i < r->arms.n; i++) put_arm(b, &r->arms.arms[i], &inner);
    report_put_close(b, 1, inner);
    inner = report_put_open(b, 1, "sample_ratio", first);
    report_put_count(b, 2, "users", r->arms.sampled_users, &inner);
    report_put_number(b, 2, "of_users_frac", r->arms.sample_frac, &inner);
    report_put_count(b, 2, "moved", r->arms.moved, &inner);
    report_put_number(b, 2, "chi_square", r->arms.chi_square, &inner);
    report_put_number(b, 2, "p", r->arms.ratio_p, &inner);
    put_bool(b, 2, "alarm", r->arms.ratio_alarm, &inner);
    report_put_close(b, 1, inner);
}

void report_write_json(struct buf *b, const struct report *r)
{
    bool first = true;
    buf_u8(b, '{');
    report_put_count(b, 1, "events", r->events, &first);
    report_put_count(b, 1, "rejected", r->rejected, &first);
    put_rejects(b, r, &first);
    report_put_count(b, 1, "examples", r->examples, &first);
    report_put_count(b, 1, "slates", r->slates, &first);
    report_put_count(b, 1, "open", r->open, &first);
    report_put_number(b, 1, "seconds", r->seconds, &first);
    report_put_number(b, 1, "examples_per_second", r->examples_per_second, &first);
    report_put_number(b, 1, "score_core_seconds", r->score_core_s, &first);
    report_put_number(b, 1, "learn_core_seconds", r->learn_core_s, &first);
    report_put_number(b, 1, "learn_seconds", r->learn_s, &first);
    put_groups(b, r, &first);
    put_parts(b, r, &first);
    put_tasks(b, r, &first);
    put_protocol(b, &r->protocol, &first);
    put_gate(b, &r->gate, &first);
    bool inner = report_put_open(b, 1, "model", &first);
    report_put_count(b, 2, "version", r->version, &inner);
    report_put_text(b, 2, "sha256", r->sha256, &inner);
    report_put_close(b, 1, inner);
    put_ope(b, 1, &r->ope, &first);
    put_variants(b, r, &first);
    put_details(b, r, &first);
    put_costs(b, r, &first);
    put_guard(b, &r->guard, &first);
    put_partitions(b, r, &first);
    if (r->detail != NULL) report_put_detail(b, r->detail, r, &first);
    buf_printf(b, "\n}\n");
}

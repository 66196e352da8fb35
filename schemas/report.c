/* report.c - the figures of a run as indented JSON, keys in the order that DESIGN gives. */
#include "schemas/report.h"
#include "schemas/event_json.h"
#include <stdbool.h>

static void put_key(struct buf *b, int depth, const char *key, bool *first)
{
    buf_printf(b, "%s\n%*s", *first ? "" : ",", depth * 2, "");
    event_json_string(b, str_from(key));
    buf_printf(b, ": ");
    *first = false;
}

static void put_count(struct buf *b, int depth, const char *key, uint64_t n, bool *first)
{
    put_key(b, depth, key, first);
    buf_printf(b, "%llu", (unsigned long long)n);
}

static void put_number(struct buf *b, int depth, const char *key, double v, bool *first)
{
    put_key(b, depth, key, first);
    event_json_number(b, v);
}

static void put_text(struct buf *b, int depth, const char *key, const char *text, bool *first)
{
    put_key(b, depth, key, first);
    event_json_string(b, str_from(text));
}

static bool open_object(struct buf *b, int depth, const char *key, bool *first)
{
    put_key(b, depth, key, first);
    buf_u8(b, '{');
    return true;
}

static void close_object(struct buf *b, int depth, bool empty)
{
    if (!empty) buf_printf(b, "\n%*s", depth * 2, "");
    buf_u8(b, '}');
}

static void put_figures(struct buf *b, int depth, const char *key, const struct report_figures *f, bool *first)
{
    put_key(b, depth, key, first);
    const struct {
        const char *name;
        double v;
    } numbers[] = {
        {"auc", f->auc}, {"gauc", f->gauc}, {"logloss", f->logloss}, {"ne", f->ne}, {"calibration", f->calibration}};
    buf_u8(b, '{');
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buf_printf(b, "\"%s\": ", numbers[i].name);
        event_json_number(b, numbers[i].v);
        buf_printf(b, ", ");
    }
    buf_printf(b, "\"examples\": %llu, \"slates\": %llu}", (unsigned long long)f->examples,
               (unsigned long long)f->slates);
}

static void put_rejects(struct buf *b, const struct report *r, bool *first)
{
    bool inner = open_object(b, 1, "rejects", first);
    for (uint32_t i = 0; i < r->n_rejects; i++) put_count(b, 2, r->rejects[i].code, r->rejects[i].n, &inner);
    close_object(b, 1, inner);
}

static void put_groups(struct buf *b, const struct report *r, bool *first)
{
    put_figures(b, 1, "progressive", &r->progressive, first);
    bool inner = open_object(b, 1, "baselines", first);
    put_figures(b, 2, "popularity", &r->popularity, &inner);
    put_figures(b, 2, "repeat", &r->repeat, &inner);
    put_figures(b, 2, "frozen", &r->frozen, &inner);
    put_figures(b, 2, "constant", &r->constant, &inner);
    close_object(b, 1, inner);
    inner = open_object(b, 1, "by", first);
    put_figures(b, 2, "cold_user", &r->cold_user, &inner);
    put_figures(b, 2, "cold_item", &r->cold_item, &inner);
    put_figures(b, 2, "first_time", &r->first_time, &inner);
    close_object(b, 1, inner);
}

static void put_parts(struct buf *b, const struct report *r, bool *first)
{
    bool inner = open_object(b, 1, "parts", first);
    for (uint32_t i = 0; i < r->n_parts; i++) {
        bool fields = open_object(b, 2, r->parts[i].name, &inner);
        put_number(b, 3, "gauc_without", r->parts[i].gauc_without, &fields);
        put_number(b, 3, "auc_without", r->parts[i].auc_without, &fields);
        put_number(b, 3, "logloss_without", r->parts[i].logloss_without, &fields);
        close_object(b, 2, fields);
    }
    close_object(b, 1, inner);
}

static void put_buckets(struct buf *b, const char *key, const struct report_bucket *buckets, size_t n, bool *first)
{
    bool inner = open_object(b, 2, key, first);
    for (size_t i = 0; i < n; i++) {
        if (buckets[i].name[0] == 0) continue;
        put_key(b, 3, buckets[i].name, &inner);
        buf_printf(b, "{\"examples\": %llu, \"positives\": %llu}", (unsigned long long)buckets[i].examples,
                   (unsigned long long)buckets[i].positives);
    }
    close_object(b, 2, inner);
}

static void put_details(struct buf *b, const struct report *r, bool *first)
{
    put_count(b, 1, "duplicates", r->duplicates, first);
    put_count(b, 1, "late", r->late, first);
    put_count(b, 1, "unmatched", r->unmatched, first);
    put_count(b, 1, "refused_jumps", r->refused_jumps, first);
    put_count(b, 1, "tokens", r->tokens, first);
    put_count(b, 1, "unknown_tokens", r->unknown_tokens, first);
    put_number(b, 1, "peak_rss_bytes", r->peak_rss_bytes, first);
    put_text(b, 1, "backend", r->backend, first);
    bool inner = open_object(b, 1, "positives", first);
    put_buckets(b, "by_item_age", r->by_age, sizeof r->by_age / sizeof *r->by_age, &inner);
    put_buckets(b, "by_popularity", r->by_popularity, sizeof r->by_popularity / sizeof *r->by_popularity, &inner);
    close_object(b, 1, inner);
}

static void put_partitions(struct buf *b, const struct report *r, bool *first)
{
    put_key(b, 1, "partitions", first);
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
    put_key(b, 3, key, first);
    buf_printf(b, "{\"mean\": ");
    event_json_number(b, e->mean);
    buf_printf(b, ", \"error\": ");
    event_json_number(b, e->error);
    buf_printf(b, ", \"slates\": %llu}", (unsigned long long)e->slates);
}

static void put_gate(struct buf *b, const struct report_gate *g, bool *first)
{
    bool inner = open_object(b, 1, "gate", first);
    put_number(b, 2, "share", g->share, &inner);
    put_count(b, 2, "judged", g->judged, &inner);
    put_count(b, 2, "rollbacks", g->rollbacks, &inner);
    put_count(b, 2, "blessings", g->blessings, &inner);
    put_count(b, 2, "refused", g->refused, &inner);
    put_count(b, 2, "slates_not_learnt", g->rested, &inner);
    put_count(b, 2, "blessed_version", g->blessed, &inner);
    put_count(b, 2, "blessed_examples", g->blessed_examples, &inner);
    put_number(b, 2, "worse", g->worse, &inner);
    put_number(b, 2, "loss_harm", g->loss_harm, &inner);
    put_number(b, 2, "auc_harm", g->auc_harm, &inner);
    if (g->holdout_frac > 0) {
        bool fields = open_object(b, 2, "holdout", &inner);
        put_number(b, 3, "users_frac", g->holdout_frac, &fields);
        put_count(b, 3, "slates_not_learnt", g->held_out_slates, &fields);
        put_estimate(b, "logloss", &g->held_out_loss, &fields);
        put_estimate(b, "auc", &g->held_out_auc, &fields);
        put_estimate(b, "logloss_of_others", &g->taught_loss, &fields);
        put_estimate(b, "auc_of_others", &g->taught_auc, &fields);
        put_text(
            b, 3, "limits",
            "labels of these users train no parameter, but counters, histories and co-occurrence know them; few users: "
            "look at the errors (clustered by user); the same users stay held out for the life of the state folder",
            &fields);
        close_object(b, 2, fields);
    }
    close_object(b, 1, inner);
}

static void put_interval(struct buf *b, int depth, const char *key, const struct report_interval *x, bool *first)
{
    const double v[] = {x->mean, x->lower, x->upper};
    static const char *const names[] = {"mean", "lower", "upper"};
    put_key(b, depth, key, first);
    for (size_t i = 0; i < 3; i++) {
        buf_printf(b, "%s\"%s\": ", i == 0 ? "{" : ", ", names[i]);
        event_json_number(b, v[i]);
    }
    buf_u8(b, '}');
}

static void put_bool(struct buf *b, int depth, const char *key, bool yes, bool *first)
{
    put_key(b, depth, key, first);
    buf_printf(b, "%s", yes ? "true" : "false");
}

static void put_variant(struct buf *b, const struct report_variant *v, bool *first)
{
    bool inner = open_object(b, 2, v->name, first);
    put_bool(b, 3, "in_charge", v->in_charge, &inner);
    put_number(b, 3, "share", v->share, &inner);
    put_bool(b, 3, "shadow", v->shadow, &inner);
    put_count(b, 3, "learnt_examples", v->learnt_examples, &inner);
    put_text(b, 3, "sha256", v->sha256, &inner);
    put_figures(b, 3, "progressive", &v->progressive, &inner);
    if (!v->in_charge) {
        bool paired = open_object(b, 3, "paired", &inner);
        put_count(b, 4, "slates", v->paired.slates, &paired);
        put_interval(b, 4, "logloss", &v->paired.logloss, &paired);
        put_interval(b, 4, "gauc", &v->paired.gauc, &paired);
        close_object(b, 3, paired);
    }
    close_object(b, 2, inner);
}

static void put_arm(struct buf *b, const struct report_arm *a, bool *first)
{
    bool inner = open_object(b, 2, a->name, first);
    put_number(b, 3, "share", a->share, &inner);
    put_count(b, 3, "lists", a->lists, &inner);
    put_count(b, 3, "sampled_users", a->users, &inner);
    put_interval(b, 3, "ctr", &a->ctr, &inner);
    put_interval(b, 3, "conversion", &a->conversion, &inner);
    put_interval(b, 3, "ctr_difference", &a->ctr_difference, &inner);
    put_interval(b, 3, "conversion_difference", &a->conversion_difference, &inner);
    close_object(b, 2, inner);
}

/* Only where there are challengers. */
static void put_variants(struct buf *b, const struct report *r, bool *first)
{
    if (r->n_variants == 0) return;
    bool inner = open_object(b, 1, "variants", first);
    for (uint32_t i = 0; i < r->n_variants; i++) put_variant(b, &r->variants[i], &inner);
    close_object(b, 1, inner);
    inner = open_object(b, 1, "arms", first);
    for (uint32_t i = 0; i < r->arms.n; i++) put_arm(b, &r->arms.arms[i], &inner);
    close_object(b, 1, inner);
    inner = open_object(b, 1, "sample_ratio", first);
    put_count(b, 2, "users", r->arms.sampled_users, &inner);
    put_number(b, 2, "of_users_frac", r->arms.sample_frac, &inner);
    put_count(b, 2, "moved", r->arms.moved, &inner);
    put_number(b, 2, "chi_square", r->arms.chi_square, &inner);
    put_number(b, 2, "p", r->arms.ratio_p, &inner);
    put_bool(b, 2, "alarm", r->arms.ratio_alarm, &inner);
    close_object(b, 1, inner);
}

void report_write_json(struct buf *b, const struct report *r)
{
    bool first = true;
    buf_u8(b, '{');
    put_count(b, 1, "events", r->events, &first);
    put_count(b, 1, "rejected", r->rejected, &first);
    put_rejects(b, r, &first);
    put_count(b, 1, "examples", r->examples, &first);
    put_count(b, 1, "slates", r->slates, &first);
    put_count(b, 1, "open", r->open, &first);
    put_number(b, 1, "seconds", r->seconds, &first);
    put_number(b, 1, "examples_per_second", r->examples_per_second, &first);
    put_groups(b, r, &first);
    put_parts(b, r, &first);
    put_gate(b, &r->gate, &first);
    bool inner = open_object(b, 1, "model", &first);
    put_count(b, 2, "version", r->version, &inner);
    put_text(b, 2, "sha256", r->sha256, &inner);
    close_object(b, 1, inner);
    put_variants(b, r, &first);
    put_details(b, r, &first);
    put_partitions(b, r, &first);
    buf_printf(b, "\n}\n");
}

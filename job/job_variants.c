/* job_variants.c - the variants outwards: each has a publisher of its own, fenced by the model's lease, and a hash of figures. */
#include "base/log.h"
#include "job/job_private.h"
#include "job/line_publish.h"
#include <math.h>
#include <stdio.h>

/* After the lease is ours: what they would log while it is not is the leader's to say. */
enum status job_variants_open(struct job *j, struct err *e)
{
    const struct variants *v = learner_variants(j->learner);
    for (size_t i = 0; i < variants_count(v); i++)
        TRY(publish_open_variant(&j->variants[i], j->publish, variants_line(v, i + 1)->conf, e));
    return STATUS_OK;
}

void job_publish_ending(struct job *j)
{
    publish_ending(j->publish);
    for (size_t i = 0; i < CONF_VARIANTS_MAX; i++) publish_ending(j->variants[i]);
}

void job_variants_close(struct job *j)
{
    for (size_t i = 0; i < CONF_VARIANTS_MAX; i++) {
        publish_close(j->variants[i]);
        j->variants[i] = NULL;
    }
}

void job_variants_reload(struct job *j)
{
    for (size_t i = 0; i < CONF_VARIANTS_MAX; i++) publish_reload(j->variants[i], j->conf);
}

void job_variants_touch(struct job *j)
{
    const struct variants *v = learner_variants(j->learner);
    for (size_t i = 0; i < variants_count(v); i++) line_publish_touch(variants_line(v, i + 1), j->variants[i]);
}

enum status job_variants_publish(struct job *j, const char *reason, struct err *e)
{
    const struct variants *v = learner_variants(j->learner);
    for (size_t i = 1; i <= variants_count(v); i++) {
        char why[LINE_WHY];
        if (learner_pinned(j->learner) > 0) {
            TRY(job_publish_pinned(j, i, NULL, e));
            continue;
        }
        TRY(line_gate_check(variants_line(v, i), why, e));
        if (why[0] == '\0')
            TRY(job_publish_line(j, i, NULL, reason, e));
        else
            log_limited(LOG_ERROR, "gate", "variant=%s %s: its last version stays", conf_line_name(j->conf, i), why);
    }
    return STATUS_OK;
}

/* Redis has another version of one of them in force than the newest checkpoint's, and nothing of it is on its way. */
bool job_variants_behind(struct job *j)
{
    const struct variants *v = learner_variants(j->learner);
    for (size_t i = 0; i < variants_count(v); i++) {
        struct publish_state s;
        publish_state(j->variants[i], &s);
        if (!s.looked || s.waiting > 0 || s.lease != PUBLISH_LEASE_HELD) continue;
        if (learner_pinned(j->learner) > 0) {
            if (job_pin_behind(j, i + 1)) return true;
            continue;
        }
        if (s.version != checkpoint_version(j->checkpoint) && s.in_force != checkpoint_version(j->checkpoint))
            return true;
    }
    return false;
}

enum status job_variants_flush(struct job *j, int64_t timeout_ms, struct err *e)
{
    const int64_t until_us = job_now_us(j) + timeout_ms * 1000;
    for (size_t i = 0; i < CONF_VARIANTS_MAX; i++) {
        const int64_t left_ms = (until_us - job_now_us(j)) / 1000;
        TRY(publish_flush(j->variants[i], left_ms > 0 ? left_ms : 0, e));
    }
    return STATUS_OK;
}

static void describe(const struct report_variant *v, struct buf *b)
{
    const struct report_interval *d = &v->paired.logloss;
    buf_printf(b, "%s%s: share %.3g%s, GAUC %.4f", b->n > 0 ? "; " : "", v->name, v->share,
               v->in_charge ? ", in charge"
               : v->shadow  ? ", shadow"
                            : "",
               v->progressive.gauc);
    if (v->in_charge || v->paired.slates == 0) return;
    buf_printf(b, ", log-loss %+.5f", d->mean);
    if (isfinite(d->lower)) buf_printf(b, " (%+.5f to %+.5f)", d->lower, d->upper);
    buf_printf(b, " on %llu lists", (unsigned long long)v->paired.slates);
}

static void note_text(struct job *j, const struct report *r)
{
    struct buf b = {0};
    for (uint32_t i = 0; i < r->n_variants; i++) describe(&r->variants[i], &b);
    (void)snprintf(j->variants_text, sizeof j->variants_text, "%.*s", (int)(b.oom ? 0 : b.n),
                   b.p != NULL ? (const char *)b.p : "");
    buf_fini(&b);
    if (r->arms.ratio_alarm)
        log_limited(
            LOG_ERROR, "variants",
            "sample_ratio_p=%.2g users=%llu next=\"users are not split as configured: the arms cannot be compared; "
            "look at who sets `variant` in impressions\"",
            r->arms.ratio_p, (unsigned long long)r->arms.sampled_users);
}

void job_variants_figures(struct job *j, const struct report *r)
{
    struct err e;
    note_text(j, r);
    for (uint32_t i = 1; i < r->n_variants; i++) {
        const struct report_variant *v = &r->variants[i];
        const struct publish_metric all[] = {{"logloss", v->progressive.logloss},
                                             {"auc", v->progressive.auc},
                                             {"gauc", v->progressive.gauc},
                                             {"ne", v->progressive.ne},
                                             {"calibration", v->progressive.calibration},
                                             {"evaluated_examples", (double)v->progressive.examples},
                                             {"learnt_examples_total", (double)v->learnt_examples},
                                             {"in_charge", v->in_charge},
                                             {"share", v->share},
                                             {"paired_slates", (double)v->paired.slates},
                                             {"paired_logloss", v->paired.logloss.mean},
                                             {"paired_logloss_lower", v->paired.logloss.lower},
                                             {"paired_logloss_upper", v->paired.logloss.upper},
                                             {"paired_gauc", v->paired.gauc.mean},
                                             {"paired_gauc_lower", v->paired.gauc.lower},
                                             {"paired_gauc_upper", v->paired.gauc.upper},
                                             {"version", (double)checkpoint_version(j->checkpoint)}};
        if (publish_metrics(j->variants[i - 1], all, sizeof all / sizeof all[0], NULL, 0, &e) != STATUS_OK)
            log_limited(LOG_WARN, "metrics", "variant=%s error=\"%s\"", v->name, e.text);
    }
}

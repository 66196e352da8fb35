/* sweep_plan.c - how many days the log has, and which of them each round of a sweep replays. */
#include "cli/sweep.h"
#include "ingest/watermark.h"
#include <math.h>

#define DAY_MS 86400000.0

struct span {
    struct source *source;
    struct source_batch *batch;
    struct watermark *watermark;
    int64_t first_ms;
};

/* By the learner's own clock: an event that is far ahead of the others is no day of the log. */
static enum status count_batch(struct span *x, struct err *e)
{
    const struct source_record *decided;
    bool held;
    for (uint32_t i = 0; i < x->batch->n; i++) {
        const struct source_record *rec = &x->batch->records[i];
        if (rec->kind != SOURCE_EVENT) continue;
        if (x->first_ms == INT64_MIN) x->first_ms = rec->event.time_ms;
        TRY(watermark_take(x->watermark, rec, &held, e));
        while (watermark_decided(x->watermark, &decided) == STATUS_OK) continue;
    }
    return STATUS_OK;
}

static enum status read_days(struct cmd_sweep *s, struct err *e)
{
    struct span x = {.first_ms = INT64_MIN};
    enum status st;
    TRY_OUT(st, source_batch_new(&x.batch, e));
    TRY_OUT(st, watermark_new(&x.watermark, s->conf, e));
    TRY_OUT(st, source_open_files(&x.source, s->conf, s->logs, s->n_logs, NULL, e));
    TRY_OUT(st, watermark_expect(x.watermark, (struct event_position){0}, e));
    while ((st = source_next(x.source, x.batch, 1000, e)) == STATUS_OK) TRY_OUT(st, count_batch(&x, e));
    if (st != STATUS_END) goto out;
    st = STATUS_OK;
    s->log_days = x.first_ms != INT64_MIN ? (double)(watermark_ms(x.watermark) - x.first_ms) / DAY_MS : 0.0;
out:
    source_close(x.source);
    watermark_free(x.watermark);
    source_batch_free(x.batch);
    return st;
}

/* Counted days grow eta-fold up to all of them; the warm-up is everybody's.  Rounds that would be of the same days are one. */
static void plan_rounds(struct cmd_sweep *s)
{
    const double counted = fmin(s->choose_days, s->log_days) - s->warmup_days;
    const size_t most = s->n_rounds;
    s->n_rounds = 0;
    for (size_t r = 0; r < most; r++) {
        const bool last = r + 1 == most;
        const double part = fmax(1, round(counted / pow((double)s->eta, (double)(most - 1 - r))));
        if (last || part < counted) {
            const double days = s->warmup_days + (last ? counted : part);
            if (s->n_rounds == 0 || days > s->days[s->n_rounds - 1]) s->days[s->n_rounds++] = days;
        }
    }
}

enum status cmd_sweep_plan(struct cmd_sweep *s, struct err *e)
{
    TRY(read_days(s, e));
    if (s->log_days <= s->warmup_days)
        return ERR_SET(e, STATUS_INVALID,
                       "nothing would be counted: the log has %.1f days, and --warmup leaves the first %.0f out",
                       s->log_days, s->warmup_days);
    plan_rounds(s);
    return STATUS_OK;
}

/* job.c - the loop. */
#include "job/job.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/dump.h"
#include "job/job_bound.h"
#include "job/job_notify.h"
#include "job/job_parts.h"
#include "job/job_private.h"
#include "job/job_room.h"
#include "job/verdict.h"
#include "schemas/conf_variant.h"
#include <stdio.h>
#include <time.h>

atomic_bool job_stopping, job_reloading;

enum { POP_MS = 10 };

void job_stop(void)
{
    if (atomic_load(&job_together)) { /* with the next step all know it, and stop at the same record */
        atomic_store(&job_stop_asked, true);
        return;
    }
    atomic_store(&job_stopping, true);
    source_interrupt();
}

void job_reload(void)
{
    atomic_store(&job_reloading, true);
}

/* --speed: waits until the event's time has come on a clock that runs `speed` times as fast as the wall's. */
static enum status pace(struct job *j, int64_t event_ms, struct err *e)
{
    if (j->options->speed <= 0.0) return STATUS_OK;
    if (j->pace_event_ms == INT64_MIN) {
        j->pace_event_ms = event_ms;
        j->pace_wall_us = job_now_us(j);
    }
    const double due = (double)(event_ms - j->pace_event_ms) * 1000.0 / j->options->speed;
    while (!atomic_load(&job_stopping)) {
        const double left = due - (double)(job_now_us(j) - j->pace_wall_us);
        if (left <= 0.0) return STATUS_OK;
        const struct timespec nap = {0, left > 10000.0 ? 10000000L : (long)(left * 1000.0)};
        (void)nanosleep(&nap, NULL);
        job_alive(j, job_now_us(j), true);
        TRY(job_command_tick(j, job_now_us(j), e));
        if (job_publish_tick(j, job_now_us(j), NULL) != STATUS_OK) return STATUS_OK;
    }
    return STATUS_OK;
}

static enum status steps_done(struct job *j, struct err *e)
{
    const uint64_t every = j->options->publish_every, steps = learner_learnt(j->learner)->steps;
    if (every == 0 || steps < j->publish_mark + every) return STATUS_OK;
    j->publish_mark = steps - steps % every;
    return job_checkpoint(j, "steps", e);
}

/* A verdict is durable, and published, before anything else happens. */
static enum status verdict_due(struct job *j, struct err *e)
{
    const char *reason = learner_due(j->learner);
    if (reason == NULL || (j->temporary && j->publish == NULL)) return STATUS_OK;
    return job_checkpoint(j, reason, e);
}

static enum status take_record(struct job *j, const struct source_record *rec, struct err *e)
{
    const int64_t settled = learner_settled_ms(j->learner);
    if (rec->kind == SOURCE_EVENT) TRY(pace(j, rec->event.time_ms, e));
    TRY(learner_record(j->learner, rec, e));
    if (j->options->replay) checkpoint_log_took(j->checkpoint, rec->file);
    if (learner_settled_ms(j->learner) != settled) {
        j->learnt_wall_ms = j->clock->wall_ms(j->clock);
        j->consumed_wall_ms = j->batch_wall_ms;
        j->settled_wall_ms = j->options->replay ? j->learnt_wall_ms : learner_settled_ms(j->learner);
    }
    TRY(verdict_due(j, e));
    return steps_done(j, e);
}

/* --until */
static bool is_beyond(const struct job *j, const struct source_record *rec)
{
    const int64_t first = learner_first_ms(j->learner), until = j->options->until_ms;
    return until > 0 && rec->kind == SOURCE_EVENT && first != INT64_MIN && rec->event.time_ms - first >= until;
}

/* A checkpoint, which waits until there is room; a fit has none before its end, and its letters go out alone. */
static enum status letters_out(struct job *j, struct err *e)
{
    uint64_t mark;
    if (j->fit == NULL) return job_checkpoint(j, NULL, e);
    TRY(reject_sink_sync(j->sink, &mark, e));
    j->letters_full = false;
    return STATUS_OK;
}

static enum status take_batch(struct job *j, struct source_batch *b, struct err *e)
{
    j->lag_events = b->lag_events;
    j->batch_wall_ms = j->clock->wall_ms(j->clock);
    for (uint32_t i = 0; i < b->n; i++) {
        j->reached = j->reached || is_beyond(j, &b->records[i]);
        if (j->reached || atomic_load(&job_stopping))
            return STATUS_OK; /* what is left has no offset yet: it is read again */
        TRY(take_record(j, &b->records[i], e));
        if (j->letters_full) TRY(letters_out(j, e));
    }
    return STATUS_OK;
}

/* Partitions leave with this batch: they may, once all that came before is durable. */
static enum status let_go(struct job *j, uint64_t barrier, struct err *e)
{
    if (barrier == 0 || atomic_load(&job_stopping)) return STATUS_OK;
    TRY(job_checkpoint(j, NULL, e));
    source_released(j->source, barrier);
    return STATUS_OK;
}

static enum status checkpoint_tick(struct job *j, int64_t now, struct err *e)
{
    const bool full = learner_dirty_bytes(j->learner) > (size_t)j->conf->state_dirty_bytes;
    if (!full && (j->temporary || now < j->next_checkpoint_us)) return STATUS_OK;
    return job_checkpoint(j, NULL, e);
}

static void show_progress(struct job *j, int64_t now, bool last)
{
    const struct learner_counts *c = learner_counts(j->learner);
    if (!last && !progress_due(&j->progress, now, c->examples)) return;
    struct report r;
    learner_report(j->learner, &r);
    const uint64_t total = source_bytes_total(j->source);
    struct progress_now n = {.events = c->events,
                             .rejected = c->rejected,
                             .slates = c->slates,
                             .examples = c->examples,
                             .version = checkpoint_version(j->checkpoint),
                             .watermark_ms = learner_watermark(j->learner),
                             .done_frac = total > 0 ? (double)source_bytes_read(j->source) / (double)total : -1.0,
                             .popularity_gauc = r.baselines[REPORT_POPULARITY].gauc,
                             .last = last,
                             .all = r.progressive};
    n.events_per_s = (double)(c->events - j->events_before) / ((double)(now - j->started_us) * 1e-6 + 1e-9);
    progress_show(&j->progress, now, &n);
}

static enum status tick(struct job *j, struct err *e)
{
    const int64_t now = job_now_us(j);
    TRY(job_served_tick(j, e));
    TRY(job_command_tick(j, now, e));
    TRY(verdict_due(j, e));
    if (atomic_exchange(&job_reloading, false)) job_reload_tick(j);
    show_progress(j, now, false);
    if (j->fit != NULL) return STATUS_OK; /* nothing is learnt yet: there is nothing to keep */
    TRY(job_publish_tick(j, now, e));
    TRY(checkpoint_tick(j, now, e));
    job_backup_tick(j, now);
    return STATUS_OK;
}

static enum status loop(struct job *j, struct err *e)
{
    while (!atomic_load(&job_stopping) && !j->reached) {
        void *p;
        const enum status st = queue_pop_for(j->full, &p, POP_MS);
        if (st == STATUS_END) break;
        if (st == STATUS_OK) {
            struct source_batch *b = p;
            TRY(job_served_tick(j, e)); /* answers are older than the lists that show them */
            const uint64_t barrier = b->barrier;
            const enum status taken = take_batch(j, b, e);
            if (queue_push(j->empty, b) != STATUS_OK) source_batch_free(b);
            TRY(taken);
            TRY(let_go(j, barrier, e));
        }
        job_alive(j, job_now_us(j), st == STATUS_OK);
        TRY(tick(j, e));
    }
    return STATUS_OK;
}

static void say_epoch(void *user, const struct fit_epoch *x)
{
    const struct job *j = user;
    struct buf figures = {0};
    if (j->options->quiet) return;
    if (x->epoch == 1)
        (void)fprintf(stderr, "%5s %12s %10s | %12s %10s %8s %11s\n", "epoch", "examples", "log-loss", "last days",
                      "log-loss", "GAUC", "calibration");
    buf_figure(&figures, 8, 4, x->gauc);
    buf_figure(&figures, 11, 3, x->calibration);
    (void)fprintf(stderr, "%5llu %12llu %10.4f | %12llu %10.4f%.*s%s\n", (unsigned long long)x->epoch,
                  (unsigned long long)x->examples, x->train_loss, (unsigned long long)x->validated, x->logloss,
                  (int)figures.n, (const char *)figures.p, x->best ? "  best" : "");
    buf_fini(&figures);
}

/* Every line by itself, on the same slates; one that follows another has that one's parameters soon enough. */
static enum status fit_now(struct job *j, struct err *e)
{
    const struct variants *v = learner_variants(j->learner);
    enum status st = STATUS_OK;
    for (size_t i = 0; i <= variants_count(v) && st == STATUS_OK; i++) {
        struct line *l = variants_line(v, i);
        if (l->conf->train_follow_ms > 0) continue;
        if (i > 0 && !j->options->quiet) (void)fprintf(stderr, "variant %s\n", conf_line_name(j->conf, i));
        st = fit_run(j->fit, l, j->options->fit, learner_first_ms(j->learner), say_epoch, j, &job_stopping, e);
    }
    return st;
}

/* What was read before the fault stays learnt, where it was. */
static enum status source_failed(struct job *j, struct err *e)
{
    struct err late;
    if (e != NULL) *e = j->poller_error;
    if (j->fit == NULL && !job_ranks_other(j) && job_checkpoint(j, "final", &late) != STATUS_OK)
        log_error("checkpoint", "error=\"%s\"", late.text);
    return j->poller_status;
}

static void logs_ended(struct job *j)
{
    for (size_t i = 0; i < j->n_logs; i++) checkpoint_log_read(j->checkpoint, i, source_file_bytes(j->source, i));
    checkpoint_logs_done(j->checkpoint);
}

/* The logs ended or a signal came: what is learnt becomes durable and, where Redis is, in force. */
static enum status finish(struct job *j, struct err *e)
{
    if (j->poller_status != STATUS_OK && j->poller_status != STATUS_END) return source_failed(j, e);
    const bool ended = !atomic_load(&job_stopping);
    if (j->stop_us == 0) j->stop_us = job_now_us(j);
    job_notify("STOPPING=1\nSTATUS=stopping");
    if (ended && j->options->replay && !j->reached) logs_ended(j);
    if (ended && j->options->flush) TRY(learner_flush(j->learner, e));
    TRY(job_ranks_agree(j, e));
    if (job_ranks_other(j)) return STATUS_OK; /* what there is to keep, rank 0 keeps */
    if (j->fit != NULL && !ended) return STATUS_END;
    if (j->fit != NULL) TRY(fit_now(j, e));
    TRY(dump_finish(j->dump, e));
    TRY(dump_finish(j->dump_slates, e));
    TRY(job_checkpoint(j, "final", e));
    TRY(job_publish_last(j, e));
    show_progress(j, job_now_us(j), true);
    return job_write_report(j, e);
}

/* Should all bounds be reached, the kernel would end it: said before, as `check` does. */
static void warn_of_room(const struct job_bound *bound)
{
    const struct job_room room = job_room("", 0);
    if (room.bytes > 0 && bound->total > room.bytes)
        log_warn("memory",
                 "bound_mib=%zu room_mib=%zu reason=\"%s less than all bounds together\" next=\"lower "
                 "history.max_bytes, catalogue.max_bytes or join.max_bytes, or give it more\"",
                 bound->total >> 20, room.bytes >> 20, room.what);
}

static void warn_of_scores(const struct conf *c)
{
    const size_t line = conf_line_only_orders(c);
    if (line != SIZE_MAX)
        log_warn("model",
                 "variant=%s scores=\"order lists and are no probabilities: train.softmax_share=1 without "
                 "train.recalibration\" next=\"set train.recalibration=true, or train.softmax_share below 1, if they "
                 "are to be\"",
                 conf_line_name(c, line));
}

/* What memory can come to, in one line. */
static void say_bound(struct job *j)
{
    struct job_bound bound;
    struct buf b = {0};
    job_bound(&bound, j->conf, j->encoder != NULL ? encoder_shape(j->encoder) : NULL);
    j->bound_bytes = bound.total;
    job_bound_text(&bound, &b);
    if (!b.oom && !(j->options->replay && j->options->quiet)) log_info("memory", "%.*s", (int)b.n, (const char *)b.p);
    if (!j->options->replay) warn_of_room(&bound);
    buf_fini(&b);
}

/* What is needed to take the first batch; END when told to stop before. */
static enum status start(struct job *j, struct err *e)
{
    TRY(job_open(j, e));
    say_bound(j);
    warn_of_scores(j->conf);
    j->letters_full = reject_sink_unmarked(j->sink) && !j->temporary && j->fit == NULL;
    if (j->letters_full)
        TRY(job_checkpoint(j, NULL, e)); /* where the letters begin is known before the first is written */
    j->started_us = job_now_us(j);
    j->next_checkpoint_us = j->started_us + j->conf->state_checkpoint_ms * 1000;
    j->next_backup_us = j->started_us + j->conf->state_backup_ms * 1000;
    j->publish_mark = learner_learnt(j->learner)->steps;
    progress_init(&j->progress, j->options->quiet, j->started_us);
    if (j->warm) TRY(job_checkpoint(j, "warm", e)); /* the folder holds it from now on */
    j->noted = learner_verdicts(j->learner)->total;
    TRY(job_command_tick(j, j->started_us, e)); /* those that were given while nobody learnt */
    TRY(job_poll_start(j, e));
    j->phase = "learning";
    if (j->waited)
        log_info("take-over", "model=%s state=%s version=%llu ready_ms=%lld", j->conf->model_name, j->state_dir,
                 (unsigned long long)checkpoint_version(j->checkpoint),
                 (long long)((job_now_us(j) - j->taken_us) / 1000));
    return STATUS_OK;
}

/* Of a fit that does not come to its end nothing stays, and whoever goes on would begin with an empty model. */
static enum status told_to_stop(const struct job *j, struct err *e)
{
    if (j->options->fit != NULL) return ERR_SET(e, STATUS_END, "told to stop before its end; no model was written");
    if (j->started_us == 0) log_info("stopped", "before=\"the first batch\"");
    return STATUS_OK;
}

enum status job_run(struct conf *c, const struct job_options *o, struct err *e)
{
    enum status st;
    struct job *j = mem_calloc(1, sizeof *j);
    if (j == NULL) return ERR_SET(e, STATUS_OOM, "job: %zu bytes", sizeof *j);
    j->conf = c;
    j->options = o;
    j->clock = clock_system();
    j->pace_event_ms = INT64_MIN;
    j->lag_events = -1;
    TRY_OUT(st, start(j, e));
    st = loop(j, e);
    if (st == STATUS_END) job_abandon(j);
    if (st != STATUS_OK) goto out;
    if (atomic_load(&job_stopping)) source_interrupt();
    job_poll_stop(j);
    st = finish(j, e);
out:
    job_ranks_part(j, st, e);
    if (st == STATUS_END) st = told_to_stop(j, e);
    job_close(j);
    mem_free(j);
    return st;
}

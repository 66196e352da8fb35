/* fit.c - see fit.h. */
#include "job/fit.h"
#include "base/buf.h"
#include "base/mem.h"
#include "trainer/gate_snapshot.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fit {
    char dir[600];
    FILE *file;
    struct buf pack;
    off_t at;        /* of the slate that is read next */
    int64_t last_ms; /* the newest slate's time, of those whose labels are known; INT64_MIN: none are */
    struct slate *slate;
    struct gate_snapshot *best;
    float *labels;
    size_t cap_labels;
};

/* Before each slate in the file. */
struct head {
    uint64_t n;       /* bytes */
    uint64_t cut_off; /* a slate's bytes do not have it */
};

enum status fit_new(struct fit **out, const char *dir, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct fit *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "fit: %zu bytes", sizeof *f);
    f->last_ms = INT64_MIN;
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    TRY_OUT(st, slate_new(&f->slate, e));
    const int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    f->file = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (f->file == NULL) {
        st = ERR_SET(e, STATUS_IO, "fit: no file for its slates in %s: %s", dir, strerror(errno));
        if (fd >= 0) (void)close(fd);
        goto out;
    }
    *out = f;
    f = NULL;
out:
    fit_free(f);
    return st;
}

void fit_free(struct fit *f)
{
    if (f == NULL) return;
    if (f->file != NULL) (void)fclose(f->file);
    buf_fini(&f->pack);
    slate_free(f->slate);
    gate_snapshot_free(f->best);
    mem_free(f->labels);
    mem_free(f);
}

static enum status broken(const struct fit *f, struct err *e)
{
    return ERR_SET(e, STATUS_IO, "fit: the slates of the log do not fit into %s: %s; give state.dir more room", f->dir,
                   strerror(errno));
}

enum status fit_take(struct fit *f, const struct slate *s, struct err *e)
{
    buf_clear(&f->pack);
    slate_encode(&f->pack, s);
    TRY(buf_status(&f->pack, e));
    const struct head head = {f->pack.n, s->cut_off};
    if (fwrite(&head, sizeof head, 1, f->file) != 1 || fwrite(f->pack.p, 1, head.n, f->file) != head.n)
        return broken(f, e);
    if (!s->cut_off && s->time_ms > f->last_ms) f->last_ms = s->time_ms;
    return STATUS_OK;
}

/* The slate at *at, which then is the next one's, into f->slate; END after the last. */
static enum status read_slate(struct fit *f, off_t *at, struct err *e)
{
    struct head head;
    const ssize_t got = pread(fileno(f->file), &head, sizeof head, *at);
    if (got != (ssize_t)sizeof head) return got == 0 ? STATUS_END : broken(f, e);
    const size_t n = (size_t)head.n;
    buf_clear(&f->pack);
    if (buf_room(&f->pack, n) == NULL) return buf_status(&f->pack, e);
    if (pread(fileno(f->file), f->pack.p, n, *at + (off_t)sizeof head) != (ssize_t)n) return broken(f, e);
    *at += (off_t)(sizeof head + n);
    struct buf_reader r = buf_reader(f->pack.p, n);
    TRY(slate_decode(f->slate, &r, e));
    f->slate->cut_off = head.cut_off != 0;
    return STATUS_OK;
}

static enum status next_slate(struct fit *f, struct err *e)
{
    return read_slate(f, &f->at, e);
}

static enum status from_the_first(struct fit *f, struct err *e)
{
    f->at = 0;
    return fflush(f->file) == 0 ? STATUS_OK : broken(f, e);
}

static enum status labels_of(struct fit *f, struct err *e)
{
    const struct slate *s = f->slate;
    if (MEM_GROW(f->labels, &f->cap_labels, s->n_items) != 0)
        return ERR_SET(e, STATUS_OOM, "fit: slate of %u candidates", s->n_items);
    for (uint32_t i = 0; i < s->n_items; i++) f->labels[i] = s->items[i].label;
    return STATUS_OK;
}

/* Scores f->slate into a meter. */
static enum status measure(struct fit *f, struct line *l, struct eval_meter *m, struct err *e)
{
    TRY(line_score(l, f->slate, true, e));
    TRY(labels_of(f, e));
    eval_meter_add(m, l->predictions.logits, NULL, f->labels, NULL, f->slate->n_items);
    return STATUS_OK;
}

struct epoch {
    struct eval_meter train, held; /* large: one of them lives on the heap, in fit_run */
};

/* Slates whose labels were known before `edge` are learnt (scored first), then those shown after it are scored, where a label
 * can come no more. */
static enum status run_epoch(struct fit *f, struct line *l, int64_t edge, struct epoch *x, const atomic_bool *stop,
                             struct err *e)
{
    enum status st;
    eval_meter_clear(&x->train);
    eval_meter_clear(&x->held);
    TRY(from_the_first(f, e));
    while ((st = next_slate(f, e)) == STATUS_OK && !atomic_load(stop)) {
        if (f->slate->settled_ms >= edge) continue;
        TRY(measure(f, l, &x->train, e));
        TRY(line_learn(l, &f->slate, e));
    }
    if (st != STATUS_END) return st == STATUS_OK ? STATUS_END : st; /* stopped */
    TRY(line_step(l, e));
    TRY(from_the_first(f, e));
    while ((st = next_slate(f, e)) == STATUS_OK && !atomic_load(stop)) {
        if (f->slate->time_ms < edge || f->slate->cut_off || line_gate_holds_out(l->gate, f->slate)) continue;
        TRY(measure(f, l, &x->held, e));
    }
    return st == STATUS_END ? STATUS_OK : st == STATUS_OK ? STATUS_END : st;
}

static void tell(const struct epoch *x, uint64_t epoch, bool best, struct fit_epoch *out)
{
    struct report_figures train, held;
    eval_meter_figures(&x->train, &train);
    eval_meter_figures(&x->held, &held);
    *out = (struct fit_epoch){.epoch = epoch,
                              .train_loss = train.logloss,
                              .logloss = held.logloss,
                              .gauc = held.gauc,
                              .calibration = held.calibration,
                              .examples = train.examples,
                              .validated = held.examples,
                              .best = best};
}

static enum status run_epochs(struct fit *f, struct line *l, const struct fit_options *o, int64_t edge, struct epoch *x,
                              void (*told)(void *user, const struct fit_epoch *epoch), void *user,
                              const atomic_bool *stop, struct err *e)
{
    double least = INFINITY;
    const struct gate_line line = line_whole(l);
    for (uint64_t epoch = 1, worse = 0; epoch <= o->epochs && worse < o->patience; epoch++) {
        struct fit_epoch now;
        TRY(run_epoch(f, l, edge, x, stop, e));
        tell(x, epoch, false, &now);
        if (now.examples == 0 || now.validated == 0)
            return ERR_SET(e, STATUS_INVALID,
                           "fit: %llu examples before the last days and %llu in them; choose another --validate (the last "
                           "days are of lists whose join.window_ms had ended)",
                           (unsigned long long)now.examples, (unsigned long long)now.validated);
        now.best = now.logloss < least;
        worse = now.best ? 0 : worse + 1;
        if (now.best) {
            least = now.logloss;
            TRY(gate_snapshot_take(f->best, &line, e));
        }
        told(user, &now);
    }
    return STATUS_OK;
}

/* A slate of the last days: where it lies in the file, which has them as they were settled. */
struct shown {
    uint64_t id; /* they were shown in the order of their ids */
    int64_t time_ms;
    off_t at;
};
struct last_days {
    struct shown *shown;
    size_t n, cap, next;      /* next: to be scored */
    struct open_slates *open; /* scored, not yet settled */
};

static int by_id(const void *a, const void *b)
{
    const struct shown *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static enum status list_shown(struct fit *f, struct last_days *d, int64_t edge, struct err *e)
{
    enum status st;
    TRY(from_the_first(f, e));
    for (off_t at = 0; (st = next_slate(f, e)) == STATUS_OK; at = f->at) {
        if (f->slate->time_ms < edge) continue;
        if (MEM_GROW(d->shown, &d->cap, d->n + 1) != 0)
            return ERR_SET(e, STATUS_OOM, "fit: %zu slates in the last days", d->n + 1);
        d->shown[d->n++] = (struct shown){f->slate->id, f->slate->time_ms, at};
    }
    if (d->n > 0) qsort(d->shown, d->n, sizeof *d->shown, by_id);
    return st == STATUS_END ? STATUS_OK : st;
}

/* Whatever was shown before f->slate was settled is scored before that is learnt. */
static enum status score_shown(struct fit *f, struct line *l, struct last_days *d, struct err *e)
{
    const uint64_t id = f->slate->id;
    const int64_t settled_ms = f->slate->settled_ms;
    for (; d->next < d->n; d->next++) {
        const struct shown *x = &d->shown[d->next];
        off_t at = x->at;
        if (x->id > id && x->time_ms >= settled_ms) break;
        TRY(read_slate(f, &at, e));
        TRY(line_score(l, f->slate, true, e));
        TRY(open_put(d->open, f->slate, &l->predictions, e));
    }
    return STATUS_OK;
}

/* Evaluated by what was said of it when it was shown, and learnt. */
static enum status settle(struct fit *f, struct line *l, struct last_days *d, int64_t edge, int64_t first_ms,
                          struct err *e)
{
    off_t at = f->at;
    TRY(next_slate(f, e));
    const bool cut_off = f->slate->cut_off;
    if (f->slate->settled_ms < edge) return STATUS_OK;
    TRY(score_shown(f, l, d, e));
    TRY(read_slate(f, &at, e));
    if (f->slate->time_ms >= edge) {
        struct open_predictions p;
        TRY(open_take(d->open, f->slate->id, f->slate, &p, e));
        if (!l->conf->join_cascade && !cut_off)
            line_estimate(l, f->slate, p.logits, first_ms); /* the file has what was looked at */
        if (!cut_off) TRY(line_evaluate(l, f->slate, &p, first_ms, e));
    }
    return line_learn(l, &f->slate, e);
}

/* The last days as they would have been live. */
static enum status go_on(struct fit *f, struct line *l, int64_t edge, int64_t first_ms, const atomic_bool *stop,
                         struct err *e)
{
    enum status st;
    struct last_days d = {0};
    TRY(open_new(&d.open, l->predictions.n_parts, e));
    TRY_OUT(st, list_shown(f, &d, edge, e));
    TRY_OUT(st, from_the_first(f, e));
    while (st == STATUS_OK && !atomic_load(stop)) st = settle(f, l, &d, edge, first_ms, e);
    st = st == STATUS_END ? STATUS_OK : st == STATUS_OK ? STATUS_END : st;
out:
    open_free(d.open);
    mem_free(d.shown);
    return st;
}

enum status fit_run(struct fit *f, struct line *l, const struct fit_options *o, int64_t first_ms,
                    void (*told)(void *user, const struct fit_epoch *epoch), void *user, const atomic_bool *stop,
                    struct err *e)
{
    const int64_t edge = f->last_ms == INT64_MIN ? INT64_MIN : f->last_ms - o->validate_ms;
    gate_snapshot_free(f->best); /* of the line before this one */
    f->best = NULL;
    line_let_learn(l);
    struct epoch *x = mem_calloc(1, sizeof *x);
    enum status st = x != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "fit: %zu bytes", sizeof *x);
    if (st == STATUS_OK) st = gate_snapshot_new(&f->best, model_table(l->model), e);
    if (st == STATUS_OK) st = run_epochs(f, l, o, edge, x, told, user, stop, e);
    mem_free(x);
    TRY(st);
    const struct gate_line line = line_whole(l);
    TRY(gate_snapshot_restore(f->best, &line, e));
    return go_on(f, l, edge, first_ms, stop, e);
}

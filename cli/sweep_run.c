/* sweep_run.c - the rounds of a sweep: replays in processes of their own, a few at a time. */
#include "base/mem.h"
#include "cli/model.h"
#include "cli/process.h"
#include "cli/sweep.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct replay {
    struct cmd_process process;
    size_t trial;
    struct cmd_sweep_figures *out;
    char report[640], settings[CMD_SWEEP_KEYS][192], until[32], warmup[32];
};

static enum status begin(const struct cmd_sweep *s, struct replay *p, double days, double warmup, struct err *e)
{
    const char *argv[CMD_PROCESS_ARGS_MAX + 1] = {NULL,      "replay",   "--quiet", "--report",
                                                  p->report, "--warmup", p->warmup};
    char config[640];
    size_t n = 7;
    (void)snprintf(config, sizeof config, "%s/config.ini", s->dir);
    (void)snprintf(p->report, sizeof p->report, "%s/%zu.json", s->dir, p->trial);
    (void)snprintf(p->process.log, sizeof p->process.log, "%s/%zu.log", s->dir, p->trial);
    (void)snprintf(p->warmup, sizeof p->warmup, "%.0fd", warmup);
    (void)snprintf(p->until, sizeof p->until, "%.0fm", days * 1440.0);
    (void)unlink(p->report);
    (void)unlink(p->process.log);
    p->process.name = "a trial's replay";
    if (days < s->log_days) argv[n++] = "--until", argv[n++] = p->until;
    argv[n++] = "--config", argv[n++] = config;
    argv[n++] = "-o", argv[n++] = "state.dir="; /* nobody goes on from another, nobody publishes */
    argv[n++] = "-o", argv[n++] = "redis.url=";
    for (size_t k = 0; k < s->n_keys && p->trial > 0; k++) {
        (void)snprintf(p->settings[k], sizeof p->settings[k], "%s=%s", s->keys[k].name,
                       s->keys[k].values[s->trials[p->trial].value[k]]);
        argv[n++] = "-o", argv[n++] = p->settings[k];
    }
    for (size_t i = 0; i < s->n_logs; i++) {
        if (n == CMD_PROCESS_ARGS_MAX) return ERR_SET(e, STATUS_INVALID, "too many logs for a sweep: %zu", s->n_logs);
        argv[n++] = s->logs[i];
    }
    p->out->days = days;
    return cmd_process_start(&p->process, argv, e);
}

static enum status read_figures(const struct replay *p, struct err *e)
{
    json_error_t why;
    json_t *j = json_load_file(p->report, 0, &why);
    const json_t *progressive = json_object_get(j, "progressive");
    p->out->gauc = cmd_model_figure(progressive, "gauc");
    p->out->logloss = cmd_model_figure(progressive, "logloss");
    p->out->calibration = cmd_model_figure(progressive, "calibration");
    p->out->seconds = cmd_model_figure(j, "seconds");
    const bool whole = j != NULL && isfinite(p->out->logloss);
    const double days = cmd_model_days(j);
    json_decref(j);
    if (whole) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "no example was counted after a warm-up of %s; there were %.1f days of the log",
                   p->warmup, days);
}

static void finish(struct cmd_sweep *s, struct replay *p, enum status st, struct err *e)
{
    struct cmd_sweep_trial *t = &s->trials[p->trial];
    char *const failed = p->out == &t->late ? t->late_failed : t->failed;
    struct buf name = {0}, gauc = {0};
    if (st == STATUS_OK) st = read_figures(p, e);
    cmd_sweep_name(&name, s, p->trial);
    buf_figure(&gauc, 0, 4, p->out->gauc);
    if (st == STATUS_OK)
        (void)fprintf(stderr, "  %-60.*s GAUC%.*s  log-loss %.4f  %.1f s\n", (int)name.n, (const char *)name.p,
                      (int)gauc.n, (const char *)gauc.p, p->out->logloss, p->out->seconds);
    else
        (void)fprintf(stderr, "  %-60.*s failed: %s\n", (int)name.n, (const char *)name.p, e->text);
    if (st != STATUS_OK) (void)snprintf(failed, sizeof t->failed, "%.200s", e->text);
    buf_fini(&name);
    buf_fini(&gauc);
}

/* Replays of the trials in `which`, s->jobs at a time.  late: figures go to the trial's late ones. */
static enum status replay_all(struct cmd_sweep *s, const size_t *which, size_t n, size_t round, bool late,
                              struct err *e)
{
    enum status st = STATUS_OK;
    struct replay *p = mem_calloc(s->jobs, sizeof *p);
    size_t next = 0, running = 0;
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "sweep: %u processes", s->jobs);
    while (st == STATUS_OK && (next < n || running > 0)) {
        for (unsigned i = 0; i < s->jobs && st == STATUS_OK; i++) {
            struct err why = {0};
            if (p[i].process.pid > 0) {
                const enum status done = cmd_process_wait(&p[i].process, 0.02, &why);
                if (done == STATUS_AGAIN) continue;
                if (done == STATUS_END) st = cmd_process_told(e);
                if (done == STATUS_END) break; /* it runs, and is stopped below */
                running--;
                finish(s, &p[i], done, &why);
            }
            if (next == n) continue;
            struct cmd_sweep_trial *t = &s->trials[which[next]];
            p[i] = (struct replay){.trial = which[next++], .out = late ? &t->late : &t->round[round]};
            if (!late) t->rounds = round + 1;
            st = begin(s, &p[i], late ? s->log_days : s->days[round], late ? s->choose_days : s->warmup_days, e);
            running += st == STATUS_OK;
        }
    }
    for (unsigned i = 0; i < s->jobs; i++) cmd_process_stop(&p[i].process);
    mem_free(p);
    return st;
}

bool cmd_sweep_better(const struct cmd_sweep *s, const struct cmd_sweep_figures *a, const struct cmd_sweep_figures *b)
{
    if (s->by_logloss || isnan(a->gauc) || isnan(b->gauc)) return a->logloss < b->logloss;
    return a->gauc > b->gauc;
}

static bool ahead(const struct cmd_sweep *s, size_t a, size_t b)
{
    const struct cmd_sweep_trial *x = &s->trials[a], *y = &s->trials[b];
    if ((x->failed[0] == 0) != (y->failed[0] == 0)) return x->failed[0] == 0;
    if (x->rounds != y->rounds) return x->rounds > y->rounds;
    return x->rounds > 0 && cmd_sweep_better(s, &x->round[x->rounds - 1], &y->round[x->rounds - 1]);
}

void cmd_sweep_order(const struct cmd_sweep *s, size_t order[CMD_SWEEP_TRIALS])
{
    for (size_t i = 0; i < s->n_trials; i++) {
        size_t at = i;
        for (; at > 0 && ahead(s, i, order[at - 1]); at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

/* The best of a round, 1/eta of them and at least one; trial 0 always goes on, as what the others are measured against. */
static size_t promote(const struct cmd_sweep *s, size_t *left, size_t n)
{
    size_t order[CMD_SWEEP_TRIALS], kept = 0;
    const size_t want = n / s->eta > 1 ? n / s->eta : 1;
    cmd_sweep_order(s, order);
    for (size_t i = 0; i < s->n_trials && kept < want; i++)
        if (order[i] != 0 && s->trials[order[i]].failed[0] == 0) left[kept++] = order[i];
    if (s->trials[0].failed[0] == 0) left[kept++] = 0;
    return kept;
}

static enum status write_config(const struct cmd_sweep *s, struct err *e)
{
    char path[640];
    struct buf b = {0};
    (void)snprintf(path, sizeof path, "%s/config.ini", s->dir);
    conf_dump(s->conf, &b);
    const enum status st = cmd_file_write(path, &b, e);
    buf_fini(&b);
    return st;
}

/* A log whose lists have one label each has no GAUC: log-loss is what there is to choose by. */
static void choose_by_what_there_is(struct cmd_sweep *s)
{
    bool any = false;
    for (size_t i = 0; i < s->n_trials; i++) {
        const bool took_part = s->trials[i].failed[0] == 0;
        if (s->by_logloss || (took_part && isfinite(s->trials[i].round[0].gauc))) return;
        any = any || took_part;
    }
    if (!any) return;
    s->by_logloss = true;
    (void)fprintf(stderr, "no list has both labels, so there is no GAUC: chosen by log-loss\n");
}

static enum status replay_late(struct cmd_sweep *s, const size_t *which, size_t n, struct err *e)
{
    if (s->log_days > s->choose_days) {
        (void)fprintf(stderr, "late days: from day %.0f on\n", s->choose_days);
        return replay_all(s, which, n, 0, true, e);
    }
    for (size_t i = 0; i < n; i++)
        (void)snprintf(s->trials[which[i]].late_failed, sizeof s->trials[0].late_failed,
                       "the log's %.1f days end before --choose-before %.0f", s->log_days, s->choose_days);
    (void)fprintf(stderr, "late days: none, %s\n", s->trials[which[0]].late_failed);
    return STATUS_OK;
}

enum status cmd_sweep_run(struct cmd_sweep *s, struct err *e)
{
    size_t left[CMD_SWEEP_TRIALS], n = s->n_trials;
    TRY(write_config(s, e));
    for (size_t i = 0; i < n; i++) left[i] = i;
    for (size_t round = 0; round < s->n_rounds && n > 0; round++) {
        (void)fprintf(stderr, "round %zu of %zu: %zu trials, the log's first %.1f days\n", round + 1, s->n_rounds, n,
                      s->days[round]);
        TRY(replay_all(s, left, n, round, false, e));
        if (round == 0) choose_by_what_there_is(s);
        n = promote(s, left, n);
    }
    size_t order[CMD_SWEEP_TRIALS], last[2] = {0, 0};
    cmd_sweep_order(s, order);
    last[0] = order[0];
    if (s->trials[last[0]].failed[0] != 0)
        return ERR_SET(e, STATUS_CORRUPT, "every trial failed: %s", s->trials[0].failed);
    return replay_late(s, last, last[0] == 0 ? 1 : 2, e);
}

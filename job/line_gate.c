/* line_gate.c - see line_gate.h; line_gate_state.c has it in and out of the state. */
#include "job/line_gate.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "job/line.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define HOLDOUT_SEED UINT64_C(0x686f6c646f7574) /* "holdout": no other use of users' hashes has it */
enum {
    RENEW = 4,        /* a candidate that was not proven after so many times gate.bless_slates is taken anew */
    AGAIN_MAX = 5,    /* the rest doubles so often */
    PROBE_EVERY = 16, /* judged slates */
    PROBE_BYTES = 1 << 17
};

enum status line_gate_new(struct line_gate **out, const struct conf *c, struct line *l, struct err *e)
{
    enum status st;
    *out = NULL;
    if (c->gate_share <= 0 && c->gate_holdout_frac <= 0) return STATUS_OK;
    struct line_gate *g = mem_calloc(1, sizeof *g);
    if (g == NULL) return ERR_SET(e, STATUS_OOM, "gate: %zu bytes", sizeof *g);
    const struct gate_rules rules = {.margin = {c->gate_margin, c->gate_margin_auc},
                                     .budget_per_day = c->gate_false_per_day};
    g->conf = c;
    g->now_ms = g->rest_until_ms = INT64_MIN;
    gate_judge_init(&g->judge, &rules);
    TRY_OUT(st, gate_snapshot_new(&g->blessed, model_table(l->model), e));
    TRY_OUT(st, gate_snapshot_new(&g->candidate, model_table(l->model), e));
    for (uint32_t i = 0; i < LINE_PROBES; i++) TRY_OUT(st, slate_new(&g->probe[i], e));
    TRY_OUT(st, model_run_new(&g->shadow, l->model, l->states, false, e));
    kern_use_pool(model_run_kern(g->shadow), l->pool);
    *out = g;
    g = NULL;
out:
    line_gate_free(g);
    return st;
}

void line_gate_free(struct line_gate *g)
{
    if (g == NULL) return;
    model_run_free(g->shadow);
    for (uint32_t i = 0; i < LINE_PROBES; i++) slate_free(g->probe[i]);
    buf_fini(&g->pack);
    gate_snapshot_free(g->blessed);
    gate_snapshot_free(g->candidate);
    mem_free(g->logits);
    mem_free(g->labels);
    mem_free(g->before);
    mem_free(g);
}

/* ---- who counts ---- */

/* A visitor without a name is nobody else: known by the list. */
static uint64_t user_of(const struct slate *s)
{
    return str_has(s->user) ? hash_seeded(s->user.p, s->user.n, HOLDOUT_SEED) : hash_mix(s->id, HOLDOUT_SEED);
}

static bool is_held_out(const struct line_gate *g, const struct slate *s)
{
    if (g->conf->gate_holdout_frac <= 0 || !str_has(s->user)) return false;
    return hash_unit(user_of(s)) < g->conf->gate_holdout_frac;
}

/* The seeded share of the slates; all of them while there is suspicion, which is known before the slate is. */
static bool is_chosen(const struct line_gate *g, const struct slate *s)
{
    struct rand r;
    if (g->conf->gate_share >= 1.0 || gate_judge_suspects(&g->judge)) return true;
    rand_init(&r,
              (struct rand_key){(uint64_t)g->conf->train_seed, s->at.topic, s->at.partition, s->at.offset, RAND_GATE});
    return rand_unit(&r) < g->conf->gate_share;
}

bool line_gate_rests(const struct line_gate *g)
{
    return g != NULL && g->rest_until_ms != INT64_MIN && g->now_ms < g->rest_until_ms;
}

bool line_gate_holds_out(const struct line_gate *g, const struct slate *s)
{
    return g != NULL && is_held_out(g, s);
}

bool line_gate_would_let(const struct line_gate *g, const struct slate *s)
{
    return g == NULL || (!is_held_out(g, s) && !line_gate_rests(g));
}

bool line_gate_lets(struct line_gate *g, const struct slate *s)
{
    if (g == NULL) return true;
    const bool held_out = is_held_out(g, s), rests = line_gate_rests(g);
    if (held_out)
        g->counts.held_out++;
    else if (rests)
        g->counts.rested++;
    return !held_out && !rests;
}

/* ---- going back, going on ---- */

static struct line_mark mark_of(const struct line *l)
{
    const struct line_counts *c = &l->counts;
    return (struct line_mark){.slates = c->learnt_slates,
                              .examples = c->learnt_examples,
                              .steps = c->steps,
                              .rollbacks = l->gate->counts.rollbacks,
                              .time_ms = l->gate->now_ms};
}

static void rest(struct line_gate *g)
{
    const uint32_t doubled = g->again < AGAIN_MAX ? g->again : AGAIN_MAX;
    g->again++;
    if (g->conf->gate_cooldown_ms > 0 && g->now_ms != INT64_MIN)
        g->rest_until_ms = g->now_ms + (g->conf->gate_cooldown_ms << doubled);
}

/* The line as it was then; what it has learnt since is nowhere any more.  A candidate that it does not go to is of since. */
static enum status go_back(struct line *l, bool candidate, uint64_t next_slate, struct err *e)
{
    struct line_gate *g = l->gate;
    const struct gate_line line = line_whole(l);
    TRY(gate_snapshot_restore(candidate ? g->candidate : g->blessed, &line, e));
    reservoir_undo(l->reservoir, candidate ? g->candidate_mark.slates : g->blessed_mark.slates);
    if (!candidate) {
        optim_blessed(l->optim, l->params);
        gate_snapshot_drop(g->candidate);
    }
    l->n_pending = 0;
    gate_judge_begin(&g->judge);
    g->judge_from = next_slate;
    g->want_bless = g->want_mark = false;
    g->counts.rollbacks++;
    return STATUS_OK;
}

enum status line_gate_rollback(struct line *l, uint64_t next_slate, struct err *e)
{
    struct line_gate *g = l->gate;
    if (!gate_snapshot_there(g->blessed))
        return ERR_SET(e, STATUS_NOT_FOUND,
                       "nothing is blessed yet: the first one is after gate.bless_slates=%lld slates",
                       (long long)g->conf->gate_bless_slates);
    TRY(go_back(l, false, next_slate, e));
    rest(g);
    return STATUS_OK;
}

static bool is_before(const struct gate_snapshot *s, const struct line_mark *m, int64_t since_ms)
{
    return gate_snapshot_there(s) && m->time_ms <= since_ms;
}

/* The candidate stays one, and the blessed version blessed: both are older than what went wrong. */
enum status line_gate_undo(struct line *l, int64_t since_ms, uint64_t next_slate, bool *candidate, struct err *e)
{
    const struct line_gate *g = l->gate;
    *candidate = g != NULL && is_before(g->candidate, &g->candidate_mark, since_ms);
    if (g == NULL || (!*candidate && !is_before(g->blessed, &g->blessed_mark, since_ms)))
        return ERR_SET(e, STATUS_NOT_FOUND, "no blessed version, and no candidate, is older than that");
    return go_back(l, *candidate, next_slate, e);
}

enum status line_gate_bless(struct line *l, uint64_t next_slate, struct err *e)
{
    struct line_gate *g = l->gate;
    const struct gate_line line = line_whole(l);
    TRY(gate_snapshot_take(g->blessed, &line, e));
    gate_snapshot_drop(g->candidate);
    optim_blessed(l->optim, l->params);
    g->blessed_mark = mark_of(l);
    g->counts.blessings++;
    g->again = 0;
    g->judge_from = next_slate;
    g->want_bless = g->want_mark = false;
    gate_judge_begin(&g->judge);
    return STATUS_OK;
}

enum status line_gate_adopt(struct line *l, uint64_t next_slate, struct err *e)
{
    l->n_pending = 0;
    TRY(line_gate_bless(l, next_slate, e));
    l->gate->counts.rollbacks++;
    l->gate->blessed_mark.rollbacks++;
    rest(l->gate);
    return STATUS_OK;
}

static enum status take_candidate(struct line *l, struct err *e)
{
    struct line_gate *g = l->gate;
    const struct gate_line line = line_whole(l);
    TRY(gate_snapshot_take(g->candidate, &line, e));
    g->candidate_mark = mark_of(l);
    gate_judge_probation(&g->judge);
    g->want_mark = false;
    return STATUS_OK;
}

/* The candidate is the blessed one from now on, and the line as it is the next candidate. */
static enum status bless_candidate(struct line *l, uint64_t next_slate, struct err *e)
{
    struct line_gate *g = l->gate;
    gate_snapshot_exchange(g->blessed, g->candidate);
    optim_blessed(l->optim, gate_snapshot_params(g->blessed));
    g->blessed_mark = g->candidate_mark;
    g->counts.blessings++;
    g->again = 0;
    g->judge_from = next_slate;
    g->want_bless = false;
    gate_judge_begin(&g->judge);
    return take_candidate(l, e);
}

enum status line_gate_settle(struct line *l, uint64_t next_slate, enum line_verdict *verdict, struct err *e)
{
    struct line_gate *g = l->gate;
    *verdict = LINE_GOES_ON;
    if (g == NULL || g->conf->gate_share <= 0) return STATUS_OK;
    if (!gate_snapshot_there(g->blessed)) {
        if (l->counts.learnt_slates < (uint64_t)g->conf->gate_bless_slates) return STATUS_OK;
        *verdict = LINE_BLESSED;
        return line_gate_bless(l, next_slate, e);
    }
    if (g->want_bless) {
        *verdict = LINE_BLESSED;
        return bless_candidate(l, next_slate, e);
    }
    if (!g->want_mark) return STATUS_OK;
    *verdict = LINE_MARKED;
    return take_candidate(l, e);
}

/* ---- judging ---- */

static enum status room_for(struct line_gate *g, size_t n, struct err *e)
{
    if (n <= g->cap) return STATUS_OK;
    mem_free(g->logits);
    mem_free(g->labels);
    mem_free(g->before);
    g->cap = 0;
    g->logits = mem_calloc(n, sizeof *g->logits);
    g->labels = mem_calloc(n, sizeof *g->labels);
    g->before = mem_calloc(n, sizeof *g->before);
    if (g->logits == NULL || g->labels == NULL || g->before == NULL)
        return ERR_SET(e, STATUS_OOM, "gate: a slate of %zu candidates", n);
    g->cap = n;
    return STATUS_OK;
}

/* g->logits = what these parameters give the list; there is room. */
static enum status score_by(struct line_gate *g, const struct param_set *p, const struct slate *s, struct err *e)
{
    TRY(model_bind(g->shadow, p, e));
    return model_score(g->shadow, s, 0, g->logits, NULL, e);
}

/* A list's loss and AUC by these logits. */
static void figures_of(const struct line_gate *g, const struct slate *s, const float *logits, double out[GATE_FIGURES])
{
    out[GATE_LOSS] = gate_loss(logits, g->labels, s->n_items);
    out[GATE_AUC] = eval_auc(logits, g->labels, NULL, s->n_items);
}

/* What the proof is for: a new candidate, or the candidate's blessing; done between two records. */
static void want(struct line_gate *g)
{
    const uint64_t enough = (uint64_t)g->conf->gate_bless_slates, probed = g->judge.probed;
    if (!gate_snapshot_there(g->candidate)) {
        g->want_mark = probed >= enough;
        return;
    }
    if (probed < enough || g->now_ms - g->candidate_mark.time_ms < g->conf->gate_bless_ms) return;
    g->want_bless = gate_judge_fine(&g->judge) && !gate_judge_suspects(&g->judge);
    g->want_mark = !g->want_bless && probed >= RENEW * enough;
}

/* A copy of the slate takes the oldest probe's place. */
static enum status keep_probe(struct line_gate *g, const struct slate *s, struct err *e)
{
    if (g->counts.judged % PROBE_EVERY != 0) return STATUS_OK;
    buf_clear(&g->pack);
    slate_encode(&g->pack, s);
    TRY(buf_status(&g->pack, e));
    if (g->pack.n > PROBE_BYTES) return STATUS_OK;
    struct buf_reader r = buf_reader(g->pack.p, g->pack.n);
    TRY(slate_decode(g->probe[g->next_probe], &r, e));
    g->next_probe = (g->next_probe + 1) % LINE_PROBES;
    if (g->n_probes < LINE_PROBES) g->n_probes++;
    return STATUS_OK;
}

/* The blessed version has scored the slate too.  True: the line is worse. */
static enum status compare(struct line *l, const struct slate *s, const double ours[GATE_FIGURES], bool *worse,
                           struct err *e)
{
    struct line_gate *g = l->gate;
    double blessed[GATE_FIGURES], taken = 0.0;
    TRY(score_by(g, gate_snapshot_params(g->blessed), s, e));
    figures_of(g, s, g->logits, blessed);
    for (uint32_t i = 0; i < s->n_items; i++) taken += g->labels[i] > 0.5f;
    const struct gate_evidence evidence = {
        .user = user_of(s),
        .time_ms = g->now_ms,
        .harm = {[GATE_LOSS] = ours[GATE_LOSS] - blessed[GATE_LOSS], [GATE_AUC] = blessed[GATE_AUC] - ours[GATE_AUC]},
        .items = s->n_items,
        .taken = taken};
    TRY(keep_probe(g, s, e));
    g->counts.judged++;
    *worse = gate_judge_add(&g->judge, &evidence);
    if (!*worse) want(g);
    return STATUS_OK;
}

enum status line_gate_sound(struct line *l, const struct slate *s, int64_t since_ms, const float **logits,
                            struct err *e)
{
    struct line_gate *g = l->gate;
    *logits = NULL;
    if (g == NULL || s->n_items == 0 || !is_before(g->blessed, &g->blessed_mark, since_ms)) return STATUS_OK;
    TRY(room_for(g, s->n_items, e));
    *logits = g->logits;
    return score_by(g, gate_snapshot_params(g->blessed), s, e);
}

/* The label of a recorded list whose negatives are thinned out is learnt by z - log_kq (model/recal.h), and so is this. */
enum status line_gate_teach(struct line *l, struct slate *s, struct err *e)
{
    struct line_gate *g = l->gate;
    const bool there = gate_snapshot_there(g->blessed), thinned = s->source == SLATE_IMPRESSION;
    TRY(room_for(g, s->n_items, e));
    if (there) TRY(score_by(g, gate_snapshot_params(g->blessed), s, e));
    for (uint32_t i = 0; i < s->n_items; i++) {
        const double z = (double)g->logits[i] - (thinned ? (double)s->items[i].log_kq : 0.0);
        s->items[i].taught = there ? fmaxf((float)(1.0 / (1.0 + exp(-z))), FLT_MIN) : 0.0f;
    }
    return STATUS_OK;
}

static void note_time(struct line_gate *g, const struct slate *s)
{
    if (s->settled_ms > g->now_ms) g->now_ms = s->settled_ms;
    if (g->rest_until_ms == INT64_MIN || g->now_ms < g->rest_until_ms) return;
    g->rest_until_ms = INT64_MIN;
    log_info("gate", "rest=over event_ms=%lld rested_slates=%llu", (long long)g->now_ms,
             (unsigned long long)g->counts.rested);
}

enum status line_gate_judge(struct line *l, const struct slate *s, const struct open_predictions *p,
                            uint64_t next_slate, enum line_verdict *verdict, struct err *e)
{
    struct line_gate *g = l->gate;
    double ours[GATE_FIGURES];
    bool worse = false;
    *verdict = LINE_GOES_ON;
    if (g == NULL || s->n_items == 0) return STATUS_OK;
    note_time(g, s);
    TRY(room_for(g, s->n_items, e));
    for (uint32_t i = 0; i < s->n_items; i++) g->labels[i] = s->items[i].label;
    figures_of(g, s, p->logits, ours);
    if (g->conf->gate_holdout_frac > 0) gate_tally_add(is_held_out(g, s) ? &g->held_out : &g->taught, user_of(s), ours);
    if (!gate_snapshot_there(g->blessed) || line_gate_rests(g) || s->id < g->judge_from || !is_chosen(g, s))
        return STATUS_OK;
    TRY(compare(l, s, ours, &worse, e));
    if (!worse) return STATUS_OK;
    g->counts.alarms++;
    *verdict = LINE_ROLLED_BACK;
    return line_gate_rollback(l, next_slate, e);
}

/* ---- one version ---- */

static bool tells_apart(const float *z, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (z[i] < z[0] || z[i] > z[0]) return true;
    return n < 2;
}

/* How far the line's scores are from the blessed version's. */
struct moved {
    double squares, n;
};

/* One probe list by both; OK with why filled when it speaks against the line. */
static enum status check_probe(struct line *l, const struct slate *s, struct moved *moved, char why[LINE_WHY],
                               struct err *e)
{
    struct line_gate *g = l->gate;
    TRY(room_for(g, s->n_items, e));
    TRY(score_by(g, gate_snapshot_params(g->blessed), s, e));
    const bool told = tells_apart(g->logits, s->n_items);
    memcpy(g->before, g->logits, s->n_items * sizeof *g->before);
    TRY(score_by(g, l->params, s, e));
    for (uint32_t i = 0; i < s->n_items; i++) {
        const double d = (double)g->logits[i] - (double)g->before[i];
        moved->squares += d * d;
        moved->n += 1.0;
        if (fabs((double)g->logits[i]) <= LINE_LOGIT_MAX) continue;
        (void)snprintf(why, LINE_WHY, "a probe list scored %g, beyond %g", (double)g->logits[i], LINE_LOGIT_MAX);
        return STATUS_OK;
    }
    if (told && !tells_apart(g->logits, s->n_items))
        (void)snprintf(why, LINE_WHY, "a probe list of %u items has one score for all", s->n_items);
    return STATUS_OK;
}

enum status line_gate_check(struct line *l, char why[LINE_WHY], struct err *e)
{
    struct line_gate *g = l->gate;
    param_here(l->params);
    const size_t bad = param_first_not_finite(l->params->w, l->params->n);
    why[0] = '\0';
    if (bad < l->params->n) (void)snprintf(why, LINE_WHY, "parameter %zu is not finite", bad);
    if (g == NULL || why[0] != '\0' || !gate_snapshot_there(g->blessed)) return STATUS_OK;
    struct moved moved = {0.0, 0.0};
    for (uint32_t i = 0; i < g->n_probes && why[0] == '\0'; i++) TRY(check_probe(l, g->probe[i], &moved, why, e));
    const double drift = moved.n > 0.0 ? sqrt(moved.squares / moved.n) : 0.0, most = g->conf->gate_max_drift;
    if (most > 0 && drift > most && why[0] == '\0')
        (void)snprintf(why, LINE_WHY,
                       "scores of %u probe lists moved by %.3g from the blessed version's, gate.max_drift=%g",
                       g->n_probes, drift, most);
    return STATUS_OK;
}

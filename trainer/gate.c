/* gate.c - see gate.h. */
#include "trainer/gate.h"
#include "trainer/eval_loss.h"
#include <math.h>
#include <string.h>

#define DAY_MS 86400000.0
#define FORMAT 3       /* 1: without the rise, 2: without the rate */
#define BOLD 2         /* of the bets … */
#define SUSPICION 3e-4 /* … and what they seldom reach without harm: several times their usual sum */
#define WEALTH_MAX 1e3 /* more proof than is asked for is thrown away, so that what comes later is seen */
#define RATE_SLATES 1000.0 /* the labels' rate is that of about so many slates; it begins at GATE_RATE, as of … */
#define RATE_ITEMS 50.0    /* … so many candidates */
#define RATE_MIN 1e-4

/* Shares of the largest bet that can't lose everything: from sure and large harm to small harm among much noise. */
static const double bets[GATE_BETS] = {0.9, 0.36, 0.14, 0.06, 0.02};

void gate_judge_init(struct gate_judge *j, const struct gate_rules *rules)
{
    memset(j, 0, sizeof *j);
    j->rules = *rules;
    j->last_ms = INT64_MIN;
    j->items = RATE_ITEMS;
    j->taken = RATE_ITEMS * GATE_RATE;
    gate_judge_probation(j);
}

static void lowest(struct gate_judge *j)
{
    j->rise = 0.0;
    memset(j->rise_sum, 0, sizeof j->rise_sum);
    memset(j->rise_weight, 0, sizeof j->rise_weight);
    memset(j->rise_n, 0, sizeof j->rise_n);
}

void gate_judge_begin(struct gate_judge *j)
{
    memset(j->worse, 0, sizeof j->worse);
    memset(j->harm_sum, 0, sizeof j->harm_sum);
    memset(j->harm_weight, 0, sizeof j->harm_weight);
    memset(j->harm_n, 0, sizeof j->harm_n);
    lowest(j);
    gate_judge_probation(j);
}

void gate_judge_probation(struct gate_judge *j)
{
    for (int f = 0; f < GATE_FIGURES; f++)
        for (int i = 0; i < GATE_BETS; i++) j->fine[f][i] = 1.0 / GATE_BETS;
    j->probed = 0;
}

/* 1, 1/2, 1/3 …: known before the slate's figures are. */
static double weight_of(struct gate_judge *j, uint64_t user)
{
    if (j->in_window++ == GATE_WINDOW) {
        memset(j->crowd, 0, sizeof j->crowd);
        j->in_window = 1;
    }
    return 1.0 / ++j->crowd[user % GATE_CROWD];
}

/* What this slate may spend, for one of the sums. */
static double budget_of(struct gate_judge *j, int64_t time_ms)
{
    double a = GATE_BUDGET_SLATE;
    if (j->last_ms == INT64_MIN || time_ms < j->last_ms) time_ms = j->last_ms == INT64_MIN ? time_ms : j->last_ms;
    if (j->last_ms != INT64_MIN) a = fmin(a, ((double)time_ms - (double)j->last_ms) / DAY_MS * j->rules.budget_per_day);
    j->last_ms = time_ms;
    return a / (GATE_FIGURES * GATE_BETS);
}

static double entropy(double p)
{
    return -p * log(p) - (1.0 - p) * log1p(-p);
}

struct scale { /* of a figure, for one slate, known before its labels are */
    double margin, range;
};

static struct scale scale_of(const struct gate_judge *j, int f, double items)
{
    if (f != GATE_LOSS) return (struct scale){j->rules.margin[f], 1.0};
    const double rate = fmin(fmax(j->taken / j->items, RATE_MIN), 1.0 - RATE_MIN);
    const double range = items > 0.0 ? 2.0 * (1.0 / items + 3.0 * rate) : 1.0;
    return (struct scale){j->rules.margin[f] * entropy(rate) / entropy(GATE_RATE), fmin(range, 1.0)};
}

static void note_rate(struct gate_judge *j, const struct gate_evidence *e)
{
    if (!(e->items > 0.0)) return;
    j->items += e->items - j->items / RATE_SLATES;
    j->taken += e->taken - j->taken / RATE_SLATES;
}

static void bet_on(struct gate_judge *j, int f, const struct gate_evidence *e, double weight)
{
    const struct scale s = scale_of(j, f, e->items);
    const double harm = e->harm[f], over = fmin(fmax(harm, -s.range), s.range) - s.margin, most = 1.0 / (s.range + s.margin);
    for (int i = 0; i < GATE_BETS; i++) {
        const double stake = bets[i] * most * weight * over;
        j->worse[f][i] *= 1.0 + stake;
        j->fine[f][i] = fmin(j->fine[f][i] * (1.0 - stake), WEALTH_MAX);
    }
    j->harm_sum[f] += weight * harm;
    j->harm_weight[f] += weight;
    j->harm_n[f]++;
}

/* What came before the bets began to win is not what they won by (the last low of a cumulative sum; Page 1954). */
static void follow(struct gate_judge *j, const struct gate_evidence *e, double weight, double before)
{
    if (before > 0.0) j->rise += log(gate_judge_worse(j) / before);
    if (!(j->rise > 0.0)) {
        lowest(j);
        return;
    }
    for (int f = 0; f < GATE_FIGURES; f++) {
        if (isnan(e->harm[f])) continue;
        j->rise_sum[f] += weight * e->harm[f];
        j->rise_weight[f] += weight;
        j->rise_n[f]++;
    }
}

bool gate_judge_add(struct gate_judge *j, const struct gate_evidence *e)
{
    const double weight = weight_of(j, e->user), a = budget_of(j, e->time_ms);
    j->probed++;
    for (int f = 0; f < GATE_FIGURES; f++)
        for (int i = 0; i < GATE_BETS; i++) j->worse[f][i] += a;
    const double before = gate_judge_worse(j);
    for (int f = 0; f < GATE_FIGURES; f++)
        if (!isnan(e->harm[f])) bet_on(j, f, e, weight);
    note_rate(j, e);
    follow(j, e, weight, before);
    return gate_judge_worse(j) >= 1.0;
}

double gate_judge_worse(const struct gate_judge *j)
{
    double sum = 0.0;
    for (int f = 0; f < GATE_FIGURES; f++)
        for (int i = 0; i < GATE_BETS; i++) sum += j->worse[f][i];
    return sum;
}

bool gate_judge_suspects(const struct gate_judge *j)
{
    double sum = 0.0;
    for (int f = 0; f < GATE_FIGURES; f++)
        for (int i = 0; i < BOLD; i++) sum += j->worse[f][i];
    return sum >= SUSPICION;
}

/* A figure that no slate had says nothing against the line. */
bool gate_judge_fine(const struct gate_judge *j)
{
    for (int f = 0; f < GATE_FIGURES; f++) {
        double wealth = 0.0;
        for (int i = 0; i < GATE_BETS; i++) wealth += j->fine[f][i];
        if (j->harm_n[f] > 0 && wealth < 1.0 / GATE_FINE_LEVEL) return false;
    }
    return j->harm_n[GATE_LOSS] > 0;
}

double gate_judge_mean(const struct gate_judge *j, enum gate_figure f)
{
    return j->harm_n[f] > 0 ? j->harm_sum[f] / j->harm_weight[f] : NAN;
}

double gate_judge_harm(const struct gate_judge *j, enum gate_figure f)
{
    return j->rise_n[f] > 0 ? j->rise_sum[f] / j->rise_weight[f] : NAN;
}

double gate_loss(const float *logits, const float *labels, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const double loss = eval_log_loss((double)logits[i], labels[i] >= 0.5f);
        sum += loss < GATE_LOSS_MAX ? loss : GATE_LOSS_MAX; /* NaN too is the most there is */
    }
    return sum / n;
}

void gate_judge_encode(struct buf *b, const struct gate_judge *j)
{
    buf_u32(b, FORMAT);
    for (int f = 0; f < GATE_FIGURES; f++) {
        for (int i = 0; i < GATE_BETS; i++) {
            buf_f64(b, j->worse[f][i]);
            buf_f64(b, j->fine[f][i]);
        }
        buf_f64(b, j->harm_sum[f]);
        buf_f64(b, j->harm_weight[f]);
        buf_u64(b, j->harm_n[f]);
    }
    buf_u64(b, j->probed);
    buf_i64(b, j->last_ms);
    buf_u32(b, j->in_window);
    for (int i = 0; i < GATE_CROWD; i++) buf_varint(b, j->crowd[i]);
    buf_f64(b, j->rise);
    for (int f = 0; f < GATE_FIGURES; f++) {
        buf_f64(b, j->rise_sum[f]);
        buf_f64(b, j->rise_weight[f]);
        buf_u64(b, j->rise_n[f]);
    }
    buf_f64(b, j->items);
    buf_f64(b, j->taken);
}

static bool is_sum(double x)
{
    return isfinite(x) && x >= 0.0;
}

static bool rise_decode(struct gate_judge *j, struct buf_reader *r)
{
    j->rise = buf_get_f64(r);
    bool sound = is_sum(j->rise);
    for (int f = 0; f < GATE_FIGURES; f++) {
        j->rise_sum[f] = buf_get_f64(r);
        j->rise_weight[f] = buf_get_f64(r);
        j->rise_n[f] = buf_get_u64(r);
        sound = sound && isfinite(j->rise_sum[f]) && is_sum(j->rise_weight[f]);
    }
    return sound;
}

static bool rate_decode(struct gate_judge *j, struct buf_reader *r)
{
    j->items = buf_get_f64(r);
    j->taken = buf_get_f64(r);
    return is_sum(j->items) && j->items > 0.0 && is_sum(j->taken) && j->taken <= j->items;
}

enum status gate_judge_decode(struct gate_judge *j, struct buf_reader *r, struct err *e)
{
    const uint32_t format = buf_get_u32(r);
    bool sound = format >= 1 && format <= FORMAT;
    for (int f = 0; f < GATE_FIGURES; f++) {
        for (int i = 0; i < GATE_BETS; i++) {
            j->worse[f][i] = buf_get_f64(r);
            j->fine[f][i] = buf_get_f64(r);
            sound = sound && is_sum(j->worse[f][i]) && is_sum(j->fine[f][i]);
        }
        j->harm_sum[f] = buf_get_f64(r);
        j->harm_weight[f] = buf_get_f64(r);
        j->harm_n[f] = buf_get_u64(r);
        sound = sound && isfinite(j->harm_sum[f]) && is_sum(j->harm_weight[f]);
    }
    j->probed = buf_get_u64(r);
    j->last_ms = buf_get_i64(r);
    j->in_window = buf_get_u32(r);
    for (int i = 0; i < GATE_CROWD; i++) {
        const uint64_t k = buf_get_varint(r);
        sound = sound && k <= GATE_WINDOW;
        j->crowd[i] = (uint16_t)k;
    }
    if (format > 1) sound = rise_decode(j, r) && sound;
    if (format > 2) sound = rate_decode(j, r) && sound;
    return sound && !r->bad && j->in_window <= GATE_WINDOW ? STATUS_OK
                                                           : ERR_SET(e, STATUS_CORRUPT, "the gate's judge is damaged");
}

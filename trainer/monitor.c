/* monitor.c - see monitor.h. */
#include "trainer/monitor.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORGET 0.5       /* of what sources brought, with each bucket */
#define SCALE_BUCKETS 50 /* behind the usual deviation */
#define SCALE_MIN 1e-6
#define HOUR_MS 3600000.0
#define RATE_MS 2700000.0 /* a rate's level follows it within so long: day and night are no change, a jump is */

const char *monitor_group_name(enum monitor_group g)
{
    static const char *const names[MONITOR_GROUPS] = {"labels", "volume", "scores", "schema", "rejects", "loss"};
    return (unsigned)g < MONITOR_GROUPS ? names[g] : "?";
}

void monitor_init(struct monitor *m, struct str name, uint64_t key, enum monitor_group group, enum monitor_kind kind)
{
    *m = (struct monitor){.key = key, .group = group, .kind = kind};
    (void)snprintf(m->name, sizeof m->name, "%.*s", (int)(name.n < MONITOR_NAME ? name.n : MONITOR_NAME - 1), name.p);
}

/* The source's place; the one that brought least makes room. */
static void add_source(struct monitor *m, uint64_t source, double n, double sum)
{
    size_t at = 0;
    for (size_t i = 0; i < MONITOR_SOURCES; i++) {
        if (m->by[i].source == source) {
            at = i;
            break;
        }
        if (m->by[i].n < m->by[at].n) at = i;
    }
    if (m->by[at].source != source) m->by[at].n = m->by[at].sum = 0.0;
    m->by[at].source = source;
    m->by[at].n += n;
    m->by[at].sum += sum;
}

void monitor_add(struct monitor *m, int64_t now_ms, uint64_t source, double n, double sum, double squares)
{
    if (!m->filling) {
        m->filling = true;
        m->since_ms = now_ms;
        m->n = m->sum = m->squares = 0.0;
    }
    m->n += n;
    m->sum += sum;
    m->squares += squares;
    if (source != 0) add_source(m, source, n, sum);
}

static double on_scale(const struct monitor *m, double value)
{
    switch (m->kind) {
    case MONITOR_SHARE: return 2.0 * asin(sqrt(fmin(fmax(value, 0.0), 1.0)));
    case MONITOR_MEAN: return value;
    case MONITOR_RATE: return log(fmax(value, 1e-9));
    }
    return value;
}

double monitor_level(const struct monitor *m)
{
    const double half = sin(0.5 * m->drift.mean);
    switch (m->kind) {
    case MONITOR_SHARE: return half * half;
    case MONITOR_MEAN: return m->drift.mean;
    case MONITOR_RATE: return exp(m->drift.mean);
    }
    return 0.0;
}

int64_t monitor_began_ms(const struct monitor *m)
{
    return m->run_ms[m->drift.sum[1] > m->drift.sum[0]];
}

/* The limit on the scale that drift works on. */
static double shift_of(const struct monitor *m, const struct monitor_limits *l)
{
    return m->kind == MONITOR_MEAN ? l->shift * m->scale : l->shift;
}

static enum drift_change judge(struct monitor *m, int64_t since_ms, int64_t now_ms, double noise,
                               const struct monitor_limits *l)
{
    const double ms = (double)(now_ms - since_ms), pace = m->kind == MONITOR_RATE ? ms / (ms + RATE_MS) : 0.0;
    const bool fell = m->group == MONITOR_LOSS && m->drift.out && m->value < m->drift.mean; /* it is back, and better */
    const double x = fell ? m->drift.mean : on_scale(m, m->value);
    const enum drift_change c = drift_add(&m->drift, x, noise, shift_of(m, l), l->warmup, pace);
    for (int side = 0; side < 2; side++)
        if (m->drift.run[side] == 1) m->run_ms[side] = since_ms;
    if (c == DRIFT_ALARM) m->out_ms = now_ms;
    for (size_t i = 0; i < MONITOR_SOURCES && c != DRIFT_ALARM; i++) {
        m->by[i].n *= FORGET;
        m->by[i].sum *= FORGET;
    }
    return c;
}

/* What is usual inside a bucket is learnt while nothing is wrong. */
static void learn_scale(struct monitor *m, double deviation)
{
    const double n = (double)m->drift.buckets + 1.0, a = 1.0 / (n < SCALE_BUCKETS ? n : SCALE_BUCKETS);
    if (!m->drift.out) m->scale += a * (fmax(deviation, SCALE_MIN) - m->scale);
}

enum drift_change monitor_judge(struct monitor *m, int64_t since_ms, int64_t now_ms, double value, double noise,
                                const struct monitor_limits *l)
{
    m->value = value;
    return judge(m, since_ms, now_ms, noise, l);
}

enum drift_change monitor_close(struct monitor *m, int64_t now_ms, const struct monitor_limits *l)
{
    if (!m->filling || now_ms - m->since_ms < l->bucket_ms || m->n < (double)l->bucket_events) return DRIFT_NONE;
    double noise = 1.0 / m->n;
    m->filling = false;
    m->value = m->sum / m->n;
    if (m->kind == MONITOR_RATE) m->value = m->n / ((double)(now_ms - m->since_ms) / HOUR_MS);
    if (m->kind == MONITOR_MEAN) {
        const double variance = fmax(m->squares / m->n - m->value * m->value, 0.0);
        noise = variance / m->n;
        learn_scale(m, sqrt(variance));
    }
    return judge(m, m->since_ms, now_ms, noise, l);
}

/* What the newest buckets were, on the scale, with the marked sources left out; NAN: nothing is left. */
static double without(const struct monitor *m, const bool *left_out)
{
    double n = 0.0, sum = 0.0, all = 0.0;
    for (size_t i = 0; i < MONITOR_SOURCES; i++) {
        all += m->by[i].n;
        if (left_out[i]) continue;
        n += m->by[i].n;
        sum += m->by[i].sum;
    }
    if (n <= 0.0) return (double)NAN;
    return on_scale(m, m->kind == MONITOR_RATE ? m->value * n / all : sum / n);
}

size_t monitor_blame(const struct monitor *m, const struct monitor_limits *l, uint64_t *sources, size_t cap)
{
    const double shift = shift_of(m, l), least = 0.25 * (double)l->bucket_events;
    bool suspect[MONITOR_SOURCES] = {false};
    double rest = 0.0;
    size_t n = 0;
    if (!m->drift.out || m->kind == MONITOR_MEAN) return 0;
    for (size_t i = 0; i < MONITOR_SOURCES; i++) {
        if (m->by[i].source == 0) continue;
        bool alone[MONITOR_SOURCES] = {false};
        alone[i] = true;
        const double own = m->kind == MONITOR_RATE ? without(m, alone) : on_scale(m, m->by[i].sum / m->by[i].n);
        const bool far = fabs(own - m->drift.mean) > 0.5 * shift;
        suspect[i] = m->by[i].n >= least && (m->kind == MONITOR_RATE ? !far : far);
        if (!suspect[i]) rest += m->by[i].n;
        if (suspect[i] && n < cap) sources[n++] = m->by[i].source;
    }
    return rest >= least && fabs(without(m, suspect) - m->drift.mean) <= 0.5 * shift ? n : 0;
}

void monitor_excuse(struct monitor *m, uint64_t source)
{
    for (size_t i = 0; i < MONITOR_SOURCES; i++)
        if (m->by[i].source == source) m->by[i].source = 0, m->by[i].n = m->by[i].sum = 0.0;
    m->filling = false;
    drift_excuse(&m->drift);
}

void monitor_encode(struct buf *b, const struct monitor *m)
{
    buf_str(b, str_from(m->name));
    buf_u64(b, m->key);
    buf_u32(b, m->of);
    buf_u8(b, (uint8_t)m->group);
    buf_u8(b, (uint8_t)m->kind);
    buf_u8(b, m->filling);
    buf_i64(b, m->since_ms);
    buf_f64(b, m->n);
    buf_f64(b, m->sum);
    buf_f64(b, m->squares);
    buf_f64(b, m->value);
    buf_f64(b, m->scale);
    drift_encode(b, &m->drift);
    for (int side = 0; side < 2; side++) buf_i64(b, m->run_ms[side]);
    buf_i64(b, m->out_ms);
    for (size_t i = 0; i < MONITOR_SOURCES; i++) {
        buf_u64(b, m->by[i].source);
        buf_f64(b, m->by[i].n);
        buf_f64(b, m->by[i].sum);
    }
}

static double finite_from(struct buf_reader *r)
{
    const double x = buf_get_f64(r);
    if (isfinite(x)) return x;
    r->bad = true;
    return 0.0;
}

void monitor_decode(struct monitor *m, struct buf_reader *r)
{
    const struct str name = buf_get_str(r);
    const uint64_t key = buf_get_u64(r);
    const uint32_t of = buf_get_u32(r);
    const uint8_t group = buf_get_u8(r), kind = buf_get_u8(r);
    if (group >= MONITOR_GROUPS || kind > MONITOR_RATE || name.n == 0 || name.n >= MONITOR_NAME) r->bad = true;
    *m = (struct monitor){0};
    if (r->bad) return;
    monitor_init(m, name, key, (enum monitor_group)group, (enum monitor_kind)kind);
    m->of = of;
    m->filling = buf_get_u8(r) != 0;
    m->since_ms = buf_get_i64(r);
    m->n = finite_from(r);
    m->sum = finite_from(r);
    m->squares = finite_from(r);
    m->value = finite_from(r);
    m->scale = finite_from(r);
    drift_decode(&m->drift, r);
    for (int side = 0; side < 2; side++) m->run_ms[side] = buf_get_i64(r);
    m->out_ms = buf_get_i64(r);
    for (size_t i = 0; i < MONITOR_SOURCES; i++) {
        m->by[i].source = buf_get_u64(r);
        m->by[i].n = finite_from(r);
        m->by[i].sum = finite_from(r);
    }
}

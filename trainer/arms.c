/* arms.c - see arms.h. */
#include "trainer/arms.h"
#include "base/mem.h"
#include "trainer/cluster_rate.h"
#include "trainer/ratio.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SLOTS (2 * ARMS_USERS_MAX) /* a power of two */

struct arm {
    struct cluster ctr, conversion; /* n: items shown, lists; y: taken, that converted */
    struct eval_cohorts cohorts;
    uint64_t lists;
};
struct place {
    uint64_t user; /* 0: free */
    uint8_t line;
};
struct arms {
    struct arm lines[CONF_LINES_MAX];
    struct place slots[SLOTS];
    struct place kept[ARMS_USERS_MAX]; /* scratch of thin */
    uint32_t n_users;
    uint32_t shift;                /* users whose hash begins with so many zero bits are in the sample */
    struct ratio ratio;            /* of each user that ever came into the sample, once: thinning it takes none back */
    uint64_t moved;                /* lists of a sampled user that another line served before */
    double shares[CONF_LINES_MAX]; /* of the split; beginning at nothing */
    size_t in_charge;
    uint64_t from; /* lists that were opened before this one are of another split */
};

enum status arms_new(struct arms **out, int64_t cohort_ms, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "arms: %zu bytes", sizeof **out);
    for (size_t i = 0; i < CONF_LINES_MAX; i++) eval_cohorts_init(&(*out)->lines[i].cohorts, cohort_ms);
    return STATUS_OK;
}

void arms_free(struct arms *a)
{
    mem_free(a);
}

/* ---- the sample of users ---- */

static struct place *place_of(struct place *slots, uint64_t user)
{
    size_t i = (size_t)user & (SLOTS - 1);
    while (slots[i].user != 0 && slots[i].user != user) i = (i + 1) & (SLOTS - 1);
    return &slots[i];
}

static bool in_sample(const struct arms *a, uint64_t user)
{
    return a->shift == 0 || user >> (64 - a->shift) == 0;
}

/* Half of the users leave: those that a hash twice as rare does not have. */
static void thin(struct arms *a)
{
    uint32_t n = 0;
    a->shift++;
    for (size_t i = 0; i < SLOTS; i++)
        if (a->slots[i].user != 0 && in_sample(a, a->slots[i].user)) a->kept[n++] = a->slots[i];
    memset(a->slots, 0, sizeof a->slots);
    for (uint32_t i = 0; i < n; i++) *place_of(a->slots, a->kept[i].user) = a->kept[i];
    a->n_users = n;
}

static void count_user(struct arms *a, uint64_t user, size_t line)
{
    if (user == 0) user = 1;
    if (!in_sample(a, user)) return;
    struct place *at = place_of(a->slots, user);
    if (at->user != 0) {
        a->moved += at->line != line;
        return;
    }
    *at = (struct place){user, (uint8_t)line};
    ratio_add(&a->ratio, a->shares, line);
    if (++a->n_users == ARMS_USERS_MAX) thin(a);
}

static void sample_anew(struct arms *a)
{
    memset(a->slots, 0, sizeof a->slots);
    memset(&a->ratio, 0, sizeof a->ratio);
    a->n_users = a->shift = 0;
    a->moved = 0;
}

void arms_split(struct arms *a, const struct conf *c, size_t in_charge, uint64_t next_slate)
{
    bool same = in_charge == a->in_charge;
    for (size_t i = 0; i < CONF_LINES_MAX; i++) {
        const double share = i < conf_lines(c) ? conf_line_share(c, i, in_charge) : 0.0;
        same = same && fabs(share - a->shares[i]) < 1e-9;
        a->shares[i] = share;
    }
    if (same) return;
    a->in_charge = in_charge;
    a->from = next_slate;
    sample_anew(a);
    for (size_t i = 0; i < CONF_LINES_MAX; i++) {
        memset(&a->lines[i].ctr, 0, sizeof a->lines[i].ctr);
        memset(&a->lines[i].conversion, 0, sizeof a->lines[i].conversion);
        a->lines[i].lists = 0;
    }
}

void arms_add(struct arms *a, const struct arms_seen *seen)
{
    const struct report_cohort *n = &seen->counts;
    if (!str_has(seen->user) || seen->line >= CONF_LINES_MAX || n->lists == 0) return;
    struct arm *arm = &a->lines[seen->line];
    const uint64_t user = cluster_user(seen->user);
    eval_cohorts_add(&arm->cohorts, seen->shown_ms, n);
    if (seen->slate < a->from) return;
    arm->lists++;
    cluster_add(&arm->ctr, user, (double)n->shown, (double)n->taken);
    cluster_add(&arm->conversion, user, 1.0, (double)n->converted_lists);
    count_user(a, user, seen->line);
}

/* ---- report ---- */

static struct report_interval shown(const struct cluster_interval *x)
{
    return (struct report_interval){x->mean, x->lower, x->upper};
}

static void report_arm(const struct arms *a, const struct conf *c, size_t line, size_t in_charge, uint64_t users,
                       struct report_arm *out)
{
    struct cluster_interval x;
    const struct arm *arm = &a->lines[line], *champion = &a->lines[in_charge];
    (void)snprintf(out->name, sizeof out->name, "%s", conf_line_name(c, line));
    out->share = conf_line_share(c, line, in_charge);
    out->lists = arm->lists;
    out->users = users;
    out->n_cohorts = eval_cohorts_report(&arm->cohorts, out->cohorts);
    cluster_rate(&arm->ctr, &x);
    out->ctr = shown(&x);
    cluster_rate(&arm->conversion, &x);
    out->conversion = shown(&x);
    out->ctr_difference = out->conversion_difference = (struct report_interval){NAN, NAN, NAN};
    if (line == in_charge) return; /* nothing to compare it with: they are not two samples */
    cluster_rate_difference(&arm->ctr, &champion->ctr, &x);
    out->ctr_difference = shown(&x);
    cluster_rate_difference(&arm->conversion, &champion->conversion, &x);
    out->conversion_difference = shown(&x);
}

/* Users of the sample now, by line. */
static void count_sample(const struct arms *a, uint64_t users[CONF_LINES_MAX])
{
    memset(users, 0, CONF_LINES_MAX * sizeof *users);
    for (size_t i = 0; i < SLOTS; i++)
        if (a->slots[i].user != 0) users[a->slots[i].line]++;
}

/* How far the sample of now is from the shares, and what all that it ever held says of them. */
static void check_ratio(const struct arms *a, const uint64_t *users, const struct conf *c, size_t in_charge,
                        struct report_arms *out)
{
    unsigned arms = 0;
    out->sampled_users = a->n_users;
    out->sample_frac = ldexp(1.0, -(int)a->shift);
    out->moved = a->moved;
    for (size_t i = 0; i < conf_lines(c); i++) {
        const double share = conf_line_share(c, i, in_charge), want = share * a->n_users, d = (double)users[i] - want;
        if (!(share > 0.0) && users[i] > 0) out->chi_square = INFINITY; /* nobody should be there */
        if (!(share > 0.0)) continue;
        if (want > 0.0) out->chi_square += d * d / want;
        arms++;
    }
    out->ratio_p = arms < 2 ? NAN : ratio_p(&a->ratio);
    out->ratio_alarm = out->ratio_p <= ARMS_ALARM_P;
}

void arms_report(const struct arms *a, const struct conf *c, size_t in_charge, struct report_arms *out)
{
    uint64_t users[CONF_LINES_MAX];
    memset(out, 0, sizeof *out);
    count_sample(a, users);
    for (size_t i = 0; i < conf_lines(c); i++) {
        if (a->lines[i].lists == 0 && !(conf_line_share(c, i, in_charge) > 0.0)) continue;
        report_arm(a, c, i, in_charge, users[i], &out->arms[out->n++]);
    }
    check_ratio(a, users, c, in_charge, out);
}

/* ---- state ---- */

void arms_encode(struct buf *b, const struct arms *a, const struct conf *c)
{
    buf_varint(b, conf_lines(c));
    for (size_t i = 0; i < conf_lines(c); i++) {
        buf_str(b, str_from(conf_line_name(c, i)));
        buf_u64(b, a->lines[i].lists);
        cluster_encode(b, &a->lines[i].ctr);
        cluster_encode(b, &a->lines[i].conversion);
    }
    buf_u64(b, a->moved);
    buf_varint(b, a->shift);
    buf_varint(b, a->n_users);
    for (size_t i = 0; i < SLOTS; i++) {
        if (a->slots[i].user == 0) continue;
        buf_u64(b, a->slots[i].user);
        buf_u8(b, a->slots[i].line);
    }
}

/* What was line i then is to[i] now; CONF_LINES_MAX: gone. */
static enum status decode_lines(struct arms *a, const struct conf *c, size_t *to, size_t *n, struct buf_reader *r,
                                struct err *e)
{
    *n = (size_t)buf_get_varint(r);
    if (r->bad || *n > CONF_LINES_MAX) return ERR_SET(e, STATUS_CORRUPT, "arms of %zu variants", *n);
    for (size_t i = 0; i < *n; i++) {
        struct arm gone = {0};
        const size_t line = conf_line_find(c, buf_get_str(r));
        struct arm *arm = line != SIZE_MAX ? &a->lines[line] : &gone;
        arm->lists = buf_get_u64(r);
        cluster_decode(&arm->ctr, r);
        cluster_decode(&arm->conversion, r);
        to[i] = line == SIZE_MAX ? CONF_LINES_MAX : line;
    }
    return STATUS_OK;
}

enum status arms_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e)
{
    size_t to[CONF_LINES_MAX], n;
    TRY(decode_lines(a, c, to, &n, r, e));
    a->moved = buf_get_u64(r);
    a->shift = (uint32_t)buf_get_varint(r);
    const size_t users = (size_t)buf_get_varint(r);
    if (r->bad || users >= ARMS_USERS_MAX || a->shift > 63) return ERR_SET(e, STATUS_CORRUPT, "arms: sample of users");
    bool whole = true; /* else the sample is one of other shares, and begins anew */
    for (size_t i = 0; i < users; i++) {
        const uint64_t user = buf_get_u64(r);
        const uint8_t line = buf_get_u8(r);
        if (r->bad || user == 0 || line >= n) return ERR_SET(e, STATUS_CORRUPT, "arms: sample of users is cut short");
        whole = whole && to[line] < CONF_LINES_MAX;
        if (whole) *place_of(a->slots, user) = (struct place){user, (uint8_t)to[line]};
        a->n_users++;
    }
    if (!whole) sample_anew(a);
    return STATUS_OK;
}

void arms_cohorts_encode(struct buf *b, const struct arms *a, const struct conf *c)
{
    buf_varint(b, conf_lines(c));
    for (size_t i = 0; i < conf_lines(c); i++) {
        buf_str(b, str_from(conf_line_name(c, i)));
        eval_cohorts_encode(b, &a->lines[i].cohorts);
    }
}

enum status arms_cohorts_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e)
{
    const uint64_t n = buf_get_varint(r);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct eval_cohorts gone = {.width_ms = 1};
        const size_t line = conf_line_find(c, buf_get_str(r));
        eval_cohorts_decode(line != SIZE_MAX ? &a->lines[line].cohorts : &gone, r);
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "arms: cohorts are cut short") : STATUS_OK;
}

void arms_split_encode(struct buf *b, const struct arms *a, const struct conf *c)
{
    buf_varint(b, conf_lines(c));
    for (size_t i = 0; i < conf_lines(c); i++) {
        buf_str(b, str_from(conf_line_name(c, i)));
        buf_f64(b, a->shares[i]);
    }
    buf_str(b, str_from(conf_line_name(c, a->in_charge)));
    buf_u64(b, a->from);
}

enum status arms_split_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e)
{
    const uint64_t n = buf_get_varint(r);
    memset(a->shares, 0, sizeof a->shares);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        const size_t line = conf_line_find(c, buf_get_str(r));
        const double share = buf_get_f64(r);
        if (line != SIZE_MAX) a->shares[line] = share;
    }
    a->in_charge = conf_line_find(c, buf_get_str(r));
    a->from = buf_get_u64(r);
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "arms: shares are cut short") : STATUS_OK;
}

void arms_ratio_encode(struct buf *b, const struct arms *a, const struct conf *c)
{
    buf_varint(b, conf_lines(c));
    for (size_t i = 0; i < conf_lines(c); i++) {
        buf_str(b, str_from(conf_line_name(c, i)));
        buf_u64(b, a->ratio.n[i]);
    }
    buf_f64(b, a->ratio.now);
    buf_f64(b, a->ratio.most);
}

/* Users of a line that is gone were of another split: arms_decode began the sample anew already. */
enum status arms_ratio_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e)
{
    bool whole = true;
    struct ratio then = {{0}, 0.0, 0.0};
    const uint64_t lines = buf_get_varint(r);
    for (uint64_t i = 0; i < lines && !r->bad; i++) {
        const size_t line = conf_line_find(c, buf_get_str(r));
        const uint64_t n = buf_get_u64(r);
        whole = whole && (line != SIZE_MAX || n == 0);
        if (line != SIZE_MAX) then.n[line] = n;
    }
    then.now = buf_get_f64(r);
    then.most = buf_get_f64(r);
    if (r->bad || isnan(then.now) || !(then.most >= 0.0))
        return ERR_SET(e, STATUS_CORRUPT, "arms: the sample ratio is cut short");
    memset(&a->ratio, 0, sizeof a->ratio);
    if (whole) a->ratio = then;
    return STATUS_OK;
}

void arms_ratio_recount(struct arms *a)
{
    uint64_t users[CONF_LINES_MAX];
    count_sample(a, users);
    ratio_from(&a->ratio, a->shares, users);
}

/* gate_sim.c - the judge of a line on made differences: how often it is wrong, how soon it is right.  tests/bench/gate.sh runs it.
 *
 *   gate_sim false SLATES RUNS HARM SEED [USERS]     runs of so many judged slates whose mean harm is HARM; false alarms in them
 *   gate_sim delay SLATES RUNS HARM SEED [USERS]     SLATES good ones, then harm HARM: judged slates until the alarm
 *
 * What is made is what differences of two models look like: per slate Student's t with three degrees of freedom (heavy tails)
 * times 0.1 nats; users by Zipf's law, each with a bias of its own of deviation 0.05 that never goes away, who come in sessions
 * of a few slates with a common term; an AUC difference of the same cause on 0.6 of the slates, in steps as a list of a few
 * candidates has them.  Before anything is wrong the mean is HARM at most.  One JSON line on stdout.
 */
#include "base/hash.h"
#include "base/rand.h"
#include "trainer/gate.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 20000, PER_DAY = 20000 };
static uint32_t users = USERS; /* at most USERS */
struct sim {
    struct rand rand;
    struct gate_judge judge;
    double share[USERS], bias[USERS]; /* cumulative; own harm, mean zero over slates */
    double session_harm;
    uint32_t user, left;
    int64_t time_ms;
};

static void make_users(struct sim *s)
{
    double sum = 0.0, mean = 0.0;
    for (uint32_t i = 0; i < users; i++) s->share[i] = sum += 1.0 / pow(i + 10.0, 0.9);
    for (uint32_t i = 0; i < users; i++) s->share[i] /= sum;
    for (uint32_t i = 0; i < users; i++) {
        s->bias[i] = 0.05 * rand_normal(&s->rand);
        mean += s->bias[i] * (s->share[i] - (i > 0 ? s->share[i - 1] : 0.0));
    }
    for (uint32_t i = 0; i < users; i++) s->bias[i] -= mean;
}

static void next_session(struct sim *s)
{
    const double at = rand_unit(&s->rand);
    uint32_t lo = 0, hi = users - 1;
    while (lo < hi) {
        const uint32_t mid = (lo + hi) / 2;
        if (s->share[mid] < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    s->user = lo;
    s->left = 1 + (uint32_t)rand_below(&s->rand, 6);
    s->session_harm = 0.05 * rand_normal(&s->rand);
}

static double student(struct rand *r)
{
    double sum = 0.0;
    for (int i = 0; i < 3; i++) {
        const double x = rand_normal(r);
        sum += x * x;
    }
    return rand_normal(r) / sqrt(sum / 3.0);
}

static bool slate(struct sim *s, double harm)
{
    if (s->left == 0) next_session(s);
    s->left--;
    s->time_ms += 86400000 / PER_DAY;
    const double own = harm + s->bias[s->user] + s->session_harm;
    struct gate_evidence e = {.user = hash_mix(s->user, 7), .time_ms = s->time_ms};
    e.harm[GATE_LOSS] = own + 0.1 * student(&s->rand);
    e.harm[GATE_AUC] = NAN;
    if (rand_below(&s->rand, 5) < 3) {
        const double x = own / 2.0 + 0.15 * rand_normal(&s->rand), step = 12.0;
        e.harm[GATE_AUC] = (floor(x * step) + (rand_unit(&s->rand) < x * step - floor(x * step) ? 1.0 : 0.0)) / step;
    }
    return gate_judge_add(&s->judge, &e);
}

static void begin(struct sim *s, uint64_t seed, uint64_t run)
{
    const struct gate_rules rules = {.margin = {0.01, 0.01}, .budget_per_day = 0.01};
    memset(s, 0, sizeof *s);
    rand_init(&s->rand, (struct rand_key){.seed = seed, .offset = run, .purpose = RAND_TEST});
    gate_judge_init(&s->judge, &rules);
    make_users(s);
}

static int by_size(const void *p, const void *q)
{
    const double a = *(const double *)p, b = *(const double *)q;
    return a < b ? -1 : a > b;
}

static void run_false(struct sim *s, uint64_t slates, uint64_t runs, double harm, uint64_t seed)
{
    uint64_t alarms = 0;
    double most = 0.0;
    for (uint64_t r = 0; r < runs; r++) {
        begin(s, seed, r);
        for (uint64_t i = 0; i < slates; i++) {
            const bool alarm = slate(s, harm);
            most = fmax(most, gate_judge_worse(&s->judge));
            alarms += alarm;
            if (alarm) gate_judge_begin(&s->judge);
        }
    }
    (void)printf("{\"what\":\"false\",\"harm\":%g,\"slates\":%.0f,\"alarms\":%llu,\"per_million\":%g,\"most\":%.3g}\n",
                 harm, (double)(slates * runs), (unsigned long long)alarms,
                 (double)alarms * 1e6 / (double)(slates * runs), most);
}

static int run_delay(struct sim *s, uint64_t slates, uint64_t runs, double harm, uint64_t seed)
{
    double *delay = calloc(runs, sizeof *delay);
    uint64_t early = 0;
    if (delay == NULL) return 1;
    for (uint64_t r = 0; r < runs; r++) {
        begin(s, seed, r);
        for (uint64_t i = 0; i < slates; i++)
            if (slate(s, 0.0)) early++, gate_judge_begin(&s->judge);
        do delay[r]++;
        while (!slate(s, harm) && delay[r] < 1e7);
    }
    qsort(delay, runs, sizeof *delay, by_size);
    (void)printf(
        "{\"what\":\"delay\",\"harm\":%g,\"runs\":%llu,\"early\":%llu,\"median\":%.0f,\"p90\":%.0f,\"most\":%.0f}\n",
        harm, (unsigned long long)runs, (unsigned long long)early, delay[runs / 2], delay[runs * 9 / 10],
        delay[runs - 1]);
    free(delay);
    return 0;
}

int main(int argc, char **argv)
{
    static struct sim s;
    if (argc == 7) users = (uint32_t)strtoul(argv[6], NULL, 10);
    if (argc < 6 || argc > 7 || users < 1 || users > USERS) {
        (void)fprintf(stderr, "usage: gate_sim false|delay SLATES RUNS HARM SEED [USERS up to %d]\n", USERS);
        return 2;
    }
    const uint64_t slates = strtoull(argv[2], NULL, 10), runs = strtoull(argv[3], NULL, 10);
    const double harm = strtod(argv[4], NULL);
    const uint64_t seed = strtoull(argv[5], NULL, 10);
    if (strcmp(argv[1], "delay") == 0) return run_delay(&s, slates, runs, harm, seed);
    run_false(&s, slates, runs, harm, seed);
    return 0;
}

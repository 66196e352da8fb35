/* gate.h - the judge of a line: is the learner worse than its blessed version by more than the margin?
 *
 * Both have scored the same slate before anything was learnt from it.  Evidence is x = the learner's harm on it, clipped to
 * [-1, 1] or less: the difference of the mean log-losses, and on slates with both labels that of the AUCs.  The line is innocent as
 * long as E[x | past] <= margin, whatever the distribution, the order and how one slate depends on another.
 *
 *   bet      1 + lambda·w·(x - margin) has expectation at most 1 under innocence (testing by betting; Waudby-Smith and Ramdas,
 *            JRSS B 2024).  The lambdas of a small fixed grid are mixed: which one would do best is not known beforehand.
 *   user     w = 1/k for the k-th slate of a user within GATE_WINDOW judged ones, known before x is: a user is a cluster, of
 *            which each further slate says less, and one that floods the stream decides nothing.
 *   sums     M <- (M + a)·(1 + lambda·w·(x - margin)) may begin at every slate (an e-detector of Shiryaev and Roberts; Shin,
 *            Ramdas and Rinaldo 2022), so damage that begins after a long good time is found as fast as at once.
 *   rate     Where few of the candidates are taken, losses are small, and so is the harm that matters: the margin of the log-loss is of
 *            lists with a label rate of GATE_RATE, and at another one in proportion to what a constant prediction loses there.
 *            The bets' range shrinks with it, to what a list of so many candidates plausibly differs by (each label's loss by
 *            2, three times as many labels as usual), so that they can be as bold.  The rate is that of the slates before.
 *   budget   a is what the slate's time may spend: the sum of all M less the sum of all a is a supermartingale, so the chance
 *            of ever seeing M >= 1 without harm is at most the sum of a (Ville 1939).  a = days since the slate before, times
 *            `budget_per_day`, and at most GATE_BUDGET_SLATE: both bounds hold, however many versions there were.
 *
 * The other way round the same bets show that a line is *not* worse (x' = margin - harm): one martingale for each figure, begun
 * anew by gate_judge_probation, against 1/GATE_FINE_LEVEL.  Plain data but for gate_judge_encode; no clock, no randomness.
 */
#ifndef TRAINER_GATE_H
#define TRAINER_GATE_H
#include "base/buf.h"
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

#define GATE_BETS 5
#define GATE_WINDOW 4096       /* judged slates after which every user is new again */
#define GATE_CROWD 16384       /* users are told apart by so many places; those that share one share its weights */
#define GATE_BUDGET_SLATE 1e-6 /* a false alarm at most every million judged slates, however few come in a day */
#define GATE_FINE_LEVEL 0.05
#define GATE_RATE 0.2

enum gate_figure { GATE_LOSS, GATE_AUC, GATE_FIGURES };
struct gate_rules {
    double margin[GATE_FIGURES]; /* harm that is let pass; >= 0; of the log-loss: at GATE_RATE */
    double budget_per_day;       /* expected false alarms; > 0 */
};
struct gate_evidence {
    uint64_t user; /* hash of whose slate it is */
    int64_t time_ms;
    double harm[GATE_FIGURES]; /* positive: the learner is worse; NaN: says nothing (a list without both labels) */
    double items, taken;       /* candidates, and labels of 1 among them; 0 items: not known, and says nothing of the rate */
};
struct gate_judge {
    struct gate_rules rules;
    double worse[GATE_FIGURES][GATE_BETS];                    /* M */
    double fine[GATE_FIGURES][GATE_BETS];                     /* wealth of the bets on "not worse" */
    double harm_sum[GATE_FIGURES], harm_weight[GATE_FIGURES]; /* since gate_judge_begin: for figures only */
    uint64_t harm_n[GATE_FIGURES], probed;                    /* … and slates since gate_judge_probation */
    double rise; /* ln of what the sum of all M grew by since it was lowest … */
    double rise_sum[GATE_FIGURES], rise_weight[GATE_FIGURES]; /* … and the harm in that time: for figures only */
    uint64_t rise_n[GATE_FIGURES];
    double items, taken; /* of the slates so far, older ones less and less */
    int64_t last_ms;     /* of the newest slate; INT64_MIN: none yet */
    uint32_t in_window;
    uint16_t crowd[GATE_CROWD]; /* slates of these users in this window */
};
void gate_judge_init(struct gate_judge *j, const struct gate_rules *rules);
/* A new blessed version: what was said against the line was said in comparison with the old one. */
void gate_judge_begin(struct gate_judge *j);
void gate_judge_probation(struct gate_judge *j); /* the proof of "not worse" begins anew */
/* Takes one slate's evidence.  True: the line is worse than the margin allows (gate_judge_worse has reached 1). */
bool gate_judge_add(struct gate_judge *j, const struct gate_evidence *e);
double gate_judge_worse(const struct gate_judge *j); /* 0 … 1: the share of the way to an alarm */
/* Whether it is worth a closer look: the boldest bets, which an innocent line loses soonest, have won for a while. */
bool gate_judge_suspects(const struct gate_judge *j);
/* Whether every figure that was seen since gate_judge_probation is shown to be within the margin. */
bool gate_judge_fine(const struct gate_judge *j);
double gate_judge_mean(const struct gate_judge *j,
                       enum gate_figure f); /* harm, weighted as above, since gate_judge_begin; NaN: none yet */
/* The same over the slates that speak against the line: since the sum of all M was lowest, as far as bets go. */
double gate_judge_harm(const struct gate_judge *j, enum gate_figure f);
/* What a list's predictions lose against its labels, mean over the candidates, each at most GATE_LOSS_MAX; n > 0. */
#define GATE_LOSS_MAX 8.0
double gate_loss(const float *logits, const float *labels, uint32_t n);
/* All but the rules, which are the configuration's.  decode: CORRUPT. */
void gate_judge_encode(struct buf *b, const struct gate_judge *j);
enum status gate_judge_decode(struct gate_judge *j, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif

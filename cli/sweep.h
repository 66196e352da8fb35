/* sweep.h - `freshet sweep`: which settings learn best, by successive halving (Jamieson and Talwalkar 2016) over one log.
 *
 * A trial is one value for each key that is tried; trial 0 is the configuration as it is.  In each round every trial that is
 * left replays the first days of the log, the better ones go on to a round of eta times as many days.  What is chosen is
 * chosen on early days; the best trial and trial 0 are then reported on the late days, which nobody looked at before.
 * Every replay is a process of its own (this program), so that a trial cannot see another.
 */
#ifndef CLI_SWEEP_H
#define CLI_SWEEP_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf.h"

#define CMD_SWEEP_KEYS 12
#define CMD_SWEEP_VALUES 24
#define CMD_SWEEP_TRIALS 256
#define CMD_SWEEP_ROUNDS 6

struct cmd_sweep_key {
    char name[64];
    char values[CMD_SWEEP_VALUES][96];
    size_t n;
};
struct cmd_sweep_figures { /* NaN: not run */
    double gauc, logloss, calibration, seconds;
    double days; /* of the log, warm-up included */
};
struct cmd_sweep_trial {
    size_t value[CMD_SWEEP_KEYS]; /* index into the key's values; trial 0: none */
    size_t rounds;                /* that it took part in */
    struct cmd_sweep_figures round[CMD_SWEEP_ROUNDS], late;
    char failed[256];      /* why it is out; "" otherwise */
    char late_failed[256]; /* why there are no late figures, which puts nobody out */
};
struct cmd_sweep {
    const struct conf *conf;
    const char *const *logs;
    size_t n_logs;
    struct cmd_sweep_key keys[CMD_SWEEP_KEYS];
    size_t n_keys;
    struct cmd_sweep_trial trials[CMD_SWEEP_TRIALS];
    size_t n_trials, n_rounds;
    double days[CMD_SWEEP_ROUNDS]; /* of each round */
    double warmup_days, choose_days, log_days; /* log_days <= choose_days: there are no late days */
    unsigned eta, jobs;
    uint64_t seed;
    bool by_logloss;
    char dir[512]; /* temporary; the effective configuration is in it */
};
/* "train.learning_rate=5e-5|1e-4; train.batch_slates=1|2|4".  INVALID names the key or value that a configuration does not
 * take, a key that stands twice, and one by which trials would judge other lists or labels (conf_judges_alike). */
enum status cmd_sweep_parse(struct cmd_sweep *s, const char *text, struct err *e) MUST_CHECK;
/* Trials 1 …: all combinations, or `most` of them chosen by the seed, none twice. */
void cmd_sweep_draw(struct cmd_sweep *s, size_t most);
/* The settings of a trial as "key=value key=value"; "as configured" for trial 0. */
void cmd_sweep_name(struct buf *b, const struct cmd_sweep *s, size_t trial);
/* Reads the logs for log_days, and sets n_rounds (at most what it was) and days, none beyond the log.  INVALID: nothing is left
 * after the warm-up; IO. */
enum status cmd_sweep_plan(struct cmd_sweep *s, struct err *e) MUST_CHECK;
/* All rounds and the late days.  Progress on stderr. */
enum status cmd_sweep_run(struct cmd_sweep *s, struct err *e) MUST_CHECK;
/* Trials, best first: of those that went furthest, by their last round. */
void cmd_sweep_order(const struct cmd_sweep *s, size_t order[CMD_SWEEP_TRIALS]);
bool cmd_sweep_better(const struct cmd_sweep *s, const struct cmd_sweep_figures *a, const struct cmd_sweep_figures *b);
void cmd_sweep_put_table(struct buf *b, const struct cmd_sweep *s);
void cmd_sweep_put_svg(struct buf *b, const struct cmd_sweep *s);
enum status cmd_sweep_write_json(const struct cmd_sweep *s, const char *path, struct err *e) MUST_CHECK;
#endif

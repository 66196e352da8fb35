/* worth.h - `freshet worth`: what live learning brings on a log, and what it costs.
 *
 * One replay holds the model that learns live and, as variants that follow it (train.follow_ms), the same model frozen after
 * the warm-up, refreshed daily and refreshed hourly: all predict the same slates at the same moments, so the differences are
 * paired.  --what-if adds another configuration: a variant too where it changes the learner alone; where it changes sentences,
 * features or labels it is a second replay, paired slate by slate.
 */
#ifndef CLI_WORTH_H
#define CLI_WORTH_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf.h"

#define CMD_WORTH_ROWS 6

struct cmd_worth_row {
    char name[160];
    double gauc, logloss, calibration;
    double score_core_s, learn_core_s; /* NaN: not known apart */
    double less_gauc[3],
        less_logloss[3]; /* the live model's less this one's: mean, lower, upper (95 %, by users); NaN: none */
};
struct cmd_worth {
    struct cmd_worth_row rows[CMD_WORTH_ROWS];
    size_t n;
};
/* From the report of the replay (schemas/json/report.schema.json), live first. */
enum status cmd_worth_read(struct cmd_worth *w, const char *report_path, struct err *e) MUST_CHECK;
/* A second replay's report and slates against those of the live model.  CONFLICT: they are not the same slates. */
enum status cmd_worth_pair(struct cmd_worth *w, const char *name, const char *live_slates, const char *other_report,
                           const char *other_slates, double core_s, struct err *e) MUST_CHECK;
void cmd_worth_put_table(struct buf *b, const struct cmd_worth *w);
enum status cmd_worth_write_json(const struct cmd_worth *w, const char *path, struct err *e) MUST_CHECK;
#endif

/* worth.h - `freshet worth`: what live learning brings on a log, and what it costs.
 *
 * One replay holds the model that learns live and, as variants that follow it (train.follow_ms), the same model frozen after
 * the warm-up, refreshed daily and refreshed hourly: all predict the same slates at the same moments, so the differences are
 * paired.  Each --what-if adds another configuration: a variant too where it changes the learner alone; where it changes
 * sentences or features it is a second replay, paired slate by slate.
 */
#ifndef CLI_WORTH_H
#define CLI_WORTH_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf_variant.h"

#define CMD_WORTH_FOLLOWERS 3
#define CMD_WORTH_IFS (CONF_VARIANTS_MAX - CMD_WORTH_FOLLOWERS) /* 4: each may be a variant */
#define CMD_WORTH_ROWS CONF_LINES_MAX
#define CMD_WORTH_SETTINGS 12

struct cmd_worth_if {                       /* one --what-if */
    char settings[CMD_WORTH_SETTINGS][192]; /* key=value */
    size_t n;
    char name[160];   /* "what if key=value key=value" */
    char variant[16]; /* its name as one; "": it is a replay of its own */
};
struct cmd_worth_ifs {
    struct cmd_worth_if items[CMD_WORTH_IFS];
    size_t n;
};
/* "key=value; key=value".  Adds it to w, and to c as a variant where that can be.  INVALID: no setting of a configuration, or
 * one that changes which lists there are, how they are labelled or what is measured of them. */
enum status cmd_worth_take_if(struct cmd_worth_ifs *w, struct conf *c, const char *text, struct err *e) MUST_CHECK;

struct cmd_worth_row {
    char name[160];
    const struct cmd_worth_if *what; /* NULL: none of --what-if */
    bool refreshed; /* takes over what live learns again and again */
    double gauc, logloss, calibration;
    double score_core_s, learn_core_s; /* of scores, and of the steps behind its parameters (a follower's: live's until then) */
    double less_gauc[3],
        less_logloss[3]; /* the live model's less this one's: mean, lower, upper (95 %, by users); NaN: none */
};
struct cmd_worth {
    struct cmd_worth_row rows[CMD_WORTH_ROWS];
    size_t n;
    uint64_t cut_off; /* lists whose window had not ended with the log: in no figure */
};
/* From the report of the replay (schemas/json/report.schema.json), live first.  INVALID: no list was judged from day `from` on. */
enum status cmd_worth_read(struct cmd_worth *w, const char *report_path, uint64_t from, const struct cmd_worth_ifs *ifs,
                           struct err *e) MUST_CHECK;
/* A second replay's report and slates against those of the live model.  CONFLICT: they are not the same slates. */
enum status cmd_worth_pair(struct cmd_worth *w, const struct cmd_worth_if *what, const char *live_slates,
                           const char *other_report, const char *other_slates, struct err *e) MUST_CHECK;
void cmd_worth_put_table(struct buf *b, const struct cmd_worth *w);
enum status cmd_worth_write_json(const struct cmd_worth *w, const char *path, struct err *e) MUST_CHECK;
#endif

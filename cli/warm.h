/* warm.h - inside `freshet model warm`: from where the sentences come, and the hands that they are given to.
 *
 * A source gives sentences of items (and of what users did with them) in any order and as often as it likes; what the file
 * has already is taken over, the rest is computed in batches that keep all workers busy, and written at once: memory holds
 * one batch and 16 bytes a sentence.
 */
#ifndef CLI_WARM_H
#define CLI_WARM_H
#include "base/clock.h"
#include "featurize/feat.h"
#include "model/state_file.h"
#include "schemas/conf.h"
#include <signal.h>

struct cmd_warm {
    const struct conf *conf;
    struct token_vocab *vocab;
    struct describe *templates;
    struct feat *feat;
    struct kern *kern;
    struct encoder *encoder;
    struct model *model;
    struct state_cache *states;
    struct state_file *before;     /* the file that is there; NULL: none */
    struct state_file_writer *out; /* the one that is made */
    uint16_t *numbers;             /* (2 + positions, C) of one entry that is kept */
    struct state_request *batch;   /* (CMD_WARM_BATCH) */
    const struct state_entry **entries;
    int32_t *ids; /* (CMD_WARM_TOKENS) of the batch */
    size_t n_batch, n_ids;
    uint64_t items, computed, kept, damaged;
    int64_t started_us, shown_us;
    double done_frac; /* of the source, for the bar; < 0: not known */
    bool quiet, terminal, shown;
};
#define CMD_WARM_BATCH 512
#define CMD_WARM_TOKENS 16384
extern volatile sig_atomic_t cmd_warm_stopping; /* a signal came: sources end early, with END */

/* One sentence, whose ids are copied.  n 0 is none.  INVALID: ids that the encoder has not. */
enum status cmd_warm_sentence(struct cmd_warm *w, uint64_t hash, const int32_t *ids, uint32_t n,
                              struct err *e) MUST_CHECK;
/* An item's own, and those of the events that a user's view reads. */
enum status cmd_warm_item(struct cmd_warm *w, const struct record_item *i, struct err *e) MUST_CHECK;
enum status cmd_warm_user(struct cmd_warm *w, const struct record_user *u, struct err *e) MUST_CHECK;
enum status cmd_warm_flush(struct cmd_warm *w, struct err *e) MUST_CHECK;
void cmd_warm_show(struct cmd_warm *w); /* progress, when it is time for it */

/* The sources.  END: stopped by a signal.  Others as what they read says. */
enum status cmd_warm_logs(struct cmd_warm *w, const char *const *paths, size_t n, struct err *e) MUST_CHECK;
struct checkpoint_meta;
enum status cmd_warm_state(struct cmd_warm *w, const struct checkpoint_meta *m, struct err *e) MUST_CHECK;
enum status cmd_warm_redis(struct cmd_warm *w, struct err *e) MUST_CHECK;
#endif

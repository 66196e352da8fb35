/* check.h - what the checks of `freshet check` share: the table of findings, and what one check leaves for the next.
 *
 * Each check looks at one thing from outside and adds rows: what was found, and what to mend.  None changes anything.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H
#include "base/buf.h"
#include "schemas/conf.h"
#include "serving/publish_need.h"
#include <stdbool.h>
#include <stddef.h>

enum cmd_check_state { CMD_CHECK_OK, CMD_CHECK_WARN, CMD_CHECK_WRONG, CMD_CHECK_SKIP, CMD_CHECK_STATES };
struct token_vocab;
struct cmd_check {
    const struct conf *conf;
    struct token_vocab *vocab; /* of the model folder; NULL when it did not open */
    uint32_t n_numeric;        /* features; 0 when they did not open */
    uint64_t fingerprint;      /* model_fingerprint of this configuration; 0: not known */
    uint64_t recipe;           /* feat_recipe of it; 0: not known */
    struct publish_need need;  /* of Redis's memory; version_bytes 0 when the model did not open */
    struct buf out;            /* the table as text */
    unsigned count[CMD_CHECK_STATES];
};
/* One row: "ok     model        found", and with mend (NULL: none) a second line. */
void cmd_check_row(struct cmd_check *c, enum cmd_check_state state, const char *what, const char *mend, const char *fmt,
                   ...) __attribute__((format(printf, 5, 6)));
/* A line below the last row, indented. */
void cmd_check_more(struct cmd_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void cmd_check_model(struct cmd_check *c);
void cmd_check_memory(struct cmd_check *c);
void cmd_check_logs(struct cmd_check *c, const char *const *paths, size_t n);
void cmd_check_kafka(struct cmd_check *c);
void cmd_check_redis(struct cmd_check *c);
void cmd_check_state(struct cmd_check *c);
void cmd_check_files(struct cmd_check *c);
/* path: a file, or topic:NAME; save: a file that a topic's letters are written to, or NULL. */
void cmd_check_letters(struct cmd_check *c, const char *path, const char *save);
#endif

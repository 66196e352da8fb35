/* eval_logged.h - figures of what the log of answers says was served, joined by request with the lists that came back.
 *
 * Over all, by the variant and by the version that answered (the newest EVAL_LOGGED_VERSIONS of them); eval_served.h's figures.
 * Of a share of the lists more is known: the learner made their features again for the request's time, and where it still
 * had the version that answered, that version's logits.  Equal features and a skew of 0 there mean that scorer and learner do
 * the same; what the skew of all lists has beside it is what was learnt in between.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_LOGGED_H
#define TRAINER_EVAL_LOGGED_H
#include "schemas/conf_variant.h"
#include "trainer/eval_served.h"

#define EVAL_LOGGED_VERSIONS REPORT_LOGGED_VERSIONS

struct eval_logged_version {
    uint64_t version;
    struct eval_served served;
};
struct eval_logged {
    uint64_t answers, joined, unmatched; /* unmatched: no list came before newer answers took the place */
    struct eval_served all, lines[CONF_LINES_MAX];
    struct eval_logged_version versions[EVAL_LOGGED_VERSIONS]; /* ascending, the first n_versions */
    uint32_t n_versions;
    uint64_t checked, items, equal;
    struct eval_skew same;
};
/* A settled list that line `line` served at `version`; t and room as eval_served_add's.  An older version than all that are
 * kept counts in the rest alone. */
void eval_logged_add(struct eval_logged *v, size_t line, uint64_t version, const struct eval_terms *t,
                     const struct eval_served_room *room);
void eval_logged_report(const struct eval_logged *v, const struct conf *c, struct report_logged *out);
/* By the lines' names in c: one that is gone is left out. */
void eval_logged_encode(struct buf *b, const struct eval_logged *v, const struct conf *c);
enum status eval_logged_decode(struct eval_logged *v, const struct conf *c, struct buf_reader *r,
                               struct err *e) MUST_CHECK;
#endif

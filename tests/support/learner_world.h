/* learner_world.h - a learner over a simulated log on a tiny BERT folder, for tests of job.
 *
 * Opens configuration, tokenizer, templates, encoder; makes the log; feeds it record by record.  Failures fail the test.
 */
#ifndef TESTS_SUPPORT_LEARNER_WORLD_H
#define TESTS_SUPPORT_LEARNER_WORLD_H
#include "featurize/describe.h"
#include "featurize/token.h"
#include "ingest/source.h"
#include "job/learner.h"
#include "model/encoder.h"
#include "schemas/conf.h"
#include "simulate/shop.h"
#include "tests/support/tmpdir.h"

struct learner_world {
    struct tmpdir dir;
    struct conf *conf;
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    struct learner_parts_in in; /* what learner_new takes; store NULL */
    struct source *source;
    struct source_batch *batch;
    uint32_t at; /* next record of the batch */
};
void learner_world_open(struct learner_world *w, uint64_t events);
void learner_world_open_for(struct learner_world *w, uint64_t events, uint64_t users);
/* The same over the log of that shop; returns the lists shown in it. */
uint64_t learner_world_open_shop(struct learner_world *w, const struct shop_options *o);
void learner_world_close(struct learner_world *w);
void learner_world_rewind(struct learner_world *w); /* the log from its beginning */
/* Feeds n records (or what is left) to l, or nowhere (NULL); returns how many there were. */
uint64_t learner_world_feed(struct learner_world *w, struct learner *l, uint64_t n);
#endif

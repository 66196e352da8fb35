/* fetching.h - a fetch against a private Redis, with a learner's world that publishes to it: what the tests of fetch*.c share.
 *
 * One set of hands for a test program: fetching_start and fetching_stop around its group, fetching_fresh before each test.
 * Any failure fails the test with its sentence.
 */
#ifndef TESTS_SUPPORT_FETCHING_H
#define TESTS_SUPPORT_FETCHING_H
#include "serving/fetch.h"
#include "tests/support/serving_world.h"

extern struct fetching {
    struct serving_world w;
    struct clock_fake fake; /* fetch waits before it looks at a refused version again: held still here */
    struct model_run *probe;
    struct redis *redis;
} fetching;

int fetching_start(void **state); /* hashed rows of several chunks */
int fetching_stop(void **state);
int fetching_fresh(void **state); /* an empty Redis, a new publisher, the same weights as ever */

struct fetch *fetching_new(void);
/* The publisher mends what it finds damaged: it ends before anything is damaged, and begins again. */
void fetching_end_publisher(void);
void fetching_begin_publisher(void);
/* The next version is that one, and its parameters are the learner's to the bit. */
void fetching_expect(struct fetch *f, uint64_t version);

struct str fetching_get(struct redis *r, const char *key); /* valid until the next command */
void fetching_set(struct redis *r, const char *key, const void *bytes, size_t n);
#endif

/* state_files.h - a small encoder, its sentences, and files of their states, for the tests of model/state_file*.c.
 *
 * The golden encoder "gelu" (width 32), sentences of random ids, one folder a test.  Caches keep what follows layer
 * STATE_FILES_MID.  Everything is the group's: state_files_open_model and _close_model, and each test's: _make_dir, _remove_dir.
 */
#ifndef TESTS_SUPPORT_STATE_FILES_H
#define TESTS_SUPPORT_STATE_FILES_H
#include "model/state_file.h"
#include "tests/support/tmpdir.h"

enum { SENTENCES = 12, FEW = 3, WIDTH = 32, MOST_TOKENS = 9, NUMBERS = (2 + MOST_TOKENS) * WIDTH, STATE_FILES_MID = 1 };

extern struct state_request state_files_req[SENTENCES];
extern struct tmpdir state_files_dir;
int state_files_open_model(void **state);
int state_files_close_model(void **state);
int state_files_make_dir(void **state);
int state_files_remove_dir(void **state);

struct state_cache *state_files_cache(bool tokens);        /* an empty one: state_cache_free */
const char *state_files_path(const struct state_cache *c); /* of its kind's file; good until the next call */
void state_files_make(struct state_cache *c, size_t n);    /* the file of the first n sentences, as c computes them */
struct state_file *state_files_open(const struct state_cache *c);
/* Adds the first n sentences' states to w.  Errors of state_acquire and state_file_add. */
enum status state_files_add(struct state_file_writer *w, struct state_cache *c, size_t n, struct err *e) MUST_CHECK;
void state_files_assert_same(struct state_cache *a, struct state_cache *b); /* every entry, bit by bit */
/* Changes the header of c's file, its check made to fit. */
struct state_file_head;
void state_files_change_head(const struct state_cache *c, void (*change)(struct state_file_head *h));
#endif

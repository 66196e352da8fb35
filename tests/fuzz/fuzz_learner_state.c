/* fuzz_learner_state.c - what the learner keeps in a checkpoint: slates, open slates with their predictions, the evaluator.
 *
 * The first byte picks the piece.  What is accepted, packed again, reads as the same; every index in a slate is in range.
 */
#include "job/open.h"
#include "schemas/slate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tmpdir.h"
#include "trainer/eval.h"
#include <math.h>
#include <stdlib.h>

static void same_bytes(const struct buf *first, const struct buf *second)
{
    FUZZ_CHECK(!first->oom && first->n == second->n && memcmp(first->p, second->p, first->n) == 0);
}

static void check_slate(const struct slate *s)
{
    for (uint32_t i = 0; i < s->n_sentences; i++)
        FUZZ_CHECK(s->sentences[i].first <= s->n_tokens && s->sentences[i].n <= s->n_tokens - s->sentences[i].first);
    for (uint32_t i = 0; i < s->n_events; i++) FUZZ_CHECK(s->events[i].sentence < s->n_sentences);
    for (uint32_t i = 0; i < s->n_items; i++) {
        FUZZ_CHECK(s->items[i].sentence < s->n_sentences);
        FUZZ_CHECK(s->hashed_off == NULL || s->hashed_off[i] <= s->hashed_off[i + 1]);
        FUZZ_CHECK(isnan(s->items[i].label) || s->items[i].label == 0 || s->items[i].label == 1);
    }
}

static enum status take_slate(struct str bytes, struct err *e)
{
    struct slate *s = NULL, *back = NULL;
    struct buf first = {0}, second = {0};
    struct buf_reader r = buf_reader(bytes.p, bytes.n);
    FUZZ_OK(slate_new(&s, e), e);
    FUZZ_OK(slate_new(&back, e), e);
    const enum status st = slate_decode(s, &r, e);
    if (st == STATUS_OK) {
        check_slate(s);
        slate_encode(&first, s);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(slate_decode(back, &again, e), e);
        slate_encode(&second, back);
        same_bytes(&first, &second);
    }
    slate_free(s);
    slate_free(back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static enum status take_eval(struct str bytes, struct err *e)
{
    struct eval *ev = NULL, *back = NULL;
    struct buf first = {0}, second = {0};
    struct buf_reader r = buf_reader(bytes.p, bytes.n);
    FUZZ_OK(eval_new(&ev, &(struct eval_setup){.n_parts = 1}, e), e);
    FUZZ_OK(eval_new(&back, &(struct eval_setup){.n_parts = 1}, e), e);
    const enum status st = eval_decode(ev, &r, e);
    if (st == STATUS_OK) {
        static struct report report;
        const char *const names[] = {"text"};
        eval_encode(&first, ev);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(eval_decode(back, &again, e), e);
        eval_encode(&second, back);
        same_bytes(&first, &second);
        eval_report(ev, names, &report);
    }
    eval_free(ev);
    eval_free(back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

/* --- open slates come out of a store ------------------------------------------------------------------------------ */

static struct tmpdir dir;
static struct store *store;

static void close_store(void)
{
    store_close(store);
    tmpdir_remove(&dir);
}

static enum status take_open(struct str bytes, struct err *e)
{
    static const char key[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    struct open_slates *o = NULL;
    struct open_predictions p = {0};
    struct slate *s = NULL;
    struct store_txn *t = NULL;
    FUZZ_OK(open_new(&o, 2, e), e);
    FUZZ_OK(slate_new(&s, e), e);
    FUZZ_OK(store_begin(&t, store, true, e), e);
    FUZZ_OK(store_put(t, STORE_SLATE, (struct str){key, 8}, bytes, e), e);
    enum status st = open_load(o, t, e);
    if (st == STATUS_OK) st = open_take(o, 1, s, &p, e);
    if (st == STATUS_OK) {
        check_slate(s);
        FUZZ_OK(open_put(o, s, &p, e), e);
        FUZZ_CHECK(open_take(o, s->id, s, &p, e) == STATUS_OK);
    }
    store_abort(t);
    slate_free(s);
    open_free(o);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    struct err e = {0};
    const uint8_t which = fuzz_byte(&in) % 3;
    const struct str rest = fuzz_rest(&in);
    if (store == NULL) {
        dir = tmpdir_make("fuzz");
        FUZZ_OK(store_open(&store, dir.path, false, &e), &e);
        FUZZ_CHECK(atexit(close_store) == 0);
    }
    fuzz_begin();
    const enum status st = which == 0 ? take_slate(rest, &e) : which == 1 ? take_eval(rest, &e) : take_open(rest, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    fuzz_end(8000000 + 2000 * n);
    return 0;
}

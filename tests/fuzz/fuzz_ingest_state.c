/* fuzz_ingest_state.c - what ingest keeps in a checkpoint: watermark, dedupe, orders, joiner, counts of rejects.
 *
 * The first byte picks the piece.  What is accepted, packed again, reads as the same; and it can be worked with to its end.
 */
#include "ingest/dedupe.h"
#include "ingest/join.h"
#include "ingest/order.h"
#include "ingest/reject.h"
#include "ingest/watermark.h"
#include "tests/fuzz/fuzz.h"

static struct conf *conf;

static void same_bytes(const struct buf *first, const struct buf *second)
{
    FUZZ_CHECK(!first->oom && first->n == second->n && memcmp(first->p, second->p, first->n) == 0);
}

static enum status take_watermark(struct buf_reader *r, struct err *e)
{
    struct watermark *w = NULL, *back = NULL;
    struct buf first = {0}, second = {0};
    FUZZ_OK(watermark_new(&w, conf, e), e);
    FUZZ_OK(watermark_new(&back, conf, e), e);
    const enum status st = watermark_decode(w, r, e);
    if (st == STATUS_OK) {
        const struct source_record *rec;
        watermark_encode(&first, w);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(watermark_decode(back, &again, e), e);
        watermark_encode(&second, back);
        same_bytes(&first, &second);
        for (size_t held = watermark_held(w) + 1; watermark_held(w) > 0; held--) {
            FUZZ_CHECK(held > 0); /* each flush gives at least one */
            watermark_flush(w);
            while (watermark_decided(w, &rec) == STATUS_OK)
                FUZZ_CHECK(rec->kind == SOURCE_EVENT || rec->kind == SOURCE_REJECT);
        }
    }
    watermark_free(w);
    watermark_free(back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static enum status take_dedupe(struct buf_reader *r, struct err *e)
{
    struct dedupe *d = NULL, *back = NULL;
    struct buf first = {0}, second = {0};
    FUZZ_OK(dedupe_new(&d, 100, e), e);
    FUZZ_OK(dedupe_new(&back, 100, e), e);
    const enum status st = dedupe_decode(d, r, e);
    if (st == STATUS_OK) {
        FUZZ_CHECK(dedupe_count(d) <= 100);
        dedupe_encode(&first, d);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(dedupe_decode(back, &again, e), e);
        dedupe_encode(&second, back);
        same_bytes(&first, &second);
        for (int i = 0; i < 300; i++) {
            const char id[3] = {'a', (char)('a' + i % 26), (char)('a' + i / 26)};
            FUZZ_CHECK(!dedupe_seen(d, STR("s"), (struct str){id, 3}) || i < 100);
            FUZZ_CHECK(dedupe_seen(d, STR("s"), (struct str){id, 3}) && dedupe_count(d) <= 100);
        }
    }
    dedupe_free(d);
    dedupe_free(back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static enum status take_order(struct buf_reader *r, struct err *e)
{
    struct order *o = NULL, *back = NULL;
    struct buf first = {0}, second = {0};
    FUZZ_OK(order_new(&o, conf, e), e);
    FUZZ_OK(order_new(&back, conf, e), e);
    const enum status st = order_decode(o, r, e);
    if (st == STATUS_OK) {
        struct order_compound c;
        order_encode(&first, o);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(order_decode(back, &again, e), e);
        order_encode(&second, back);
        same_bytes(&first, &second);
        FUZZ_OK(order_flush(o, e), e);
        while (order_ready(o, &c) == STATUS_OK) FUZZ_CHECK(c.n > 0 && c.lines[0].item.p != NULL);
        FUZZ_CHECK(order_open(o) == 0);
    }
    order_free(o);
    order_free(back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static enum status take_join(struct buf_reader *r, struct err *e)
{
    struct join *j = NULL, *back = NULL;
    struct buf first = {0}, second = {0};
    FUZZ_OK(join_new(&j, conf, e), e);
    FUZZ_OK(join_new(&back, conf, e), e);
    const enum status st = join_decode(j, r, e);
    if (st == STATUS_OK) {
        struct join_settled s;
        join_encode(&first, j);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(join_decode(back, &again, e), e);
        join_encode(&second, back);
        same_bytes(&first, &second);
        while (join_settle(j, INT64_MAX, &s, e) == STATUS_OK)
            for (uint32_t i = 0; i < s.n; i++) FUZZ_CHECK(s.labels[i] == 0 || s.labels[i] == 1);
        FUZZ_CHECK(join_open_count(j) == 0);
    }
    join_free(j);
    join_free(back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static enum status take_tally(struct buf_reader *r, struct err *e)
{
    struct reject_tally t, back;
    struct report report = {0};
    struct buf first = {0}, second = {0};
    const enum status st = reject_tally_decode(&t, r, e);
    if (st == STATUS_OK) {
        reject_tally_encode(&first, &t);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(reject_tally_decode(&back, &again, e), e);
        reject_tally_encode(&second, &back);
        same_bytes(&first, &second);
        reject_tally_report(&t, &report);
        FUZZ_CHECK(report.n_rejects <= REPORT_REJECTS_MAX && t.n_skipped <= REJECT_REASONS_MAX);
    }
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static enum status (*const take[])(struct buf_reader * r, struct err * e) = {take_watermark, take_dedupe,
                                                                                 take_order, take_join, take_tally};
    struct fuzz_input in = {p, n};
    struct err e = {0};
    if (conf == NULL) conf = fuzz_conf((const char *const[]){"join.open_slates=1000", NULL});
    const uint8_t which = fuzz_byte(&in);
    const struct str rest = fuzz_rest(&in);
    struct buf_reader r = buf_reader(rest.p, rest.n);
    fuzz_begin();
    const enum status st = take[which % 5](&r, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    fuzz_end(16000000 + 1000 * n);
    return 0;
}

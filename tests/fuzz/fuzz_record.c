/* fuzz_record.c - a user, an item or a sentence's states as they come from Redis or the store.
 *
 * The first byte picks the kind; the record's check is put behind the input, so that what it guards is reached.  A record
 * that is accepted, packed again, reads as the same.
 */
#include "base/hash.h"
#include "schemas/record.h"
#include "tests/fuzz/fuzz.h"

static void same_bytes(const struct buf *first, const struct buf *second)
{
    FUZZ_CHECK(!first->oom && first->n == second->n && memcmp(first->p, second->p, first->n) == 0);
}

static enum status take_user(struct buf_reader *r, struct err *e)
{
    struct record_user u = {0}, back = {0};
    struct buf first = {0}, second = {0};
    const enum status st = record_user_decode(&u, r, e);
    if (st == STATUS_OK) {
        record_user_encode(&first, &u);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(record_user_decode(&back, &again, e), e);
        record_user_encode(&second, &back);
        same_bytes(&first, &second);
    } else {
        FUZZ_CHECK(u.id.p == NULL && u.events == NULL && u.attrs == NULL && u.pairs == NULL);
    }
    record_user_fini(&u);
    record_user_fini(&back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static enum status take_item(struct buf_reader *r, struct err *e)
{
    struct record_item i = {0}, back = {0};
    struct buf first = {0}, second = {0};
    const enum status st = record_item_decode(&i, r, e);
    if (st == STATUS_OK) {
        record_item_encode(&first, &i);
        struct buf_reader again = buf_reader(first.p, first.n);
        FUZZ_OK(record_item_decode(&back, &again, e), e);
        record_item_encode(&second, &back);
        same_bytes(&first, &second);
    } else {
        FUZZ_CHECK(i.id.p == NULL && i.attrs == NULL && i.tallies == NULL && i.ids == NULL);
    }
    record_item_fini(&i);
    record_item_fini(&back);
    buf_fini(&first);
    buf_fini(&second);
    return st;
}

static volatile unsigned sink; /* so that every byte is read */

static enum status take_state(struct buf_reader *r, struct err *e)
{
    struct record_state s = {0};
    const enum status st = record_state_decode(&s, r, e);
    if (st != STATUS_OK) return st;
    const size_t n = (size_t)s.n_tokens * s.width;
    for (size_t i = 0; i < s.width * sizeof(uint16_t); i++)
        sink += ((const unsigned char *)s.pooled)[i] + ((const unsigned char *)s.final)[i];
    for (size_t i = 0; i < n * sizeof(uint16_t); i++) sink += ((const unsigned char *)s.tokens)[i];
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct fuzz_input in = {p, n};
    struct buf packed = {0};
    struct err e = {0};
    fuzz_begin();
    const uint8_t kind = fuzz_byte(&in);
    const struct str body = fuzz_rest(&in);
    buf_put(&packed, body.p, body.n);
    buf_u64(&packed, hash_bytes(body.p, body.n));
    struct buf_reader r = buf_reader(packed.p, packed.n);
    const enum status st = kind % 3 == 0 ? take_user(&r, &e) : kind % 3 == 1 ? take_item(&r, &e) : take_state(&r, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    buf_fini(&packed);
    fuzz_end(100000 + 100 * n);
    return 0;
}

/* ranks_meet.c - how the ranks find each other: rank 0 listens, the others come, each says who it is and what must be the same on
 * all; nobody goes on before everybody is there. */
#include "base/clock.h"
#include "base/log.h"
#include "trainer/ranks_private.h"
#include <stdio.h>
#include <string.h>

enum { HELLO_MS = 2000, COMMON_MAX = 1 << 20 };

static int64_t until(const struct ranks *r)
{
    struct clock *c = clock_system();
    return c->mono_us(c) + ranks_patience_ms(r) * 1000;
}

/* --- rank 0 -------------------------------------------------------------------------------------------------------- */

static struct str next_line(struct str *text)
{
    const char *end = memchr(text->p, '\n', text->n);
    const struct str line = {text->p, end != NULL ? (size_t)(end - text->p) : text->n};
    text->p += line.n + (end != NULL);
    text->n -= line.n + (end != NULL);
    return line;
}

/* The first line in which they differ. */
static enum status compare(struct ranks *r, int rank, struct str ours, struct str theirs)
{
    while (ours.n > 0 || theirs.n > 0) {
        const struct str a = next_line(&ours), b = next_line(&theirs);
        if (a.n == b.n && memcmp(a.p, b.p, a.n) == 0) continue;
        return ranks_fail(r, STATUS_CONFLICT,
                          "rank %d has %.*s, rank 0 has %.*s: start all ranks with the same configuration", rank,
                          (int)b.n, b.p, (int)a.n, a.p);
    }
    return STATUS_OK;
}

static enum status seat(struct ranks *r, int fd, const struct ranks_frame *hello)
{
    const int n = (int)(hello->ordinal >> 32), rank = (int)(hello->ordinal & 0xffffffffu);
    if (n != r->n)
        (void)ranks_fail(r, STATUS_CONFLICT,
                         "rank %d has train.ranks=%d, rank 0 has %d: start all with the same number", rank, n, r->n);
    else if (rank <= 0 || rank >= r->n || r->links[rank] >= 0)
        (void)ranks_fail(r, STATUS_CONFLICT,
                         "rank %d is there twice: give each process a train.rank of its own, 0 to %d", rank, r->n - 1);
    else
        r->links[rank] = fd;
    return r->failed;
}

/* *rank: who came; 0: nobody of ours, it was sent away. */
static enum status take_hello(struct ranks *r, int fd, struct str ours, int *rank)
{
    struct ranks_frame hello;
    *rank = 0;
    if (ranks_receive(fd, &hello, sizeof hello, HELLO_MS, NULL) != STATUS_OK || hello.magic != RANKS_MAGIC ||
        hello.kind != RANKS_HELLO || hello.bytes > COMMON_MAX) {
        log_warn("ranks", "stranger=\"a connection that is no rank of this program was closed\"");
        ranks_hang_up(&fd);
        return STATUS_OK;
    }
    if (seat(r, fd, &hello) != STATUS_OK) {
        (void)!ranks_send_frame(fd, RANKS_FAIL, 0, strlen(r->error.text), HELLO_MS, NULL);
        (void)!ranks_send(fd, r->error.text, strlen(r->error.text), HELLO_MS, NULL);
        ranks_hang_up(&fd);
        return r->failed;
    }
    *rank = (int)(hello.ordinal & 0xffffffffu);
    buf_clear(&r->gathered);
    char *theirs = buf_room(&r->gathered, (size_t)hello.bytes);
    if (theirs == NULL) return ranks_fail(r, STATUS_OOM, "rank 0: no memory for rank %d's configuration", *rank);
    struct err why = {0};
    const enum status st = ranks_receive(fd, theirs, (size_t)hello.bytes, HELLO_MS, &why);
    if (st != STATUS_OK) return ranks_lost(r, *rank, st, &why);
    return compare(r, *rank, ours, (struct str){theirs, (size_t)hello.bytes});
}

static enum status absent(struct ranks *r)
{
    char who[160] = "";
    for (int k = 1, n = 0; k < r->n && n < 140; k++)
        if (r->links[k] < 0) n += snprintf(who + n, sizeof who - (size_t)n, " %d", k);
    return ranks_fail(r, STATUS_AGAIN,
                      "rank 0 waited %lld ms (train.ranks_timeout_ms) at %s, and did not see rank%s: start each with "
                      "train.ranks=%d and its train.rank",
                      (long long)r->timeout_ms, r->address, who, r->n);
}

static enum status welcome(struct ranks *r)
{
    for (int k = 1; k < r->n; k++) {
        struct err why = {0};
        const enum status st = ranks_send_frame(r->links[k], RANKS_WELCOME, 0, 0, r->timeout_ms, &why);
        if (st != STATUS_OK) return ranks_lost(r, k, st, &why);
    }
    return STATUS_OK;
}

static enum status receive_all(struct ranks *r, struct str common, struct err *e)
{
    const int64_t end = until(r);
    TRY(ranks_listen(&r->listener, r->address, e));
    for (int here = 1, fd, rank; here<r->n; here += rank> 0) {
        const enum status st = ranks_accept(&fd, r->listener, end, e);
        if (st == STATUS_AGAIN) return absent(r);
        TRY(st);
        TRY(take_hello(r, fd, common, &rank));
    }
    ranks_unlisten(r->listener, r->address);
    r->listener = -1;
    return welcome(r);
}

/* --- the others ---------------------------------------------------------------------------------------------------- */

static enum status introduce(struct ranks *r, struct str common, struct err *e)
{
    const uint64_t who = (uint64_t)r->n << 32 | (uint64_t)r->rank;
    TRY(ranks_send_frame(r->links[0], RANKS_HELLO, who, common.n, r->timeout_ms, e));
    return ranks_send(r->links[0], common.p, common.n, r->timeout_ms, e);
}

static enum status go_to_rank_0(struct ranks *r, struct str common, struct err *e)
{
    struct ranks_frame f;
    enum status st = ranks_connect(&r->links[0], r->address, until(r), e);
    if (st == STATUS_AGAIN)
        return ranks_fail(r, STATUS_AGAIN,
                          "rank %d found no rank 0 at %s for %lld ms: start it with train.rank=0 and the same "
                          "train.ranks_address",
                          r->rank, r->address, (long long)r->timeout_ms);
    TRY(st);
    struct err why = {0};
    st = introduce(r, common, &why);
    if (st != STATUS_OK && st != STATUS_END) return ranks_lost(r, 0, st, &why); /* who hung up may have said why */
    return ranks_receive_frame(r, 0, &f);
}

enum status ranks_meet(struct ranks *r, struct str common, struct err *e)
{
    const enum status st = r->rank == 0 ? receive_all(r, common, e) : go_to_rank_0(r, common, e);
    if (r->failed != STATUS_OK && e != NULL) *e = r->error;
    return st;
}

/* check.h - cmocka with the headers it wants, and the two checks that every test of freshet makes.
 *
 * assert_ok(call, &e) fails with the sentence in e.  FAIL_EACH_ALLOCATION runs `call` with allocation 0, 1, 2, …
 * failing until it succeeds; each failure must be OOM and bring the count of live blocks back; leaves `st` OK and says how many
 * allocations the call met.
 */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/status.h"

#define assert_ok(call, e)                                                                                             \
    do {                                                                                                               \
        const enum status check_st_ = (call);                                                                          \
        if (check_st_ != STATUS_OK)                                                                                    \
            fail_msg("%s: %s (%s, %s)", #call, (e)->text, status_name(check_st_), (e)->where ? (e)->where : "");       \
    } while (0)

/* In double, where assert_float_equal rounds both. */
#define assert_near(a, b, within)                                                                                      \
    do {                                                                                                               \
        const double near_a_ = (a), near_b_ = (b);                                                                     \
        if (!(fabs(near_a_ - near_b_) <= (within))) fail_msg("%s is %.15g, %s is %.15g", #a, near_a_, #b, near_b_);    \
    } while (0)

/* Calls it with its first allocation failing, then its second, and so on until it succeeds; n_met: how many were met. */
#ifdef __SANITIZE_THREAD__ /* slow there, and there is one thread */
#define FAIL_EACH_ALLOCATION(n_met, call)                                                                              \
    do {                                                                                                               \
        (n_met) = (long)sizeof(call);                                                                                  \
        skip();                                                                                                        \
    } while (0)
#else
#define FAIL_EACH_ALLOCATION(n_met, call)                                                                              \
    do {                                                                                                               \
        const long check_live_ = mem_live();                                                                           \
        for ((n_met) = 0;; (n_met)++) {                                                                                \
            mem_fail_after(n_met);                                                                                     \
            const enum status check_st_ = (call);                                                                      \
            mem_fail_after(-1);                                                                                        \
            if (check_st_ == STATUS_OK) break;                                                                         \
            assert_int_equal(check_st_, STATUS_OOM);                                                                   \
            assert_int_equal(mem_live(), check_live_);                                                                 \
            assert_true((n_met) < 10000);                                                                              \
        }                                                                                                              \
    } while (0)
#endif
#endif

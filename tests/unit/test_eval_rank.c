/* test_eval_rank.c - NDCG and recall by hand, and against the mean over all orders of equal scores.
 * labels: quick */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/eval_rank.h"
#include <math.h>
#include <string.h>

static struct eval_cut cut;

static void test_figures_by_hand(void **state)
{
    (void)state;
    const float z[] = {0.1f, 0.9f, 0.5f, 0.7f}, y[] = {1, 0, 1, 0}; /* ranks 4, 1, 3, 2 */
    struct eval_place list[4];
    struct eval_ranked r;
    struct report_ranked f;
    memset(&r, 0, sizeof r);
    for (uint32_t i = 0; i < 4; i++) list[i] = (struct eval_place){z[i], i, 0, y[i]};
    eval_cut_init(&cut, (const uint32_t[]){2, 3, 4}, 3);
    eval_ranked_figures(&r, &cut, &f);
    assert_true(isnan(f.ndcg[0]) && isnan(f.recall[0]));
    eval_sort(list, 4);
    assert_true(list[0].item == 1 && list[1].item == 3 && list[2].item == 2 && list[3].item == 0);
    eval_ranked_add(&r, &cut, list, 4);
    eval_ranked_figures(&r, &cut, &f);
    const double ideal = 1.0 + 1.0 / log2(3.0);
    assert_true(f.ndcg[0] == 0.0 && f.recall[0] == 0.0);
    assert_near(f.ndcg[1], (1.0 / log2(4.0)) / ideal, 1e-12);
    assert_near(f.recall[1], 0.5, 1e-12);
    assert_near(f.ndcg[2], (1.0 / log2(4.0) + 1.0 / log2(5.0)) / ideal, 1e-12);
    assert_near(f.recall[2], 1.0, 1e-12);
    for (int i = 0; i < 4; i++) list[i].y = 1.0f;
    eval_ranked_add(&r, &cut, list, 4); /* one label: no order to judge */
    assert_int_equal(r.slates, 1);
}

struct all_orders {
    double ndcg, recall, n;
};

/* Every order in which no lower score stands above a higher one. */
static void visit(struct all_orders *all, const float *z, const float *y, int n, int k, int *order, int at,
                  unsigned used)
{
    if (at == n) {
        double dcg = 0.0, ideal = 0.0, hits = 0.0, positives = 0.0;
        for (int i = 0; i < n; i++) positives += (double)y[i];
        for (int r = 0; r < k; r++) {
            if (r < n) dcg += (double)y[order[r]] / log2(r + 2.0);
            if (r < n) hits += (double)y[order[r]];
            if (r < (int)positives) ideal += 1.0 / log2(r + 2.0);
        }
        all->ndcg += dcg / ideal;
        all->recall += hits / positives;
        all->n += 1.0;
        return;
    }
    for (int i = 0; i < n; i++) {
        if (used & 1u << i) continue;
        bool next = true;
        for (int j = 0; j < n; j++) next = next && (used & 1u << j || z[j] <= z[i]);
        if (!next) continue;
        order[at] = i;
        visit(all, z, y, n, k, order, at + 1, used | 1u << i);
    }
}

static void test_ties_are_the_mean_over_their_orders(void **state)
{
    (void)state;
    enum { N = 7 };
    struct rand r;
    eval_cut_init(&cut, (const uint32_t[]){3}, 1);
    rand_init(&r, (struct rand_key){.seed = 6, .purpose = RAND_TEST});
    for (int round = 0; round < 40; round++) {
        float z[N], y[N];
        int order[N];
        struct eval_place list[N];
        struct all_orders all = {0};
        double ndcg[REPORT_K_MAX], recall[REPORT_K_MAX];
        for (uint32_t i = 0; i < N; i++) {
            z[i] = (float)rand_below(&r, 3);
            y[i] = rand_below(&r, 3) == 0;
            list[i] = (struct eval_place){z[i], i, rand_u32(&r), y[i]};
        }
        y[0] = list[0].y = 1.0f;
        y[1] = list[1].y = 0.0f;
        visit(&all, z, y, N, 3, order, 0, 0);
        eval_sort(list, N);
        assert_true(eval_rank_list(&cut, list, N, ndcg, recall));
        assert_near(ndcg[0], all.ndcg / all.n, 1e-9);
        assert_near(recall[0], all.recall / all.n, 1e-9);
    }
}

static void test_sorting_any_length(void **state)
{
    (void)state;
    struct eval_place list[300];
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 7, .purpose = RAND_TEST});
    for (size_t n = 0; n < 300; n += 1 + n / 3) {
        for (uint32_t i = 0; i < n; i++)
            list[i] = (struct eval_place){i % 11 == 5 ? NAN : (float)rand_below(&r, 50), i, rand_u32(&r) % 4, 0};
        eval_sort(list, n);
        for (size_t i = 1; i < n; i++) {
            const struct eval_place *a = &list[i - 1], *b = &list[i];
            if (isnan(a->z)) assert_true(isnan(b->z));
            if (a->z == b->z) assert_true(a->tie < b->tie || (a->tie == b->tie && a->item < b->item));
            if (!isnan(a->z) && !isnan(b->z)) assert_true(a->z >= b->z);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_by_hand),
        cmocka_unit_test(test_ties_are_the_mean_over_their_orders),
        cmocka_unit_test(test_sorting_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

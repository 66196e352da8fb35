/* eval_rank.c - see eval_rank.h. */
#include "trainer/eval_rank.h"
#include <math.h>
#include <string.h>

#define SHORT 64 /* up to here insertion is faster than the heap */

void eval_cut_init(struct eval_cut *c, const uint32_t *k, uint32_t n)
{
    memset(c, 0, sizeof *c);
    c->n = n;
    for (uint32_t i = 0; i < n; i++) c->k[i] = k[i];
    for (int r = 1; r <= EVAL_K_LARGEST; r++) c->discount[r] = c->discount[r - 1] + 1.0 / log2((double)r + 1.0);
}

static bool before(const struct eval_place *a, const struct eval_place *b)
{
    if (a->z != b->z) return a->z > b->z || (isnan(b->z) && !isnan(a->z));
    return a->tie != b->tie ? a->tie < b->tie : a->item < b->item;
}

/* Heapsort: the last in order is the heap's first. */
static void sift(struct eval_place *list, size_t at, size_t n)
{
    const struct eval_place x = list[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&list[child], &list[child + 1])) child++;
        if (!before(&x, &list[child])) break;
        list[at] = list[child];
    }
    list[at] = x;
}

static void insert_each(struct eval_place *list, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct eval_place x = list[i];
        size_t at = i;
        for (; at > 0 && before(&x, &list[at - 1]); at--) list[at] = list[at - 1];
        list[at] = x;
    }
}

void eval_sort(struct eval_place *list, size_t n)
{
    if (n <= SHORT) {
        insert_each(list, n);
        return;
    }
    for (size_t i = n / 2; i-- > 0;) sift(list, i, n);
    for (size_t end = n; end > 1; end--) {
        const struct eval_place last = list[0];
        list[0] = list[end - 1];
        list[end - 1] = last;
        sift(list, 0, end - 1);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Equal ones hold the ranks from + 1 … to together: each has its share of the positives among them. */
static void add_ties(const struct eval_cut *c, size_t from, size_t to, double positives, double *ndcg, double *recall)
{
    const double each = positives / (double)(to - from);
    for (uint32_t i = 0; i < c->n; i++) {
        const size_t a = least(from, c->k[i]), b = least(to, c->k[i]);
        ndcg[i] += each * (c->discount[b] - c->discount[a]);
        recall[i] += each * (double)(b - a);
    }
}

bool eval_rank_list(const struct eval_cut *c, const struct eval_place *sorted, size_t n, double ndcg[REPORT_K_MAX],
                    double recall[REPORT_K_MAX])
{
    size_t positives = 0;
    for (size_t i = 0; i < n; i++) positives += sorted[i].y > 0.5f;
    if (positives == 0 || positives == n) return false;
    memset(ndcg, 0, REPORT_K_MAX * sizeof *ndcg);
    memset(recall, 0, REPORT_K_MAX * sizeof *recall);
    for (size_t from = 0, to; from < n; from = to) {
        double among = 0.0;
        for (to = from; to < n && (to == from || sorted[to].z == sorted[from].z); to++) among += sorted[to].y > 0.5f;
        if (among > 0.0) add_ties(c, from, to, among, ndcg, recall);
    }
    for (uint32_t i = 0; i < c->n; i++) {
        ndcg[i] /= c->discount[least(positives, c->k[i])];
        recall[i] /= (double)positives;
    }
    return true;
}

void eval_ranked_add(struct eval_ranked *r, const struct eval_cut *c, const struct eval_place *sorted, size_t n)
{
    double ndcg[REPORT_K_MAX], recall[REPORT_K_MAX];
    if (!eval_rank_list(c, sorted, n, ndcg, recall)) return;
    r->slates++;
    for (uint32_t i = 0; i < c->n; i++) {
        r->ndcg[i] += ndcg[i];
        r->recall[i] += recall[i];
    }
}

void eval_ranked_figures(const struct eval_ranked *r, const struct eval_cut *c, struct report_ranked *out)
{
    out->slates = r->slates;
    for (uint32_t i = 0; i < c->n; i++) {
        out->ndcg[i] = r->slates > 0 ? r->ndcg[i] / (double)r->slates : NAN;
        out->recall[i] = r->slates > 0 ? r->recall[i] / (double)r->slates : NAN;
    }
}

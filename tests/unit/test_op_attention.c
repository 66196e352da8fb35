/* test_op_attention.c - attention on segments with a shared prefix: gradients, and the one-way mask. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include <string.h>

struct shape {
    size_t H, C, P; /* heads, hidden, prefix rows */
    size_t n;
    int32_t q_off[4], k_off[4];
    size_t split; /* segments of a first group, which sees the first row of the prefix alone; 0: one group */
};

static struct tape_value attention(struct tape *t, const struct tape_value *in, void *user)
{
    const struct shape *s = user;
    const struct tape_value none = {0};
    const size_t alone = s->split > 0 ? 1 : 0;
    const int32_t s_off[] = {0, (int32_t)s->split, (int32_t)s->n}, p_off[] = {0, (int32_t)alone, (int32_t)s->P};
    const struct kern_segments seg = {s->n, s->q_off, s->k_off, s->P > 0 ? 2 : 0, s_off, p_off, KERN_F32};
    return op_attention(t, in[0], in[1], s->P > 0 ? in[2] : none, &seg, s->H);
}

static void check(struct shape s, bool prefix_frozen)
{
    const size_t Nq = (size_t)s.q_off[s.n], Nk = (size_t)s.k_off[s.n];
    const struct gradient_input in[] = {
        {"q", Nq, s.C, 1, 0, false}, {"kv", Nk, 2 * s.C, 1, 0, false}, {"prefix", s.P, 2 * s.C, 1, 0, prefix_frozen}};
    gradient_check_all(in, s.P > 0 ? 3 : 2, attention, &s, 1e-2, 2e-3);
}

static void test_attention_gradients(void **state)
{
    (void)state;
    check((struct shape){2, 6, 3, 2, {0, 1, 3}, {0, 2, 5}, 0},
          false); /* segments and prefix, fewer queries than keys */
    check((struct shape){2, 8, 4, 3, {0, 1, 2, 3}, {0, 1, 2, 3}, 0}, false); /* pooled: one row each */
    check((struct shape){1, 5, 2, 2, {0, 2, 3}, {0, 2, 3}, 0}, true);        /* a prefix that wants no gradient */
    check((struct shape){3, 6, 0, 2, {0, 3, 5}, {0, 3, 5}, 0}, false);       /* no prefix */
    check((struct shape){2, 6, 3, 3, {0, 1, 2, 3}, {0, 1, 2, 3}, 2}, false); /* two groups, each with its own */
}

/* A segment's result does not change with another segment's rows; it changes with the prefix. */
static void test_attention_mask_is_one_way(void **state)
{
    (void)state;
    enum { C = 8 };
    struct kern *k;
    struct tape t;
    float q[3 * C], kv[3 * 2 * C], prefix[2 * 2 * C], before[3 * C];
    for (size_t i = 0; i < 3 * C; i++) q[i] = gradient_number(i);
    for (size_t i = 0; i < 6 * C; i++) kv[i] = gradient_number(100 + i);
    for (size_t i = 0; i < 4 * C; i++) prefix[i] = gradient_number(300 + i);
    const int32_t off[] = {0, 1, 3};
    const int32_t s_off[] = {0, 2}, p_off[] = {0, 2};
    const struct kern_segments seg = {2, off, off, 1, s_off, p_off, KERN_F32};
    const struct tape_value vq = {q, NULL, 3, C}, vkv = {kv, NULL, 3, 2 * C}, vp = {prefix, NULL, 2, 2 * C};
    assert_int_equal(kern_new(&k, "cpu", NULL), STATUS_OK);
    tape_init(&t, k, false);
    memcpy(before, op_attention(&t, vq, vkv, vp, &seg, 2).x, sizeof before);
    kv[2 * C] += 3;     /* a key of the second segment */
    kv[3 * C + 1] += 3; /* a value of it */
    const float *after = op_attention(&t, vq, vkv, vp, &seg, 2).x;
    assert_memory_equal(after, before, C * sizeof *after);
    assert_memory_not_equal(after + C, before + C, 2 * C * sizeof *after);
    prefix[C] += 1;
    assert_memory_not_equal(op_attention(&t, vq, vkv, vp, &seg, 2).x, before, C * sizeof *after);
    tape_fini(&t);
    kern_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_gradients),
        cmocka_unit_test(test_attention_mask_is_one_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

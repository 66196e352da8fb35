/* test_model_draw.c - drawn weights have the deviation that the precision says, and only a model that has one draws. */
#include "base/rand.h"
#include "model/model.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

enum { F = 3, DRAWS = 40000 };

static struct model *made(const char *order, struct param_set **p)
{
    struct conf *c;
    struct model *m;
    struct err e;
    assert_ok(conf_new(&c, &e), &e);
    assert_ok(conf_set_option(c, "model.parts=numeric", &e), &e);
    assert_ok(conf_set_option(c, order, &e), &e);
    assert_ok(model_new(&m, c, NULL, F, &e), &e);
    assert_ok(param_set_new(p, model_table(m), &e), &e);
    assert_ok(model_init_params(m, 1, *p, &e), &e);
    conf_free(c);
    return m;
}

static float *tensor(const struct model *m, struct param_set *p, const char *name)
{
    const struct param_table *t = model_table(m);
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->params[i].name, name) == 0) return p->w + t->params[i].offset;
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Two candidates: the covariance of what is drawn for them is x A^-1 x'. */
static void test_draws_have_the_covariance_of_the_precision(void **state)
{
    (void)state;
    /* A and its inverse, by hand: the third weight stands alone. */
    static const float A[F * F] = {2, 1, 0, 1, 3, 0, 0, 0, 4};
    float numeric[2 * F] = {1, 0, 0, 0, 1, 2};
    struct slate_item items[2] = {0};
    struct slate s = {.n_items = 2, .items = items, .n_numeric = F, .numeric = numeric};
    struct param_set *p;
    struct err e;
    struct rand r;
    double out[2], aa = 0.0, bb = 0.0, ab = 0.0, sum = 0.0;
    struct model *m = made("train.numeric_order=2", &p);
    memcpy(tensor(m, p, "numeric.precision"), A, sizeof A);
    for (int i = 0; i < F; i++) tensor(m, p, "numeric.mean")[i] = 0.0f, tensor(m, p, "numeric.scale")[i] = 1.0f;
    rand_init(&r, (struct rand_key){1, 0, 0, 0, RAND_TEST});
    for (int i = 0; i < DRAWS; i++) {
        assert_ok(model_draw(m, p, &s, &r, out, &e), &e);
        sum += out[0];
        aa += out[0] * out[0], bb += out[1] * out[1], ab += out[0] * out[1];
    }
    assert_true(fabs(sum / DRAWS) < 0.02);
    assert_true(fabs(aa / DRAWS - 0.6) < 0.02);               /* 3/5 */
    assert_true(fabs(bb / DRAWS - (0.4 + 4.0 / 4.0)) < 0.04); /* 2/5 + 2*2/4 */
    assert_true(fabs(ab / DRAWS + 0.2) < 0.02);               /* -1/5 */
    param_set_release(p);
    model_free(m);
}

static void test_what_has_no_precision_is_refused(void **state)
{
    (void)state;
    float numeric[F] = {1, 1, 1};
    struct slate_item item = {0};
    struct slate s = {.n_items = 1, .items = &item, .n_numeric = F, .numeric = numeric};
    struct param_set *p;
    struct err e;
    struct rand r;
    double out;
    rand_init(&r, (struct rand_key){1, 0, 0, 0, RAND_TEST});
    struct model *m = made("train.numeric_order=1", &p);
    assert_int_equal(model_draw(m, p, &s, &r, &out, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "train.numeric_order"));
    param_set_release(p);
    model_free(m);
    m = made("train.numeric_order=2", &p);
    memset(tensor(m, p, "numeric.precision"), 0, F * F * sizeof(float));
    assert_int_equal(model_draw(m, p, &s, &r, &out, &e), STATUS_CORRUPT);
    param_set_release(p);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws_have_the_covariance_of_the_precision),
        cmocka_unit_test(test_what_has_no_precision_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

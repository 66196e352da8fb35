/* test_kern_plugin.c - settings of backend cuda, and plug-ins that are absent, foreign, of another build, or good. */
#include "kernels/kern_plugin.h"
#include "schemas/conf.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void name_of(char out[KERN_NAME_MAX], const char *plugin)
{
    const char *folder = getenv("FRESHET_PLUGINS");
    (void)snprintf(out, KERN_NAME_MAX, "cuda:device=0,plugin=%s/%s", folder != NULL ? folder : "tests", plugin);
}

static void test_settings_are_read(void **state)
{
    (void)state;
    struct kern_plugin_settings s;
    struct err e = {0};
    char path[64];
    bool to_cpu = true;
    assert_ok(kern_plugin_parse(&s, path, sizeof path, &to_cpu, NULL, &e), &e);
    assert_int_equal(s.device, 0);
    assert_true(s.cudnn && !to_cpu);
    assert_string_equal(path, "");
    assert_ok(kern_plugin_parse(&s, path, sizeof path, &to_cpu,
                                "device=3,memory=512,kept=7,tf32=1,cudnn=0,fallback=cpu,plans=/p q,plugin=/a/b=c,d.so", &e),
              &e);
    assert_int_equal(s.device, 3);
    assert_int_equal(s.memory_mb, 512);
    assert_int_equal(s.kept_mb, 7);
    assert_true(s.tf32 && to_cpu && !s.cudnn);
    assert_string_equal(s.plans, "/p q");
    assert_string_equal(path, "/a/b=c,d.so");
    assert_int_equal(kern_plugin_parse(&s, path, sizeof path, &to_cpu, "device=1,speed=9", &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "speed=9"));
}

static void test_the_configuration_names_them(void **state)
{
    (void)state;
    struct conf *c;
    struct err e = {0};
    char name[KERN_NAME_MAX];
    assert_ok(conf_new(&c, &e), &e);
    static const char *const set[] = {"kernels.backend=cuda",   "kernels.device=2",       "kernels.device_mb=300",
                                      "kernels.precision=tf32", "kernels.plugin=/x/y.so", "kernels.fallback=cpu",
                                      "kernels.cudnn=off",      "kernels.plans_dir=/p",   "kernels.device_cache_mb=5"};
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) assert_ok(conf_set_option(c, set[i], &e), &e);
    kern_name(c, name);
    assert_string_equal(name, "cuda:device=2,memory=300,kept=5,tf32=1,cudnn=0,fallback=cpu,plans=/p,plugin=/x/y.so");
    conf_free(c);
}

/* What cannot be had says what was tried and what to do; nothing is left behind. */
static void refused(const char *plugin, const char *text)
{
    struct kern *k = (void *)1;
    struct err e = {0};
    char name[KERN_NAME_MAX];
    name_of(name, plugin);
    assert_int_equal(kern_new(&k, name, &e), STATUS_UNSUPPORTED);
    assert_null(k);
    if (strstr(e.text, text) == NULL) fail_msg("%s: '%s' does not say '%s'", plugin, e.text, text);
}

static void test_what_is_no_plugin_is_refused(void **state)
{
    (void)state;
    refused("absent.so", "absent.so");
    refused("absent.so", "kernels.backend=cpu");
    refused("libshim.so", "no plug-in of freshet");
    refused("kern_old.so", "build both from the same source");
}

static void test_the_processor_stands_in_only_where_that_is_said(void **state)
{
    (void)state;
    struct kern *k;
    struct err e = {0};
    assert_ok(kern_new(&k, "cuda:fallback=cpu,plugin=absent.so", &e), &e);
    assert_string_equal(k->ops->name, "cpu");
    kern_free(k);
}

static void test_a_plugin_computes(void **state)
{
    (void)state;
    struct kern *k;
    struct err e = {0};
    char name[KERN_NAME_MAX];
    float x[3] = {1, 2, 3}, y[3] = {0};
    name_of(name, "kern_far.so");
    assert_ok(kern_new(&k, name, &e), &e);
    assert_false(k->ops->host_visible);
    float *far = k->ops->alloc(k, sizeof x);
    assert_non_null(far);
    k->ops->upload(k, far, x, sizeof x);
    k->ops->axpy(k, far, 2.0f, far, 3);
    k->ops->download(k, y, far, sizeof y);
    for (int i = 0; i < 3; i++) assert_true(y[i] == 3 * x[i]);
    k->ops->release(k, far);
    kern_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_are_read),
        cmocka_unit_test(test_the_configuration_names_them),
        cmocka_unit_test(test_what_is_no_plugin_is_refused),
        cmocka_unit_test(test_the_processor_stands_in_only_where_that_is_said),
        cmocka_unit_test(test_a_plugin_computes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

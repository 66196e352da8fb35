/* test_safetensors.c - the format's rules one by one, every cut of a good file, conversions, and writing. */
#include "base/mem.h"
#include "model/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tmpdir dir;

static int make_dir(void **state)
{
    (void)state;
    dir = tmpdir_make("safetensors");
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return 0;
}

/* A file of this header text, `length` said in front (0: its own), and n bytes of data 0, 1, 2, … */
static const char *put_file(const char *header, uint64_t length, size_t n)
{
    static char path[300];
    static unsigned char bytes[4096];
    const size_t text = strlen(header);
    if (length == 0) length = text;
    for (size_t i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, text);
    for (size_t i = 0; i < n; i++) bytes[8 + text + i] = (unsigned char)i;
    files_put(&dir, "t.safetensors", bytes, 8 + text + n);
    return tmpdir_file(&dir, "t.safetensors", path);
}

static const struct {
    const char *header;
    uint64_t length;
    size_t data;
    const char *says; /* in the error's text; NULL: the file is good */
} cases[] = {
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 0, 8, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ", 0, 4, NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0,9],\"data_offsets\":[0,0]}}", 0, 0, NULL},
    {"{\"__metadata__\":{\"format\":\"pt\"}}", 0, 0, NULL},
    {"{}", 0, 0, NULL},
    {"{\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[3,11]},\"a\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_"
     "offsets\":[0,3]}}",
     0, 11, NULL},
    {"{}", 100000001, 0, "100000001"},
    {"{}", 3, 0, "truncated"},
    {"{}", UINT64_MAX, 0, "not a safetensors file"},
    {" {}", 0, 0, "'{'"},
    {"[]", 0, 0, "'{'"},
    {"{\"a\":", 0, 0, "JSON"},
    {"{} x", 0, 0, "JSON"},
    {"{\"a\":1}", 0, 0, "'a'"},
    {"{\"a\":{}}", 0, 0, "'a'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_"
     "offsets\":[4,8]}}",
     0, 8, "duplicate"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 0, 4, "'a'"},
    {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 4, "F31"},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 4, "dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 0, 4, "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 0, 4, "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 0, 4, "shape"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 0, 1, "shape"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967297],\"data_offsets\":[0,4]}}", 0, 4, "more elements"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807],\"data_offsets\":[0,4]}}", 0, 4, "9223372036854775807"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 0, 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 0, 8, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 0, 4, "4 to 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 0, 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 0, 7, "truncated"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 0, 8, "3 elements of F32"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0, 5, "belong to none"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 0, 5, "hole"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
     "offsets\":[1,3]}}",
     0, 3, "overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
     "offsets\":[0,2]}}",
     0, 2, "overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
     "offsets\":[2,3]}}",
     0, 3, "hole"},
    {"{\"__metadata__\":[]}", 0, 0, "__metadata__"},
    {"{\"__metadata__\":{\"a\":1}}", 0, 0, "__metadata__"},
    {"{\"\xff\":1}", 0, 0, "JSON"},
};

static void test_format_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors *s = (void *)1;
        struct err e = {0};
        const char *path = put_file(cases[i].header, cases[i].length, cases[i].data);
        const enum status st = safetensors_open(&s, path, &e);
        if (cases[i].says == NULL) {
            if (st != STATUS_OK) fail_msg("%s: %s", cases[i].header, e.text);
            safetensors_close(s);
            continue;
        }
        assert_null(s);
        if (st != STATUS_CORRUPT || strstr(e.text, cases[i].says) == NULL || strstr(e.text, path) == NULL)
            fail_msg("%s: wanted CORRUPT and '%s', got %s: %s", cases[i].header, cases[i].says, status_name(st),
                     e.text);
    }
}

static void test_absent_and_empty_files(void **state)
{
    (void)state;
    char path[300];
    struct safetensors *s;
    struct err e = {0};
    assert_int_equal(safetensors_open(&s, tmpdir_file(&dir, "none", path), &e), STATUS_NOT_FOUND);
    assert_int_equal(safetensors_open(&s, dir.path, &e), STATUS_IO);
    files_put(&dir, "empty", "", 0);
    assert_int_equal(safetensors_open(&s, tmpdir_file(&dir, "empty", path), &e), STATUS_CORRUPT);
    safetensors_close(NULL);
}

/* Many lengths but the whole, and bits of the header turned over: an error or a good file, never a crash. */
static void test_cut_and_damaged_files(void **state)
{
    (void)state;
    size_t n;
    char *bytes = files_read(files_source("tests/golden/encoder/old/model.safetensors"), &n), path[300];
    struct safetensors *s;
    const size_t header = 8 + ((unsigned char)bytes[0] | (size_t)(unsigned char)bytes[1] << 8);
    tmpdir_file(&dir, "cut", path);
    for (size_t i = 0; i < n; i += i < 200 || i + 50 > n ? 1 : 97) {
        struct err e = {0};
        files_put(&dir, "cut", bytes, i);
        assert_int_equal(safetensors_open(&s, path, &e), STATUS_CORRUPT);
        assert_null(s);
        assert_true(e.text[0] != '\0');
    }
    for (size_t i = 0; i < header; i += i < 40 ? 1 : 11) {
        const char was = bytes[i];
        bytes[i] = (char)(was ^ (1 << i % 8));
        files_put(&dir, "cut", bytes, n);
        if (safetensors_open(&s, path, NULL) == STATUS_OK) safetensors_close(s);
        bytes[i] = was;
    }
    free(bytes);
}

static void test_values_are_converted_exactly(void **state)
{
    (void)state;
    static const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x8001, 0x03ff, 0x7bff, 0x7c00, 0x3555, 0x0000, 0x8000};
    static const float want[] = {1.0f,     -2.0f,    0x1p-24f,    -0x1p-24f, 1023 * 0x1p-24f,
                                 65504.0f, INFINITY, 0x1.554p-2f, 0.0f,      -0.0f};
    static const uint16_t bf16[] = {0x3f80, 0xc2f7};
    static const int64_t whole = 5;
    const struct safetensors_tensor t[] = {
        {.name = "half",
         .type = SAFETENSORS_F16,
         .rank = 2,
         .shape = {2, 5},
         .data = (const unsigned char *)f16,
         .bytes = 20},
        {.name = "brain",
         .type = SAFETENSORS_BF16,
         .rank = 1,
         .shape = {2},
         .data = (const unsigned char *)bf16,
         .bytes = 4},
        {.name = "full",
         .type = SAFETENSORS_F32,
         .rank = 1,
         .shape = {10},
         .data = (const unsigned char *)want,
         .bytes = 40},
        {.name = "id", .type = SAFETENSORS_I64, .rank = 0, .data = (const unsigned char *)&whole, .bytes = 8},
    };
    char path[300];
    float out[10];
    struct safetensors *s;
    struct err e = {0};
    tmpdir_file(&dir, "w.safetensors", path);
    assert_ok(safetensors_write(path, t, 4, &e), &e);
    assert_ok(safetensors_open(&s, path, &e), &e);
    assert_int_equal(safetensors_count(s), 4);
    assert_string_equal(safetensors_at(s, 0)->name, "id"); /* widest first, as the reference implementation */
    assert_string_equal(safetensors_at(s, 1)->name, "full");
    assert_string_equal(safetensors_at(s, 2)->name, "brain");
    const struct safetensors_tensor *half = safetensors_find(s, "half");
    assert_true(half->rank == 2 && half->shape[0] == 2 && half->shape[1] == 5 && half->n == 10);
    assert_null(safetensors_f32(half));
    assert_ok(safetensors_read(half, out, &e), &e);
    assert_memory_equal(out, want, sizeof want);
    assert_ok(safetensors_read(safetensors_find(s, "brain"), out, &e), &e);
    assert_true(out[0] == 1.0f && out[1] == -123.5f);
    assert_memory_equal(safetensors_f32(safetensors_find(s, "full")), want, sizeof want);
    assert_int_equal(safetensors_read(safetensors_find(s, "id"), out, &e), STATUS_UNSUPPORTED);
    assert_non_null(strstr(e.text, "I64"));
    assert_null(safetensors_find(s, "nothing"));
    safetensors_close(s);
}

/* What the reference implementation wrote comes back byte for byte. */
static void test_writes_as_the_reference_implementation(void **state)
{
    (void)state;
    static const char *const names[] = {"gelu", "gelu_new", "relu", "old"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[400], path[300];
        static struct safetensors_tensor t[100];
        size_t n = 0, m = 0;
        struct safetensors *s;
        struct err e = {0};
        (void)snprintf(from, sizeof from, "%s/%s/model.safetensors", files_source("tests/golden/encoder"), names[i]);
        assert_ok(safetensors_open(&s, from, &e), &e);
        for (size_t k = 0; k < safetensors_count(s); k++) t[safetensors_count(s) - 1 - k] = *safetensors_at(s, k);
        tmpdir_file(&dir, "again", path);
        assert_ok(safetensors_write(path, t, safetensors_count(s), &e), &e);
        char *a = files_read(from, &n), *b = files_read(path, &m);
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n);
        free(a);
        free(b);
        safetensors_close(s);
    }
}

static void test_refuses_to_write_nonsense(void **state)
{
    (void)state;
    static const float x[2] = {1, 2};
    struct safetensors_tensor t[2] = {
        {.name = "a", .type = SAFETENSORS_F32, .rank = 1, .shape = {2}, .data = (const unsigned char *)x, .bytes = 8},
        {.name = "a", .type = SAFETENSORS_F32, .rank = 1, .shape = {2}, .data = (const unsigned char *)x, .bytes = 8}};
    char path[300];
    struct err e = {0};
    tmpdir_file(&dir, "bad.safetensors", path);
    assert_int_equal(safetensors_write(path, t, 2, &e), STATUS_INVALID);
    t[1].name = "b";
    t[1].bytes = 4;
    assert_int_equal(safetensors_write(path, t, 2, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "'b'"));
    t[1].bytes = 8;
    assert_int_equal(safetensors_write("/nonexistent/x.safetensors", t, 2, &e), STATUS_IO);
    assert_int_not_equal(access(path, F_OK), 0); /* nothing was left */
}

static enum status read_one(const char *path)
{
    struct safetensors *s;
    const enum status st = safetensors_open(&s, path, NULL);
    if (st == STATUS_OK)
        safetensors_close(s);
    else
        assert_null(s);
    return st;
}

static void *json_take(size_t n)
{
    return mem_realloc(NULL, n, 1);
}

/* A shape that lacked a number for want of memory was written as it was, with status OK. */
static void test_no_memory_for_the_header_is_said(void **state)
{
    (void)state;
    static const float x[2] = {1, 2};
    const struct safetensors_tensor t = {
        .name = "a", .type = SAFETENSORS_F32, .rank = 1, .shape = {2}, .data = (const unsigned char *)x, .bytes = 8};
    struct safetensors *s;
    struct err e = {0};
    char path[300];
    long met;
    tmpdir_file(&dir, "m.safetensors", path);
    json_set_alloc_funcs(json_take, mem_free);
    FAIL_EACH_ALLOCATION(met, safetensors_write(path, &t, 1, NULL));
    json_set_alloc_funcs(malloc, free);
    assert_true(met > 20);
    assert_ok(safetensors_open(&s, path, &e), &e);
    assert_int_equal(safetensors_at(s, 0)->shape[0], 2);
    safetensors_close(s);
}

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    static const float x[2] = {1, 2};
    const struct safetensors_tensor t = {
        .name = "a", .type = SAFETENSORS_F32, .rank = 1, .shape = {2}, .data = (const unsigned char *)x, .bytes = 8};
    char path[300];
    long met;
    tmpdir_file(&dir, "m.safetensors", path);
    FAIL_EACH_ALLOCATION(met, safetensors_write(path, &t, 1, NULL));
    assert_true(met >= 3);
    FAIL_EACH_ALLOCATION(met, read_one(path));
    assert_true(met >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_rules),
        cmocka_unit_test(test_absent_and_empty_files),
        cmocka_unit_test(test_cut_and_damaged_files),
        cmocka_unit_test(test_values_are_converted_exactly),
        cmocka_unit_test(test_writes_as_the_reference_implementation),
        cmocka_unit_test(test_refuses_to_write_nonsense),
        cmocka_unit_test(test_no_memory_for_the_header_is_said),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

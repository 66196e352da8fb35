/* test_conf.c - every key of the table at its edges, files and environment with exact complaints, documents that read back. */
#include "schemas/conf.h"
#include "schemas/conf_table.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct conf *fresh(void)
{
    struct conf *c = NULL;
    struct err e = {0};
    assert_ok(conf_new(&c, &e), &e);
    return c;
}

static void refused(struct conf *c, const char *key, const char *value, const char *must_say)
{
    struct err e = {0};
    assert_int_equal(conf_set(c, key, value, &e), STATUS_INVALID);
    if (strstr(e.text, must_say) == NULL) fail_msg("%s=%s: '%s' does not say '%s'", key, value, e.text, must_say);
    if (strstr(e.text, key) == NULL) fail_msg("'%s' does not name the key %s", e.text, key);
}

static void test_defaults_are_those_of_the_table(void **state)
{
    (void)state;
    struct conf *c = fresh();
    assert_string_equal(c->model_name, "default");
    assert_int_equal(c->join_negatives, 4);
    assert_true(c->train_learning_rate == 1e-4);
    assert_true(c->join_organic);
    assert_string_equal(c->model_item_view, "pooled");
    assert_int_equal(c->n_types, EVENT_TYPES_BUILTIN);
    assert_int_equal(conf_type_find(c, STR("refund")), EVENT_REFUND);
    assert_int_equal(conf_type_find(c, STR("nothing")), -1);
    assert_int_equal(c->types[EVENT_PURCHASE].label, CONF_LABEL_POSITIVE);
    assert_int_equal(c->types[EVENT_DISLIKE].label, CONF_LABEL_NEGATIVE);
    assert_int_equal(c->types[EVENT_RATING].label, CONF_LABEL_NONE);
    struct err e = {0};
    assert_ok(conf_check(c, &e), &e);
    conf_free(c);
}

/* Every default must be a value that the key itself takes. */
static void test_every_default_is_accepted(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    for (size_t i = 0; i < conf_n_keys; i++) {
        struct buf b = {0};
        conf_value_text(&b, c, &conf_keys[i]);
        buf_u8(&b, 0);
        assert_ok(conf_set(c, conf_keys[i].key, (const char *)b.p, &e), &e);
        buf_fini(&b);
    }
    assert_memory_equal(c->model_base, conf_defaults()->model_base, sizeof c->model_base);
    conf_free(c);
}

static void int_edges(struct conf *c, const struct conf_key *k)
{
    char text[64];
    struct err e = {0};
    const int64_t *at = (const int64_t *)(const void *)((const char *)c + k->offset);
    const double edges[] = {k->lo, k->hi};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(text, sizeof text, "%.0f", edges[i]);
        assert_ok(conf_set(c, k->key, text, &e), &e);
        assert_true((double)*at == edges[i]);
        (void)snprintf(text, sizeof text, "%.0f", i == 0 ? edges[i] - 1 : edges[i] + 1);
        refused(c, k->key, text, "out of range");
        assert_true((double)*at == edges[i]);
    }
    (void)snprintf(text, sizeof text, "%.0f to %.0f", k->lo, k->hi);
    refused(c, k->key, "99999999999999999999", text);
    refused(c, k->key, "-99999999999999999999", "out of range");
    refused(c, k->key, "5x", "'5x' is not a whole number");
    refused(c, k->key, "", "not a whole number");
    refused(c, k->key, "1.5", "not a whole number");
    refused(c, k->key, "nan", "not a whole number");
}

static void num_edges(struct conf *c, const struct conf_key *k)
{
    static const char *const bad[] = {"nan", "inf", "-inf", "1e999", "0x1p3", "", "1.0x", "--1", "1e"};
    char text[64];
    struct err e = {0};
    const double *at = (const double *)(const void *)((const char *)c + k->offset);
    const double edges[] = {k->lo, k->hi};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(text, sizeof text, "%.17g", edges[i]);
        assert_ok(conf_set(c, k->key, text, &e), &e);
        assert_true(*at == edges[i]);
        (void)snprintf(text, sizeof text, "%.17g", i == 0 ? edges[i] - 0.001 : edges[i] * 1.001 + 0.001);
        refused(c, k->key, text, "out of range");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(c, k->key, bad[i], "not a finite number");
}

static void word_edges(struct conf *c, const struct conf_key *k)
{
    char words[256];
    struct err e = {0};
    (void)snprintf(words, sizeof words, "%s", k->unit);
    for (char *save = NULL, *w = strtok_r(words, "|", &save); w != NULL; w = strtok_r(NULL, "|", &save)) {
        assert_ok(conf_set(c, k->key, w, &e), &e);
        assert_string_equal((const char *)c + k->offset, w);
        assert_true(strlen(w) < 32);
    }
    refused(c, k->key, "nonsense", k->unit);
    refused(c, k->key, "", k->unit);
    refused(c, k->key, k->unit[0] == 'w' ? "wai" : "p|", "is not one of");
}

static void text_edges(struct conf *c, const struct conf_key *k)
{
    char text[CONF_TEXT + 100];
    const size_t max = (size_t)k->hi;
    assert_true(max < CONF_TEXT);
    memset(text, 'a', max + 1);
    text[max + 1] = 0;
    refused(c, k->key, text, "longer than");
    refused(c, k->key, "a\tb", "control character");
    refused(c, k->key, " a", "blank");
    refused(c, k->key, "a ;b", "comment");
}

static void test_every_key_holds_its_edges(void **state)
{
    (void)state;
    struct conf *c = fresh();
    for (size_t i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        switch (k->kind) {
        case CONF_KIND_INT: int_edges(c, k); break;
        case CONF_KIND_NUM: num_edges(c, k); break;
        case CONF_KIND_WORD: word_edges(c, k); break;
        case CONF_KIND_TEXT: text_edges(c, k); break;
        case CONF_KIND_BOOL:
            refused(c, k->key, "yes", "neither true nor false");
            refused(c, k->key, "", "neither true nor false");
            break;
        }
    }
    conf_free(c);
}

static void test_longest_text_fits(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    char text[501];
    memset(text, 'x', 500);
    text[500] = 0;
    assert_ok(conf_set(c, "state.dir", text, &e), &e);
    assert_string_equal(c->state_dir, text);
    assert_ok(conf_set(c, "state.dir", "short", &e), &e);
    assert_string_equal(c->state_dir, "short");
    conf_free(c);
}

static void test_texts_with_structure_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *key, *good, *bad, *says;
    } rows[] = {
        {"model.name", "shop-1.a_B", "a{b}", "letters"},
        {"model.name", "x", "", "empty"},
        {"model.parts", "text, numeric", "text,foo", "'foo' is not a part"},
        {"model.parts", "hashed", "text,text", "twice"},
        {"model.parts", "match", "", "not a part"},
        {"model.features", "a,b", "a,,b", "empty name"},
        {"counter.half_lives_hours", "1, 2,3.5,4", "1,2,3", "exactly 4"},
        {"counter.half_lives_hours", "1,2,3,4", "1,2,3,-4", "above 0"},
        {"counter.half_lives_hours", "1,2,3,4", "1,2,3,nan", "above 0"},
        {"counter.half_lives_hours", "1,2,3,4", "1,2,3,0x4", "above 0"},
        {"ingest.topics", "events,more", "", "empty name"},
        {"ingest.start", "last=90s", "last=soon", "not a duration"},
        {"ingest.start", "ts=2026-01-02T03:04:05Z", "ts=yesterday", "none of"},
        {"ingest.start", "ts=1700000000000", "ts=", "none of"},
        {"ingest.start", "ts=100000000000", "ts=1700000000", "can only be seconds"},
        {"ingest.start", "last=1ms", "last=0", "latest means"},
        {"ingest.start", "last=1", "last=0d", "latest means"},
        {"ingest.start", "latest", "newest", "none of"},
        {"redis.url", "unix:/run/redis.sock", "unix:", "neither"},
        {"redis.url", "redis://h:6379/0", "redis://u:p@h:6379", "redis.password_file"},
        {"redis.url", "", "http://h", "neither"},
        {"serving.listen", "[::1]:0", "localhost", "address:port"},
        {"serving.listen", "0.0.0.0:65535", "0.0.0.0:65536", "address:port"},
    };
    struct conf *c = fresh();
    struct err e = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(conf_set(c, rows[i].key, rows[i].good, &e), &e);
        refused(c, rows[i].key, rows[i].bad, rows[i].says);
    }
    conf_free(c);
}

static void test_unknown_key_names_the_nearest(void **state)
{
    (void)state;
    struct conf *c = fresh();
    refused(c, "train.learn_rate", "1", "'train.learning_rate'");
    refused(c, "serving.join_top", "1", "'serving.joint_top'");
    refused(c, "redis.urll", "1", "'redis.url'");
    assert_int_equal(conf_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(conf_edit_distance("", "abc"), 3);
    conf_free(c);
}

static void test_options_split_at_the_first_equals(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    assert_ok(conf_set_option(c, "train.seed=7", &e), &e);
    assert_int_equal(c->train_seed, 7);
    assert_ok(conf_set_option(c, "kafka.ssl.key=a=b", &e), &e);
    assert_string_equal(c->kafka[0].key, "ssl.key");
    assert_string_equal(c->kafka[0].value, "a=b");
    assert_int_equal(conf_set_option(c, "train.seed", &e), STATUS_INVALID);
    assert_int_equal(conf_set_option(c, "=3", &e), STATUS_INVALID);
    conf_free(c);
}

static void test_types_can_be_changed_and_made(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    assert_ok(conf_set(c, "type.view.label", "positive", &e), &e);
    assert_ok(conf_set(c, "type.view.weight", "0.25", &e), &e);
    assert_ok(conf_set(c, "type.listen.to.template", "I heard {title}", &e), &e);
    assert_int_equal(c->types[EVENT_VIEW].label, CONF_LABEL_POSITIVE);
    assert_true(c->types[EVENT_VIEW].weight == 0.25);
    const int mine = conf_type_find(c, STR("listen.to"));
    assert_int_equal(mine, EVENT_TYPES_BUILTIN);
    assert_string_equal(c->types[mine].template_text, "I heard {title}");
    assert_true(c->types[mine].weight == 1.0);
    refused(c, "type.view.label", "maybe", "none|positive|negative");
    refused(c, "type.view.weight", "-1", "out of range");
    refused(c, "type.view.colour", "red", "label, weight and template");
    refused(c, "type.impression.label", "positive", "no behaviours");
    refused(c, "type.label", "positive", "type.NAME.label");
    refused(c, "type.broken.label", "maybe", "none|positive|negative");
    assert_int_equal(conf_type_find(c, STR("broken")), -1); /* a failed set leaves no type behind */
    char key[64];
    for (int i = (int)c->n_types; i < EVENT_TYPES_MAX; i++) {
        (void)snprintf(key, sizeof key, "type.t%d.label", i);
        assert_ok(conf_set(c, key, "none", &e), &e);
    }
    refused(c, "type.onemore.label", "none", "32 event types");
    conf_free(c);
}

static void test_kafka_keys_are_kept_and_replaced(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    assert_ok(conf_set(c, "kafka.bootstrap.servers", "a:1", &e), &e);
    assert_ok(conf_set(c, "kafka.group.id", "g", &e), &e);
    assert_ok(conf_set(c, "kafka.bootstrap.servers", "b:2", &e), &e);
    assert_int_equal(c->n_kafka, 2);
    assert_string_equal(c->kafka[0].value, "b:2");
    refused(c, "kafka.", "x", "property name");
    conf_free(c);
    assert_int_equal(mem_live(), 0);
}

static void test_keys_that_disagree_are_refused(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    assert_ok(conf_set(c, "model.user_view", "concat", &e), &e);
    assert_int_equal(conf_check(c, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "model.item_view"));
    assert_ok(conf_set(c, "model.item_view", "concat", &e), &e);
    assert_ok(conf_check(c, &e), &e);
    assert_ok(conf_set(c, "history.events", "3", &e), &e);
    assert_int_equal(conf_check(c, &e), STATUS_INVALID);
    assert_ok(conf_set(c, "model.events", "3", &e), &e);
    assert_ok(conf_set(c, "ingest.schema", "csv", &e), &e);
    assert_int_equal(conf_check(c, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "ingest.map"));
    conf_free(c);
    c = fresh();
    assert_ok(conf_set(c, "train.l2_sp_anchor", "blessed", &e), &e);
    assert_ok(conf_set(c, "gate.share", "0", &e), &e);
    assert_ok(conf_check(c, &e), &e);
    assert_ok(conf_set(c, "train.l2_sp", "0.1", &e), &e);
    assert_int_equal(conf_check(c, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "gate.share"));
    conf_free(c);
}

/* ---- files ---- */

static enum status load_text(struct conf *c, const struct tmpdir *d, const char *text, size_t n, struct err *e)
{
    char path[300];
    FILE *f = fopen(tmpdir_file(d, "freshet.ini", path), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return conf_load(c, path, e);
}

static void test_file_is_read(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf; a comment\n"
                               "[train]\r\n"
                               "seed = 9 ; trailing comment\r\n"
                               "  learning_rate=2e-5\n"
                               "# another\n"
                               "[type.purchase]\n"
                               "label = none\n"
                               "template = Ich kaufte {title}; ja: [ von {brand}]\n"
                               "\n[kafka]\nbootstrap.servers = h1:9092,h2:9092\n"
                               "[redis]\nurl =\n[train]\nwarmup_steps = 5";
    const struct tmpdir d = tmpdir_make("conf");
    struct conf *c = fresh();
    struct err e = {0};
    assert_ok(load_text(c, &d, text, sizeof text - 1, &e), &e);
    assert_int_equal(c->train_seed, 9);
    assert_true(c->train_learning_rate == 2e-5);
    assert_int_equal(c->train_warmup_steps, 5);
    assert_string_equal(c->types[EVENT_PURCHASE].template_text, "Ich kaufte {title}; ja: [ von {brand}]");
    assert_string_equal(c->kafka[0].value, "h1:9092,h2:9092");
    assert_string_equal(c->redis_url, "");
    conf_free(c);
    tmpdir_remove(&d);
}

static void test_long_lines_arrive_whole(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("conf");
    for (size_t n = 150; n < 510; n++) {
        char value[512], text[700];
        struct err e = {0};
        for (size_t i = 0; i < n; i++) value[i] = i % 7 == 3 && i + 1 < n ? ' ' : (char)('a' + i % 26);
        value[n] = 0;
        const int len = snprintf(text, sizeof text, "[type.view]\ntemplate = %s\nlabel = positive\n", value);
        struct conf *c = fresh();
        assert_ok(load_text(c, &d, text, (size_t)len, &e), &e);
        assert_string_equal(c->types[EVENT_VIEW].template_text, value);
        assert_int_equal(c->types[EVENT_VIEW].label, CONF_LABEL_POSITIVE);
        conf_free(c);
    }
    tmpdir_remove(&d);
}

static void test_file_errors_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"[train]\nseed = x\n", "freshet.ini:2: train.seed: 'x'"},
        {"[train]\n\n\nsed = 1\n[redis]\nurl = y\n",
         "freshet.ini:4: unknown key 'train.sed'; the nearest is 'train.seed'"},
        {"[train]\nseed\n", "freshet.ini:2: neither"},
        {"[train\nseed = 1\n", "freshet.ini:1: a section without"},
        {"[train] seed = 1\n", "freshet.ini:1: a section's line ends"},
        {"[train]]\n", "freshet.ini:1: a section's line ends"},
        {"[]\nseed = 1\n", "freshet.ini:1: a section's name"},
        {"seed = 1\n", "freshet.ini:1: a key before the first"},
        {"[train]\n= 1\n", "freshet.ini:2: neither"},
        {"[train]\nseed = 1\nseed = -1", "freshet.ini:3: train.seed: -1 is out of range"},
        {"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", "freshet.ini:1: a section's name"},
    };
    const struct tmpdir d = tmpdir_make("conf");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf *c = fresh();
        struct err e = {0};
        assert_int_equal(load_text(c, &d, rows[i].text, strlen(rows[i].text), &e), STATUS_INVALID);
        if (strstr(e.text, rows[i].says) == NULL) fail_msg("'%s' does not say '%s'", e.text, rows[i].says);
        assert_int_equal(e.code, STATUS_INVALID);
        conf_free(c);
    }
    struct conf *c = fresh();
    struct err e = {0};
    assert_int_equal(load_text(c, &d, "[train]\nse\0ed = 1\n", 18, &e), STATUS_INVALID);
    char big[6000];
    memset(big, 'a', sizeof big);
    assert_int_equal(load_text(c, &d, big, sizeof big, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "freshet.ini:1:"));
    assert_int_equal(conf_load(c, "/nonexistent/freshet.ini", &e), STATUS_IO);
    assert_non_null(strstr(e.text, "/nonexistent/freshet.ini"));
    conf_free(c);
    tmpdir_remove(&d);
    assert_int_equal(mem_live(), 0);
}

static void test_environment_stands_above_the_file(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct err e = {0};
    setenv("FRESHET_TRAIN_SEED", "3", 1);
    setenv("FRESHET_JOIN_NEGATIVES_UNIFORM_FRAC", "0.75", 1);
    setenv("FRESHET_KAFKA_BOOTSTRAP_SERVERS", "k:9092", 1);
    setenv("FRESHET_TYPE_VIEW_LABEL", "positive", 1);
    setenv("FRESHET_NO_SUCH_THING", "x", 1);
    assert_ok(conf_load_environment(c, &e), &e);
    assert_int_equal(c->train_seed, 3);
    assert_true(c->join_negatives_uniform == 0.75);
    assert_string_equal(c->kafka[0].key, "bootstrap.servers");
    assert_int_equal(c->types[EVENT_VIEW].label, CONF_LABEL_POSITIVE);
    setenv("FRESHET_TRAIN_SEED", "three", 1);
    assert_int_equal(conf_load_environment(c, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "FRESHET_TRAIN_SEED: train.seed: 'three'"));
    unsetenv("FRESHET_TRAIN_SEED");
    static const char *const wrong[] = {"FRESHET_TRAIN_SEDE", "FRESHET_TYPE_WISH_LABEL"};
    for (size_t i = 0; i < 2; i++) {
        setenv(wrong[i], "3", 1);
        assert_int_equal(conf_load_environment(c, &e), STATUS_INVALID);
        assert_non_null(strstr(e.text, wrong[i]));
        unsetenv(wrong[i]);
    }
    unsetenv("FRESHET_JOIN_NEGATIVES_UNIFORM_FRAC");
    unsetenv("FRESHET_KAFKA_BOOTSTRAP_SERVERS");
    unsetenv("FRESHET_TYPE_VIEW_LABEL");
    unsetenv("FRESHET_NO_SUCH_THING");
    conf_free(c);
}

/* ---- documents ---- */

static void test_dump_reads_back_as_itself(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("conf");
    struct conf *c = fresh(), *again = fresh();
    struct buf one = {0}, two = {0};
    struct err e = {0};
    assert_ok(conf_set(c, "train.head_rate", "0.1", &e), &e);
    assert_ok(conf_set(c, "train.linear_rate", "0.30000000000000004", &e), &e);
    assert_ok(conf_set(c, "type.wish.template", "I want {title}", &e), &e);
    assert_ok(conf_set(c, "type.a_name_of_just_as_many_bytes_as_it_can_hav.weight", "2", &e), &e);
    refused(c, "type.a_name_of_one_byte_more_than_a_file_can_hav.weight", "2", "1 to 42 bytes");
    refused(c, "type.\xff.weight", "2", "UTF-8");
    assert_ok(conf_set(c, "kafka.group.id", "g 1", &e), &e);
    conf_dump(c, &one);
    assert_ok(load_text(again, &d, (const char *)one.p, one.n, &e), &e);
    conf_dump(again, &two);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n);
    assert_true(again->train_linear_rate == 0.30000000000000004);
    assert_ok(conf_set(c, "kafka.sasl.password", "hunter2", &e), &e);
    buf_clear(&one);
    conf_dump(c, &one);
    buf_u8(&one, 0);
    assert_null(strstr((const char *)one.p, "hunter2"));
    buf_fini(&one);
    buf_fini(&two);
    conf_free(c);
    conf_free(again);
    tmpdir_remove(&d);
}

static void test_document_names_every_key(void **state)
{
    (void)state;
    struct buf b = {0};
    conf_document(&b);
    buf_u8(&b, 0);
    for (size_t i = 0; i < conf_n_keys; i++) {
        char cell[200];
        (void)snprintf(cell, sizeof cell, "| `%s` |", conf_keys[i].key);
        assert_non_null(strstr((const char *)b.p, cell));
    }
    buf_fini(&b);
}

static void test_meaning_changes_with_state_keys_only(void **state)
{
    (void)state;
    struct conf *c = fresh();
    struct buf was = {0}, now = {0};
    struct err e = {0};
    conf_meaning(c, &was);
    assert_ok(conf_set(c, "publish.every_ms", "123", &e), &e);
    conf_meaning(c, &now);
    assert_int_equal(was.n, now.n);
    assert_memory_equal(was.p, now.p, was.n);
    assert_ok(conf_set(c, "model.trainable_layers", "2", &e), &e);
    buf_clear(&now);
    conf_meaning(c, &now);
    buf_u8(&now, 0);
    assert_non_null(strstr((const char *)now.p, "model.trainable_layers=2\n"));
    assert_ok(conf_set(c, "type.view.template", "I saw {title}", &e), &e);
    buf_clear(&now);
    conf_meaning(c, &now);
    buf_u8(&now, 0);
    assert_non_null(strstr((const char *)now.p, "type.view.template=I saw {title}\n"));
    buf_fini(&was);
    buf_fini(&now);
    conf_free(c);
}

static void test_lists_and_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"250ms", 250}, {"90s", 90000}, {"15m", 900000}, {"2h", 7200000}, {"7d", 604800000}, {"42", 42}};
    int64_t ms;
    struct err e = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(conf_duration_ms(rows[i].text, &ms, &e), &e);
        assert_true(ms == rows[i].ms);
    }
    static const char *const bad[] = {"", "s", "-1s", "1w", "1 s", "99999999999999999999", "9999999999999d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(conf_duration_ms(bad[i], &ms, &e), STATUS_INVALID);
    assert_true(conf_list_has("text, match ,numeric", "match"));
    assert_false(conf_list_has("text,matches", "match"));
    assert_false(conf_list_has("", ""));
}

static enum status build(void)
{
    struct conf *c = NULL;
    enum status st = conf_new(&c, NULL);
    if (st == STATUS_OK) st = conf_set(c, "kafka.a", "1", NULL);
    if (st == STATUS_OK) st = conf_set(c, "kafka.b", "2", NULL);
    if (st == STATUS_OK) st = conf_set(c, "kafka.a", "3", NULL);
    conf_free(c);
    return st;
}

static void test_failing_allocations_leave_nothing(void **state)
{
    (void)state;
    long n;
    FAIL_EACH_ALLOCATION(n, build());
    assert_int_equal(n, 8);
}

static struct tmpdir oom_dir;
static enum status load_once(void)
{
    char path[300];
    struct conf *c = NULL;
    enum status st = conf_new(&c, NULL);
    if (st == STATUS_OK) st = conf_load(c, tmpdir_file(&oom_dir, "freshet.ini", path), NULL);
    conf_free(c);
    return st;
}

static void test_failing_allocations_in_a_file(void **state)
{
    (void)state;
    long n;
    oom_dir = tmpdir_make("conf");
    struct conf *c = fresh();
    struct err e = {0};
    static const char text[] = "[kafka]\na = 1\nb = 2\n";
    assert_ok(load_text(c, &oom_dir, text, sizeof text - 1, &e), &e);
    conf_free(c);
    FAIL_EACH_ALLOCATION(n, load_once());
    assert_true(n >= 8);
    tmpdir_remove(&oom_dir);
}

static void test_reset_gives_defaults_back_by_their_beginning(void **state)
{
    (void)state;
    struct conf *c = fresh(), *like = fresh();
    struct buf one = {0}, two = {0};
    struct err e = {0};
    assert_ok(conf_set(c, "join.loss", "fnw", &e), &e);
    assert_ok(conf_set(c, "join.window_ms", "7", &e), &e);
    assert_ok(conf_set(c, "ingest.map", "a.ini", &e), &e);
    assert_ok(conf_set(c, "train.rank", "3", &e), &e);
    assert_ok(conf_set(c, "kafka.group.id", "g", &e), &e);
    assert_ok(conf_set(c, "variant.b.share", "0.1", &e), &e);
    assert_ok(conf_set(c, "train.seed", "5", &e), &e);
    assert_ok(conf_set(like, "train.seed", "5", &e), &e);
    static const char *const some[] = {"join.", "ingest.", "train.rank", "kafka.", "variant."};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) assert_ok(conf_reset(c, some[i], &e), &e);
    conf_dump(c, &one);
    conf_dump(like, &two);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n);
    buf_fini(&one);
    buf_fini(&two);
    conf_free(c);
    conf_free(like);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_those_of_the_table),
        cmocka_unit_test(test_every_default_is_accepted),
        cmocka_unit_test(test_every_key_holds_its_edges),
        cmocka_unit_test(test_longest_text_fits),
        cmocka_unit_test(test_texts_with_structure_are_checked),
        cmocka_unit_test(test_unknown_key_names_the_nearest),
        cmocka_unit_test(test_options_split_at_the_first_equals),
        cmocka_unit_test(test_types_can_be_changed_and_made),
        cmocka_unit_test(test_kafka_keys_are_kept_and_replaced),
        cmocka_unit_test(test_keys_that_disagree_are_refused),
        cmocka_unit_test(test_file_is_read),
        cmocka_unit_test(test_long_lines_arrive_whole),
        cmocka_unit_test(test_file_errors_name_the_line),
        cmocka_unit_test(test_environment_stands_above_the_file),
        cmocka_unit_test(test_dump_reads_back_as_itself),
        cmocka_unit_test(test_document_names_every_key),
        cmocka_unit_test(test_meaning_changes_with_state_keys_only),
        cmocka_unit_test(test_lists_and_durations),
        cmocka_unit_test(test_failing_allocations_leave_nothing),
        cmocka_unit_test(test_failing_allocations_in_a_file),
        cmocka_unit_test(test_reset_gives_defaults_back_by_their_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

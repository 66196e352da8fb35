/* test_publish.c - versions, features and metrics into a private Redis; lease, loss and a server that is away.
 *
 * labels: redis threads
 */
#include "base/hash.h"
#include "schemas/key.h"
#include "serving/publish.h"
#include "tests/support/check.h"
#include "tests/support/redis_server.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK PUBLISH_CHUNK_BYTES
#define WAIT_MS 20000

static struct redis_server server;
static char answer[4096];

static const char *ask(const char *command)
{
    return redis_server_ask(&server, answer, command);
}

static struct publish *open_publish(struct conf *c)
{
    struct publish *p = NULL;
    struct err e = {0};
    assert_ok(publish_open(&p, c, clock_system(), 0, &e), &e);
    assert_non_null(p);
    return p;
}

/* n_chunks chunks of bytes, chunk i filled with fill[i]; the last one is cut to 1000 bytes. */
static struct buf file_of(const char *fill)
{
    struct buf b = {0};
    const size_t n = strlen(fill);
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = i + 1 == n ? 1000 : CHUNK;
        void *p = buf_room(&b, bytes);
        assert_non_null(p);
        memset(p, fill[i], bytes);
    }
    return b;
}

static struct publish_version version_of(uint64_t version)
{
    struct publish_version v = {.version = version,
                                .parent = version - 1,
                                .examples = 10 * version,
                                .watermark_ms = 1234567,
                                .settled_ms = 1000,
                                .settled_wall_ms = 2000,
                                .live = true,
                                .reason = "test"};
    memset(v.sha256, 'a', 64);
    (void)snprintf(v.base, sizeof v.base, "%016x", 0xabcdu);
    return v;
}

static void publish_file(struct publish *p, uint64_t version, const char *fill)
{
    struct err e = {0};
    struct buf file = file_of(fill);
    const struct publish_version v = version_of(version);
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
    assert_null(file.p);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
}

static void read_manifest(uint64_t version, struct publish_manifest *m)
{
    char command[64];
    struct err e = {0};
    memset(m, 0, sizeof *m);
    (void)snprintf(command, sizeof command, "GET fr:{default}:manifest:%llu", (unsigned long long)version);
    (void)ask(command);
    assert_ok(publish_manifest_decode(m, str_from(answer), "default", &e), &e);
}

/* Nothing seen yet is 0 outside: of a version now, and of one from before it was said so. */
static void test_a_watermark_that_is_not_there_is_none(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    struct publish_manifest m, again = {0};
    struct buf file = file_of("ab"), json = {0};
    struct err e = {0};
    struct publish_version v = version_of(1);
    v.watermark_ms = INT64_MIN;
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    read_manifest(1, &m);
    assert_non_null(strstr(answer, "\"watermark_ms\":0,"));
    m.watermark_ms = INT64_MIN;
    assert_ok(publish_manifest_encode(&json, &m, "default", &e), &e);
    assert_ok(publish_manifest_decode(&again, (struct str){(const char *)json.p, json.n}, "default", &e), &e);
    assert_int_equal(again.watermark_ms, 0);
    publish_manifest_fini(&again);
    publish_manifest_fini(&m);
    buf_fini(&json);
    publish_close(p);
    conf_free(c);
}

static int fresh(void **state)
{
    (void)state;
    (void)ask("FLUSHALL");
    return 0;
}

static void test_version_is_in_force_with_all_its_chunks(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    struct publish_manifest m;
    publish_file(p, 7, "abc");
    assert_string_equal(ask("GET fr:{default}:current"), "7");
    read_manifest(7, &m);
    assert_int_equal(m.bytes, 2 * CHUNK + 1000);
    assert_int_equal(m.n_chunks, 3);
    assert_int_equal(m.parent, 6);
    assert_int_equal(m.watermark_ms, 1234567);
    assert_int_equal(m.epoch, 1);
    assert_true(m.live);
    assert_string_equal(m.verdict, "accepted");
    for (uint32_t i = 0; i < 3; i++) {
        char hex[HASH_SHA256_HEX];
        struct err e = {0};
        struct buf f = file_of("abc");
        const size_t n = i == 2 ? 1000 : CHUNK;
        assert_ok(hash_sha256_of(f.p + i * CHUNK, n, hex, &e), &e);
        assert_string_equal(m.chunks[i].sha256, hex);
        buf_fini(&f);
    }
    assert_string_equal(ask("STRLEN fr:{default}:chunk:7:0"), "1048576");
    assert_string_equal(ask("STRLEN fr:{default}:chunk:7:2"), "1000");
    assert_string_equal(ask("TTL fr:{default}:chunk:7:1"), "-1"); /* the expiry of a half-done publish is off */
    assert_string_equal(ask("XLEN fr:{default}:log"), "1");
    assert_string_equal(ask("HGET fr:default:info version"), "7");
    publish_manifest_fini(&m);
    publish_close(p);
    assert_string_equal(ask("EXISTS fr:{default}:lease"), "0");
    conf_free(c);
}

static void test_unchanged_chunks_name_older_keys_and_old_versions_go(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    struct publish_manifest m;
    assert_ok(conf_set(c, "publish.keep", "2", &e), &e);
    struct publish *p = open_publish(c);
    publish_file(p, 1, "abc");
    publish_file(p, 2, "xbc");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:2:1"), "0");
    publish_close(p); /* another learner process goes on from what it finds in Redis */
    p = open_publish(c);
    publish_file(p, 3, "ybc");
    read_manifest(3, &m);
    assert_int_equal(m.chunks[0].version, 3);
    assert_int_equal(m.chunks[1].version, 1);
    assert_int_equal(m.chunks[2].version, 1);
    assert_int_equal(m.n_kept, 2);
    assert_int_equal(m.kept[1], 2);
    assert_int_equal(m.epoch, 2);
    publish_manifest_fini(&m);
    assert_string_equal(ask("EXISTS fr:{default}:manifest:1"), "0");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:1:0"), "0");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:1:1"), "1");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:2:0"), "1");
    publish_file(p, 4, "yyy");
    publish_file(p, 5, "yyz");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:1:1"), "0");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:2:0"), "0");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:3:0"), "1"); /* named by 4 and 5 */
    publish_close(p);
    conf_free(c);
}

static void test_missing_older_chunk_is_written_again(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    publish_file(p, 1, "abc");
    (void)ask("DEL fr:{default}:chunk:1:1");
    publish_file(p, 2, "abx");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:2:1"), "1");
    publish_close(p);
    conf_free(c);
}

static void test_new_line_of_lower_numbers_replaces_the_old(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    publish_file(p, 50, "abc");
    publish_file(p, 3, "abd");
    assert_string_equal(ask("GET fr:{default}:current"), "3");
    assert_string_equal(ask("EXISTS fr:{default}:manifest:50"), "0");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:50:2"), "0");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:50:0"), "1"); /* still named */
    publish_close(p);
    conf_free(c);
}

static void put_features(struct publish *p)
{
    struct publish_batch *b = NULL;
    struct err e = {0};
    assert_ok(publish_features_begin(p, &b, &e), &e);
    assert_ok(publish_put_user(b, STR("u1"), STR("user record"), &e), &e);
    assert_ok(publish_put_item(b, STR("i1"), STR("item\0record"), &e), &e);
    assert_true(publish_wants_state(p, 0xfeed));
    assert_ok(publish_put_state(b, 0xfeed, STR("state"), &e), &e);
    publish_features_end(p, b);
    assert_false(publish_wants_state(p, 0xfeed));
}

static void test_features_arrive_and_expire(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    assert_ok(conf_set(c, "publish.feature_ttl_s", "100", &e), &e);
    struct publish *p = open_publish(c);
    put_features(p);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_string_equal(ask("GET fr:default:user:u1"), "user record");
    assert_string_equal(ask("STRLEN fr:default:item:i1"), "11");
    assert_string_equal(ask("GET fr:default:state:000000000000feed"), "state");
    const int ttl = atoi(ask("TTL fr:default:item:i1"));
    assert_true(ttl > 90 && ttl <= 100);
    publish_close(p);
    conf_free(c);
}

/* A record for which there is no memory is not in the batch at all; half of one would have replaced what is there. */
static void test_a_record_without_memory_harms_none(void **state)
{
    (void)state;
    static char big[100000];
    const struct str long_record = {big, sizeof big};
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    struct publish_batch *b = NULL;
    struct err e = {0};
    put_features(p);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_ok(publish_features_begin(p, &b, &e), &e);
    assert_ok(publish_put_user(b, STR("u2"), STR("another"), &e), &e);
    mem_fail_after(0);
    assert_int_equal(publish_put_user(b, STR("u1"), long_record, &e), STATUS_OOM);
    mem_fail_after(0);
    assert_int_equal(publish_put_state(b, 0xbeef, long_record, &e), STATUS_OOM);
    mem_fail_after(-1);
    assert_ok(publish_put_user(b, STR("u3"), STR("a third"), &e), &e);
    publish_features_end(p, b);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_string_equal(ask("GET fr:default:user:u1"), "user record");
    assert_string_equal(ask("GET fr:default:user:u2"), "another");
    assert_string_equal(ask("GET fr:default:user:u3"), "a third");
    assert_true(publish_wants_state(p, 0xbeef));
    publish_close(p);
    conf_free(c);
}

static void test_metrics_go_to_hash_series_and_info(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    struct err e = {0};
    const struct publish_metric fields[] = {{"events_total", 12345678},
                                            {"auc", 0.75},
                                            {"ne", 0.0 / 0.0},
                                            {"lease_held", 1},
                                            {"watermark_ms", 1767225748287.0}};
    const struct publish_info info[] = {{"state", "running"}, {"host", "h"}, {"lease", "held"}};
    (void)ask("HSET fr:default:metrics freshness_p50_ms 840");
    assert_ok(publish_metrics(p, fields, 5, info, 3, &e), &e);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_string_equal(ask("HGET fr:default:metrics events_total"), "12345678");
    assert_string_equal(ask("HGET fr:default:metrics auc"), "0.75");
    assert_string_equal(ask("HGET fr:default:metrics ne"), "0");
    assert_string_equal(ask("HGET fr:default:metrics watermark_ms"), "1767225748287");
    assert_string_equal(ask("HGET fr:default:metrics freshness_p50_ms"), "840"); /* the scorers' own */
    assert_string_equal(ask("HGET fr:default:metrics freshness_p99_ms"), "0");
    assert_string_equal(ask("XLEN fr:default:metrics:ts"), "1");
    assert_string_equal(ask("HGET fr:default:info state"), "running");
    assert_int_equal(publish_metrics(p, fields, PUBLISH_METRICS_MAX + 1, NULL, 0, &e), STATUS_FULL);
    assert_string_equal(ask("HGET fr:default:metrics lease_held"), "1");
    publish_close(p); /* which gives the lease back: nothing says that it is held */
    assert_string_equal(ask("HGET fr:default:metrics lease_held"), "0");
    assert_string_equal(ask("HGET fr:default:info lease"), "none");
    conf_free(c);
}

/* What a learner says last of all is what the next one finds; one that says nothing leaves nothing whole. */
static void test_the_next_learner_knows_what_was_left_whole(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    struct publish_state s;
    const struct publish_info last = {"state", "stopped"};
    struct publish *p = open_publish(c);
    publish_file(p, 4, "abc");
    assert_ok(publish_metrics(p, NULL, 0, &last, 1, &e), &e);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_string_equal(s.left_sha256, "");
    publish_close(p);
    char sha256[65];
    (void)snprintf(sha256, sizeof sha256, "%s", ask("HGET fr:default:info sha256"));
    assert_int_equal(strlen(sha256), 64);
    for (int round = 0; round < 2; round++) { /* the second time its forerunner has not ended in order */
        p = open_publish(c);
        assert_ok(publish_flush(p, WAIT_MS, &e), &e);
        publish_state(p, &s);
        assert_true(s.n_turns > 0);
        assert_string_equal(s.left_sha256, round == 0 ? sha256 : "");
        publish_close(p);
    }
    conf_free(c);
}

static void test_redis_away_holds_nobody_up_and_loses_nothing(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct err e = {0};
    redis_server_kill(&server);
    struct publish *p = open_publish(c);
    struct publish_batch *b;
    struct publish_state after;
    size_t taken = 0;
    char id[16];
    for (;; taken++) { /* as many batches as may wait, then AGAIN */
        const enum status st = publish_features_begin(p, &b, &e);
        if (st == STATUS_AGAIN) break;
        assert_int_equal(st, STATUS_OK);
        (void)snprintf(id, sizeof id, "u%zu", taken);
        assert_ok(publish_put_user(b, str_from(id), STR("x"), &e), &e);
        publish_features_end(p, b);
    }
    assert_int_equal(taken, PUBLISH_BATCHES_MAX);
    for (uint64_t v = 1; v <= 20; v++) { /* newest wins */
        struct buf file = file_of("ab");
        const struct publish_version version = version_of(v);
        assert_ok(publish_weights(p, &version, &file, NULL, &e), &e);
    }
    assert_int_not_equal(publish_flush(p, 20, &e), STATUS_OK);
    redis_server_start(&server);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_string_equal(ask("GET fr:{default}:current"), "20");
    assert_string_equal(ask("XLEN fr:{default}:log"), "1");
    assert_string_equal(ask("EXISTS fr:default:user:u0"), "1");
    assert_string_equal(ask("EXISTS fr:default:user:u7"), "1");
    assert_false(publish_lost(p));
    publish_state(p, &after);
    assert_int_equal(after.waiting, 0);
    assert_int_equal(after.n_batches, PUBLISH_BATCHES_MAX);
    assert_ok(publish_features_begin(p, &b, &e), &e); /* there is room again */
    publish_features_cancel(p, b);
    publish_close(p);
    conf_free(c);
}

/* The lease is compared before each write, so the next one finds out; the version comes back by itself. */
static void lose_and_check(struct publish *p, void (*lose)(void))
{
    struct err e = {0};
    struct publish_batch *b;
    publish_file(p, 9, "abc");
    put_features(p);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_false(publish_lost(p));
    lose();
    assert_ok(publish_features_begin(p, &b, &e), &e);
    assert_ok(publish_put_user(b, STR("u2"), STR("x"), &e), &e);
    publish_features_end(p, b);
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    assert_true(publish_lost(p));
    assert_false(publish_lost(p));
    assert_true(publish_wants_state(p, 0xfeed));
    assert_string_equal(ask("GET fr:{default}:current"), "9");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:9:1"), "1");
    assert_string_equal(ask("EXISTS fr:default:user:u2"), "1");
}

static void flush_all(void)
{
    (void)ask("FLUSHALL");
}

static void restart(void)
{
    redis_server_kill(&server);
    redis_server_start(&server);
}

static void test_flushed_redis_is_noticed_and_filled(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    lose_and_check(p, flush_all);
    publish_close(p);
    conf_free(c);
}

static void test_restarted_redis_is_noticed_and_filled(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    lose_and_check(p, restart);
    publish_close(p);
    conf_free(c);
}

static void test_foreign_lease_is_respected_until_it_ends(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish_state s;
    struct err e = {0};
    (void)ask("SET fr:{default}:lease {\"owner\":\"x\",\"epoch\":41,\"host\":\"elsewhere\",\"pid\":77}");
    struct publish *p = open_publish(c);
    struct buf file = file_of("ab");
    const struct publish_version v = version_of(1);
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
    assert_int_equal(publish_flush(p, 300, &e), STATUS_CONFLICT);
    assert_non_null(strstr(e.text, "elsewhere"));
    assert_non_null(strstr(e.text, "77"));
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_FOREIGN);
    assert_int_equal(s.waiting, 1);
    assert_string_equal(ask("EXISTS fr:{default}:current"), "0");
    (void)ask("DEL fr:{default}:lease");
    assert_ok(publish_flush(p, WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_HELD);
    assert_string_equal(ask("GET fr:{default}:current"), "1");
    publish_close(p);
    conf_free(c);
}

static void test_stolen_lease_ends_all_writing(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    struct publish_state s;
    struct err e = {0};
    publish_file(p, 1, "ab");
    (void)ask("SET fr:{default}:lease {\"owner\":\"y\",\"epoch\":2,\"host\":\"other\",\"pid\":5}");
    struct buf file = file_of("xy");
    const struct publish_version v = version_of(2);
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
    assert_int_equal(publish_flush(p, WAIT_MS, &e), STATUS_CONFLICT);
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_CONFLICT);
    (void)ask("DEL fr:{default}:lease"); /* even then: final */
    assert_int_equal(publish_flush(p, 100, &e), STATUS_CONFLICT);
    assert_string_equal(ask("GET fr:{default}:current"), "1");
    assert_string_equal(ask("EXISTS fr:{default}:chunk:2:0"), "0");
    publish_close(p);
    conf_free(c);
}

static void test_lease_of_a_killed_process_is_taken_at_once(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = open_publish(c);
    struct publish_state s;
    char host[64] = "", space[64] = "", command[400];
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_true(readlink("/proc/self/ns/pid", space, sizeof space - 1) > 0);
    publish_close(p);
    (void)snprintf(command, sizeof command, /* no process has this id: beyond the kernel's largest */
                   "SET fr:{default}:lease "
                   "{\"owner\":\"z\",\"epoch\":6,\"host\":\"%s\",\"pid\":4194305,\"space\":\"%s\"} PX 60000",
                   host, space);
    (void)ask(command);
    p = open_publish(c);
    publish_file(p, 1, "a");
    publish_state(p, &s);
    assert_int_equal(s.epoch, 7);
    publish_close(p);
    conf_free(c);
}

/* The manifest's own check at the end of a text, which then ends as one written by us. */
static void seal(char *text)
{
    size_t n = strlen(text);
    if (n > 0 && text[n - 1] == '}') n--;
    (void)sprintf(text + n, ",\"check\":\"%016llx\"}", (unsigned long long)hash_bytes(text, n));
}

static void test_manifest_refuses_what_is_not_one(void **state)
{
    (void)state;
    static const char good[] =
        "{\"version\":3,\"parent\":2,\"examples\":1,\"bytes\":1048577,\"epoch\":1,\"sha256\":\"S\",\"base\":\"00\","
        "\"reason\":\"r\","
        "\"verdict\":\"v\",\"live\":true,\"watermark_ms\":1,\"settled_ms\":1,\"settled_wall_ms\":1,\"published_wall_"
        "ms\":1,"
        "\"chunks\":[{\"key\":\"fr:{m}:chunk:3:0\",\"sha256\":\"S\"},{\"key\":\"fr:{m}:chunk:1:1\",\"sha256\":\"S\"}],"
        "\"offsets\":[{\"topic\":0,\"partition\":1,\"next\":5,\"mark\":\"00000000000000ff\",\"records\":4,\"chain\":"
        "\"ffffffffffffffff\"}],\"kept\":[3,2]}";
    static const char *const edits[][2] = {
        {"\"version\":3", "\"version\":-3"},
        {"\"version\":3", "\"version\":\"3\""},
        {"\"parent\":2,", ""},
        {"1048577", "1048576"},
        {"1048577", "0"},
        {"1048577", "99999999999999"},
        {"\"sha256\":\"S\",\"base\"", "\"sha256\":\"zz\",\"base\""},
        {"\"live\":true", "\"live\":1"},
        {"chunk:3:0", "chunk:3:1"},
        {"fr:{m}:chunk:1:1", "fr:{n}:chunk:1:1"},
        {"chunk:1:1", "chunk:01:1"},
        {"fr:{m}:chunk:1:1", "/etc/passwd"},
        {"\"partition\":1", "\"partition\":99999999999"},
        {"00000000000000ff", "00000000000000fg"},
        {"00000000000000ff", "00000000000000f"},
        {"\"records\":4", "\"records\":-4"},
        {"\"chain\":\"ffffffffffffffff\"", "\"chain\":7"},
        {"\"kept\":[3,2]", "\"kept\":3"},
        {"[3,2]", "[3,-2]"},
        {"{\"version\"", "{\"live\":true,\"version\""},
        {"\"kept\":[3,2]}", "\"kept\":[3,2]]}"},
        {"\"reason\":\"r\"", "\"reason\":7"},
        {"\"offsets\":[{", "\"offsets\":[7,{"},
    };
    char sha[80], text[2048], base[2048];
    struct publish_manifest m = {0};
    struct err e = {0};
    memset(sha, 'b', 64);
    sha[64] = '\0';
    size_t n = 0;
    for (const char *p = good; *p; p++) { /* "S" stands for a hash */
        if (p[0] == 'S')
            n += (size_t)snprintf(base + n, sizeof base - n, "%s", sha);
        else
            base[n++] = *p;
    }
    base[n] = '\0';
    memcpy(text, base, n + 1);
    seal(text);
    assert_ok(publish_manifest_decode(&m, str_from(text), "m", &e), &e);
    assert_int_equal(m.chunks[1].version, 1);
    assert_int_equal(m.offsets[0].next, 5);
    assert_int_equal(m.offsets[0].mark, 0xff);
    assert_int_equal(m.offsets[0].records, 4);
    assert_true(m.offsets[0].chain == UINT64_MAX);
    publish_manifest_fini(&m);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char from[200], to[200];
        const char *pair[2] = {edits[i][0], edits[i][1]};
        char *into[2] = {from, to};
        for (int k = 0; k < 2; k++) {
            size_t w = 0;
            for (const char *p = pair[k]; *p; p++)
                w += (size_t)snprintf(into[k] + w, 200 - w, "%.*s", *p == 'S' ? 64 : 1, *p == 'S' ? sha : p);
            into[k][w] = '\0';
        }
        const char *at = strstr(base, from);
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - base), base, to, at + strlen(from));
        seal(text);
        if (publish_manifest_decode(&m, str_from(text), "m", &e) != STATUS_CORRUPT)
            fail_msg("taken: %s -> %s", from, to);
        assert_null(m.chunks);
    }
    memcpy(text, base, n + 1);
    seal(text);
    for (size_t cut = 0; cut < strlen(text); cut++)
        assert_int_equal(publish_manifest_decode(&m, (struct str){text, cut}, "m", &e), STATUS_CORRUPT);
    for (size_t bit = 0; bit < 8 * strlen(base); bit++) { /* any one bit */
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(publish_manifest_decode(&m, (struct str){text, n + 27}, "m", &e), STATUS_CORRUPT);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
}

static void test_without_redis_nothing_is_asked(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = (void *)1;
    struct publish_state s;
    struct err e = {0};
    struct buf file = file_of("a");
    const struct publish_version v = version_of(1);
    assert_ok(conf_set(c, "redis.url", "", &e), &e);
    assert_ok(publish_open(&p, c, clock_system(), 0, &e), &e);
    assert_null(p);
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
    assert_null(file.p);
    assert_ok(publish_flush(p, 0, &e), &e);
    assert_false(publish_lost(p));
    assert_false(publish_wants_state(p, 1));
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_NONE);
    publish_close(p);
    conf_free(c);
}

static enum status open_and_close(struct conf *c)
{
    struct publish *p = NULL;
    struct err e = {0};
    const enum status st = publish_open(&p, c, clock_system(), 0, &e);
    mem_fail_after(-1);
    if (st != STATUS_OK) assert_null(p);
    publish_close(p);
    return st;
}

static void test_open_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    long n;
    FAIL_EACH_ALLOCATION(n, open_and_close(c));
    assert_true(n >= 3);
    conf_free(c);
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_version_is_in_force_with_all_its_chunks, fresh),
        cmocka_unit_test_setup(test_unchanged_chunks_name_older_keys_and_old_versions_go, fresh),
        cmocka_unit_test_setup(test_missing_older_chunk_is_written_again, fresh),
        cmocka_unit_test_setup(test_new_line_of_lower_numbers_replaces_the_old, fresh),
        cmocka_unit_test_setup(test_features_arrive_and_expire, fresh),
        cmocka_unit_test_setup(test_a_record_without_memory_harms_none, fresh),
        cmocka_unit_test_setup(test_metrics_go_to_hash_series_and_info, fresh),
        cmocka_unit_test_setup(test_the_next_learner_knows_what_was_left_whole, fresh),
        cmocka_unit_test_setup(test_redis_away_holds_nobody_up_and_loses_nothing, fresh),
        cmocka_unit_test_setup(test_flushed_redis_is_noticed_and_filled, fresh),
        cmocka_unit_test_setup(test_restarted_redis_is_noticed_and_filled, fresh),
        cmocka_unit_test_setup(test_a_watermark_that_is_not_there_is_none, fresh),
        cmocka_unit_test_setup(test_foreign_lease_is_respected_until_it_ends, fresh),
        cmocka_unit_test_setup(test_stolen_lease_ends_all_writing, fresh),
        cmocka_unit_test_setup(test_lease_of_a_killed_process_is_taken_at_once, fresh),
        cmocka_unit_test(test_manifest_refuses_what_is_not_one),
        cmocka_unit_test(test_without_redis_nothing_is_asked),
        cmocka_unit_test(test_open_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

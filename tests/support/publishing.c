/* publishing.c - see the header. */
#include "tests/support/publishing.h"
#include "schemas/key.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct publish *publishing_open(const struct redis_server *s, const char *const *options, uint64_t epoch)
{
    struct publish *p = NULL;
    struct err e = {0};
    struct conf *c = redis_server_conf(s);
    for (; options != NULL && *options != NULL; options++) assert_ok(conf_set_option(c, *options, &e), &e);
    assert_ok(publish_open(&p, c, clock_system(), epoch, &e), &e);
    assert_non_null(p);
    conf_free(c);
    return p;
}

struct buf publishing_file(const char *fill)
{
    struct buf b = {0};
    const size_t n = strlen(fill);
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = i + 1 == n ? 1000 : PUBLISH_CHUNK_BYTES;
        void *p = buf_room(&b, bytes);
        assert_non_null(p);
        memset(p, fill[i], bytes);
    }
    return b;
}

struct publish_version publishing_version(uint64_t version)
{
    struct publish_version v = {.version = version,
                                .parent = version - 1,
                                .examples = 10 * version,
                                .watermark_ms = 1234567,
                                .live = true,
                                .reason = "test"};
    memset(v.sha256, 'a', 64);
    (void)snprintf(v.base, sizeof v.base, "%016x", 0xabcdu);
    return v;
}

void publishing_hand(struct publish *p, uint64_t version, const char *fill)
{
    struct err e = {0};
    struct buf file = publishing_file(fill);
    const struct publish_version v = publishing_version(version);
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
}

void publishing_put(struct publish *p, uint64_t version, const char *fill)
{
    struct err e = {0};
    publishing_hand(p, version, fill);
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
}

void publishing_user(struct publish *p, const char *id, const char *record)
{
    struct publish_batch *b = NULL;
    struct err e = {0};
    assert_ok(publish_features_begin(p, &b, &e), &e);
    assert_ok(publish_put_user(b, str_from(id), str_from(record), &e), &e);
    publish_features_end(p, b);
}

void publishing_metrics(struct publish *p, double events_total)
{
    struct err e = {0};
    const struct publish_metric m = {"events_total", events_total};
    const struct publish_info i = {"state", "running"};
    assert_ok(publish_metrics(p, &m, 1, &i, 1, &e), &e);
}

void publishing_wait(const struct redis_server *s, const char *command, const char *answer)
{
    char got[4096];
    for (int ms = 0; ms < PUBLISHING_WAIT_MS; ms += 10) {
        if (strcmp(redis_server_ask(s, got, command), answer) == 0) return;
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    fail_msg("%s is still '%s', not '%s'", command, got, answer);
}

uint64_t publishing_check(const struct redis_server *s, const char *fill)
{
    char answer[4096], command[KEY_MAX + 32], key[KEY_MAX];
    struct publish_manifest m = {0};
    struct err e = {0};
    (void)redis_server_ask(s, answer, "GET fr:{default}:current");
    const uint64_t version = strtoull(answer, NULL, 10);
    if (version == 0) return 0;
    (void)snprintf(command, sizeof command, "GET fr:{default}:manifest:%llu", (unsigned long long)version);
    (void)redis_server_ask(s, answer, command);
    assert_ok(publish_manifest_decode(&m, str_from(answer), "default", &e), &e);
    assert_int_equal(m.version, version);
    for (size_t i = 0; i < m.n_chunks; i++) {
        (void)key_chunk(key, "default", m.chunks[i].version, (uint32_t)i);
        (void)snprintf(command, sizeof command, "STRLEN %s", key);
        const int64_t want = i + 1 == m.n_chunks ? 1000 : (int64_t)PUBLISH_CHUNK_BYTES;
        assert_int_equal(strtoll(redis_server_ask(s, answer, command), NULL, 10), want);
        (void)snprintf(command, sizeof command, "TTL %s", key);
        assert_string_equal(redis_server_ask(s, answer, command), "-1");
        if (fill == NULL) continue;
        (void)snprintf(command, sizeof command, "GETRANGE %s 999 999", key);
        (void)redis_server_ask(s, answer, command);
        assert_int_equal(answer[0], fill[i]);
    }
    publish_manifest_fini(&m);
    return version;
}

/* test_source_file.c - log files: codecs, cut files, framing, merging by time, ordinals and skipping, dead letters. */
#include "tests/support/check.h"

#include "ingest/parse_json.h"
#include "ingest/reject_letter.h"
#include "ingest/source.h"
#include "tests/support/files.h"
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static struct tmpdir dir;
static struct conf *conf;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    dir = tmpdir_make("source_file");
    assert_ok(conf_new(&conf, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static void set(const char *key, const char *value)
{
    struct err e = {0};
    assert_ok(conf_set(conf, key, value, &e), &e);
}

/* Reads everything: per record "item@ordinal;", rejects as "!code@ordinal;".  Returns how it ended. */
static enum status read_all(const char *const *paths, size_t n, const uint64_t *skip, struct buf *out, struct err *e)
{
    struct source *s = NULL;
    struct source_batch *b = NULL;
    enum status st = source_open_files(&s, conf, paths, n, skip, e);
    if (st == STATUS_OK) st = source_batch_new(&b, e);
    while (st == STATUS_OK && (st = source_next(s, b, 0, e)) == STATUS_OK) {
        assert_true(b->n >= 1 && b->n <= SOURCE_BATCH);
        for (uint32_t i = 0; i < b->n; i++) {
            const struct source_record *r = &b->records[i];
            if (r->kind == SOURCE_EVENT)
                buf_printf(out, STR_FMT, STR_ARG(r->event.item));
            else
                buf_printf(out, "!%s", reject_name(r->reject.code));
            buf_printf(out, "@%llu;", (unsigned long long)r->at.offset);
            assert_true(r->event.at.offset == r->at.offset);
        }
    }
    source_close(s);
    source_batch_free(b);
    buf_u8(out, 0);
    return st;
}

static void expect(const char *text, const char *name, const char *records)
{
    char path[300];
    const char *paths = tmpdir_file(&dir, name, path);
    struct buf out = {0};
    struct err e = {0};
    files_put_text(&dir, name, text);
    assert_int_equal(read_all(&paths, 1, NULL, &out, &e), STATUS_END);
    assert_string_equal((char *)out.p, records);
    buf_fini(&out);
}

#define E(item, time) "{\"type\":\"view\",\"item\":\"" item "\",\"time\":16000000000" time "}"

static void test_lines_of_all_kinds(void **state)
{
    (void)state;
    expect("", "a.jsonl", "");
    expect("\n\n\r\n", "a.jsonl", "");
    expect(E("a", "00"), "a.jsonl", "a@0;");
    expect("\xef\xbb\xbf" E("a", "00") "\r\n\n" E("b", "01") "\n", "a.jsonl", "a@0;b@1;");
    expect(E("a", "00") "\nnonsense\n" E("b", "01") "\n{\n", "a.jsonl", "a@0;!bad_json@1;b@2;!bad_json@3;");
    expect("\xef\xbb", "a.jsonl", "!bad_utf8@0;");
}

/* A log is read while its last line is being written: that one waits for the next time, where there is one. */
static void test_a_half_written_last_line_is_left(void **state)
{
    static const struct {
        const char *text, *records, *all;
    } rows[] = {{E("a", "00") "\n{\"type\":\"vi", "a@0;", "a@0;!bad_json@1;"},
                {E("a", "00") "\n{\"type\":\"vi\n", "a@0;!bad_json@1;", "a@0;!bad_json@1;"},
                {E("a", "00") "\n" E("b", "01"), "a@0;b@1;", "a@0;b@1;"},
                {"{", "", "!bad_json@0;"}};
    char path[300];
    const char *paths = tmpdir_file(&dir, "cut.jsonl", path);
    const uint64_t skip = 0;
    struct err e = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = {0};
        files_put_text(&dir, "cut.jsonl", rows[i].text);
        assert_int_equal(read_all(&paths, 1, &skip, &out, &e), STATUS_END);
        assert_string_equal((char *)out.p, rows[i].records);
        buf_fini(&out);
        expect(rows[i].text, "cut.jsonl", rows[i].all);
    }
}

/* n events i0, i1, … one a line. */
static char *many(int n, size_t *bytes)
{
    char *text = malloc((size_t)n * 80 + 1);
    size_t at = 0;
    for (int i = 0; i < n; i++)
        at +=
            (size_t)sprintf(text + at, "{\"type\":\"view\",\"item\":\"i%d\",\"time\":%lld}\n", i, 1600000000000ll + i);
    *bytes = at;
    return text;
}

static size_t pack(int codec, const char *p, size_t n, unsigned char **out)
{
    const size_t cap = n * 2 + 1024;
    unsigned char *to = malloc(cap);
    size_t at = 0;
    *out = to;
    if (codec == 0) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = (unsigned char *)(uintptr_t)p;
        z.avail_in = (uInt)n;
        z.next_out = to;
        z.avail_out = (uInt)cap;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        at = z.total_out;
        (void)deflateEnd(&z);
    } else if (codec == 1) {
        assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)p, n, to, &at, cap),
                         LZMA_OK);
    } else {
        ZSTD_CCtx *z = ZSTD_createCCtx();
        (void)ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
        at = ZSTD_compress2(z, to, cap, p, n);
        assert_false(ZSTD_isError(at));
        (void)ZSTD_freeCCtx(z);
    }
    return at;
}

static const char *const codec_names[] = {"log.gz", "log.xz", "log.zst"};

static void test_compressed_files_are_known_by_content(void **state)
{
    size_t bytes;
    char *text = many(20000, &bytes);
    char path[300];
    struct err e = {0};
    struct buf plain = {0};
    (void)state;
    files_put(&dir, "wrong.name", text, bytes);
    const char *paths = tmpdir_file(&dir, "wrong.name", path);
    assert_int_equal(read_all(&paths, 1, NULL, &plain, &e), STATUS_END);
    for (int codec = 0; codec < 3; codec++) {
        unsigned char *one, *two;
        struct buf out = {0};
        const size_t half = bytes / 2, n = pack(codec, text, half, &one),
                     m = pack(codec, text + half, bytes - half, &two);
        one = realloc(one, n + m); /* two members: one stream */
        memcpy(one + n, two, m);
        files_put(&dir, "wrong.name", one, n + m);
        assert_int_equal(read_all(&paths, 1, NULL, &out, &e), STATUS_END);
        assert_int_equal(out.n, plain.n);
        assert_memory_equal(out.p, plain.p, plain.n);
        buf_fini(&out);
        free(one);
        free(two);
    }
    buf_fini(&plain);
    free(text);
}

/* A compressed file cut anywhere gives events in order up to somewhere, then IO that names file and byte. */
static void test_cut_compressed_files_give_what_is_whole(void **state)
{
    size_t bytes;
    char *text = many(30000, &bytes);
    (void)state;
    for (int codec = 0; codec < 3; codec++) {
        unsigned char *packed;
        const size_t n = pack(codec, text, bytes, &packed);
        size_t longest = 0;
        for (size_t cut = 7; cut < n; cut += n / 9) {
            char path[300], count[32];
            struct buf out = {0};
            struct err e = {0};
            const char *paths = tmpdir_file(&dir, codec_names[codec], path);
            files_put(&dir, codec_names[codec], packed, cut);
            assert_int_equal(read_all(&paths, 1, NULL, &out, &e), STATUS_IO);
            assert_non_null(strstr(e.text, codec_names[codec]));
            (void)snprintf(count, sizeof count, "%zu", cut);
            assert_non_null(strstr(e.text, count));
            assert_null(strchr((char *)out.p, '!')); /* no half line is handed out */
            assert_true(out.n >= longest);
            longest = out.n;
            buf_fini(&out);
        }
        assert_true(longest > 1000);
        packed[n / 2] ^= 0xff; /* damaged, not cut */
        char path[300];
        struct buf out = {0};
        struct err e = {0};
        const char *paths = tmpdir_file(&dir, codec_names[codec], path);
        files_put(&dir, codec_names[codec], packed, n);
        assert_int_equal(read_all(&paths, 1, NULL, &out, &e), STATUS_IO);
        buf_fini(&out);
        free(packed);
    }
    free(text);
}

static void test_over_long_lines_are_one_reject(void **state)
{
    (void)state;
    set("ingest.max_bytes", "1024");
    char *text = malloc(2000000);
    for (size_t length = 1000; length < 1500000; length = length * 3 / 2) {
        char want[200];
        const size_t n = (size_t)sprintf(text, "%s\n", E("a", "00"));
        memset(text + n, 'x', length);
        (void)sprintf(text + n + length, "\n%s\n", E("b", "01"));
        (void)snprintf(want, sizeof want, "a@0;!%s@1;b@2;", length > 1024 ? "too_long" : "bad_json");
        expect(text, "long.jsonl", want);
        text[n + length] = 0; /* at the end of the file, without a newline */
        (void)snprintf(want, sizeof want, "a@0;!%s@1;", length > 1024 ? "too_long" : "bad_json");
        expect(text, "long.jsonl", want);
    }
    free(text);
    set("ingest.max_bytes", "1048576");
}

static void test_csv_records_span_lines_and_recover(void **state)
{
    char path[300];
    (void)state;
    files_put_text(&dir, "map.ini",
                   "[time]\nformat = ms\n[fields]\ntime = t\nitem = i\ntitle = n\n[constants]\ntype = view\n");
    set("ingest.schema", "csv");
    set("ingest.map", tmpdir_file(&dir, "map.ini", path));
    set("ingest.max_bytes", "1024");
    expect("t,i,n\r\n1600000000000,a,\"x\r\ny \"\"z\"\",\n\"\n1600000000001,b,\n", "a.csv", "a@0;b@1;");
    expect("t,i,n\n1600000000000,a,\"x\"y\n1600000000001,b,\n", "a.csv", "!csv_quote@0;b@1;");
    expect("t,i,n\n1600000000000,a,x\"y\n1600000000001,b,\n", "a.csv", "a@0;b@1;"); /* a quote inside a bare cell */
    expect("t,i,n\n1600000000000,a,\"xy\n1600000000001,b,\n", "a.csv", "!csv_quote@0;b@1;"); /* never closed: one row */
    expect("t,i,n\n1600000000000,a\n1600000000001,b,,\n1600000000002,c,\xff\n1600000000003,d,\"e\"", "a.csv",
           "!csv_columns@0;!csv_columns@1;!bad_utf8@2;d@3;");
    expect("t,i,n\n", "a.csv", "");
    expect("", "a.csv", "");
    char text[6000] = "t,i,n\n1600000000000,a,\"";
    for (int i = 0; i < 500; i++) strcat(text, "line\n"); /* quotes that stay open for longer than a record may be */
    strcat(text, "1600000000001,b,\n");
    struct buf out = {0};
    struct err e = {0};
    const char *paths = tmpdir_file(&dir, "a.csv", path);
    files_put_text(&dir, "a.csv", text);
    assert_int_equal(read_all(&paths, 1, NULL, &out, &e), STATUS_END);
    assert_non_null(strstr((char *)out.p, "!csv_quote@0;!csv_columns@1;"));
    assert_non_null(strstr((char *)out.p, "b@500;"));
    buf_fini(&out);
    files_put_text(&dir, "a.csv", "t,x\n1600000000000,a\n");
    assert_int_equal(read_all(&paths, 1, NULL, &out, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "no column \"i\""));
    buf_fini(&out);
    set("ingest.schema", "native");
    set("ingest.max_bytes", "1048576");
}

static void test_files_are_merged_by_time(void **state)
{
    char one[300], two[300];
    struct buf out = {0}, tail = {0};
    struct err e = {0};
    (void)state;
    files_put_text(&dir, "1.jsonl", E("a", "10") "\nbad\n" E("b", "30") "\n" E("c", "20") "\n");
    files_put_text(&dir, "2.jsonl", E("x", "10") "\n" E("y", "25") "\nbad\n" E("z", "40") "\n");
    const char *paths[] = {tmpdir_file(&dir, "1.jsonl", one), tmpdir_file(&dir, "2.jsonl", two)};
    assert_int_equal(read_all(paths, 2, NULL, &out, &e), STATUS_END);
    assert_string_equal((char *)out.p, "a@0;!bad_json@1;x@2;y@3;!bad_json@4;b@5;c@6;z@7;");
    static const uint64_t skip[][2] = {{0, 0}, {1, 0}, {2, 0}, {2, 1}, {2, 2}, {2, 3}, {3, 3}, {4, 3}, {4, 4}, {9, 9}};
    static const char *const rest[] = {"a@0", "!bad_json@1", "x@2", "y@3", "!bad_json@4", "b@5", "c@6", "z@7"};
    for (size_t i = 0; i <= 9; i++) { /* wherever it stopped, it goes on in the same order */
        buf_clear(&tail);
        assert_int_equal(read_all(paths, 2, skip[i], &tail, &e), STATUS_END);
        assert_string_equal((char *)tail.p, i < 8 ? strstr((char *)out.p, rest[i]) : "");
    }
    const char *swapped[] = {paths[1], paths[0]};
    buf_clear(&out);
    assert_int_equal(read_all(swapped, 2, NULL, &out, &e), STATUS_END); /* ties by the order given */
    assert_string_equal((char *)out.p, "x@0;a@1;!bad_json@2;y@3;!bad_json@4;b@5;c@6;z@7;");
    files_put_text(&dir, "1.jsonl", E("a", "10") "\nbad\n" E("b", "30") "\n" E("c", "20") "\n" E("d", "35") "\n");
    buf_clear(&tail);
    assert_int_equal(read_all(paths, 2, skip[8], &tail, &e), STATUS_END); /* it grew into the past */
    assert_string_equal((char *)tail.p, "d@8;");
    buf_fini(&out);
    buf_fini(&tail);
}

/* An event may be refused later, by the watermark or a full catalogue: then its own bytes are the dead letter. */
static void test_events_keep_their_bytes_and_file(void **state)
{
    char one[300], two[300];
    struct err e = {0};
    (void)state;
    files_put_text(&dir, "1.jsonl", E("a", "10") "\n");
    files_put_text(&dir, "2.jsonl", " " E("b", "20") " \n");
    const char *paths[] = {tmpdir_file(&dir, "1.jsonl", one), tmpdir_file(&dir, "2.jsonl", two)};
    for (size_t n = 1; n <= 2; n++) {
        struct source *s = NULL;
        struct source_batch *b = NULL;
        assert_ok(source_open_files(&s, conf, paths + 2 - n, n, NULL, &e), &e);
        assert_ok(source_batch_new(&b, &e), &e);
        assert_ok(source_next(s, b, 0, &e), &e);
        assert_int_equal(b->n, n);
        assert_true(b->records[n - 1].kind == SOURCE_EVENT);
        assert_true(str_is(b->records[n - 1].raw.value, " " E("b", "20") " "));
        assert_true(str_is(b->records[n - 1].raw.topic, two));
        source_close(s);
        source_batch_free(b);
    }
}

static void test_many_records_and_a_resume_in_the_middle(void **state)
{
    size_t bytes;
    char *text = many(5000, &bytes);
    char path[300];
    struct err e = {0};
    struct buf whole = {0};
    (void)state;
    files_put(&dir, "many.jsonl", text, bytes);
    const char *paths = tmpdir_file(&dir, "many.jsonl", path);
    assert_int_equal(read_all(&paths, 1, NULL, &whole, &e), STATUS_END);
    for (uint64_t skip = 1; skip < 5000; skip += 777) {
        char first[32];
        struct buf out = {0};
        (void)snprintf(first, sizeof first, "i%d@%d;", (int)skip, (int)skip);
        assert_int_equal(read_all(&paths, 1, &skip, &out, &e), STATUS_END);
        assert_memory_equal(out.p, first, strlen(first));
        assert_string_equal((char *)out.p, strstr((char *)whole.p, first));
        buf_fini(&out);
    }
    buf_fini(&whole);
    free(text);
}

static void test_standard_input_and_absent_files(void **state)
{
    char path[300];
    struct buf out = {0};
    struct err e = {0};
    const char *in = "-", *absent = "/nowhere/log.jsonl", *folder = dir.path;
    (void)state;
    files_put_text(&dir, "in.jsonl", E("a", "00") "\n");
    assert_non_null(freopen(tmpdir_file(&dir, "in.jsonl", path), "r", stdin));
    assert_int_equal(read_all(&in, 1, NULL, &out, &e), STATUS_END);
    assert_string_equal((char *)out.p, "a@0;");
    buf_fini(&out);
    assert_int_equal(read_all(&absent, 1, NULL, &out, &e), STATUS_IO);
    assert_non_null(strstr(e.text, absent));
    assert_int_equal(read_all(&folder, 1, NULL, &out, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "folder"));
    buf_fini(&out);
}

static struct source_record refused(const char *value, size_t n, uint64_t offset)
{
    struct source_record rec = {.kind = SOURCE_REJECT, .at = {0, 3, offset}};
    rec.raw = (struct source_raw){
        .topic = STR("events"), .key = STR("k\xff"), .value = {value, n}, .headers = STR("{\"h\":\"v\"}")};
    (void)reject_set(&rec.reject, REJECT_BAD_JSON, "at byte 3: \"quoted\"\n");
    return rec;
}

static void test_dead_letters_keep_every_byte(void **state)
{
    unsigned char all[256];
    struct buf b = {0};
    struct arena a = {0};
    struct parse_json *json = NULL;
    struct err e = {0};
    (void)state;
    for (int i = 0; i < 256; i++) all[i] = (unsigned char)i;
    assert_ok(parse_json_new(&json, &e), &e);
    for (size_t n = 0; n <= 256; n += n < 8 ? 1 : 31) {
        struct reject_letter letter;
        struct reject why;
        const struct source_record rec = refused((char *)all, n, 42);
        buf_clear(&b);
        reject_letter_write(&b, &rec, "parse");
        assert_int_equal(b.p[b.n - 1], '\n');
        assert_ok(reject_letter_read(&letter, json, (struct str){(char *)b.p, b.n}, &a, &why, &e), &e);
        assert_true(str_eq(letter.raw.value, rec.raw.value) && letter.raw.value.p != NULL &&
                    str_eq(letter.raw.key, rec.raw.key));
        assert_true(str_is(letter.raw.topic, "events") && str_is(letter.stage, "parse") &&
                    str_is(letter.reason, "bad_json"));
        assert_true(str_is(letter.message, "at byte 3: \"quoted\"?") && letter.at.partition == 3 &&
                    letter.at.offset == 42);
    }
    static const char *const bad[] = {"{}",
                                      "{\"value_base64\":\"QQ\"}",
                                      "{\"value_base64\":\"Q===\"}",
                                      "{\"value_base64\":\"QQ=A\"}",
                                      "{\"value_base64\":1}",
                                      "{\"value_base64\":\"Q!==\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct reject_letter letter;
        struct reject why;
        assert_int_equal(reject_letter_read(&letter, json, str_from(bad[i]), &a, &why, &e), STATUS_INVALID);
    }
    parse_json_free(json);
    arena_fini(&a);
    buf_fini(&b);
}

static uint64_t write_letters(uint64_t length, uint64_t from, uint64_t to, enum status want)
{
    struct reject_sink *s = NULL;
    struct err e = {0};
    assert_int_equal(reject_sink_open(&s, conf, length, &e), want);
    if (want != STATUS_OK) {
        assert_null(s);
        assert_non_null(strstr(e.text, "dead.jsonl"));
        return 0;
    }
    for (uint64_t i = from; i < to; i++) {
        const struct source_record rec = refused("x", 1, i);
        assert_ok(reject_sink_write(s, &rec, "parse", &e), &e);
    }
    assert_ok(reject_sink_sync(s, &length, &e), &e);
    reject_sink_close(s);
    return length;
}

static void test_the_sink_is_cut_back_to_the_checkpoint(void **state)
{
    char path[300];
    size_t n, m;
    (void)state;
    set("ingest.dead_letters", tmpdir_file(&dir, "dead.jsonl", path));
    const uint64_t first = write_letters(0, 0, 1000, STATUS_OK);
    assert_true(write_letters(first, 1000, 1500, STATUS_OK) > first);
    char *before = files_read(path, &n);
    assert_true(write_letters(first, 1000, 1500, STATUS_OK) > first); /* after a crash: the same lines again, once */
    char *after = files_read(path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    (void)write_letters(n + 1, 0, 0, STATUS_CORRUPT);
    (void)write_letters(0, 0, 0, STATUS_OK);
    free(before);
    free(after);
    after = files_read(path, &m);
    assert_int_equal(m, 0);
    free(after);
    set("ingest.dead_letters", "");
    assert_int_equal(write_letters(0, 0, 10, STATUS_OK), 0); /* counted only */
}

static void test_dead_letters_are_tried_again(void **state)
{
    char path[300];
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct buf text = {0};
    struct err e = {0};
    (void)state;
    struct source_record rec = refused(E("a", "00"), sizeof E("a", "00") - 1, 5);
    reject_letter_write(&text, &rec, "parse");
    rec = refused("still bad", 9, 6);
    reject_letter_write(&text, &rec, "parse");
    buf_printf(&text, "no letter\n");
    files_put(&dir, "dead.jsonl", text.p, text.n);
    const char *paths = tmpdir_file(&dir, "dead.jsonl", path);
    assert_ok(source_open_dead_letters(&s, conf, &paths, 1, NULL, &e), &e);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_next(s, b, 0, &e), &e);
    assert_int_equal(b->n, 3);
    assert_true(b->records[0].kind == SOURCE_EVENT && str_is(b->records[0].event.item, "a"));
    assert_true(str_is(b->records[0].raw.value, E("a", "00")));
    assert_true(b->records[1].kind == SOURCE_REJECT && str_is(b->records[1].raw.value, "still bad"));
    assert_true(b->records[2].kind == SOURCE_REJECT && str_is(b->records[2].raw.value, "no letter"));
    source_close(s);
    source_batch_free(b);
    buf_fini(&text);
}

static void test_rejects_are_counted_and_packed(void **state)
{
    struct reject_tally t = {0}, u;
    struct report report = {0};
    struct reject r;
    struct buf b = {0};
    struct err e = {0};
    (void)state;
    for (int i = 0; i < 30; i++) {
        (void)reject_set(&r, REJECT_SKIPPED, "reason_%d", i % 26);
        reject_tally_add(&t, &r);
        (void)reject_set(&r, i % 2 ? REJECT_BAD_JSON : REJECT_TIME_JUMP, "x");
        reject_tally_add(&t, &r);
    }
    assert_int_equal(reject_tally_total(&t), 30);
    reject_tally_encode(&b, &t);
    struct buf_reader reader = buf_reader(b.p, b.n);
    assert_ok(reject_tally_decode(&u, &reader, &e), &e);
    assert_memory_equal(&t, &u, sizeof t);
    reject_tally_report(&u, &report);
    assert_int_equal(report.rejected, 30);
    assert_int_equal(report.n_rejects, 2 + 1 + REJECT_REASONS_MAX);
    reader = buf_reader(b.p, b.n - 1);
    assert_int_equal(reject_tally_decode(&u, &reader, &e), STATUS_CORRUPT);
    (void)reject_set(&r, REJECT_BAD_JSON, "%0190d\xe4\xbb\xb6\xe4\xbb\xb6\xe4\xbb\xb6\xe4\xbb\xb6",
                     0); /* cut between characters */
    assert_int_equal(strlen(r.text), 199);
    (void)reject_set(&r, REJECT_BAD_JSON, "%0191d\xe4\xbb\xb6\xe4\xbb\xb6\xe4\xbb\xb6\xe4\xbb\xb6", 0);
    assert_int_equal(strlen(r.text), 197);
    buf_fini(&b);
}

static enum status read_once(void)
{
    char path[300];
    struct buf out = {.p = NULL};
    struct err e = {0};
    const char *paths[] = {tmpdir_file(&dir, "few.jsonl", path), path};
    struct source *s = NULL;
    struct source_batch *b = NULL;
    enum status st = source_open_files(&s, conf, paths, 2, NULL, &e);
    if (st == STATUS_OK) st = source_batch_new(&b, &e);
    while (st == STATUS_OK) st = source_next(s, b, 0, &e);
    source_close(s);
    source_batch_free(b);
    buf_fini(&out);
    return st == STATUS_END ? STATUS_OK : st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    files_put_text(&dir, "few.jsonl", E("a", "00") "\nbad\n" E("b", "01") "\n");
    FAIL_EACH_ALLOCATION(n, read_once());
    assert_true(n >= 15);
}

static void test_the_steady_state_allocates_nothing(void **state)
{
    size_t bytes;
    char *text = many(20000, &bytes);
    char path[300];
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct err e = {0};
    long total = 0;
    (void)state;
    files_put(&dir, "many.jsonl", text, bytes);
    const char *paths = tmpdir_file(&dir, "many.jsonl", path);
    assert_ok(source_open_files(&s, conf, &paths, 1, NULL, &e), &e);
    assert_ok(source_batch_new(&b, &e), &e);
    for (int i = 0; source_next(s, b, 0, &e) == STATUS_OK; i++) {
        if (i == 5) total = mem_total();
    }
    assert_int_equal(mem_total(), total);
    assert_true(source_bytes_read(s) == bytes && source_bytes_total(s) == bytes);
    source_close(s);
    source_batch_free(b);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_all_kinds),
        cmocka_unit_test(test_a_half_written_last_line_is_left),
        cmocka_unit_test(test_compressed_files_are_known_by_content),
        cmocka_unit_test(test_cut_compressed_files_give_what_is_whole),
        cmocka_unit_test(test_over_long_lines_are_one_reject),
        cmocka_unit_test(test_csv_records_span_lines_and_recover),
        cmocka_unit_test(test_files_are_merged_by_time),
        cmocka_unit_test(test_events_keep_their_bytes_and_file),
        cmocka_unit_test(test_many_records_and_a_resume_in_the_middle),
        cmocka_unit_test(test_standard_input_and_absent_files),
        cmocka_unit_test(test_dead_letters_keep_every_byte),
        cmocka_unit_test(test_the_sink_is_cut_back_to_the_checkpoint),
        cmocka_unit_test(test_dead_letters_are_tried_again),
        cmocka_unit_test(test_rejects_are_counted_and_packed),
        cmocka_unit_test(test_failing_allocations_are_survived),
        cmocka_unit_test(test_the_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

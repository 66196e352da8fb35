/* seeds.c - writes the seeds that no hand can: packed records, slates, pieces of a checkpoint, a weight file, a manifest.
 *
 *   fuzz_seeds FOLDER      FOLDER/<target>/<name>, to be committed as tests/fuzz/corpus
 *
 * To be run again when a format changes.  What a check guards is written without the check: the targets add it.
 */
#include "ingest/dedupe.h"
#include "ingest/join.h"
#include "ingest/order.h"
#include "ingest/watermark.h"
#include "schemas/weights.h"
#include "serving/publish_manifest.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/shop.h"
#include "trainer/eval.h"
#include <stdio.h>
#include <sys/stat.h>

#define CHECK_BYTES 8

static const char *root;

static void put(const char *target, const char *name, int first, const struct buf *b, size_t less)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", root, target);
    (void)mkdir(path, 0755);
    (void)snprintf(path, sizeof path, "%s/%s/%s", root, target, name);
    FILE *f = fopen(path, "wb");
    FUZZ_CHECK(f != NULL && !b->oom && b->n > less);
    if (first >= 0) FUZZ_CHECK(fputc(first, f) == first);
    FUZZ_CHECK(fwrite(b->p, 1, b->n - less, f) == b->n - less && fclose(f) == 0);
}

/* --- records and slates ------------------------------------------------------------------------------------------- */

static enum status put_user(void *arg, const struct record_user *u)
{
    struct buf b = {0};
    (void)arg;
    record_user_encode(&b, u);
    put("record", "user", 0, &b, CHECK_BYTES);
    buf_fini(&b);
    return STATUS_OK;
}

static enum status put_item(void *arg, const struct record_item *i)
{
    struct buf b = {0};
    (void)arg;
    record_item_encode(&b, i);
    put("record", "item", 1, &b, CHECK_BYTES);
    buf_fini(&b);
    return STATUS_OK;
}

static void put_state(void)
{
    const uint16_t v[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const struct record_state s = {.n_tokens = 1, .width = 4, .pooled = v, .final = v + 4, .tokens = v + 8};
    struct buf b = {0};
    record_state_encode(&b, &s);
    put("record", "state", 2, &b, CHECK_BYTES);
    buf_fini(&b);
}

static void put_shop(void)
{
    struct shop s = {0};
    struct buf b = {0};
    struct err e = {0};
    shop_open(&s, "uncased", NULL, NULL);
    shop_announce(&s, "i1", "red lantern", SHOP_START_MS);
    shop_announce(&s, "i2", "blue cup", SHOP_START_MS);
    for (int i = 0; i < 6; i++)
        shop_take(&s, i % 2 ? EVENT_CLICK : EVENT_PURCHASE, "u1", i % 3 ? "i1" : "i2", SHOP_START_MS + i * 1000);
    FUZZ_CHECK(world_each_changed(s.world, put_user, put_item, NULL, &e) == STATUS_OK);
    shop_show(&s, "u1", "i1,i2,new", SHOP_START_MS + SHOP_DAY_MS);
    s.slate->id = 1; /* the key under which the target puts it */
    slate_encode(&b, s.slate);
    put("learner_state", "slate", 0, &b, 0);
    for (int i = 0; i < 3 * 4; i++) buf_f32(&b, 0.5f); /* logits, logits of two parts, cosines */
    put("learner_state", "open", 2, &b, 0);
    buf_fini(&b);
    shop_close(&s);
}

static void put_eval(void)
{
    struct eval *ev = NULL;
    struct buf b = {0};
    struct err e = {0};
    FUZZ_OK(eval_new(&ev, 1, (struct eval_warmup){0, 0}, &e), &e);
    eval_encode(&b, ev);
    put("learner_state", "eval_cut", 1, &b, b.n - 2000);
    eval_free(ev);
    buf_fini(&b);
}

/* --- ingest ------------------------------------------------------------------------------------------------------- */

static struct event line(enum event_kind kind, uint8_t type, const char *item, int64_t time_ms)
{
    struct event ev = {.kind = kind, .type = type, .type_name = STR("view"), .time_ms = time_ms, .user = STR("u1")};
    if (item != NULL) ev.item = str_from(item);
    ev.value = ev.price = ev.quantity = 1;
    return ev;
}

static void put_watermark(const struct conf *c)
{
    struct watermark *w = NULL;
    struct buf b = {0};
    struct err e = {0};
    bool held;
    FUZZ_OK(watermark_new(&w, c, &e), &e);
    for (uint32_t i = 0; i < 4; i++) {
        struct source_record rec = {.kind = SOURCE_EVENT, .at = {0, i % 2, 10 + i}};
        rec.event = line(EVENT_BEHAVIOUR, EVENT_VIEW, "i1", i < 3 ? 1767225600000 + i : 32472144000000);
        rec.raw.topic = STR("events");
        rec.raw.value = STR("{}");
        FUZZ_OK(watermark_take(w, &rec, &held, &e), &e);
    }
    watermark_encode(&b, w);
    put("ingest_state", "watermark", 0, &b, 0);
    watermark_free(w);
    buf_fini(&b);
}

static void put_dedupe(void)
{
    struct dedupe *d = NULL;
    struct buf b = {0};
    struct err e = {0};
    FUZZ_OK(dedupe_new(&d, 100, &e), &e);
    for (char id = 'a'; id < 'f'; id++) (void)dedupe_seen(d, STR("s"), (struct str){&id, 1});
    dedupe_encode(&b, d);
    put("ingest_state", "dedupe", 1, &b, 0);
    dedupe_free(d);
    buf_fini(&b);
}

static void put_order(const struct conf *c)
{
    struct order *o = NULL;
    struct buf b = {0};
    struct err e = {0};
    FUZZ_OK(order_new(&o, c, &e), &e);
    for (int i = 0; i < 4; i++) {
        struct event ev = line(EVENT_BEHAVIOUR, EVENT_PURCHASE, i % 2 ? "i1" : "i2", 1767225600000 + i);
        ev.order = i < 3 ? STR("o1") : STR("o2");
        FUZZ_OK(order_push(o, &ev, &e), &e);
    }
    order_encode(&b, o);
    put("ingest_state", "order", 2, &b, 0);
    order_free(o);
    buf_fini(&b);
}

static void put_join(const struct conf *c)
{
    struct join *j = NULL;
    struct buf b = {0};
    struct err e = {0};
    bool matched;
    struct event_item items[3] = {{.item = STR("i1")}, {.item = STR("i2")}, {.item = STR("i3")}};
    FUZZ_OK(join_new(&j, c, &e), &e);
    for (uint64_t i = 1; i <= 2; i++) {
        struct event ev = line(EVENT_IMPRESSION, 0, NULL, 1767225600000 + (int64_t)i);
        ev.items = items;
        ev.n_items = 3;
        ev.request = i == 1 ? STR("r1") : STR("r2");
        FUZZ_OK(join_open(j, i, &ev, &e), &e);
    }
    const struct event click = line(EVENT_BEHAVIOUR, EVENT_CLICK, "i2", 1767225600100);
    FUZZ_OK(join_mark(j, &click, &matched, &e), &e);
    join_encode(&b, j);
    put("ingest_state", "join", 3, &b, 0);
    join_free(j);
    buf_fini(&b);
}

static void put_tally(void)
{
    struct reject_tally t = {0};
    struct reject r = {0};
    struct buf b = {0};
    (void)reject_set(&r, REJECT_BAD_JSON, "x");
    reject_tally_add(&t, &r);
    (void)reject_set(&r, REJECT_SKIPPED, "no_price");
    reject_tally_add(&t, &r);
    reject_tally_encode(&b, &t);
    put("ingest_state", "tally", 4, &b, 0);
    buf_fini(&b);
}

/* --- versions ----------------------------------------------------------------------------------------------------- */

static void put_weights(void)
{
    const float params[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct weights_tensor tensors[2] = {{.name = "text.bias", .rank = 1, .shape = {4}, .offset = 0},
                                        {.name = "match.map", .rank = 2, .shape = {2, 3}, .offset = 4}};
    struct weights_view w = {.version = 7, .base_fingerprint = 9, .tensors = tensors, .n_tensors = 2};
    struct buf b = {0};
    struct err e = {0};
    w.params = params;
    w.n_params = 10;
    w.moments = (const unsigned char *)"moments!";
    w.n_moments = 8;
    FUZZ_OK(hash_sha256_of(params, sizeof params, w.sha256, &e), &e);
    FUZZ_OK(weights_encode(&b, &w, &e), &e);
    put("weights", "two", -1, &b, CHECK_BYTES);
    buf_fini(&b);
}

static void put_manifest(void)
{
    struct publish_chunk chunks[2] = {{.version = 2, .bytes = PUBLISH_CHUNK_BYTES}, {.version = 3, .bytes = 5}};
    struct publish_offset offsets[1] = {{.partition = 1, .next = 12, .mark = 5, .records = 12, .chain = 99}};
    uint64_t kept[2] = {3, 2};
    struct publish_manifest m = {
        .version = 3, .parent = 2, .examples = 100, .bytes = PUBLISH_CHUNK_BYTES + 5, .epoch = 1};
    struct buf b = {0};
    struct err e = {0};
    FUZZ_OK(hash_sha256_of("x", 1, m.sha256, &e), &e);
    memcpy(chunks[0].sha256, m.sha256, sizeof m.sha256);
    memcpy(chunks[1].sha256, m.sha256, sizeof m.sha256);
    memcpy(m.base, "0123456789abcdef", 17);
    memcpy(m.reason, "test", 5);
    m.chunks = chunks, m.n_chunks = 2;
    m.offsets = offsets, m.n_offsets = 1;
    m.kept = kept, m.n_kept = 2;
    FUZZ_OK(publish_manifest_encode(&b, &m, "shop", &e), &e);
    put("manifest", "two", -1, &b, sizeof ",\"check\":\"0123456789abcdef\"}" - 1);
    buf_fini(&b);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    root = argv[1];
    struct conf *c = fuzz_conf(NULL);
    put_shop();
    put_state();
    put_eval();
    put_watermark(c);
    put_dedupe();
    put_order(c);
    put_join(c);
    put_tally();
    put_weights();
    put_manifest();
    conf_free(c);
    return 0;
}

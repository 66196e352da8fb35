/* publish_manifest.c - manifest ↔ JSON.  Reading is strict: every field is checked before a byte is fetched for it. */
#include "serving/publish_manifest.h"
#include "base/clock.h"
#include "base/mem.h"
#include "featurize/feat.h"
#include "schemas/key.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void publish_manifest_fini(struct publish_manifest *m)
{
    mem_free(m->chunks);
    mem_free(m->offsets);
    mem_free(m->kept);
    memset(m, 0, sizeof *m);
}

/* The text ends with  ,"check":"<16 hex digits>"}  : XXH3-64 of all before the comma.  A version that Redis, or what lies
 * between, damaged in its smallest number is refused. */
#define CHECK_FORMAT ",\"check\":\"%016" PRIx64 "\"}"
#define CHECK_BYTES 28

/* --- writing ------------------------------------------------------------------------------------------------------ */

static int to_buf(const char *text, size_t n, void *b)
{
    buf_put(b, text, n);
    return 0;
}

static json_t *chunks_json(const struct publish_manifest *m, const char *model)
{
    char key[KEY_MAX];
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_chunks; i++) {
        (void)key_chunk(key, model, m->chunks[i].version, (uint32_t)i);
        if (json_array_append_new(list, json_pack("{s:s,s:I,s:s}", "key", key, "bytes", (json_int_t)m->chunks[i].bytes,
                                                  "sha256", m->chunks[i].sha256)) != 0)
            goto fail;
    }
    return list;
fail:
    json_decref(list);
    return NULL;
}

/* Hashes are written as 16 hex digits: a JSON integer has 63 bits. */
static json_t *hex64_json(uint64_t x)
{
    char text[17];
    (void)snprintf(text, sizeof text, "%016" PRIx64, x);
    return json_string(text);
}

static json_t *offset_json(const struct publish_offset *o)
{
    char mark[17], chain[17];
    (void)snprintf(mark, sizeof mark, "%016" PRIx64, o->mark);
    (void)snprintf(chain, sizeof chain, "%016" PRIx64, o->chain);
    return json_pack("{s:I,s:I,s:I,s:s,s:I,s:s}", "topic", (json_int_t)o->topic, "partition", (json_int_t)o->partition,
                     "next", (json_int_t)o->next, "mark", mark, "records", (json_int_t)o->records, "chain", chain);
}

static json_t *offsets_json(const struct publish_manifest *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_offsets; i++)
        if (json_array_append_new(list, offset_json(&m->offsets[i])) != 0) goto fail;
    return list;
fail:
    json_decref(list);
    return NULL;
}

/* "a, b" as a list of names. */
static json_t *topics_json(const struct publish_manifest *m)
{
    json_t *list = json_array();
    struct str topic;
    for (const char *at = m->topics; str_next_word(&at, &topic);)
        if (json_array_append_new(list, json_stringn(topic.p, topic.n)) != 0) goto fail;
    return list;
fail:
    json_decref(list);
    return NULL;
}

static json_t *kept_json(const struct publish_manifest *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_kept; i++)
        if (json_array_append_new(list, json_integer((json_int_t)m->kept[i])) != 0) goto fail;
    return list;
fail:
    json_decref(list);
    return NULL;
}

enum status publish_manifest_encode(struct buf *b, const struct publish_manifest *m, const char *model, struct err *e)
{
    if (m->n_chunks > PUBLISH_CHUNKS_MAX)
        return ERR_SET(e, STATUS_INVALID, "version %llu: its weight file has %zu chunks, more than %d",
                       (unsigned long long)m->version, m->n_chunks, PUBLISH_CHUNKS_MAX);
    if (m->n_offsets > PUBLISH_OFFSETS_MAX)
        return ERR_SET(e, STATUS_INVALID, "version %llu: %zu partitions, more than %d", (unsigned long long)m->version,
                       m->n_offsets, PUBLISH_OFFSETS_MAX);
    char watermark[CLOCK_TEXT];
    clock_format(m->watermark_ms, watermark);
    json_t *o =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:b,s:I,s:s,s:I,s:I,s:I,s:I,s:I}", "version",
                  (json_int_t)m->version, "parent", (json_int_t)m->parent, "examples", (json_int_t)m->examples, "bytes",
                  (json_int_t)m->bytes, "epoch", (json_int_t)m->epoch, "sha256", m->sha256, "base", m->base, "reason",
                  m->reason, "verdict", m->verdict, "live", (int)m->live, "watermark_ms", (json_int_t)m->watermark_ms,
                  "watermark", watermark, "settled_ms", (json_int_t)m->settled_ms, "settled_wall_ms",
                  (json_int_t)m->settled_wall_ms, "published_wall_ms", (json_int_t)m->published_wall_ms,
                  "consumed_wall_ms", (json_int_t)m->consumed_wall_ms, "learnt_wall_ms", (json_int_t)m->learnt_wall_ms);
    const size_t from = b->n;
    const bool ok = o != NULL && json_object_set_new(o, "chunks", chunks_json(m, model)) == 0 &&
                    json_object_set_new(o, "offsets", offsets_json(m)) == 0 &&
                    json_object_set_new(o, "kept", kept_json(m)) == 0 &&
                    (m->topics[0] == 0 || json_object_set_new(o, "topics", topics_json(m)) == 0) &&
                    (!m->rounded || json_object_set_new(o, "dense", json_string("bf16")) == 0) &&
                    (m->features == 0 || json_object_set_new(o, "features", hex64_json(m->features)) == 0) &&
                    (!m->has_rows || json_object_set_new(o, "rows_xxh3", hex64_json(m->rows_xxh3)) == 0) &&
                    json_dump_callback(o, to_buf, b, JSON_COMPACT) == 0;
    json_decref(o);
    if (!ok) return ERR_SET(e, STATUS_OOM, "version %llu: no memory for its manifest", (unsigned long long)m->version);
    TRY(buf_status(b, e));
    b->n--; /* the brace */
    buf_printf(b, CHECK_FORMAT, hash_bytes(b->p + from, b->n - from));
    return buf_status(b, e);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static enum status bad(const char *field, const char *why, struct err *e)
{
    return ERR_SET(e, STATUS_CORRUPT, "manifest: %s %s", field, why);
}

static enum status get_u64(json_t *o, const char *field, uint64_t *out, struct err *e)
{
    json_t *v = json_object_get(o, field);
    if (!json_is_integer(v) || json_integer_value(v) < 0) return bad(field, "is not an integer of 0 or more", e);
    *out = (uint64_t)json_integer_value(v);
    return STATUS_OK;
}

static enum status get_i64(json_t *o, const char *field, int64_t *out, struct err *e)
{
    json_t *v = json_object_get(o, field);
    if (!json_is_integer(v)) return bad(field, "is not an integer", e);
    *out = json_integer_value(v);
    return STATUS_OK;
}

static enum status get_text(json_t *o, const char *field, char *out, size_t cap, struct err *e)
{
    json_t *v = json_object_get(o, field);
    if (!json_is_string(v) || json_string_length(v) >= cap) return bad(field, "is not a text of the right length", e);
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return STATUS_OK;
}

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static enum status get_sha256(json_t *o, char out[HASH_SHA256_HEX], struct err *e)
{
    TRY(get_text(o, "sha256", out, HASH_SHA256_HEX, e));
    return is_hex(out, HASH_SHA256_HEX - 1) ? STATUS_OK : bad("sha256", "is not 64 hex digits", e);
}

/* The list of that name with at most max members; room for them is made in *out (freed with the manifest). */
static enum status get_list(json_t *o, const char *field, size_t max, size_t size, json_t **list, void **out,
                            struct err *e)
{
    *list = json_object_get(o, field);
    if (!json_is_array(*list) || json_array_size(*list) > max) return bad(field, "is not a list of bounded length", e);
    *out = mem_calloc(json_array_size(*list), size);
    return *out ? STATUS_OK : ERR_SET(e, STATUS_OOM, "manifest: no memory for %zu %s", json_array_size(*list), field);
}

/* The version inside a chunk's key, which must be this model's and this index's. */
static enum status chunk_version(const char *key, const char *model, size_t i, uint64_t *version, struct err *e)
{
    char want[KEY_MAX];
    const size_t n = key_chunk(want, model, 0, (uint32_t)i); /* …chunk:0:<i> */
    const size_t prefix = n - (size_t)snprintf(NULL, 0, "0:%u", (unsigned)i);
    uint64_t v = 0;
    if (strncmp(key, want, prefix) != 0) return bad("chunks", "name a key of something else", e);
    const char *p = key + prefix;
    for (int digits = 0; *p >= '0' && *p <= '9' && digits < 19; digits++) v = v * 10 + (uint64_t)(*p++ - '0');
    (void)key_chunk(want, model, v, (uint32_t)i);
    if (strcmp(key, want) != 0) return bad("chunks", "name a key of another place", e);
    *version = v;
    return STATUS_OK;
}

/* Versions of before there were lengths are still read: all chunks but the last were full. */
static enum status chunk_bytes(const struct publish_manifest *m, json_t *c, size_t i, size_t *out, struct err *e)
{
    uint64_t n = 0;
    const uint64_t from = i * (uint64_t)PUBLISH_CHUNK_BYTES, left = m->bytes > from ? m->bytes - from : 0;
    if (json_object_get(c, "bytes") == NULL)
        n = left < PUBLISH_CHUNK_BYTES ? left : PUBLISH_CHUNK_BYTES;
    else
        TRY(get_u64(c, "bytes", &n, e));
    if (n == 0 || n > PUBLISH_CHUNK_BYTES) return bad("chunks", "have a length that is out of range", e);
    *out = (size_t)n;
    return STATUS_OK;
}

static enum status get_chunks(struct publish_manifest *m, json_t *o, const char *model, struct err *e)
{
    json_t *list;
    void *room;
    char key[KEY_MAX];
    uint64_t bytes = 0;
    TRY(get_list(o, "chunks", PUBLISH_CHUNKS_MAX, sizeof *m->chunks, &list, &room, e));
    m->chunks = room;
    m->n_chunks = json_array_size(list);
    for (size_t i = 0; i < m->n_chunks; i++) {
        json_t *c = json_array_get(list, i);
        TRY(get_text(c, "key", key, sizeof key, e));
        TRY(chunk_version(key, model, i, &m->chunks[i].version, e));
        TRY(get_sha256(c, m->chunks[i].sha256, e));
        TRY(chunk_bytes(m, c, i, &m->chunks[i].bytes, e));
        bytes += m->chunks[i].bytes;
    }
    if (bytes != m->bytes) return bad("chunks", "do not match the number of bytes", e);
    return STATUS_OK;
}

static enum status get_hex64(json_t *o, const char *field, uint64_t *out, struct err *e)
{
    char text[17];
    TRY(get_text(o, field, text, sizeof text, e));
    if (!is_hex(text, 16)) return bad(field, "is not 16 hex digits", e);
    *out = strtoull(text, NULL, 16);
    return STATUS_OK;
}

static enum status get_dense(struct publish_manifest *m, json_t *o, struct err *e)
{
    json_t *dense = json_object_get(o, "dense");
    m->rounded = dense != NULL;
    if (dense != NULL && (!json_is_string(dense) || strcmp(json_string_value(dense), "bf16") != 0))
        return bad("dense", "is not bf16", e);
    m->has_rows = json_object_get(o, "rows_xxh3") != NULL;
    return m->has_rows ? get_hex64(o, "rows_xxh3", &m->rows_xxh3, e) : STATUS_OK;
}

static enum status get_offset(struct publish_offset *out, json_t *o, struct err *e)
{
    uint64_t topic = 0, partition = 0;
    TRY(get_u64(o, "topic", &topic, e));
    TRY(get_u64(o, "partition", &partition, e));
    TRY(get_u64(o, "next", &out->next, e));
    if (json_object_get(o, "mark") != NULL) { /* versions of before there was one are still read */
        TRY(get_hex64(o, "mark", &out->mark, e));
        TRY(get_u64(o, "records", &out->records, e));
        TRY(get_hex64(o, "chain", &out->chain, e));
    }
    if (topic > UINT32_MAX || partition > UINT32_MAX) return bad("offsets", "are out of range", e);
    out->topic = (uint32_t)topic;
    out->partition = (uint32_t)partition;
    return STATUS_OK;
}

static enum status get_offsets(struct publish_manifest *m, json_t *o, struct err *e)
{
    json_t *list;
    void *room;
    TRY(get_list(o, "offsets", PUBLISH_OFFSETS_MAX, sizeof *m->offsets, &list, &room, e));
    m->offsets = room;
    m->n_offsets = json_array_size(list);
    for (size_t i = 0; i < m->n_offsets; i++) TRY(get_offset(&m->offsets[i], json_array_get(list, i), e));
    return STATUS_OK;
}

static bool is_topic(const char *name, size_t n)
{
    return n > 0 && strlen(name) == n &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* Versions of before there were names are still read. */
static enum status get_topics(struct publish_manifest *m, json_t *o, struct err *e)
{
    json_t *list = json_object_get(o, "topics");
    size_t used = 0;
    if (list == NULL) return STATUS_OK;
    if (!json_is_array(list) || json_array_size(list) == 0) return bad("topics", "is not a list of names", e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const size_t n = name != NULL ? json_string_length(json_array_get(list, i)) : 0;
        if (name == NULL || !is_topic(name, n) || used + n + 2 > sizeof m->topics)
            return bad("topics", "is not a bounded list of names that Kafka allows", e);
        used += (size_t)snprintf(m->topics + used, sizeof m->topics - used, "%s%s", i > 0 ? "," : "", name);
    }
    for (size_t i = 0; i < m->n_offsets; i++)
        if (m->offsets[i].topic >= json_array_size(list)) return bad("offsets", "are of a topic without a name", e);
    return STATUS_OK;
}

static enum status get_kept(struct publish_manifest *m, json_t *o, struct err *e)
{
    json_t *list;
    void *room;
    TRY(get_list(o, "kept", PUBLISH_KEPT_MAX, sizeof *m->kept, &list, &room, e));
    m->kept = room;
    m->n_kept = json_array_size(list);
    for (size_t i = 0; i < m->n_kept; i++) {
        json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0) return bad("kept", "is not a list of versions", e);
        m->kept[i] = (uint64_t)json_integer_value(v);
    }
    return STATUS_OK;
}

static enum status get_all(struct publish_manifest *m, json_t *o, const char *model, struct err *e)
{
    TRY(get_u64(o, "version", &m->version, e));
    TRY(get_u64(o, "parent", &m->parent, e));
    TRY(get_u64(o, "examples", &m->examples, e));
    TRY(get_u64(o, "bytes", &m->bytes, e));
    TRY(get_u64(o, "epoch", &m->epoch, e));
    TRY(get_i64(o, "watermark_ms", &m->watermark_ms, e));
    if (m->watermark_ms < 0) m->watermark_ms = 0; /* versions of before said so that there was no event yet */
    TRY(get_i64(o, "settled_ms", &m->settled_ms, e));
    TRY(get_i64(o, "settled_wall_ms", &m->settled_wall_ms, e));
    TRY(get_i64(o, "published_wall_ms", &m->published_wall_ms, e));
    if (json_object_get(o, "learnt_wall_ms") != NULL) { /* versions of before there was one are still read */
        TRY(get_i64(o, "consumed_wall_ms", &m->consumed_wall_ms, e));
        TRY(get_i64(o, "learnt_wall_ms", &m->learnt_wall_ms, e));
    }
    TRY(get_sha256(o, m->sha256, e));
    TRY(get_dense(m, o, e));
    if (json_object_get(o, "features") != NULL) TRY(get_hex64(o, "features", &m->features, e));
    TRY(get_text(o, "base", m->base, sizeof m->base, e));
    TRY(get_text(o, "reason", m->reason, sizeof m->reason, e));
    TRY(get_text(o, "verdict", m->verdict, sizeof m->verdict, e));
    json_t *live = json_object_get(o, "live");
    if (!json_is_boolean(live)) return bad("live", "is not true or false", e);
    m->live = json_is_true(live);
    if (m->bytes == 0 || m->bytes > (uint64_t)PUBLISH_CHUNKS_MAX * PUBLISH_CHUNK_BYTES)
        return bad("bytes", "is out of range", e);
    TRY(get_chunks(m, o, model, e));
    TRY(get_offsets(m, o, e));
    TRY(get_topics(m, o, e));
    return get_kept(m, o, e);
}

static enum status verify_check(struct str json, struct err *e)
{
    char want[CHECK_BYTES + 1];
    if (json.n < CHECK_BYTES) return bad("its text", "is cut off", e);
    (void)snprintf(want, sizeof want, CHECK_FORMAT, hash_bytes(json.p, json.n - CHECK_BYTES));
    return memcmp(json.p + json.n - CHECK_BYTES, want, CHECK_BYTES) == 0 ? STATUS_OK
                                                                         : bad("its text", "fails its check", e);
}

enum status publish_manifest_decode(struct publish_manifest *m, struct str json, const char *model, struct err *e)
{
    json_error_t why;
    if (json.n > PUBLISH_MANIFEST_BYTES_MAX) return bad("its text", "is too long", e);
    TRY(verify_check(json, e));
    json_t *o = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL) return ERR_SET(e, STATUS_CORRUPT, "manifest: not JSON: %s (byte %d)", why.text, why.position);
    const enum status st = get_all(m, o, model, e);
    json_decref(o);
    if (st != STATUS_OK) publish_manifest_fini(m);
    return st;
}

enum status publish_manifest_fits(const struct publish_manifest *m, uint64_t fingerprint, struct err *e)
{
    char ours[17];
    (void)snprintf(ours, sizeof ours, "%016" PRIx64, fingerprint);
    if (strcmp(m->base, ours) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "version %" PRIu64
                   " was learnt on another base, precision or other parts (fingerprint %s, ours %s); give the scorer "
                   "the learner's model.*, train.* and kernels.precision",
                   m->version, m->base, ours);
}

enum status publish_manifest_agrees(const struct publish_manifest *m, uint64_t recipe, struct err *e)
{
    if (m->features == 0 || m->features == recipe) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "version %" PRIu64
                   ": its learner makes sentences or features otherwise than this configuration (%016" PRIx64
                   ", ours %016" PRIx64 "), so scores differ; compare " FEAT_RECIPE_KEYS,
                   m->version, m->features, recipe);
}

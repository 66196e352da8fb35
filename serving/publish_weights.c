/* publish_weights.c - one version into Redis: new chunks first, then everything that makes it the one in force at once.
 *
 * New chunks expire after an hour unless the transaction that names them removes that, so a publish that dies half way
 * leaves nothing behind.  Old versions leave in the same transaction; chunks that a kept manifest still names stay.
 */
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORPHAN_TTL_S "3600"
#define CHUNKS_IN_FLIGHT 4
#define LOG_MAX "1000"

void publish_weights_job_free(struct publish_weights_job *j)
{
    if (j == NULL) return;
    publish_manifest_fini(&j->manifest);
    buf_fini(&j->file);
    mem_free(j);
}

void publish_forget_kept(struct publish *p)
{
    for (size_t i = 0; i < p->n_kept; i++) publish_manifest_fini(&p->kept[i]);
    p->n_kept = 0;
    p->kept_known = false;
}

static struct str chunk_bytes(const struct publish_weights_job *j, size_t i)
{
    const size_t from = i * PUBLISH_CHUNK_BYTES, left = j->file.n - from;
    return (struct str){(const char *)j->file.p + from, left < PUBLISH_CHUNK_BYTES ? left : PUBLISH_CHUNK_BYTES};
}

/* --- what is there already ---------------------------------------------------------------------------------------- */

/* Fetches and appends one manifest; one that is gone or unreadable is passed over. */
static enum status load_manifest(struct publish *p, uint64_t version, struct err *e)
{
    char key[KEY_MAX];
    struct err why;
    const struct redis_reply *reply;
    (void)key_manifest(key, p->model, version);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return STATUS_OK;
    if (mem_grow((void **)&p->kept, &p->cap_kept, p->n_kept + 1, sizeof *p->kept) != 0)
        return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    struct publish_manifest *m = &p->kept[p->n_kept];
    memset(m, 0, sizeof *m);
    const enum status st = publish_manifest_decode(m, reply->text, p->model, &why);
    if (st == STATUS_OK)
        p->n_kept++;
    else
        log_warn("publish", "version=%llu manifest unreadable: %s", (unsigned long long)version, why.text);
    return STATUS_OK;
}

enum status publish_load_kept(struct publish *p, struct err *e)
{
    char key[KEY_MAX], text[24];
    const struct redis_reply *reply;
    if (p->kept_known) return STATUS_OK;
    publish_forget_kept(p);
    (void)key_current(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind == REDIS_TEXT) {
        (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(reply->text));
        TRY(load_manifest(p, strtoull(text, NULL, 10), e));
    }
    const size_t n = p->n_kept ? p->kept[0].n_kept : 0;
    for (size_t i = 0; i < n; i++)
        if (p->kept[0].kept[i] != p->kept[0].version) TRY(load_manifest(p, p->kept[0].kept[i], e));
    p->kept_known = true;
    return STATUS_OK;
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

/* Names every chunk: by the newest version in Redis where its bytes are equal, else by this one. */
static enum status name_chunks(struct publish *p, struct publish_weights_job *j, struct err *e)
{
    struct publish_manifest *m = &j->manifest;
    const struct publish_manifest *before = p->n_kept ? &p->kept[0] : NULL;
    mem_free(m->chunks);
    m->bytes = j->file.n;
    m->n_chunks = (j->file.n + PUBLISH_CHUNK_BYTES - 1) / PUBLISH_CHUNK_BYTES;
    m->chunks = mem_calloc(m->n_chunks, sizeof *m->chunks);
    if (m->chunks == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for %zu chunks", m->n_chunks);
    for (size_t i = 0; i < m->n_chunks; i++) {
        const struct str bytes = chunk_bytes(j, i);
        TRY(hash_sha256_of(bytes.p, bytes.n, m->chunks[i].sha256, e));
        const bool same = before && i < before->n_chunks && strcmp(before->chunks[i].sha256, m->chunks[i].sha256) == 0;
        m->chunks[i].version = same ? before->chunks[i].version : m->version;
    }
    return STATUS_OK;
}

/* Older chunks that are to be named must be there still; if one is not, all are written anew. */
static enum status check_reused(struct publish *p, struct publish_weights_job *j, struct err *e)
{
    struct publish_manifest *m = &j->manifest;
    char key[KEY_MAX];
    const struct redis_reply *reply;
    size_t missing = 0, asked = 0;
    redis_clear(p->redis);
    for (size_t i = 0; i < m->n_chunks; i++) {
        if (m->chunks[i].version == m->version) continue;
        (void)key_chunk(key, p->model, m->chunks[i].version, (uint32_t)i);
        TRY(redis_append(p->redis, e, REDIS_ARGS(STR("EXISTS"), str_from(key))));
        asked++;
    }
    for (size_t i = 0; i < asked; i++) {
        TRY(redis_get(p->redis, e, &reply));
        missing += reply->integer == 0;
    }
    for (size_t i = 0; missing > 0 && i < m->n_chunks; i++) m->chunks[i].version = m->version;
    return STATUS_OK;
}

static enum status get_all(struct publish *p, size_t n, struct err *e)
{
    const struct redis_reply *reply;
    for (size_t i = 0; i < n; i++) TRY(redis_get(p->redis, e, &reply));
    redis_clear(p->redis);
    return STATUS_OK;
}

static enum status write_chunks(struct publish *p, const struct publish_weights_job *j, size_t *written, struct err *e)
{
    const struct publish_manifest *m = &j->manifest;
    char key[KEY_MAX];
    size_t in_flight = 0;
    redis_clear(p->redis);
    for (size_t i = 0; i < m->n_chunks; i++) {
        if (m->chunks[i].version != m->version) continue;
        const struct str bytes = chunk_bytes(j, i);
        (void)key_chunk(key, p->model, m->version, (uint32_t)i);
        TRY(redis_append(p->redis, e, REDIS_ARGS(STR("SET"), str_from(key), bytes, STR("EX"), STR(ORPHAN_TTL_S))));
        *written += bytes.n;
        if (++in_flight < CHUNKS_IN_FLIGHT) continue;
        TRY(get_all(p, in_flight, e));
        in_flight = 0;
    }
    return get_all(p, in_flight, e);
}

/* --- the transaction ---------------------------------------------------------------------------------------------- */

/* A version stays when it is older than the new one and within the keep count (the new one counts). */
static bool stays(const struct publish *p, const struct publish_manifest *m, size_t i)
{
    size_t rank = 1;
    for (size_t j = 0; j < i; j++) rank += p->kept[j].version < m->version;
    return p->kept[i].version < m->version && rank < (size_t)p->keep;
}

static enum status list_kept(const struct publish *p, struct publish_manifest *m, struct err *e)
{
    mem_free(m->kept);
    m->n_kept = 0;
    m->kept = mem_calloc(p->n_kept + 1, sizeof *m->kept);
    if (m->kept == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    m->kept[m->n_kept++] = m->version;
    for (size_t i = 0; i < p->n_kept; i++)
        if (stays(p, m, i)) m->kept[m->n_kept++] = p->kept[i].version;
    return STATUS_OK;
}

/* Chunk i of that version is named by the new manifest or by one that stays. */
static bool named(const struct publish *p, const struct publish_manifest *m, size_t i, uint64_t version)
{
    if (i < m->n_chunks && m->chunks[i].version == version) return true;
    for (size_t k = 0; k < p->n_kept; k++)
        if (stays(p, m, k) && i < p->kept[k].n_chunks && p->kept[k].chunks[i].version == version) return true;
    return false;
}

static enum status append_removals(struct publish *p, const struct publish_manifest *m, size_t *n, struct err *e)
{
    char key[KEY_MAX];
    for (size_t k = 0; k < p->n_kept; k++) {
        const struct publish_manifest *old = &p->kept[k];
        if (stays(p, m, k)) continue;
        if (old->version != m->version) {
            (void)key_manifest(key, p->model, old->version);
            TRY(redis_append(p->redis, e, REDIS_ARGS(STR("UNLINK"), str_from(key))));
            ++*n;
        }
        for (size_t i = 0; i < old->n_chunks; i++) {
            if (named(p, m, i, old->chunks[i].version)) continue;
            (void)key_chunk(key, p->model, old->chunks[i].version, (uint32_t)i);
            TRY(redis_append(p->redis, e, REDIS_ARGS(STR("UNLINK"), str_from(key))));
            ++*n;
        }
    }
    return STATUS_OK;
}

static enum status append_log(struct publish *p, const struct publish_manifest *m, size_t written, struct err *e)
{
    char key[KEY_MAX], version[24], parent[24], examples[24], bytes[24], brought[24];
    (void)key_log(key, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)m->version);
    (void)snprintf(parent, sizeof parent, "%llu", (unsigned long long)m->parent);
    (void)snprintf(examples, sizeof examples, "%llu", (unsigned long long)m->examples);
    (void)snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)m->bytes);
    (void)snprintf(brought, sizeof brought, "%zu", written);
    return redis_append(p->redis, e,
                        REDIS_ARGS(STR("XADD"), str_from(key), STR("MAXLEN"), STR("~"), STR(LOG_MAX), STR("*"),
                                   STR("kind"), STR("publish"), STR("version"), str_from(version), STR("sha256"),
                                   str_from(m->sha256), STR("reason"), str_from(m->reason), STR("verdict"),
                                   str_from(m->verdict), STR("parent"), str_from(parent), STR("examples"),
                                   str_from(examples), STR("bytes"), str_from(bytes), STR("written_bytes"),
                                   str_from(brought)));
}

static enum status append_persist(struct publish *p, const struct publish_manifest *m, size_t *n, struct err *e)
{
    char key[KEY_MAX];
    for (size_t i = 0; i < m->n_chunks; i++) {
        if (m->chunks[i].version != m->version) continue;
        (void)key_chunk(key, p->model, m->version, (uint32_t)i);
        TRY(redis_append(p->redis, e, REDIS_ARGS(STR("PERSIST"), str_from(key))));
        ++*n;
    }
    return STATUS_OK;
}

/* Reads n acknowledgements and EXEC's reply. */
static enum status read_exec(struct publish *p, size_t n, struct err *e)
{
    const struct redis_reply *reply;
    for (size_t i = 0; i < n; i++) TRY(redis_get(p->redis, e, &reply));
    TRY(redis_get(p->redis, e, &reply));
    if (reply->kind != REDIS_ARRAY)
        return ERR_SET(e, STATUS_AGAIN, "model %s: its lease changed during a publish", p->model);
    for (size_t i = 0; i < reply->n; i++)
        if (reply->items[i].kind == REDIS_FAULT)
            return ERR_SET(e, STATUS_IO, "redis %s: in a publish: %s", redis_name(p->redis), reply->items[i].text.p);
    return STATUS_OK;
}

static enum status put_in_force(struct publish *p, const struct publish_manifest *m, struct str json, size_t written,
                                struct err *e)
{
    char manifest[KEY_MAX], current[KEY_MAX], version[24];
    size_t n = 4; /* MULTI and the three that are always there */
    TRY(publish_lease_watch(p, e));
    redis_clear(p->redis);
    (void)key_manifest(manifest, p->model, m->version);
    (void)key_current(current, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)m->version);
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("MULTI"))));
    TRY(append_persist(p, m, &n, e));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("SET"), str_from(manifest), json)));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("SET"), str_from(current), str_from(version))));
    TRY(append_log(p, m, written, e));
    TRY(append_removals(p, m, &n, e));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("EXEC"))));
    return read_exec(p, n, e);
}

/* The version is in force: it becomes the head of the list, and what left Redis leaves the list. */
static enum status remember(struct publish *p, struct str json, struct err *e)
{
    struct publish_manifest m = {0};
    size_t n = 1;
    TRY(publish_manifest_decode(&m, json, p->model, e));
    if (mem_grow((void **)&p->kept, &p->cap_kept, p->n_kept + 2, sizeof *p->kept) != 0) {
        publish_manifest_fini(&m);
        return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    }
    struct publish_manifest *next = mem_calloc(p->cap_kept, sizeof *next);
    if (next == NULL) {
        publish_manifest_fini(&m);
        return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    }
    next[0] = m;
    for (size_t i = 0; i < p->n_kept; i++)
        if (stays(p, &m, i))
            next[n++] = p->kept[i], p->kept[i] = (struct publish_manifest){.version = p->kept[i].version};
    for (size_t i = 0; i < p->n_kept; i++) publish_manifest_fini(&p->kept[i]);
    mem_free(p->kept);
    p->kept = next;
    p->n_kept = n;
    return STATUS_OK;
}

static enum status write_info(struct publish *p, const struct publish_manifest *m, struct err *e)
{
    char key[KEY_MAX], version[24];
    const struct redis_reply *reply;
    (void)key_info(key, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)m->version);
    return redis_call(
        p->redis, e, &reply,
        REDIS_ARGS(STR("HSET"), str_from(key), STR("version"), str_from(version), STR("sha256"), str_from(m->sha256)));
}

enum status publish_upload_weights(struct publish *p, struct publish_weights_job *j, struct err *e)
{
    struct publish_manifest *m = &j->manifest;
    struct buf json = {0};
    size_t written = 0;
    enum status st;
    TRY_OUT(st, publish_load_kept(p, e));
    if (p->n_kept > 0 && p->kept[0].version > m->version)
        log_warn("publish", "version=%llu replaces a line that had reached %llu", (unsigned long long)m->version,
                 (unsigned long long)p->kept[0].version);
    m->epoch = p->state.epoch;
    m->published_wall_ms = p->clock->wall_ms(p->clock);
    TRY_OUT(st, name_chunks(p, j, e));
    TRY_OUT(st, check_reused(p, j, e));
    TRY_OUT(st, list_kept(p, m, e));
    TRY_OUT(st, publish_manifest_encode(&json, m, p->model, e));
    TRY_OUT(st, publish_lease_check(p, e));
    TRY_OUT(st, write_chunks(p, j, &written, e));
    const struct str text = {(const char *)json.p, json.n};
    TRY_OUT(st, put_in_force(p, m, text, written, e));
    TRY_OUT(st, remember(p, text, e));
    TRY_OUT(st, write_info(p, m, e));
    log_info("publish", "version=%llu bytes=%llu written=%zu chunks=%zu reason=%s", (unsigned long long)m->version,
             (unsigned long long)m->bytes, written, m->n_chunks, m->reason);
out:
    if (st != STATUS_OK) p->kept_known = false; /* whatever happened: read again what is there */
    redis_clear(p->redis);
    buf_fini(&json);
    return st;
}

/* publish_weights.c - one version into Redis: new chunks first, then everything that makes it the one in force at once.
 *
 * Only what changed is hashed and written: the dense piece, which changes with every step, and what publish_rows plans.
 * What is about to be written is noted first, and new chunks expire after minutes unless the transaction that names them
 * removes that: whoever comes after a publish that died half way finds what it left, and if nobody comes it goes by itself.
 * Old versions leave in the same transaction; chunks that a kept manifest still names stay.
 */
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <string.h>

#define STRAY_TTL_S 300 /* and a second for each MiB that is to be uploaded */
#define CHUNKS_AT_ONCE 4
#define LOG_MAX "1000"

void publish_weights_job_free(struct publish_weights_job *j)
{
    if (j == NULL) return;
    publish_manifest_fini(&j->manifest);
    buf_fini(&j->file);
    buf_fini(&j->pages);
    mem_free(j);
}

static size_t dense_chunks(const struct publish_weights_job *j)
{
    return (j->file.n + PUBLISH_CHUNK_BYTES - 1) / PUBLISH_CHUNK_BYTES;
}

/* Its bytes; NULL and their number where only Redis has them. */
static struct str chunk_bytes(const struct publish_weights_job *j, size_t i)
{
    const size_t from = i * PUBLISH_CHUNK_BYTES, left = from < j->file.n ? j->file.n - from : 0;
    if (left > 0)
        return (struct str){(const char *)j->file.p + from, left < PUBLISH_CHUNK_BYTES ? left : PUBLISH_CHUNK_BYTES};
    const struct publish_piece piece = publish_rows_piece(j->rows, i - dense_chunks(j));
    return (struct str){piece.p, piece.n};
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static enum status digest(const struct publish_weights_job *j, size_t i, struct publish_chunk *c, struct err *e)
{
    const struct str bytes = chunk_bytes(j, i);
    c->bytes = bytes.n;
    if (i < dense_chunks(j)) return hash_sha256_of(bytes.p, bytes.n, c->sha256, e);
    memcpy(c->sha256, publish_rows_piece(j->rows, i - dense_chunks(j)).digest, sizeof c->sha256);
    return STATUS_OK;
}

/* Names every chunk: by the newest version in Redis where its bytes are equal, else by this one. */
static enum status name_chunks(struct publish *p, struct publish_weights_job *j, struct err *e)
{
    struct publish_manifest *m = &j->manifest;
    const struct publish_manifest *before = p->n_kept ? &p->kept[0] : NULL;
    mem_free(m->chunks);
    m->bytes = 0;
    m->n_chunks = dense_chunks(j) + (j->rows ? publish_rows_chunks(j->rows) : 0);
    m->chunks = mem_calloc(m->n_chunks, sizeof *m->chunks);
    if (m->chunks == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for %zu chunks", m->n_chunks);
    for (size_t i = 0; i < m->n_chunks; i++) {
        struct publish_chunk *c = &m->chunks[i];
        TRY(digest(j, i, c, e));
        const bool same = before && i < before->n_chunks && strcmp(before->chunks[i].sha256, c->sha256) == 0;
        c->version = same ? before->chunks[i].version : m->version;
        m->bytes += c->bytes;
    }
    return STATUS_OK;
}

/* Older chunks that are to be named must be there still, whole; if one is not, all are written anew. */
static enum status check_reused(struct publish *p, struct publish_weights_job *j, struct err *e)
{
    struct publish_manifest *m = &j->manifest;
    char key[KEY_MAX];
    const struct redis_reply *reply;
    size_t missing = 0;
    redis_clear(p->redis);
    for (size_t i = 0; i < m->n_chunks; i++) {
        if (m->chunks[i].version == m->version) continue;
        (void)key_chunk(key, p->model, m->chunks[i].version, (uint32_t)i);
        TRY(redis_append(p->redis, e, REDIS_ARGS(STR("STRLEN"), str_from(key))));
    }
    for (size_t i = 0; i < m->n_chunks; i++) {
        if (m->chunks[i].version == m->version) continue;
        TRY(redis_get(p->redis, e, &reply));
        missing += reply->integer != (int64_t)m->chunks[i].bytes;
    }
    for (size_t i = 0; missing > 0 && i < m->n_chunks; i++) m->chunks[i].version = m->version;
    return STATUS_OK;
}

/* All that is to be written is here. */
static bool at_hand(const struct publish_weights_job *j)
{
    const struct publish_manifest *m = &j->manifest;
    for (size_t i = 0; i < m->n_chunks; i++)
        if (m->chunks[i].version == m->version && chunk_bytes(j, i).p == NULL) return false;
    return true;
}

static enum status lay_out(struct publish *p, struct publish_weights_job *j, bool whole, struct err *e)
{
    if (j->rows != NULL) TRY(publish_rows_plan(j->rows, whole, e));
    TRY(name_chunks(p, j, e));
    return check_reused(p, j, e);
}

static size_t bytes_to_write(const struct publish_weights_job *j)
{
    const struct publish_manifest *m = &j->manifest;
    size_t n = 0;
    for (size_t i = 0; i < m->n_chunks; i++) n += m->chunks[i].version == m->version ? m->chunks[i].bytes : 0;
    return n;
}

/* A server that throws nothing away would take a part of the chunks and refuse the rest: better none of them. */
static enum status check_room(struct publish *p, size_t bytes, struct err *e)
{
    struct redis_info i;
    const enum status st = redis_info(p->redis, &i, e);
    if (st == STATUS_INVALID) return STATUS_OK; /* not allowed to ask: found out by writing */
    TRY(st);
    if (i.max_bytes == 0 || strcmp(i.policy, "noeviction") != 0 || i.used_bytes + bytes < i.max_bytes) return STATUS_OK;
    return ERR_SET(e, STATUS_FULL, "redis %s: no room for %zu bytes of weights", redis_name(p->redis), bytes);
}

/* Once: what this model asks of Redis. */
static void say_need(struct publish *p, size_t version_bytes)
{
    char need[PUBLISH_NEED_TEXT], server[REDIS_INFO_TEXT];
    if (p->said_need) return;
    p->said_need = true;
    publish_need_weights(&p->need, version_bytes);
    publish_need_text(&p->need, need);
    redis_info_memory(&p->server, server);
    const bool tight = p->server.max_bytes > 0 && publish_need_bytes(&p->need, 0, 0, 0) > p->server.max_bytes;
    log_write(tight ? LOG_WARN : LOG_INFO, "publish", "redis=%s needs=\"%s\" has=\"%s\"%s", redis_name(p->redis), need,
              server, tight ? " next=\"raise maxmemory or lower publish.keep\"" : "");
}

/* Where a later owner finds what this publish leaves behind if it dies. */
static enum status note_publishing(struct publish *p, const struct publish_manifest *m, struct err *e)
{
    char key[KEY_MAX], text[48];
    (void)key_info(key, p->model);
    (void)snprintf(text, sizeof text, "%llu:%zu", (unsigned long long)m->version, m->n_chunks);
    TRY(publish_fence_begin(p, e));
    TRY(publish_fence_add(p, e, REDIS_ARGS(STR("HSET"), str_from(key), STR("publishing"), str_from(text))));
    p->stray.version = m->version;
    p->stray.n = m->n_chunks;
    return publish_fence_end(p, NULL, e);
}

/* Chunk i is named by nobody yet: it expires until the transaction names it.  One that is put back under a version in force
 * never does. */
static bool is_new(const struct publish *p, const struct publish_manifest *m, size_t i)
{
    return m->chunks[i].version == m->version && !publish_kept_names(p, NULL, i, m->version);
}

static enum status add_chunk(struct publish *p, const struct publish_weights_job *j, size_t i, struct err *e)
{
    char key[KEY_MAX], ttl[24];
    (void)key_chunk(key, p->model, j->manifest.version, (uint32_t)i);
    (void)snprintf(ttl, sizeof ttl, "%zu", STRAY_TTL_S + j->manifest.n_chunks);
    const struct str args[] = {STR("SET"), str_from(key), chunk_bytes(j, i), STR("EX"), str_from(ttl)};
    return publish_fence_add(p, e, args, is_new(p, &j->manifest, i) ? 5 : 3);
}

static enum status write_chunks(struct publish *p, const struct publish_weights_job *j, struct err *e)
{
    const struct publish_manifest *m = &j->manifest;
    for (size_t i = 0; i < m->n_chunks;) {
        size_t n = 0;
        TRY(publish_lease_keep(p, e)); /* an upload may take longer than a lease lasts */
        TRY(publish_fence_begin(p, e));
        for (; i < m->n_chunks && n < CHUNKS_AT_ONCE; i++) {
            if (m->chunks[i].version != m->version) continue;
            TRY(add_chunk(p, j, i, e));
            n++;
        }
        TRY(publish_fence_end(p, NULL, e));
        redis_clear(p->redis);
    }
    return STATUS_OK;
}

/* --- the transaction ---------------------------------------------------------------------------------------------- */

static enum status add_removals(struct publish *p, const struct publish_manifest *m, struct err *e)
{
    char key[KEY_MAX];
    for (size_t k = 0; k < p->n_kept; k++) {
        const struct publish_manifest *old = &p->kept[k];
        if (publish_kept_stays(p, m, k)) continue;
        if (old->version != m->version) {
            (void)key_manifest(key, p->model, old->version);
            TRY(publish_fence_add(p, e, REDIS_ARGS(STR("UNLINK"), str_from(key))));
        }
        for (size_t i = 0; i < old->n_chunks; i++) {
            if (publish_kept_names(p, m, i, old->chunks[i].version)) continue;
            (void)key_chunk(key, p->model, old->chunks[i].version, (uint32_t)i);
            TRY(publish_fence_add(p, e, REDIS_ARGS(STR("UNLINK"), str_from(key))));
        }
    }
    return STATUS_OK;
}

static enum status add_log(struct publish *p, const struct publish_manifest *m, size_t written, struct err *e)
{
    char key[KEY_MAX], version[24], parent[24], examples[24], bytes[24], brought[24];
    (void)key_log(key, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)m->version);
    (void)snprintf(parent, sizeof parent, "%llu", (unsigned long long)m->parent);
    (void)snprintf(examples, sizeof examples, "%llu", (unsigned long long)m->examples);
    (void)snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)m->bytes);
    (void)snprintf(brought, sizeof brought, "%zu", written);
    return publish_fence_add(p, e,
                             REDIS_ARGS(STR("XADD"), str_from(key), STR("MAXLEN"), STR("~"), STR(LOG_MAX), STR("*"),
                                        STR("kind"), STR("publish"), STR("version"), str_from(version), STR("sha256"),
                                        str_from(m->sha256), STR("reason"), str_from(m->reason), STR("verdict"),
                                        str_from(m->verdict), STR("parent"), str_from(parent), STR("examples"),
                                        str_from(examples), STR("bytes"), str_from(bytes), STR("written_bytes"),
                                        str_from(brought)));
}

/* Puts PERSIST for every new chunk first, *n of them. */
static enum status add_persist(struct publish *p, const struct publish_manifest *m, size_t *n, struct err *e)
{
    char key[KEY_MAX];
    *n = 0;
    for (size_t i = 0; i < m->n_chunks; i++) {
        if (!is_new(p, m, i)) continue;
        (void)key_chunk(key, p->model, m->version, (uint32_t)i);
        TRY(publish_fence_add(p, e, REDIS_ARGS(STR("PERSIST"), str_from(key))));
        ++*n;
    }
    return STATUS_OK;
}

enum status publish_add_champion(struct publish *p, const char *name, struct err *e)
{
    char key[KEY_MAX];
    (void)key_champion(key, p->model);
    if (name[0] == '\0') return publish_fence_add(p, e, REDIS_ARGS(STR("DEL"), str_from(key)));
    return publish_fence_add(p, e, REDIS_ARGS(STR("SET"), str_from(key), str_from(name)));
}

static enum status put_in_force(struct publish *p, const struct publish_weights_job *j, struct str json, size_t written,
                                struct err *e)
{
    const struct publish_manifest *m = &j->manifest;
    char manifest[KEY_MAX], current[KEY_MAX], version[24];
    const struct redis_reply *replies;
    size_t n;
    (void)key_manifest(manifest, p->model, m->version);
    (void)key_current(current, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)m->version);
    TRY(publish_fence_begin(p, e));
    TRY(add_persist(p, m, &n, e));
    TRY(publish_fence_add(p, e, REDIS_ARGS(STR("SET"), str_from(manifest), json)));
    TRY(publish_fence_add(p, e, REDIS_ARGS(STR("SET"), str_from(current), str_from(version))));
    if (j->says_champion) TRY(publish_add_champion(p, j->champion, e)); /* both are of one moment for whoever reads them */
    TRY(add_log(p, m, written, e));
    TRY(add_removals(p, m, e));
    TRY(publish_fence_end(p, &replies, e));
    for (size_t i = 0; i < n; i++)
        if (replies[i].integer != 1) /* deleted or evicted since it was written: all once more */
            return ERR_SET(e, STATUS_AGAIN, "version %s: a chunk of it vanished from Redis meanwhile", version);
    return STATUS_OK;
}

static enum status write_info(struct publish *p, const struct publish_manifest *m, struct err *e)
{
    char key[KEY_MAX], version[24];
    (void)key_info(key, p->model);
    (void)snprintf(version, sizeof version, "%llu", (unsigned long long)m->version);
    TRY(publish_fence_begin(p, e));
    TRY(publish_fence_add(
        p, e,
        REDIS_ARGS(STR("HSET"), str_from(key), STR("version"), str_from(version), STR("sha256"), str_from(m->sha256))));
    TRY(publish_fence_add(p, e, REDIS_ARGS(STR("HDEL"), str_from(key), STR("publishing"))));
    return publish_fence_end(p, NULL, e);
}

static enum status upload(struct publish *p, struct publish_weights_job *j, struct buf *json, struct err *e)
{
    struct publish_manifest *m = &j->manifest;
    say_need(p, j->file.n + (j->rows ? publish_rows_most(j->rows->n) : 0));
    TRY(publish_clean_strays(p, e));
    TRY(publish_load_kept(p, e));
    if (p->n_kept > 0 && p->kept[0].version > m->version)
        log_warn("publish", "version=%llu replaces a line that had reached %llu", (unsigned long long)m->version,
                 (unsigned long long)p->kept[0].version);
    m->epoch = p->self.epoch;
    m->published_wall_ms = p->clock->wall_ms(p->clock);
    TRY(lay_out(p, j, false, e));
    if (!at_hand(j)) TRY(lay_out(p, j, true, e));
    TRY(publish_kept_list(p, m, e));
    TRY(publish_manifest_encode(json, m, p->model, e));
    const size_t bytes = bytes_to_write(j);
    TRY(check_room(p, bytes, e));
    TRY(note_publishing(p, m, e));
    TRY(write_chunks(p, j, e));
    const struct str text = {(const char *)json->p, json->n};
    TRY(put_in_force(p, j, text, bytes, e));
    p->stray.version = 0;
    if (j->rows != NULL) publish_rows_commit(j->rows);
    TRY(publish_kept_add(p, text, e));
    TRY(write_info(p, m, e));
    log_info("publish", "version=%llu bytes=%llu written=%zu chunks=%zu reason=%s", (unsigned long long)m->version,
             (unsigned long long)m->bytes, bytes, m->n_chunks, m->reason);
    return STATUS_OK;
}

enum status publish_upload_weights(struct publish *p, struct publish_weights_job *j, struct err *e)
{
    struct buf json = {0};
    const enum status st = upload(p, j, &json, e);
    if (st != STATUS_OK) p->kept_known = false; /* whatever happened: read again what is there */
    /* room for the smaller things; after a lost connection the next turn does it */
    if (st != STATUS_OK && st != STATUS_IO && publish_clean_strays(p, NULL) != STATUS_OK)
        log_limited(LOG_WARN, "publish", "version=%llu chunks of it stay until they expire or the next turn",
                    (unsigned long long)j->manifest.version);
    redis_clear(p->redis);
    buf_fini(&json);
    return st;
}

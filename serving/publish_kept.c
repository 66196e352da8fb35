/* publish_kept.c - which versions are in Redis, which of them stay, and whose chunks nobody names. */
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void publish_forget_kept(struct publish *p)
{
    for (size_t i = 0; i < p->n_kept; i++) publish_manifest_fini(&p->kept[i]);
    p->n_kept = 0;
    p->kept_known = false;
}

/* Fetches and appends one manifest; one that is gone or unreadable is passed over. */
static enum status load_manifest(struct publish *p, uint64_t version, struct err *e)
{
    char key[KEY_MAX];
    struct err why;
    const struct redis_reply *reply;
    (void)key_manifest(key, p->model, version);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return STATUS_OK;
    if (MEM_GROW(p->kept, &p->cap_kept, p->n_kept + 1) != 0)
        return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    struct publish_manifest *m = &p->kept[p->n_kept];
    memset(m, 0, sizeof *m);
    const enum status st = publish_manifest_decode(m, reply->text, p->model, &why);
    if (st == STATUS_OOM) return ERR_SET(e, st, "%s", why.text);
    if (st == STATUS_OK)
        p->n_kept++;
    else
        log_warn("publish", "version=%llu manifest unreadable: %s", (unsigned long long)version, why.text);
    return STATUS_OK;
}

/* What the list holds is remembered, for when no manifest in force says it. */
static void remember_list(struct publish *p)
{
    p->n_listed = 0;
    for (size_t i = 0; i < p->n_kept && i < PUBLISH_KEPT_MAX; i++) p->listed[p->n_listed++] = p->kept[i].version;
}

/* The others that the manifest in force lists; without it (gone, damaged) those that we know of. */
static enum status load_others(struct publish *p, struct err *e)
{
    if (p->n_kept == 0) {
        for (size_t i = 0; i < p->n_listed; i++) TRY(load_manifest(p, p->listed[i], e));
        return STATUS_OK;
    }
    const size_t n = p->kept[0].n_kept;
    for (size_t i = 0; i < n; i++)
        if (p->kept[0].kept[i] != p->kept[0].version) TRY(load_manifest(p, p->kept[0].kept[i], e));
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
        (void)snprintf(text, sizeof text, STR_FMT, reply->text.n > 20 ? 20 : (int)reply->text.n, reply->text.p);
        TRY(load_manifest(p, strtoull(text, NULL, 10), e));
    }
    TRY(load_others(p, e));
    remember_list(p);
    p->kept_known = true;
    return STATUS_OK;
}

/* --- what stays --------------------------------------------------------------------------------------------------- */

bool publish_kept_stays(const struct publish *p, const struct publish_manifest *m, size_t i)
{
    size_t rank = 1;
    for (size_t j = 0; j < i; j++) rank += p->kept[j].version < m->version;
    return p->kept[i].version < m->version && rank < (size_t)p->keep;
}

bool publish_kept_names(const struct publish *p, const struct publish_manifest *m, size_t i, uint64_t version)
{
    if (m != NULL && i < m->n_chunks && m->chunks[i].version == version) return true;
    for (size_t k = 0; k < p->n_kept; k++)
        if ((m == NULL || publish_kept_stays(p, m, k)) && i < p->kept[k].n_chunks &&
            p->kept[k].chunks[i].version == version)
            return true;
    return false;
}

enum status publish_kept_list(const struct publish *p, struct publish_manifest *m, struct err *e)
{
    mem_free(m->kept);
    m->n_kept = 0;
    m->kept = mem_calloc(p->n_kept + 1, sizeof *m->kept);
    if (m->kept == NULL) return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    m->kept[m->n_kept++] = m->version;
    for (size_t i = 0; i < p->n_kept; i++)
        if (publish_kept_stays(p, m, i)) m->kept[m->n_kept++] = p->kept[i].version;
    return STATUS_OK;
}

/* It becomes the head of the list, and what left Redis leaves the list. */
enum status publish_kept_add(struct publish *p, struct str json, struct err *e)
{
    struct publish_manifest m = {0};
    size_t n = 1;
    TRY(publish_manifest_decode(&m, json, p->model, e));
    struct publish_manifest *next = mem_calloc(p->n_kept + 1, sizeof *next);
    if (next == NULL) {
        publish_manifest_fini(&m);
        return ERR_SET(e, STATUS_OOM, "publish: no memory for the list of versions");
    }
    next[0] = m;
    for (size_t i = 0; i < p->n_kept; i++)
        if (publish_kept_stays(p, &m, i))
            next[n++] = p->kept[i], p->kept[i] = (struct publish_manifest){.version = p->kept[i].version};
    for (size_t i = 0; i < p->n_kept; i++) publish_manifest_fini(&p->kept[i]);
    p->cap_kept = p->n_kept + 1;
    mem_free(p->kept);
    p->kept = next;
    p->n_kept = n;
    remember_list(p);
    return STATUS_OK;
}

/* --- strays ------------------------------------------------------------------------------------------------------- */

/* Chunks of a publish that came to nothing.  Without this they would expire by themselves, later. */
enum status publish_clean_strays(struct publish *p, struct err *e)
{
    char key[KEY_MAX], info[KEY_MAX];
    if (p->stray.version == 0) return STATUS_OK;
    p->kept_known = false; /* it may be in force all the same: when the answer to EXEC was lost */
    TRY(publish_load_kept(p, e));
    (void)key_info(info, p->model);
    TRY(publish_fence_begin(p, e));
    for (size_t i = 0; i < p->stray.n; i++) {
        const bool named = publish_kept_names(p, NULL, i, p->stray.version); /* written anew, but not to the end */
        (void)key_chunk(key, p->model, p->stray.version, (uint32_t)i);
        TRY(publish_fence_add(p, e, REDIS_ARGS(named ? STR("PERSIST") : STR("UNLINK"), str_from(key))));
    }
    TRY(publish_fence_add(p, e, REDIS_ARGS(STR("HDEL"), str_from(info), STR("publishing"))));
    TRY(publish_fence_end(p, NULL, e));
    p->stray.version = 0;
    return STATUS_OK;
}

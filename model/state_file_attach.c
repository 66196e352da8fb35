/* state_file_attach.c - which file a cache may read from: its own kind's, and for a learner one made by its own arithmetic. */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/state_cache.h"
#include "model/state_file.h"
#include <stdio.h>
#include <string.h>

enum { PATH_ROOM = 1100, INDEX_SHARE = 8 };

static uint64_t hash_entry(const struct state_entry *s)
{
    const size_t bytes = s->width * sizeof(uint16_t);
    const uint64_t both = hash_mix(hash_bytes(s->pooled, bytes), hash_bytes(s->final, bytes));
    return s->n_tokens > 0 ? hash_mix(both, hash_bytes(s->tokens, s->n_tokens * bytes)) : both;
}

enum status state_file_probe(struct state_cache *c, uint64_t *out, struct err *e)
{
    int32_t ids[ENCODER_PROBE_TOKENS];
    *out = 0;
    for (size_t at = 0, n; (n = encoder_probe(c->m, &at, ids)) > 0;) {
        const struct state_entry *entry;
        const struct state_request q = {hash_bytes(ids, n * sizeof *ids), ids, (uint32_t)n};
        TRY(state_acquire(c, &q, 1, &entry, e));
        *out = hash_mix(*out, hash_entry(entry));
        state_release(c, &entry, 1);
    }
    c->stats.hits = c->stats.misses = c->stats.encoded = 0;
    return STATUS_OK;
}

static enum status open_fitting(struct state_file **out, struct state_cache *c, const char *path, bool exact,
                                struct err *e)
{
    uint64_t here;
    const struct state_file_kind kind = state_file_kind(c);
    TRY(state_file_open(out, path, &kind, c->stats.max_bytes / INDEX_SHARE, e));
    if (!exact) return STATUS_OK;
    enum status st = state_file_probe(c, &here, e);
    if (st == STATUS_OK && here != state_file_probed(*out))
        st = ERR_SET(e, STATUS_CONFLICT,
                     "%s: its numbers differ in their last bits from what is computed here (another instruction set or "
                     "version); make it anew here with freshet model warm",
                     path);
    if (st != STATUS_OK) {
        state_file_close(*out);
        *out = NULL;
    }
    return st;
}

enum status state_file_attach(struct state_cache *c, const char *dir, bool exact, struct err *e)
{
    char path[PATH_ROOM], name[STATE_FILE_NAME_MAX];
    struct state_file *f = NULL;
    struct err why = {0};
    const struct state_file_kind kind = state_file_kind(c);
    if (dir[0] == '\0') return STATUS_OK;
    state_file_name(name, &kind);
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return ERR_SET(e, STATUS_INVALID, "kernels.states_dir is longer than %d bytes", PATH_ROOM);
    const enum status st = open_fitting(&f, c, path, exact, &why);
    if (st == STATUS_OK) {
        log_info("states", "file=%s sentences=%zu bytes=%llu", path, state_file_count(f),
                 (unsigned long long)state_file_bytes(f));
        state_cache_attach(c, f);
    } else if (st == STATUS_OOM) {
        if (e != NULL) *e = why;
        return st;
    } else {
        log_warn("states", "left=\"%s\" effect=\"states are computed as they are asked for\"", why.text);
    }
    return STATUS_OK;
}

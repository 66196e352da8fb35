/* model_open.c - see model.h: tells the four kinds of place apart and opens them into one table. */
#include "base/mem.h"
#include "cli/model.h"
#include "job/checkpoint_meta.h"
#include "model/safetensors.h"
#include "schemas/weights.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_file(const char *dir, const char *name)
{
    char path[CMD_MODEL_PATH];
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && access(path, F_OK) == 0;
}

enum status cmd_model_kind_of(enum cmd_model_kind *out, const char *path, struct err *e)
{
    struct stat info;
    if (strlen(path) > CMD_MODEL_PATH - 64)
        return ERR_SET(e, STATUS_INVALID, "a path of more than %d bytes", CMD_MODEL_PATH - 64);
    if (stat(path, &info) != 0) return ERR_SET(e, STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (S_ISREG(info.st_mode)) {
        char magic[4] = "";
        FILE *f = fopen(path, "rb");
        if (f == NULL) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
        const size_t n = fread(magic, 1, sizeof magic, f);
        (void)fclose(f);
        *out = n == sizeof magic && memcmp(magic, "FRWT", 4) == 0 ? CMD_MODEL_WEIGHTS : CMD_MODEL_SAFETENSORS;
        return STATUS_OK;
    }
    *out = has_file(path, "state.mdb") ? CMD_MODEL_STATE : CMD_MODEL_FOLDER;
    if (*out == CMD_MODEL_STATE || has_file(path, "config.json")) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID,
                   "%s is neither a Hugging Face folder (config.json) nor a state folder (state.mdb)", path);
}

enum status cmd_model_weights_path(char out[CMD_MODEL_PATH], const char *state_dir, uint64_t version, struct err *e)
{
    if (snprintf(out, CMD_MODEL_PATH, "%s/weights/%" PRIu64, state_dir, version) < CMD_MODEL_PATH) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "state.dir is longer than %d bytes", CMD_MODEL_PATH);
}

static enum status state_file(char out[CMD_MODEL_PATH], const char *dir, uint64_t version, struct err *e)
{
    if (version == 0) {
        struct checkpoint_meta meta;
        TRY(checkpoint_meta_open(&meta, dir, e));
        version = meta.version;
        checkpoint_meta_close(&meta);
        if (version == 0) return ERR_SET(e, STATUS_NOT_FOUND, "%s has no version yet: nothing was learnt into it", dir);
    }
    TRY(cmd_model_weights_path(out, dir, version, e));
    if (access(out, F_OK) == 0) return STATUS_OK;
    return ERR_SET(e, STATUS_NOT_FOUND,
                   "%s keeps no version %" PRIu64 " (freshet model versions %s lists what is kept)", dir, version, dir);
}

static enum status new_table(struct cmd_model *m, size_t n, struct err *e)
{
    m->n = n;
    m->tensors = arena_alloc(&m->arena, n, sizeof *m->tensors);
    return m->tensors != NULL ? STATUS_OK : ERR_SET(e, STATUS_OOM, "%s: no memory for %zu tensors", m->path, n);
}

/* The values as they lie, or an aligned copy. */
static enum status aligned(struct cmd_model *m, const float *from, size_t n, const float **out, struct err *e)
{
    *out = from;
    if ((uintptr_t)from % sizeof(float) == 0) return STATUS_OK;
    float *copy = arena_raw(&m->arena, n, sizeof *copy);
    if (copy == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for %zu floats", m->path, n);
    memcpy(copy, from, n * sizeof *copy);
    *out = copy;
    return STATUS_OK;
}

static enum status open_weights(struct cmd_model *m, struct err *e)
{
    struct weights_view v;
    const float *params;
    TRY(weights_read_file(m->path, CMD_MODEL_FILE_MAX, &m->file, e));
    const enum status st = weights_decode(&v, m->file.p, m->file.n, true, &m->arena, e);
    if (st != STATUS_OK) return e != NULL ? err_prefix(e, "%s", m->path) : st;
    TRY(aligned(m, v.params, (size_t)v.n_params, &params, e));
    TRY(new_table(m, v.n_tensors, e));
    for (size_t i = 0; i < m->n; i++) {
        struct cmd_model_tensor *t = &m->tensors[i];
        *t = (struct cmd_model_tensor){.name = v.tensors[i].name,
                                       .type = "F32",
                                       .rank = v.tensors[i].rank,
                                       .n = 1,
                                       .values = params + v.tensors[i].offset};
        for (uint8_t d = 0; d < t->rank; d++) {
            t->shape[d] = v.tensors[i].shape[d];
            t->n *= t->shape[d];
        }
        m->n_params += t->n;
    }
    m->version = v.version;
    m->base_fingerprint = v.base_fingerprint;
    m->n_moments = v.n_moments;
    memcpy(m->sha256, v.sha256, sizeof m->sha256);
    return STATUS_OK;
}

static enum status hash_file(struct cmd_model *m, struct err *e)
{
    enum status st = STATUS_OK;
    unsigned char bytes[65536];
    size_t n;
    struct hash_sha256 *h = NULL;
    FILE *f = fopen(m->path, "rb");
    if (f == NULL) return ERR_SET(e, STATUS_IO, "%s: %s", m->path, strerror(errno));
    TRY_OUT(st, hash_sha256_new(&h, e));
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0) hash_sha256_add(h, bytes, n);
    if (ferror(f)) st = ERR_SET(e, STATUS_IO, "%s: cannot be read: %s", m->path, strerror(errno));
    hash_sha256_hex(h, m->sha256);
out:
    hash_sha256_free(h);
    (void)fclose(f);
    return st;
}

static enum status open_tensors(struct cmd_model *m, struct err *e)
{
    TRY(safetensors_open(&m->st, m->path, e));
    TRY(new_table(m, safetensors_count(m->st), e));
    for (size_t i = 0; i < m->n; i++) {
        const struct safetensors_tensor *from = safetensors_at(m->st, i);
        struct cmd_model_tensor *t = &m->tensors[i];
        *t = (struct cmd_model_tensor){.name = from->name,
                                       .type = safetensors_type_name(from->type),
                                       .rank = from->rank,
                                       .n = from->n,
                                       .values = safetensors_f32(from)};
        memcpy(t->shape, from->shape, sizeof t->shape);
        if (t->values == NULL &&
            (from->type == SAFETENSORS_F32 || from->type == SAFETENSORS_F16 || from->type == SAFETENSORS_BF16)) {
            float *made = arena_raw(&m->arena, from->n, sizeof *made);
            if (made == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for tensor '%s'", m->path, from->name);
            TRY(safetensors_read(from, made, e));
            t->values = made;
        }
        m->n_params += t->values != NULL ? t->n : 0;
    }
    return hash_file(m, e);
}

enum status cmd_model_open(struct cmd_model *out, const char *path, uint64_t version, struct err *e)
{
    struct stat info;
    *out = (struct cmd_model){0};
    TRY(cmd_model_kind_of(&out->kind, path, e));
    if (out->kind == CMD_MODEL_STATE)
        TRY(state_file(out->path, path, version, e));
    else
        (void)snprintf(out->path, sizeof out->path, out->kind == CMD_MODEL_FOLDER ? "%s/model.safetensors" : "%s",
                       path);
    if (stat(out->path, &info) != 0) return ERR_SET(e, STATUS_NOT_FOUND, "%s: %s", out->path, strerror(errno));
    out->bytes = (uint64_t)info.st_size;
    out->time_ms = (int64_t)info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000;
    return out->kind == CMD_MODEL_FOLDER || out->kind == CMD_MODEL_SAFETENSORS ? open_tensors(out, e)
                                                                               : open_weights(out, e);
}

void cmd_model_close(struct cmd_model *m)
{
    safetensors_close(m->st);
    buf_fini(&m->file);
    arena_fini(&m->arena);
    *m = (struct cmd_model){0};
}

const struct cmd_model_tensor *cmd_model_find(const struct cmd_model *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->tensors[i].name, name) == 0) return &m->tensors[i];
    return NULL;
}

/* Its key=value lines; empty values are defaults. */
enum status cmd_model_take_meaning(struct conf *c, const struct checkpoint_meta *m, struct err *e)
{
    char line[CONF_TEXT + 200];
    const char *p = (const char *)m->meaning.p, *const end = p + m->meaning.n;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const size_t n = (size_t)((newline != NULL ? newline : end) - p);
        const char *eq = memchr(p, '=', n);
        if (eq != NULL && n < sizeof line && (size_t)(eq - p) + 1 < n && strncmp(p, "base+parts=", 11) != 0) {
            memcpy(line, p, n);
            line[n] = 0;
            TRY(conf_set_option(c, line, e));
        }
        p += n + 1;
    }
    return STATUS_OK;
}

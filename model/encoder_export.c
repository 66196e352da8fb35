/* encoder_export.c - writes a Hugging Face folder: the base's files as they are, its tensors in F32, learnt layers in
 * place of the base's.  model.safetensors comes last, so a folder that has it is complete.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "model/encoder.h"
#include "model/encoder_config.h"
#include "model/encoder_weights.h"
#include "schemas/weights.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX ((size_t)256 << 20) /* of a tokenizer or configuration file */

static enum status make_folder(const char *path, struct err *e)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "%s: cannot be made: %s", path, strerror(errno));
}

/* config.json says F32, whatever the base was stored in: transformers loads by what it says. */
static enum status say_f32(struct buf *b, const char *path, struct err *e)
{
    static const char *const keys[] = {"dtype", "torch_dtype"};
    json_error_t why;
    bool changed = false;
    enum status st = STATUS_OK;
    json_t *root = json_loadb((const char *)b->p, b->n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) return ERR_SET(e, STATUS_INVALID, "%s:%d: not good JSON: %s", path, why.line, why.text);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *is = json_string_value(json_object_get(root, keys[i]));
        if (is == NULL || strcmp(is, "float32") == 0) continue;
        changed = true;
        if (json_object_set_new(root, keys[i], json_string("float32")) != 0) st = STATUS_OOM;
    }
    if (changed && st == STATUS_OK) {
        const size_t n = json_dumpb(root, NULL, 0, JSON_INDENT(2));
        buf_clear(b);
        char *room = n > 0 ? buf_room(b, n) : NULL;
        if (room == NULL || json_dumpb(root, room, n, JSON_INDENT(2)) != n) st = STATUS_OOM;
    }
    json_decref(root);
    return st == STATUS_OK ? st : ERR_SET(e, st, "%s: no memory to write it anew", path);
}

/* Copies <from>/<name> to <to>/<name>; an absent file is left out. */
static enum status copy(const char *from, const char *to, const char *name, struct err *e)
{
    enum status st;
    struct buf b = {0};
    char *source = encoder_path(from, name), *target = encoder_path(to, name);
    if (source == NULL || target == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory", to);
        goto out;
    }
    st = weights_read_file(source, FILE_MAX, &b, e);
    if (st == STATUS_NOT_FOUND) {
        st = STATUS_OK;
        goto out;
    }
    if (st == STATUS_OK && strcmp(name, "config.json") == 0) st = say_f32(&b, source, e);
    if (st == STATUS_OK) st = weights_write_file(target, &b, e);
out:
    buf_fini(&b);
    mem_free(source);
    mem_free(target);
    return st;
}

/* <from>/<under>/config.json, where a module keeps its own settings. */
static enum status copy_module(const char *from, const char *to, const char *under, struct err *e)
{
    enum status st;
    struct stat info;
    char *source = encoder_path(from, under), *target = encoder_path(to, under);
    if (source == NULL || target == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory", to);
        goto out;
    }
    st = STATUS_OK;
    if (stat(source, &info) != 0 || !S_ISDIR(info.st_mode)) goto out;
    TRY_OUT(st, make_folder(target, e));
    st = copy(source, target, "module.json", e);
    if (st == STATUS_OK) st = copy(source, target, "config.json", e);
out:
    mem_free(source);
    mem_free(target);
    return st;
}

static enum status copy_modules(const char *from, const char *to, struct err *e)
{
    enum status st = STATUS_OK;
    json_error_t why;
    size_t i;
    json_t *v;
    char *path = encoder_path(from, "modules.json");
    if (path == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", to);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) st = copy_module(from, to, "1_Pooling", e);
    json_array_foreach(root, i, v)
    {
        const char *under = json_string_value(json_object_get(v, "path"));
        if (st == STATUS_OK && under != NULL && under[0] != '\0' && under[0] != '/' && strstr(under, "..") == NULL)
            st = copy_module(from, to, under, e);
    }
    json_decref(root);
    mem_free(path);
    return st;
}

static enum status copy_files(const char *from, const char *to, struct err *e)
{
    static const char *const names[] = {"config.json",
                                        "vocab.txt",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "modules.json",
                                        "sentence_bert_config.json",
                                        "config_sentence_transformers.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) TRY(copy(from, to, names[i], e));
    return copy_modules(from, to, e);
}

/* The values that replace tensor `name` (without prefix), or NULL. */
static const float *replacement(const struct encoder *m, const char *name, const struct encoder_replaced *r, size_t n)
{
    static const char head[] = "encoder.layer.";
    char *rest;
    if (strncmp(name, head, sizeof head - 1) != 0) return NULL;
    const unsigned long layer = strtoul(name + sizeof head - 1, &rest, 10);
    if (*rest != '.') return NULL;
    for (size_t i = 0; i < n; i++) {
        if (r[i].layer != layer) continue;
        for (size_t k = 0; k < ENCODER_LAYER_TENSORS; k++) {
            const struct encoder_layer_tensor *t = &encoder_layer_tensors[k];
            if (strcmp(rest + 1, t->name) == 0 || (t->old != NULL && strcmp(rest + 1, t->old) == 0))
                return encoder_layer_values(&r[i].weights, k, m->shape.C);
        }
    }
    return NULL;
}

/* One tensor of the file as it is written: replaced, converted to F32, or as it lies. */
static enum status to_write(const struct encoder *m, const struct safetensors_tensor *from,
                            struct safetensors_tensor *t, const struct encoder_replaced *r, size_t n, struct arena *a,
                            struct err *e)
{
    const size_t skip = strlen(m->prefix);
    const float *v = strncmp(from->name, m->prefix, skip) == 0 ? replacement(m, from->name + skip, r, n) : NULL;
    *t = *from;
    if (v == NULL && from->type != SAFETENSORS_F16 && from->type != SAFETENSORS_BF16) return STATUS_OK;
    if (v == NULL) {
        float *made = arena_raw(a, from->n, sizeof *made);
        if (made == NULL) return ERR_SET(e, STATUS_OOM, "export: no memory for tensor '%s'", from->name);
        TRY(safetensors_read(from, made, e));
        v = made;
    }
    t->type = SAFETENSORS_F32;
    t->data = (const unsigned char *)v;
    t->bytes = from->n * sizeof *v;
    return STATUS_OK;
}

static enum status write_tensors(const struct encoder *m, const char *dir, const struct encoder_replaced *r, size_t n,
                                 struct err *e)
{
    enum status st = STATUS_OK;
    struct arena a = {0};
    const size_t count = safetensors_count(m->file);
    struct safetensors_tensor *t = mem_calloc(count, sizeof *t);
    char *path = encoder_path(dir, "model.safetensors");
    if (t == NULL || path == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory for %zu tensors", dir, count);
        goto out;
    }
    for (size_t i = 0; i < count; i++) TRY_OUT(st, to_write(m, safetensors_at(m->file, i), &t[i], r, n, &a, e));
    st = safetensors_write(path, t, count, e);
out:
    arena_fini(&a);
    mem_free(t);
    mem_free(path);
    return st;
}

/* Writing over the base would pull the mapped file from under its own feet. */
static enum status not_the_base(const struct encoder *m, const char *dir, struct err *e)
{
    struct stat a, b;
    if (stat(m->dir, &a) == 0 && stat(dir, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return ERR_SET(e, STATUS_INVALID, "%s: is the base model's own folder; name another one", dir);
    return STATUS_OK;
}

enum status encoder_write_folder(const struct encoder *m, const char *dir, const struct encoder_replaced *replaced,
                                 size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (replaced[i].layer >= m->shape.L)
            return ERR_SET(e, STATUS_INVALID, "export: layer %zu of a model with %zu", replaced[i].layer, m->shape.L);
    TRY(make_folder(dir, e));
    TRY(not_the_base(m, dir, e));
    TRY(copy_files(m->dir, dir, e));
    return write_tensors(m, dir, replaced, n, e);
}

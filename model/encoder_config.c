/* encoder_config.c - reads config.json, modules.json, 1_Pooling/config.json and sentence_bert_config.json. */
#include "model/encoder_config.h"
#include "base/buf.h"
#include "base/mem.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define JSON_FILE_MAX (16 << 20) /* bytes */

char *encoder_path(const char *dir, const char *name)
{
    const size_t n = strlen(dir) + strlen(name) + 2;
    char *p = mem_calloc(n, 1);
    if (p != NULL) (void)snprintf(p, n, "%s/%s", dir, name);
    return p;
}

/* *out = the file's JSON; NOT_FOUND when there is no such file. */
static enum status load(json_t **out, const char *path, struct err *e)
{
    struct stat info;
    json_error_t why;
    *out = NULL;
    if (stat(path, &info) != 0)
        return ERR_SET(e, errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                       strerror(errno));
    if (!S_ISREG(info.st_mode) || info.st_size > JSON_FILE_MAX)
        return ERR_SET(e, STATUS_INVALID, "%s: not a regular file of at most %d bytes", path, JSON_FILE_MAX);
    *out = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (*out != NULL) return STATUS_OK;
    if (json_error_code(&why) == json_error_out_of_memory) return ERR_SET(e, STATUS_OOM, "%s: no memory", path);
    return ERR_SET(e, STATUS_INVALID, "%s:%d: not good JSON: %s", path, why.line, why.text);
}

/* One file being read: its JSON and its name for errors. */
struct source {
    const json_t *root;
    const char *path;
    struct err *e;
};

static enum status get_count(const struct source *s, const char *key, size_t lo, size_t hi, size_t absent, size_t *out)
{
    const json_t *v = json_object_get(s->root, key);
    *out = absent;
    if (v == NULL) return STATUS_OK;
    if (!json_is_integer(v) || json_integer_value(v) < (json_int_t)lo || json_integer_value(v) > (json_int_t)hi)
        return ERR_SET(s->e, STATUS_INVALID, "%s: %s must be an integer from %zu to %zu", s->path, key, lo, hi);
    *out = (size_t)json_integer_value(v);
    return STATUS_OK;
}

static enum status get_eps(const struct source *s, float *out)
{
    const json_t *v = json_object_get(s->root, "layer_norm_eps");
    *out = 1e-12f;
    if (v == NULL) return STATUS_OK;
    const double eps = json_number_value(v);
    if (!json_is_number(v) || !(eps >= 1e-15 && eps <= 0.1))
        return ERR_SET(s->e, STATUS_INVALID, "%s: layer_norm_eps must be a number from 1e-15 to 0.1", s->path);
    *out = (float)eps;
    return STATUS_OK;
}

static enum status get_act(const struct source *s, enum kern_act *out)
{
    static const struct {
        const char *name;
        enum kern_act act;
    } acts[] = {{"gelu", KERN_ACT_GELU},
                {"gelu_new", KERN_ACT_GELU_NEW},
                {"gelu_pytorch_tanh", KERN_ACT_GELU_NEW},
                {"relu", KERN_ACT_RELU}};
    const json_t *v = json_object_get(s->root, "hidden_act");
    const char *name = v == NULL ? "gelu" : json_string_value(v);
    for (size_t i = 0; name != NULL && i < sizeof acts / sizeof *acts; i++)
        if (strcmp(name, acts[i].name) == 0) {
            *out = acts[i].act;
            return STATUS_OK;
        }
    return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: hidden_act '%.40s' is not built in; gelu, gelu_new and relu are",
                   s->path, name != NULL ? name : "(not a string)");
}

/* A text key that, when it is there, must have this value. */
static enum status must_be(const struct source *s, const char *key, const char *value)
{
    const json_t *v = json_object_get(s->root, key);
    if (v == NULL || json_is_null(v)) return STATUS_OK;
    const char *text = json_string_value(v);
    if (text != NULL && strcmp(text, value) == 0) return STATUS_OK;
    return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: %s is '%.40s', only '%s' is built in", s->path, key,
                   text != NULL ? text : "(not a string)", value);
}

/* A key that must be absent, null, false or empty. */
static enum status must_be_off(const struct source *s, const char *key)
{
    const json_t *v = json_object_get(s->root, key);
    const bool off =
        v == NULL || json_is_null(v) || json_is_false(v) || (json_is_object(v) && json_object_size(v) == 0);
    if (off) return STATUS_OK;
    return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: %s is set, which is not built in", s->path, key);
}

static enum status read_shape(const struct source *s, struct encoder_shape *o)
{
    size_t embedding;
    if (!json_is_object(s->root)) return ERR_SET(s->e, STATUS_INVALID, "%s: not a JSON object", s->path);
    TRY(must_be(s, "model_type", "bert"));
    TRY(must_be(s, "position_embedding_type", "absolute"));
    static const char *const off[] = {"is_decoder", "add_cross_attention", "pruned_heads", "quantization_config"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) TRY(must_be_off(s, off[i]));
    TRY(get_count(s, "hidden_size", 1, 16384, 768, &o->C));
    TRY(get_count(s, "num_attention_heads", 1, 1024, 12, &o->H));
    TRY(get_count(s, "intermediate_size", 1, 131072, 3072, &o->F));
    TRY(get_count(s, "num_hidden_layers", 1, 256, 12, &o->L));
    TRY(get_count(s, "vocab_size", 1, 10000000, 30522, &o->V));
    TRY(get_count(s, "max_position_embeddings", 1, 65536, 512, &o->P));
    TRY(get_count(s, "type_vocab_size", 1, 256, 2, &o->types));
    TRY(get_count(s, "embedding_size", 1, 16384, o->C, &embedding));
    TRY(get_eps(s, &o->eps));
    TRY(get_act(s, &o->act));
    if (embedding != o->C)
        return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: embedding_size %zu differs from hidden_size %zu: not BERT",
                       s->path, embedding, o->C);
    if (o->C % o->H != 0)
        return ERR_SET(s->e, STATUS_INVALID, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu",
                       s->path, o->C, o->H);
    return STATUS_OK;
}

static enum status read_pooling(const struct source *s, struct encoder_shape *o)
{
    static const char *const others[] = {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                                         "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
    if (!json_is_object(s->root)) return ERR_SET(s->e, STATUS_INVALID, "%s: not a JSON object", s->path);
    const char *mode = json_string_value(json_object_get(s->root, "pooling_mode"));
    const json_t *mean_key = json_object_get(s->root, "pooling_mode_mean_tokens");
    bool cls = json_is_true(json_object_get(s->root, "pooling_mode_cls_token"));
    bool mean = mean_key == NULL ? !cls : json_is_true(mean_key);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (json_is_true(json_object_get(s->root, others[i])))
            return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: %s is not built in; mean and cls pooling are", s->path,
                           others[i]);
    if (mode != NULL) cls = strcmp(mode, "cls") == 0, mean = strcmp(mode, "mean") == 0;
    if (cls == mean) return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: pooling must be either mean or cls", s->path);
    o->pool_cls = cls;
    return STATUS_OK;
}

/* The pooling file of a folder of modules; `under` is the module's own folder. */
static enum status load_pooling(struct encoder_shape *o, const char *dir, const char *under, struct err *e)
{
    enum status st;
    json_t *root = NULL;
    struct buf name = {0};
    char *path = NULL;
    buf_printf(&name, "%s/config.json", under);
    buf_u8(&name, 0);
    TRY_OUT(st, buf_status(&name, e));
    path = encoder_path(dir, (const char *)name.p);
    if (path == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory", dir);
        goto out;
    }
    TRY_OUT(st, load(&root, path, e));
    st = read_pooling(&(struct source){root, path, e}, o);
out:
    json_decref(root);
    buf_fini(&name);
    mem_free(path);
    return st;
}

/* Each module's kind is the last word of its type; those that do nothing to a vector but scale it are known. */
static enum status read_modules(const struct source *s, struct encoder_shape *o, const char *dir)
{
    size_t i;
    json_t *v;
    if (!json_is_array(s->root)) return ERR_SET(s->e, STATUS_INVALID, "%s: not a JSON list", s->path);
    json_array_foreach((json_t *)s->root, i, v)
    {
        const char *type = json_string_value(json_object_get(v, "type"));
        const char *under = json_string_value(json_object_get(v, "path"));
        if (type == NULL || under == NULL)
            return ERR_SET(s->e, STATUS_INVALID, "%s: module %zu has no type or path", s->path, i);
        const char *kind = strrchr(type, '.') != NULL ? strrchr(type, '.') + 1 : type;
        if (strcmp(kind, "Pooling") == 0) {
            if (under[0] == '/' || strstr(under, "..") != NULL)
                return ERR_SET(s->e, STATUS_INVALID, "%s: path '%.80s' of module %zu leaves the folder", s->path, under,
                               i);
            TRY(load_pooling(o, dir, under, s->e));
        } else if (strcmp(kind, "Normalize") == 0) {
            o->unit = true;
        } else if (strcmp(kind, "Transformer") != 0) {
            return ERR_SET(s->e, STATUS_UNSUPPORTED, "%s: module '%.80s' is not built in", s->path, type);
        }
    }
    return STATUS_OK;
}

static enum status read_length(const struct source *s, struct encoder_shape *o)
{
    size_t n;
    if (!json_is_object(s->root)) return ERR_SET(s->e, STATUS_INVALID, "%s: not a JSON object", s->path);
    if (json_is_null(json_object_get(s->root, "max_seq_length"))) return STATUS_OK;
    TRY(get_count(s, "max_seq_length", 3, 1 << 20, o->P, &n));
    o->max_tokens = n < o->P ? n : o->P;
    return STATUS_OK;
}

enum file { FILE_CONFIG, FILE_MODULES, FILE_LENGTH };

static enum status read_file(enum file which, struct encoder_shape *o, const char *dir, struct err *e)
{
    static const char *const names[] = {"config.json", "modules.json", "sentence_bert_config.json"};
    enum status st;
    json_t *root = NULL;
    char *path = encoder_path(dir, names[which]);
    if (path == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", dir);
    TRY_OUT(st, load(&root, path, e));
    const struct source s = {root, path, e};
    switch (which) {
    case FILE_CONFIG: st = read_shape(&s, o); break;
    case FILE_MODULES: st = read_modules(&s, o, dir); break;
    case FILE_LENGTH: st = read_length(&s, o); break;
    }
out:
    json_decref(root);
    mem_free(path);
    return st;
}

enum status encoder_config_read(struct encoder_shape *out, const char *dir, struct err *e)
{
    struct encoder_shape o = {0};
    enum status st = read_file(FILE_CONFIG, &o, dir, e);
    if (st == STATUS_NOT_FOUND)
        return ERR_SET(
            e, st, "%s: there is no config.json; name a Hugging Face BERT folder (deploy/setup.sh fetches one)", dir);
    if (st != STATUS_OK) return st;
    o.max_tokens = o.P;
    st = read_file(FILE_MODULES, &o, dir, e);
    if (st == STATUS_NOT_FOUND) st = load_pooling(&o, dir, "1_Pooling", e); /* older folders have no modules.json */
    if (st != STATUS_OK && st != STATUS_NOT_FOUND) return st;
    st = read_file(FILE_LENGTH, &o, dir, e);
    if (st != STATUS_OK && st != STATUS_NOT_FOUND) return st;
    *out = o;
    if (e != NULL) *e = (struct err){0}; /* what an absent optional file left in it */
    return STATUS_OK;
}

/* safetensors.c - the reader: map, parse, check everything, then hand out pointers into the map. */
#include "model/safetensors.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t bytes;
} types[SAFETENSORS_TYPES] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
    {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8},
};

struct safetensors {
    char *path;
    unsigned char *map;
    size_t map_bytes;
    json_t *header; /* owns the names */
    struct safetensors_tensor *tensors;
    size_t n;
};

size_t safetensors_type_bytes(enum safetensors_type type)
{
    return types[type].bytes;
}

const char *safetensors_type_name(enum safetensors_type type)
{
    return types[type].name;
}

static enum status map_file(struct safetensors *s, struct err *e)
{
    struct stat info;
    enum status st = STATUS_OK;
    const int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_SET(e, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: cannot be opened: %s", s->path,
                       strerror(errno));
    if (fstat(fd, &info) != 0) {
        st = ERR_SET(e, STATUS_IO, "%s: %s", s->path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        st = ERR_SET(e, STATUS_IO, "%s: not a regular file", s->path);
    } else if (info.st_size < 8) {
        st = ERR_SET(e, STATUS_CORRUPT, "%s: %lld bytes, a safetensors file has at least 8: it is truncated", s->path,
                     (long long)info.st_size);
    } else {
        void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            st = ERR_SET(e, STATUS_IO, "%s: cannot be mapped: %s", s->path, strerror(errno));
        else
            s->map = p, s->map_bytes = (size_t)info.st_size;
    }
    (void)close(fd);
    return st;
}

static uint64_t get_u64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* Parses the header; *first = offset of the tensor bytes. */
static enum status parse_header(struct safetensors *s, size_t *first, struct err *e)
{
    json_error_t why;
    const uint64_t n = get_u64(s->map);
    if (n > SAFETENSORS_HEADER_MAX)
        return ERR_SET(e, STATUS_CORRUPT, "%s: header of %llu bytes, at most %d are allowed: not a safetensors file",
                       s->path, (unsigned long long)n, SAFETENSORS_HEADER_MAX);
    if (n > s->map_bytes - 8)
        return ERR_SET(e, STATUS_CORRUPT, "%s: header of %llu bytes in a file of %zu: it is truncated", s->path,
                       (unsigned long long)n, s->map_bytes);
    if (n == 0 || s->map[8] != '{')
        return ERR_SET(e, STATUS_CORRUPT, "%s: the header does not begin with '{': not a safetensors file", s->path);
    s->header = json_loadb((const char *)s->map + 8, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (s->header == NULL && json_error_code(&why) == json_error_out_of_memory)
        return ERR_SET(e, STATUS_OOM, "%s: no memory for the header", s->path);
    if (s->header == NULL)
        return ERR_SET(e, STATUS_CORRUPT, "%s: header is not good JSON: %s (byte %d)", s->path, why.text, why.position);
    *first = 8 + (size_t)n;
    return STATUS_OK;
}

static enum status check_metadata(const struct safetensors *s, const json_t *v, struct err *e)
{
    const char *key;
    json_t *text;
    if (!json_is_object(v)) return ERR_SET(e, STATUS_CORRUPT, "%s: __metadata__ is not an object", s->path);
    json_object_foreach((json_t *)v, key, text) if (!json_is_string(text)) return ERR_SET(
        e, STATUS_CORRUPT, "%s: __metadata__ '%s' is not a string", s->path, key);
    return STATUS_OK;
}

static bool get_size(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static enum status read_type(const struct safetensors *s, struct safetensors_tensor *t, const json_t *v, struct err *e)
{
    const char *text = json_string_value(v);
    if (text == NULL) return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': dtype is not a string", s->path, t->name);
    for (size_t i = 0; i < SAFETENSORS_TYPES; i++)
        if (strcmp(text, types[i].name) == 0) {
            t->type = (enum safetensors_type)i;
            return STATUS_OK;
        }
    return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': unknown dtype '%.40s'", s->path, t->name, text);
}

static enum status read_shape(const struct safetensors *s, struct safetensors_tensor *t, const json_t *v, struct err *e)
{
    if (!json_is_array(v) || json_array_size(v) > SAFETENSORS_RANK_MAX)
        return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': shape is not a list of at most %d sizes", s->path, t->name,
                       SAFETENSORS_RANK_MAX);
    t->rank = (uint8_t)json_array_size(v);
    t->n = 1;
    for (size_t i = 0; i < t->rank; i++) {
        if (!get_size(json_array_get(v, i), &t->shape[i]))
            return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': size %zu of its shape is not a count", s->path, t->name,
                           i);
        if (__builtin_mul_overflow(t->n, t->shape[i], &t->n))
            return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': its shape has more elements than can be", s->path,
                           t->name);
    }
    return STATUS_OK;
}

static enum status read_range(const struct safetensors *s, struct safetensors_tensor *t, const json_t *v, size_t first,
                              struct err *e)
{
    uint64_t from, to;
    size_t want;
    if (json_array_size(v) != 2 || !get_size(json_array_get(v, 0), &from) || !get_size(json_array_get(v, 1), &to))
        return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': data_offsets is not a pair of counts", s->path, t->name);
    if (from > to || to > s->map_bytes - first)
        return ERR_SET(
            e, STATUS_CORRUPT,
            "%s: tensor '%s': bytes %llu to %llu, but the file holds %zu of tensors: it is truncated or damaged",
            s->path, t->name, (unsigned long long)from, (unsigned long long)to, s->map_bytes - first);
    if (__builtin_mul_overflow(t->n, types[t->type].bytes, &want) || want != to - from)
        return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': %llu bytes for %zu elements of %s", s->path, t->name,
                       (unsigned long long)(to - from), t->n, types[t->type].name);
    t->data = s->map + first + from;
    t->bytes = want;
    return STATUS_OK;
}

static enum status read_tensor(const struct safetensors *s, struct safetensors_tensor *t, const char *name,
                               const json_t *v, size_t first, struct err *e)
{
    const json_t *type = json_object_get(v, "dtype"), *shape = json_object_get(v, "shape");
    const json_t *range = json_object_get(v, "data_offsets");
    t->name = name;
    if (!json_is_object(v) || json_object_size(v) != 3 || type == NULL || shape == NULL || range == NULL)
        return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%.100s': wants dtype, shape and data_offsets, no more", s->path,
                       name);
    TRY(read_type(s, t, type, e));
    TRY(read_shape(s, t, shape, e));
    return read_range(s, t, range, first, e);
}

static int by_place(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum status read_tensors(struct safetensors *s, size_t first, struct err *e)
{
    const char *name;
    json_t *v;
    const size_t n = json_object_size(s->header);
    if (n > SAFETENSORS_TENSORS_MAX)
        return ERR_SET(e, STATUS_CORRUPT, "%s: %zu tensors, at most %d are taken", s->path, n, SAFETENSORS_TENSORS_MAX);
    s->tensors = mem_calloc(n, sizeof *s->tensors);
    if (s->tensors == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for %zu tensors", s->path, n);
    json_object_foreach(s->header, name, v)
    {
        if (strcmp(name, "__metadata__") == 0) {
            TRY(check_metadata(s, v, e));
            continue;
        }
        TRY(read_tensor(s, &s->tensors[s->n], name, v, first, e));
        s->n++;
    }
    qsort(s->tensors, s->n, sizeof *s->tensors, by_place);
    const unsigned char *at = s->map + first;
    for (size_t i = 0; i < s->n; i++) {
        const struct safetensors_tensor *t = &s->tensors[i];
        if (t->data != at)
            return ERR_SET(e, STATUS_CORRUPT, "%s: tensor '%s': its bytes %s the tensor before it", s->path, t->name,
                           t->data < at ? "overlap" : "leave a hole after");
        at += t->bytes;
    }
    if (at != s->map + s->map_bytes)
        return ERR_SET(e, STATUS_CORRUPT, "%s: %zu bytes after the last tensor belong to none", s->path,
                       (size_t)(s->map + s->map_bytes - at));
    return STATUS_OK;
}

enum status safetensors_open(struct safetensors **out, const char *path, struct err *e)
{
    enum status st;
    size_t first = 0;
    *out = NULL;
    struct safetensors *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", path);
    s->path = mem_strdup(path);
    if (s->path == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory", path);
        goto out;
    }
    TRY_OUT(st, map_file(s, e));
    TRY_OUT(st, parse_header(s, &first, e));
    TRY_OUT(st, read_tensors(s, first, e));
    *out = s;
    s = NULL;
out:
    safetensors_close(s);
    return st;
}

void safetensors_close(struct safetensors *s)
{
    if (s == NULL) return;
    if (s->map != NULL) (void)munmap(s->map, s->map_bytes);
    json_decref(s->header);
    mem_free(s->tensors);
    mem_free(s->path);
    mem_free(s);
}

size_t safetensors_count(const struct safetensors *s)
{
    return s->n;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *s, size_t i)
{
    return &s->tensors[i];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->tensors[i].name, name) == 0) return &s->tensors[i];
    return NULL;
}

const float *safetensors_f32(const struct safetensors_tensor *t)
{
    if (t->type != SAFETENSORS_F32 || (uintptr_t)t->data % sizeof(float) != 0) return NULL;
    return (const float *)(const void *)t->data;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* IEEE 754 binary16, subnormal numbers included */
static float from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1fu, rest = h & 0x3ffu;
    if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | rest << 13);
    if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | rest << 13);
    const float small = (float)rest * 0x1p-24f;
    return sign ? -small : small;
}

enum status safetensors_read(const struct safetensors_tensor *t, float *out, struct err *e)
{
    if (t->type == SAFETENSORS_F32) {
        memcpy(out, t->data, t->bytes);
        return STATUS_OK;
    }
    if (t->type != SAFETENSORS_F16 && t->type != SAFETENSORS_BF16)
        return ERR_SET(e, STATUS_UNSUPPORTED, "tensor '%s': dtype %s; F32, F16 and BF16 are read", t->name,
                       types[t->type].name);
    for (size_t i = 0; i < t->n; i++) {
        const uint16_t h = (uint16_t)(t->data[2 * i] | t->data[2 * i + 1] << 8);
        out[i] = t->type == SAFETENSORS_BF16 ? from_bits((uint32_t)h << 16) : from_f16(h);
    }
    return STATUS_OK;
}

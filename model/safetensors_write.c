/* safetensors_write.c - the writer: header by jansson, tensors streamed behind it, whole file or none. */
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Wider types first, then by name: as the reference implementation, so that every tensor is aligned to its type. */
static int by_layout(const void *a, const void *b)
{
    const struct safetensors_tensor *x = *(const struct safetensors_tensor *const *)a;
    const struct safetensors_tensor *y = *(const struct safetensors_tensor *const *)b;
    if (x->type != y->type) return x->type > y->type ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum status check(const char *path, const struct safetensors_tensor *const *t, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        size_t want = safetensors_type_bytes(t[i]->type);
        for (size_t d = 0; d < t[i]->rank; d++)
            if (__builtin_mul_overflow(want, t[i]->shape[d], &want)) want = SIZE_MAX;
        if (want != t[i]->bytes)
            return ERR_SET(e, STATUS_INVALID, "%s: tensor '%s': %zu bytes given, its shape has %zu", path, t[i]->name,
                           t[i]->bytes, want);
    }
    return STATUS_OK;
}

static json_t *describe(const struct safetensors_tensor *t, size_t at)
{
    json_t *shape = json_array();
    for (size_t d = 0; d < t->rank; d++) {
        if (json_array_append_new(shape, json_integer((json_int_t)t->shape[d])) == 0) continue;
        json_decref(shape); /* no memory: a shorter shape would be a wrong one */
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", safetensors_type_name(t->type), "shape", shape, "data_offsets",
                     (json_int_t)at, (json_int_t)(at + t->bytes));
}

static int take_text(const char *text, size_t n, void *to)
{
    buf_put(to, text, n);
    return 0;
}

static enum status header_text(struct buf *b, const char *path, const struct safetensors_tensor *const *t, size_t n,
                               struct err *e)
{
    enum status st = STATUS_OK;
    size_t at = 0;
    json_t *root = json_object();
    bool ok = root != NULL && json_object_set_new(root, "__metadata__", json_pack("{s:s}", "format", "pt")) == 0;
    for (size_t i = 0; ok && i < n; i++) {
        ok = json_object_set_new(root, t[i]->name, describe(t[i], at)) == 0;
        at += t[i]->bytes;
    }
    if (ok && json_object_size(root) != n + 1) {
        st = ERR_SET(e, STATUS_INVALID, "%s: a tensor's name is given twice or is __metadata__", path);
    } else if (!ok || json_dump_callback(root, take_text, b, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0 || b->oom) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory for the header (or a name is not UTF-8)", path);
    } else {
        while (b->n % 8 != 0) buf_u8(b, ' ');
        st = buf_status(b, e);
    }
    json_decref(root);
    return st;
}

static bool put_all(FILE *f, const struct buf *header, const struct safetensors_tensor *const *t, size_t n)
{
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(header->n >> (8 * i));
    if (fwrite(size, 1, 8, f) != 8 || fwrite(header->p, 1, header->n, f) != header->n) return false;
    for (size_t i = 0; i < n; i++)
        if (t[i]->bytes > 0 && fwrite(t[i]->data, 1, t[i]->bytes, f) != t[i]->bytes) return false;
    return fflush(f) == 0 && fsync(fileno(f)) == 0;
}

static enum status write_file(const char *path, const char *temporary, const struct buf *header,
                              const struct safetensors_tensor *const *t, size_t n, struct err *e)
{
    FILE *f = fopen(temporary, "wbe");
    if (f == NULL) return ERR_SET(e, STATUS_IO, "%s: cannot be created: %s", temporary, strerror(errno));
    const bool ok = put_all(f, header, t, n);
    const int why = errno;
    if (fclose(f) != 0 || !ok || rename(temporary, path) != 0) {
        const int code = ok ? errno : why;
        (void)unlink(temporary);
        return ERR_SET(e, STATUS_IO, "%s: cannot be written: %s", path, strerror(code));
    }
    return file_sync_parent(path, e);
}

enum status safetensors_write(const char *path, const struct safetensors_tensor *t, size_t n, struct err *e)
{
    enum status st = STATUS_OK;
    struct buf header = {0};
    const size_t length = strlen(path);
    const struct safetensors_tensor **order = mem_calloc(n, sizeof *order);
    char *temporary = mem_calloc(length + 5, 1);
    if (order == NULL || temporary == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory for %zu tensors", path, n);
        goto out;
    }
    memcpy(temporary, path, length);
    memcpy(temporary + length, ".tmp", 5);
    for (size_t i = 0; i < n; i++) order[i] = &t[i];
    qsort(order, n, sizeof *order, by_layout);
    TRY_OUT(st, check(path, order, n, e));
    TRY_OUT(st, header_text(&header, path, order, n, e));
    st = write_file(path, temporary, &header, order, n, e);
out:
    buf_fini(&header);
    mem_free(temporary);
    mem_free(order);
    return st;
}

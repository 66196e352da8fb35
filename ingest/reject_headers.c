/* reject_headers.c - see reject_headers.h. */
#include "ingest/reject_headers.h"
#include "base/utf8.h"
#include "ingest/reject_letter.h"
#include <jansson.h>
#include <string.h>

static void put_value(struct buf *b, struct str value)
{
    if (value.p == NULL || utf8_valid(value)) {
        reject_put_text(b, value);
        return;
    }
    buf_printf(b, "{\"base64\":\"");
    reject_base64_put(b, value);
    buf_printf(b, "\"}");
}

static size_t count_of(const struct reject_header *headers, size_t n, struct str name)
{
    size_t same = 0;
    for (size_t i = 0; i < n; i++) same += str_eq(headers[i].name, name);
    return same;
}

static void put_values(struct buf *b, const struct reject_header *headers, size_t n, struct str name)
{
    const bool list = count_of(headers, n, name) > 1;
    bool first = true;
    if (list) buf_u8(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(headers[i].name, name)) continue;
        if (!first) buf_u8(b, ',');
        first = false;
        put_value(b, headers[i].value);
    }
    if (list) buf_u8(b, ']');
}

void reject_headers_put(struct buf *b, const struct reject_header *headers, size_t n)
{
    bool first = true;
    if (n > REJECT_HEADERS_MAX) n = REJECT_HEADERS_MAX;
    buf_u8(b, '{');
    for (size_t i = 0; i < n; i++) {
        const struct str name = headers[i].name;
        if (!utf8_valid(name) || memchr(name.p, 0, name.n) != NULL || count_of(headers, i, name) > 0) continue;
        if (!first) buf_u8(b, ',');
        first = false;
        reject_put_text(b, name);
        buf_u8(b, ':');
        put_values(b, headers, n, name);
    }
    buf_u8(b, '}');
}

struct reading {
    struct reject_header *out;
    size_t cap, n;
    struct arena *a;
    struct err *e;
};

static enum status oom(struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "headers of a dead letter: out of memory");
}

static enum status get_value(struct reading *r, const char *name, const json_t *v)
{
    struct reject_header h = {.name = arena_str(r->a, str_from(name))};
    const json_t *packed = json_object_get(v, "base64");
    bool no_room = false;
    if (h.name.p == NULL) return oom(r->e);
    if (json_is_string(v)) {
        h.value = arena_str(r->a, (struct str){json_string_value(v), json_string_length(v)});
        no_room = h.value.p == NULL;
    } else if (json_is_string(packed)) {
        const struct str text = {json_string_value(packed), json_string_length(packed)};
        if (!reject_base64_get(text, r->a, &h.value, &no_room) && !no_room)
            return ERR_SET(r->e, STATUS_INVALID, "header %.60s of a dead letter is not base64", name);
    } else if (!json_is_null(v)) {
        return ERR_SET(r->e, STATUS_INVALID, "header %.60s of a dead letter is no text, {\"base64\":…} or null", name);
    }
    if (no_room) return oom(r->e);
    if (r->n < r->cap) r->out[r->n++] = h;
    return STATUS_OK;
}

static enum status get_values(struct reading *r, const char *name, const json_t *v)
{
    if (!json_is_array(v)) return get_value(r, name, v);
    for (size_t i = 0; i < json_array_size(v); i++) TRY(get_value(r, name, json_array_get(v, i)));
    return STATUS_OK;
}

enum status reject_headers_get(struct reject_header *out, size_t cap, size_t *n, struct str json, struct arena *a,
                               struct err *e)
{
    struct reading r = {.out = out, .cap = cap, .a = a, .e = e};
    enum status st = STATUS_OK;
    json_error_t why;
    *n = 0;
    if (json.p == NULL) return STATUS_OK;
    json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!json_is_object(root)) {
        st = ERR_SET(e, STATUS_INVALID, "headers of a dead letter: %s", root == NULL ? why.text : "no JSON object");
        goto out;
    }
    for (void *i = json_object_iter(root); i != NULL; i = json_object_iter_next(root, i))
        TRY_OUT(st, get_values(&r, json_object_iter_key(i), json_object_iter_value(i)));
    *n = r.n;
out:
    json_decref(root);
    return st;
}

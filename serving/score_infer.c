/* score_infer.c - tensors of strings to ids, scores back into input order. */
#include "serving/score_infer.h"
#include "base/hash.h"
#include "schemas/conf_live.h"
#include "schemas/event_json.h"
#include "serving/score_text.h"
#include <string.h>

struct tensor { /* of strings, flattened */
    struct str *data;
    size_t n, cap;
};

/* Appends the strings of a possibly nested list, depth first (row-major). */
static enum status flatten(const json_t *v, const char *name, int depth, struct tensor *t, struct err *e)
{
    if (json_is_string(v)) {
        const struct str s = {json_string_value(v), json_string_length(v)};
        if (s.n == 0 || s.n > EVENT_ID_MAX)
            return ERR_SET(e, STATUS_INVALID, "input %s: an id has %zu bytes; 1 to %d are allowed", name, s.n,
                           EVENT_ID_MAX);
        if (event_has_control(s)) return ERR_SET(e, STATUS_INVALID, "input %s: an id has a control character", name);
        if (t->n == t->cap) return ERR_SET(e, STATUS_INVALID, "input %s: more data than its shape says", name);
        t->data[t->n++] = s;
        return STATUS_OK;
    }
    if (!json_is_array(v) || depth > 2) return ERR_SET(e, STATUS_INVALID, "input %s: data must be strings", name);
    for (size_t i = 0; i < json_array_size(v); i++) TRY(flatten(json_array_get(v, i), name, depth + 1, t, e));
    return STATUS_OK;
}

/* [n] or [1,n] → n. */
static enum status shape_of(const json_t *in, const char *name, size_t most, size_t *n, struct err *e)
{
    const json_t *shape = json_object_get(in, "shape");
    const size_t rank = json_array_size(shape);
    const json_int_t last = rank > 0 ? json_integer_value(json_array_get(shape, rank - 1)) : 0;
    if (!json_is_array(shape) || rank < 1 || rank > 2 || last < 1 ||
        (rank == 2 && json_integer_value(json_array_get(shape, 0)) != 1))
        return ERR_SET(e, STATUS_INVALID, "input %s: its shape must be [n] or [1,n]", name);
    if ((uint64_t)last > most)
        return ERR_SET(e, STATUS_FULL, "input %s: %lld values; at most %zu are allowed", name, (long long)last, most);
    *n = (size_t)last;
    return STATUS_OK;
}

static enum status get_tensor(struct score_request *q, const json_t *in, const char *name, size_t most,
                              struct tensor *t, struct err *e)
{
    const char *type = json_string_value(json_object_get(in, "datatype"));
    if (type == NULL || strcmp(type, "BYTES") != 0)
        return ERR_SET(e, STATUS_INVALID, "input %s: its datatype must be BYTES", name);
    TRY(shape_of(in, name, most, &t->cap, e));
    t->data = arena_alloc(&q->arena, t->cap, sizeof *t->data);
    if (t->data == NULL) return ERR_SET(e, STATUS_OOM, "the request needs more memory than there is");
    const json_t *data = json_object_get(in, "data");
    if (!json_is_array(data)) return ERR_SET(e, STATUS_INVALID, "input %s: data is missing", name);
    TRY(flatten(data, name, 0, t, e));
    return t->n == t->cap ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "input %s: less data than its shape says", name);
}

static enum status get_inputs(struct score_request *q, const json_t *inputs, const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *in = json_array_get(inputs, i);
        const char *name = json_string_value(json_object_get(in, "name"));
        struct tensor t = {0};
        if (name != NULL && strcmp(name, "user") == 0 && q->user.p == NULL) {
            TRY(get_tensor(q, in, name, 1, &t, e));
            q->user = t.data[0];
        } else if (name != NULL && strcmp(name, "items") == 0 && q->items == NULL) {
            TRY(get_tensor(q, in, name, (size_t)conf_now(&c->serving_max_items), &t, e));
            q->items = arena_alloc(&q->arena, t.n, sizeof *q->items);
            if (q->items == NULL) return ERR_SET(e, STATUS_OOM, "the request needs more memory than there is");
            q->n_items = (uint32_t)t.n;
            for (size_t k = 0; k < t.n; k++) q->items[k].id = t.data[k];
        } else {
            return ERR_SET(e, STATUS_INVALID, "inputs must be one `items` and at most one `user`, not '%.60s'",
                           name ? name : "");
        }
    }
    return q->items ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "input items is missing");
}

enum status score_infer_parse(struct score_request *q, struct str body, const struct conf *c, struct err *e)
{
    json_t *o;
    TRY(score_request_load(q, body, &o, e));
    const json_t *id = json_object_get(o, "id"), *inputs = json_object_get(o, "inputs");
    if (!json_is_array(inputs)) return ERR_SET(e, STATUS_INVALID, "inputs must be a list of tensors");
    if (id != NULL && (!json_is_string(id) || json_string_length(id) > EVENT_ID_MAX))
        return ERR_SET(e, STATUS_INVALID, "id must be a string of at most %d bytes", EVENT_ID_MAX);
    if (json_string_length(id) > 0) q->request = (struct str){json_string_value(id), json_string_length(id)};
    TRY(get_inputs(q, inputs, c, e));
    q->limit = q->n_items;
    return STATUS_OK;
}

void score_infer_write(const struct score_request *q, const struct score_answer *a, const char *model, struct buf *b)
{
    buf_printf(b, "{\"model_name\":");
    event_json_string(b, str_from(model));
    buf_printf(b, ",\"model_version\":\"%llu\",\"id\":", (unsigned long long)a->version->manifest.version);
    event_json_string(b, str_from(a->request));
    buf_printf(b, ",\"outputs\":[{\"name\":\"scores\",\"shape\":[%u],\"datatype\":\"FP32\",\"data\":[", q->n_items);
    const size_t at = b->n, each = SCORE_TEXT_WIDE + 1; /* of one length: places can be filled in any order */
    char *places = buf_room(b, (size_t)q->n_items * each);
    for (uint32_t i = 0; places != NULL && i < a->n; i++) {
        char *place = (char *)b->p + at + (size_t)a->items[i].index * each;
        score_text_float_wide(place, a->items[i].score);
        place[SCORE_TEXT_WIDE] = ',';
    }
    if (places != NULL) b->n--; /* the last comma */
    buf_printf(b, "]}]}");
}

void score_infer_metadata(const char *model, const struct slot_version *v, struct buf *b)
{
    buf_printf(b, "{\"name\":");
    event_json_string(b, str_from(model));
    buf_printf(b, ",\"versions\":[");
    if (v != NULL) buf_printf(b, "\"%llu\"", (unsigned long long)v->manifest.version);
    buf_printf(b, "],\"platform\":\"freshet\",\"inputs\":[{\"name\":\"user\",\"datatype\":\"BYTES\",\"shape\":[1]},"
                  "{\"name\":\"items\",\"datatype\":\"BYTES\",\"shape\":[-1]}],"
                  "\"outputs\":[{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[-1]}]}");
}

/* reject_letter.c - dead letters to and from JSON lines. */
#include "ingest/reject_letter.h"
#include "base/utf8.h"
#include "ingest/parse_json.h"
#include "ingest/parse_text.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void reject_base64_put(struct buf *b, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n; i += 3) {
        const size_t left = s.n - i;
        const uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        char *out = buf_room(b, 4);
        if (out == NULL) return;
        out[0] = digits[v >> 18];
        out[1] = digits[v >> 12 & 63];
        out[2] = left > 1 ? digits[v >> 6 & 63] : '=';
        out[3] = left > 2 ? digits[v & 63] : '=';
    }
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool reject_base64_get(struct str text, struct arena *a, struct str *out, bool *oom)
{
    size_t n = 0, pad = 0;
    while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=') pad++;
    if (text.n % 4 != 0) return false;
    char *p = arena_alloc(a, text.n / 4 * 3 + 1, 1);
    *oom = p == NULL;
    for (size_t i = 0; i < text.n && p != NULL; i += 4) {
        uint32_t v = 0;
        const bool last = i + 4 == text.n;
        for (size_t k = 0; k < 4; k++) {
            const bool padding = last && k + pad >= 4;
            const int digit = padding ? 0 : value_of(text.p[i + k]);
            if (digit < 0) return false;
            v = v << 6 | (uint32_t)digit;
        }
        p[n] = (char)(v >> 16);
        p[n + 1] = (char)(v >> 8 & 255);
        p[n + 2] = (char)(v & 255);
        n += last ? 3 - pad : 3;
    }
    *out = (struct str){p, n};
    return p != NULL;
}

void reject_put_text(struct buf *b, struct str s)
{
    const bool valid = utf8_valid(s);
    if (s.p == NULL) {
        buf_put(b, "null", 4);
        return;
    }
    buf_u8(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == '"' || c == '\\')
            buf_printf(b, c < 0x20 ? "\\u%04x" : "\\%c", c);
        else
            buf_u8(b, valid || c < 0x80 ? c : '?');
    }
    buf_u8(b, '"');
}

static void put_base64(struct buf *b, const char *name, struct str s)
{
    buf_printf(b, ",\"%s\":", name);
    if (s.p == NULL) {
        buf_put(b, "null", 4);
        return;
    }
    buf_u8(b, '"');
    reject_base64_put(b, s);
    buf_u8(b, '"');
}

struct reject_where reject_where(const struct source_record *rec)
{
    return rec->raw.letter ? (struct reject_where){rec->raw.partition, rec->raw.offset}
                           : (struct reject_where){rec->at.partition, rec->at.offset};
}

void reject_letter_put(struct buf *b, const struct reject_letter *l)
{
    buf_printf(b, "{\"topic\":");
    reject_put_text(b, l->raw.topic);
    buf_printf(b, ",\"partition\":%u,\"offset\":%llu,\"time\":", l->at.partition, (unsigned long long)l->at.offset);
    if (l->raw.time_ms > 0)
        buf_printf(b, "%lld", (long long)l->raw.time_ms);
    else
        buf_put(b, "null", 4);
    buf_printf(b, ",\"stage\":");
    reject_put_text(b, l->stage);
    buf_printf(b, ",\"reason\":");
    reject_put_text(b, l->reason);
    buf_printf(b, ",\"message\":");
    reject_put_text(b, l->message);
    buf_printf(b, ",\"headers\":");
    if (l->raw.headers.p != NULL)
        buf_put(b, l->raw.headers.p, l->raw.headers.n);
    else
        buf_put(b, "null", 4);
    put_base64(b, "key_base64", l->raw.key);
    put_base64(b, "value_base64", l->raw.value);
    buf_put(b, "}\n", 2);
}

void reject_letter_write(struct buf *b, const struct source_record *rec, const char *stage)
{
    const struct reject_where at = reject_where(rec);
    const struct reject_letter letter = {.raw = rec->raw,
                                         .stage = str_from(stage),
                                         .reason = str_from(reject_name(rec->reject.code)),
                                         .message = str_from(rec->reject.text),
                                         .at = {.partition = at.partition, .offset = at.offset}};
    reject_letter_put(b, &letter);
}

static bool read_text(struct parse_context *x, const json_t *root, const char *name, struct str *out)
{
    const json_t *v = json_object_get(root, name);
    if (v == NULL || json_is_null(v)) return true;
    if (!json_is_string(v)) return reject_set(x->reject, REJECT_BAD_JSON, "%s of a dead letter is not a text", name);
    *out = arena_str(x->arena, (struct str){json_string_value(v), json_string_length(v)});
    x->oom = x->oom || out->p == NULL;
    return out->p != NULL;
}

static bool read_base64(struct parse_context *x, const json_t *root, const char *name, struct str *out)
{
    struct str text = {NULL, 0};
    if (!read_text(x, root, name, &text)) return false;
    if (text.p == NULL || reject_base64_get(text, x->arena, out, &x->oom)) return true;
    return reject_set(x->reject, REJECT_BAD_JSON, "%s of a dead letter is not base64", name);
}

static int put_piece(const char *p, size_t n, void *b)
{
    buf_put(b, p, n);
    return 0;
}

/* The object as it would be written again. */
static bool read_headers(struct parse_context *x, const json_t *root, struct str *out)
{
    struct buf b = {0};
    const json_t *v = json_object_get(root, "headers");
    if (!json_is_object(v)) return true;
    const int rc = json_dump_callback(v, put_piece, &b, JSON_COMPACT);
    if (rc == 0 && !b.oom) *out = arena_str(x->arena, (struct str){(const char *)b.p, b.n});
    buf_fini(&b);
    x->oom = x->oom || out->p == NULL;
    return out->p != NULL;
}

static uint64_t read_count(const json_t *root, const char *name)
{
    const json_t *v = json_object_get(root, name);
    return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
}

enum status reject_letter_parse(struct reject_letter *out, struct parse_json *json, struct str line, struct arena *a,
                                struct reject *why, struct err *e)
{
    struct parse_context x = {.arena = a, .reject = why};
    json_t *root = NULL;
    *out = (struct reject_letter){0};
    TRY(parse_json_load(json, line, &root, why, e));
    out->at.partition = (uint32_t)read_count(root, "partition");
    out->at.offset = read_count(root, "offset");
    out->raw.time_ms = (int64_t)read_count(root, "time");
    const bool ok = read_text(&x, root, "topic", &out->raw.topic) && read_text(&x, root, "stage", &out->stage) &&
                    read_text(&x, root, "reason", &out->reason) && read_text(&x, root, "message", &out->message) &&
                    read_headers(&x, root, &out->raw.headers) && read_base64(&x, root, "key_base64", &out->raw.key) &&
                    read_base64(&x, root, "value_base64", &out->raw.value);
    if (ok) return STATUS_OK;
    return x.oom ? ERR_SET(e, STATUS_OOM, "dead letters: no memory for a line of %zu bytes", line.n) : STATUS_INVALID;
}

enum status reject_letter_read(struct reject_letter *out, struct parse_json *json, struct str line, struct arena *a,
                               struct reject *why, struct err *e)
{
    TRY(reject_letter_parse(out, json, line, a, why, e));
    if (out->raw.value.p != NULL) return STATUS_OK;
    (void)reject_set(why, REJECT_BAD_JSON, "a dead letter without value_base64: there is no message");
    return STATUS_INVALID;
}

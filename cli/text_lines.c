/* text_lines.c - see text_lines.h */
#include "cli/text_lines.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX ((size_t)8 << 20)

/* The next line without its end; END after the last. */
static enum status read_line(FILE *in, struct buf *line, struct err *e)
{
    int c;
    buf_clear(line);
    while ((c = getc_unlocked(in)) != EOF && c != '\n') {
        if (line->n == LINE_BYTES_MAX)
            return ERR_SET(e, STATUS_INVALID, "longer than %zu bytes; split it", LINE_BYTES_MAX);
        buf_u8(line, (uint8_t)c);
    }
    if (ferror(in)) return ERR_SET(e, STATUS_IO, "cannot read stdin: %s", strerror(errno));
    if (c == EOF && line->n == 0) return STATUS_END;
    if (line->n > 0 && line->p[line->n - 1] == '\r') line->n--;
    return buf_status(line, e);
}

static int take_text(const char *text, size_t n, void *to)
{
    buf_put(to, text, n);
    return 0;
}

/* `object` without its closing brace: the line's own bytes, or written anew without the member it had. */
static enum status put_object(const struct cmd_texts *t, const struct buf *line, json_t *object, struct buf *out,
                              struct err *e)
{
    if (line != NULL && json_object_get(object, t->member) == NULL) {
        const unsigned char *brace = memrchr(line->p, '}', line->n);
        buf_put(out, line->p, (size_t)(brace - line->p));
        return STATUS_OK;
    }
    (void)json_object_del(object, t->member);
    if (json_dump_callback(object, take_text, out, JSON_COMPACT) != 0 || out->oom)
        return ERR_SET(e, STATUS_OOM, "no memory to write the object");
    out->n--; /* the closing brace */
    return STATUS_OK;
}

/* A line as an object: parsed, or made around a plain text (which must be UTF-8). */
static enum status read_object(const struct cmd_texts *t, const struct buf *line, json_t **out, struct err *e)
{
    json_error_t why;
    const char *p = line->n > 0 ? (const char *)line->p : "";
    if (t->plain) {
        json_t *text = json_stringn(p, line->n);
        if (text == NULL) return ERR_SET(e, STATUS_INVALID, "not UTF-8");
        *out = json_object();
        if (*out == NULL || json_object_set_new(*out, "text", text) != 0)
            return ERR_SET(e, STATUS_OOM, "no memory for a text of %zu bytes", line->n);
        return STATUS_OK;
    }
    *out = json_loadb(p, line->n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (*out == NULL) return ERR_SET(e, STATUS_INVALID, "column %d: %s", why.column, why.text);
    if (!json_is_string(json_object_get(*out, "text")))
        return ERR_SET(e, STATUS_INVALID,
                       "not an object with a string \"text\"; give {\"text\":\"...\"} or use --plain");
    return STATUS_OK;
}

static enum status answer_line(const struct cmd_texts *t, const struct buf *line, struct buf *out, struct err *e)
{
    enum status st;
    json_t *object = NULL;
    TRY_OUT(st, read_object(t, line, &object, e));
    const json_t *text = json_object_get(object, "text");
    TRY_OUT(st, put_object(t, t->plain ? NULL : line, object, out, e));
    buf_printf(out, ",\"%s\":", t->member);
    TRY_OUT(st, t->answer(t->user, (struct str){json_string_value(text), json_string_length(text)}, out, e));
    buf_put(out, "}\n", 2);
    st = buf_status(out, e);
out:
    json_decref(object);
    return st;
}

enum status cmd_texts_run(const struct cmd_texts *t, size_t *n_lines, struct err *e)
{
    struct buf line = {0}, out = {0};
    enum status st;
    for (*n_lines = 0;;) {
        st = read_line(stdin, &line, e);
        if (st == STATUS_END) break;
        ++*n_lines;
        buf_clear(&out);
        if (st == STATUS_OK) st = answer_line(t, &line, &out, e);
        if (st != STATUS_OK) {
            (void)err_prefix(e, "line %zu", *n_lines);
            break;
        }
        if (fwrite(out.p, 1, out.n, stdout) != out.n) break;
    }
    if (st == STATUS_END) st = STATUS_OK;
    if ((fflush(stdout) != 0 || ferror(stdout)) && st == STATUS_OK)
        st = ERR_SET(e, STATUS_IO, "cannot write to stdout: %s", strerror(errno));
    buf_fini(&line);
    buf_fini(&out);
    return st;
}

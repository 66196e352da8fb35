/* text_lines.c - see text_lines.h */
#include "cli/text_lines.h"
#include "base/mem.h"
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

/* --- lines taken together ----------------------------------------------------------------------------------------- */

struct held { /* a line on its way */
    json_t *object;
    struct buf out; /* the object without its closing brace */
};
struct batch {
    struct cmd_text texts[CMD_TEXTS_TOGETHER];
    struct held held[CMD_TEXTS_TOGETHER];
    size_t n, bytes;
};

static void let_go(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        json_decref(b->held[i].object);
        b->held[i].object = NULL;
        buf_clear(&b->held[i].out);
        buf_clear(&b->texts[i].answer);
    }
    b->n = b->bytes = 0;
}

static void batch_free(struct batch *b)
{
    if (b == NULL) return;
    let_go(b);
    for (size_t i = 0; i < CMD_TEXTS_TOGETHER; i++) {
        buf_fini(&b->held[i].out);
        buf_fini(&b->texts[i].answer);
    }
    mem_free(b);
}

static enum status take_line(const struct cmd_texts *t, struct batch *b, const struct buf *line, struct err *e)
{
    struct held *h = &b->held[b->n];
    TRY(read_object(t, line, &h->object, e));
    const json_t *text = json_object_get(h->object, "text");
    struct cmd_text *to = &b->texts[b->n++];
    to->text = (struct str){json_string_value(text), json_string_length(text)};
    to->status = STATUS_OK;
    b->bytes += line->n;
    return put_object(t, t->plain ? NULL : line, h->object, &h->out, e);
}

/* The next lines; the one that ends them with an error is counted too.  END: there are no more. */
static enum status fill(const struct cmd_texts *t, struct batch *b, struct buf *line, size_t *n_lines, struct err *e)
{
    while (b->n < CMD_TEXTS_TOGETHER && b->bytes < LINE_BYTES_MAX) {
        enum status st = read_line(stdin, line, e);
        if (st == STATUS_END) return st;
        ++*n_lines;
        if (st == STATUS_OK) st = take_line(t, b, line, e);
        if (st != STATUS_OK) {
            (void)err_prefix(e, "line %zu", *n_lines);
            return st;
        }
    }
    return STATUS_OK;
}

static enum status write_answer(const struct cmd_texts *t, struct cmd_text *q, struct buf *out, struct err *e)
{
    if (q->status != STATUS_OK) {
        if (e != NULL) *e = q->why;
        return q->status;
    }
    buf_printf(out, ",\"%s\":", t->member);
    buf_put(out, q->answer.p, q->answer.n);
    buf_put(out, "}\n", 2);
    TRY(buf_status(&q->answer, e));
    TRY(buf_status(out, e));
    if (fwrite(out->p, 1, out->n, stdout) == out->n) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "cannot write to stdout: %s", strerror(errno));
}

/* first: the number of the batch's first line. */
static enum status answer(const struct cmd_texts *t, struct batch *b, size_t first, struct err *e)
{
    if (b->n > 0) t->answer(t->user, b->texts, b->n);
    for (size_t i = 0; i < b->n; i++) {
        const enum status st = write_answer(t, &b->texts[i], &b->held[i].out, e);
        if (st != STATUS_OK) return err_prefix(e, "line %zu", first + i), st;
    }
    return STATUS_OK;
}

static enum status run(const struct cmd_texts *t, struct batch *b, size_t *n_lines, struct err *e)
{
    struct buf line = {0};
    enum status end = STATUS_OK, st = STATUS_OK;
    *n_lines = 0;
    while (end == STATUS_OK && st == STATUS_OK) {
        struct err answered;
        const size_t first = *n_lines + 1;
        end = fill(t, b, &line, n_lines, e);
        st = answer(t, b, first, &answered);
        if (st != STATUS_OK && e != NULL) *e = answered; /* it concerns an earlier line */
        let_go(b);
    }
    buf_fini(&line);
    return st != STATUS_OK ? st : end == STATUS_END ? STATUS_OK : end;
}

enum status cmd_texts_run(const struct cmd_texts *t, size_t *n_lines, struct err *e)
{
    struct batch *b = mem_calloc(1, sizeof *b);
    if (b == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %d lines", CMD_TEXTS_TOGETHER);
    enum status st = run(t, b, n_lines, e);
    if (fflush(stdout) != 0 && st == STATUS_OK)
        st = ERR_SET(e, STATUS_IO, "cannot write to stdout: %s", strerror(errno));
    batch_free(b);
    return st;
}

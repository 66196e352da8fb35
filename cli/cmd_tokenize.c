/* cmd_tokenize.c - `freshet tokenize`: texts on stdin, one a line → the ids that the model's tokenizer gives them.
 *
 * A JSON object keeps its bytes; "ids" is put before its closing brace (an "ids" that it had is replaced).
 */
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "featurize/token.h"
#include "featurize/token_normalise.h"
#include "schemas/conf.h"
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX ((size_t)8 << 20)

static const char help[] =
    "usage: freshet tokenize [--model DIR] [--plain] [--config FILE] [-o section.key=value]\n"
    "\n"
    "Reads JSON lines {\"text\":\"...\"} and writes the same objects with \"ids\":[...], [CLS] and [SEP] included,\n"
    "cut at the model's length. Ids are those of Hugging Face's BERT tokenizer.\n"
    "\n"
    "  --model DIR    folder with vocab.txt or tokenizer.json (default: model.base, models/all-MiniLM-L6-v2)\n"
    "  --plain        each line is a text, not an object; writes {\"text\":...,\"ids\":[...]}\n"
    "  --config FILE  configuration; -o section.key=value sets one key\n"
    "  --help         this text\n"
    "\n"
    "Exit status: 0 good, 1 failed (a malformed line is named by its number), 2 wrong usage.\n";

struct tokenize {
    struct conf *conf;
    const char *model;
    bool plain, help;
    struct token_vocab *vocab;
    int32_t *ids; /* (length) */
    size_t length, n_lines, n_ids, n_unknown;
    struct buf line, out;
};

/* The next line without its end in t->line; END after the last. */
static enum status read_line(struct tokenize *t, FILE *in, struct err *e)
{
    int c;
    buf_clear(&t->line);
    while ((c = getc_unlocked(in)) != EOF && c != '\n') {
        if (t->line.n == LINE_BYTES_MAX)
            return ERR_SET(e, STATUS_INVALID, "longer than %zu bytes; split it", LINE_BYTES_MAX);
        buf_u8(&t->line, (uint8_t)c);
    }
    if (ferror(in)) return ERR_SET(e, STATUS_IO, "cannot read stdin: %s", strerror(errno));
    if (c == EOF && t->line.n == 0) return STATUS_END;
    if (t->line.n > 0 && t->line.p[t->line.n - 1] == '\r') t->line.n--;
    return buf_status(&t->line, e);
}

static enum status encode(struct tokenize *t, struct str text, size_t *n, struct err *e)
{
    const struct token_opts o = {.special_in_text = true, .add_special = true, .max_length = t->length};
    TRY(token_encode(t->vocab, text, o, t->ids, t->length, n, e));
    t->n_ids += *n;
    t->n_unknown += token_count_unknown(t->vocab, t->ids, *n);
    return STATUS_OK;
}

static void put_ids(struct tokenize *t, size_t n)
{
    buf_put(&t->out, ",\"ids\":[", 8);
    for (size_t i = 0; i < n; i++) buf_printf(&t->out, i ? ",%d" : "%d", t->ids[i]);
    buf_put(&t->out, "]}\n", 3);
}

/* A JSON string of any bytes; what is not UTF-8 becomes U+FFFD. */
static void put_string(struct buf *out, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    unsigned char u[4];
    uint32_t c;
    buf_u8(out, '"');
    while (p < end) {
        p += token_decode_utf8(p, end, &c);
        if (c < 0x20 || c == '"' || c == '\\')
            buf_printf(out, c < 0x20 ? "\\u%04x" : "\\%c", c);
        else
            buf_put(out, u, token_encode_utf8(c, u));
    }
    buf_u8(out, '"');
}

static enum status plain_line(struct tokenize *t, struct err *e)
{
    const struct str text = {t->line.n ? (const char *)t->line.p : "", t->line.n};
    size_t n;
    TRY(encode(t, text, &n, e));
    buf_put(&t->out, "{\"text\":", 8);
    put_string(&t->out, text);
    put_ids(t, n);
    return STATUS_OK;
}

/* The object up to its closing brace: its own bytes, or written anew without the "ids" it had. */
static enum status put_object(struct tokenize *t, json_t *object, struct err *e)
{
    const unsigned char *brace = memrchr(t->line.p, '}', t->line.n);
    if (json_object_get(object, "ids") == NULL) {
        buf_put(&t->out, t->line.p, (size_t)(brace - t->line.p));
        return STATUS_OK;
    }
    (void)json_object_del(object, "ids");
    const size_t n = json_dumpb(object, NULL, 0, JSON_COMPACT);
    char *room = n > 0 ? buf_room(&t->out, n) : NULL;
    if (room == NULL || json_dumpb(object, room, n, JSON_COMPACT) != n)
        return ERR_SET(e, STATUS_OOM, "out of memory writing an object of %zu bytes", t->line.n);
    t->out.n--; /* the closing brace */
    return STATUS_OK;
}

static enum status json_line(struct tokenize *t, struct err *e)
{
    json_error_t je;
    size_t n;
    enum status st;
    json_t *object =
        json_loadb(t->line.n ? (const char *)t->line.p : "", t->line.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je);
    const json_t *text = json_object_get(object, "text");
    if (object == NULL) return ERR_SET(e, STATUS_INVALID, "column %d: %s", je.column, je.text);
    if (!json_is_string(text)) {
        st = ERR_SET(e, STATUS_INVALID, "not an object with a string \"text\"; give {\"text\":\"...\"} or use --plain");
        goto out;
    }
    TRY_OUT(st, encode(t, (struct str){json_string_value(text), json_string_length(text)}, &n, e));
    TRY_OUT(st, put_object(t, object, e));
    put_ids(t, n);
out:
    json_decref(object);
    return st;
}

static enum status each_line(struct tokenize *t, struct err *e)
{
    enum status st;
    for (;;) {
        st = read_line(t, stdin, e);
        if (st == STATUS_END) break;
        t->n_lines++;
        buf_clear(&t->out);
        if (st == STATUS_OK) st = t->plain ? plain_line(t, e) : json_line(t, e);
        if (st == STATUS_OK) st = buf_status(&t->out, e);
        if (st != STATUS_OK) return err_prefix(e, "line %zu", t->n_lines);
        if (fwrite(t->out.p, 1, t->out.n, stdout) != t->out.n) break;
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        return ERR_SET(e, STATUS_IO, "cannot write to stdout: %s", strerror(errno));
    return STATUS_OK;
}

/* STATUS_INVALID: wrong usage. */
static enum status parse_arguments(struct tokenize *t, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"model", required_argument, NULL, 'm'},
                                            {"plain", no_argument, NULL, 'p'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;
    TRY(conf_new(&t->conf, e));
    optind = 0; /* glibc: start anew */
    while ((c = getopt_long(argc, argv, "+o:h", options, NULL)) != -1) {
        if (c == 'm')
            t->model = optarg;
        else if (c == 'p')
            t->plain = true;
        else if (c == 'c')
            TRY(conf_load(t->conf, optarg, e));
        else if (c == 'o')
            continue; /* after file and environment */
        else if (c == 'h')
            t->help = true;
        else
            return ERR_SET(e, STATUS_INVALID, "see `freshet tokenize --help`");
    }
    if (optind < argc)
        return ERR_SET(e, STATUS_INVALID, "unexpected argument %s; texts are read from stdin", argv[optind]);
    TRY(conf_load_environment(t->conf, e));
    optind = 0;
    while ((c = getopt_long(argc, argv, "+o:h", options, NULL)) != -1)
        if (c == 'o') TRY(conf_set_option(t->conf, optarg, e));
    return STATUS_OK;
}

static enum status tokenize(struct tokenize *t, struct err *e)
{
    TRY(token_open(&t->vocab, t->model ? t->model : t->conf->model_base, e));
    t->length = token_max_length(t->vocab);
    t->ids = mem_calloc(t->length, sizeof *t->ids);
    if (t->ids == NULL) return ERR_SET(e, STATUS_OOM, "no memory for %zu ids", t->length);
    TRY(each_line(t, e));
    log_info("tokenize", "lines=%zu ids=%zu unknown_frac=%.4f", t->n_lines, t->n_ids,
             t->n_ids ? (double)t->n_unknown / (double)t->n_ids : 0.0);
    return STATUS_OK;
}

int cmd_tokenize(int argc, char **argv)
{
    struct tokenize t = {0};
    struct err e = {0};
    int rc = 2;
    enum status st = parse_arguments(&t, argc, argv, &e);
    if (st == STATUS_OK && t.help) {
        (void)fputs(help, stdout);
        rc = 0;
    } else if (st == STATUS_OK) {
        st = tokenize(&t, &e);
        rc = st == STATUS_OK ? 0 : 1;
    }
    if (st != STATUS_OK) (void)fprintf(stderr, "freshet tokenize: %s\n", e.text);
    buf_fini(&t.line);
    buf_fini(&t.out);
    mem_free(t.ids);
    token_free(t.vocab);
    conf_free(t.conf);
    return rc;
}

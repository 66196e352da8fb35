/* check_letters.c - dead letters in figures, of a file or of a topic: how many by stage and reason, when, an example of each,
 * and what to do about it.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/check.h"
#include "cli/check_advice.h"
#include "ingest/parse_json.h"
#include "ingest/source_kafka_letters.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS_MAX 256
#define LINE_BYTES_MAX ((size_t)160 << 20) /* base64 of the largest message and key there can be */
#define PREVIEW_BYTES 100
#define TIME_MAX_MS 253402300799999 /* the year 9999 */

struct kind {
    char stage[32], reason[48], message[200], where[200], value[PREVIEW_BYTES + 8];
    uint64_t n, first;         /* ordinal of its first letter */
    int64_t first_ms, last_ms; /* 0: not known */
};
struct letters {
    struct kind kinds[KINDS_MAX];
    size_t n_kinds;
    uint64_t n, n_malformed, first_malformed, n_lines;
    FILE *save; /* of a topic, or NULL */
    const char *save_path;
    struct buf line;
};

static struct str or_else(struct str s, const char *instead)
{
    return s.p != NULL ? s : str_from(instead);
}

static void copy_text(char *out, size_t cap, struct str s)
{
    const struct str text = or_else(s, "?");
    (void)snprintf(out, cap, STR_FMT, STR_ARG(text));
    utf8_clean(out);
}

static struct kind *kind_of(struct letters *l, const struct reject_letter *letter)
{
    char stage[32], reason[48];
    copy_text(stage, sizeof stage, letter->stage);
    copy_text(reason, sizeof reason, letter->reason);
    size_t i = 0;
    while (i < l->n_kinds && (strcmp(l->kinds[i].stage, stage) != 0 || strcmp(l->kinds[i].reason, reason) != 0)) i++;
    if (i == KINDS_MAX) i--; /* more kinds than there are codes: somebody else's file */
    if (i < l->n_kinds) return &l->kinds[i];
    struct kind *k = &l->kinds[l->n_kinds++];
    memcpy(k->stage, stage, sizeof stage);
    memcpy(k->reason, reason, sizeof reason);
    copy_text(k->message, sizeof k->message, letter->message);
    const struct str topic = or_else(letter->raw.topic, "?"), v = or_else(letter->raw.value, "(no value)");
    (void)snprintf(k->where, sizeof k->where, STR_FMT " %u:%llu", STR_ARG(topic), letter->at.partition,
                   (unsigned long long)letter->at.offset);
    utf8_clean(k->where);
    (void)snprintf(k->value, sizeof k->value, "%.*s%s", v.n > PREVIEW_BYTES ? PREVIEW_BYTES : (int)v.n, v.p,
                   v.n > PREVIEW_BYTES ? " ..." : "");
    utf8_clean(k->value);
    k->first = l->n_lines;
    return k;
}

static void count_letter(struct letters *l, const struct reject_letter *letter)
{
    struct kind *k = kind_of(l, letter);
    const int64_t ms = letter->raw.time_ms;
    l->n++;
    k->n++;
    if (ms <= 0 || ms > TIME_MAX_MS) return;
    if (k->first_ms == 0 || ms < k->first_ms) k->first_ms = ms;
    if (ms > k->last_ms) k->last_ms = ms;
}

static void count_malformed(struct letters *l)
{
    if (l->n_malformed++ == 0) l->first_malformed = l->n_lines;
}

static enum status read_file(struct letters *l, const char *path, struct err *e)
{
    struct parse_json *json = NULL;
    struct arena a = {0};
    enum status st = STATUS_OK;
    int c = 0;
    FILE *in = fopen(path, "r");
    if (in == NULL) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    arena_init(&a, 65536);
    TRY_OUT(st, parse_json_new(&json, e));
    while (c != EOF && st == STATUS_OK) {
        struct reject_letter letter;
        struct reject why;
        buf_clear(&l->line);
        while ((c = getc_unlocked(in)) != EOF && c != '\n' && l->line.n <= LINE_BYTES_MAX) buf_u8(&l->line, (uint8_t)c);
        if (c == EOF && l->line.n == 0) break;
        l->n_lines++;
        TRY_OUT(st, buf_status(&l->line, e));
        arena_reset(&a);
        const struct str text = {(const char *)l->line.p, l->line.n};
        st = reject_letter_parse(&letter, json, text, &a, &why, e);
        if (st == STATUS_OK && letter.stage.p != NULL && letter.reason.p != NULL)
            count_letter(l, &letter);
        else if (st == STATUS_OK || st == STATUS_INVALID)
            count_malformed(l);
        if (st == STATUS_INVALID) st = STATUS_OK;
    }
    if (st == STATUS_OK && ferror(in)) st = ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
out:
    (void)fclose(in);
    parse_json_free(json);
    arena_fini(&a);
    return st;
}

static enum status take_letter(void *user, const struct reject_letter *letter, struct err *e)
{
    struct letters *l = user;
    l->n_lines++;
    if (letter->stage.p == NULL || letter->raw.topic.p == NULL) {
        count_malformed(l);
        return STATUS_OK;
    }
    count_letter(l, letter);
    if (l->save == NULL) return STATUS_OK;
    buf_clear(&l->line);
    reject_letter_put(&l->line, letter);
    TRY(buf_status(&l->line, e));
    if (fwrite(l->line.p, 1, l->line.n, l->save) == l->line.n) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "%s: %s", l->save_path, strerror(errno));
}

static enum status read_topic(struct letters *l, const struct conf *c, const char *topic, struct err *e)
{
    if (l->save_path != NULL && (l->save = fopen(l->save_path, "wx")) == NULL)
        return ERR_SET(e, STATUS_IO, "%s: %s", l->save_path, strerror(errno));
    enum status st = source_letters_read(c, topic, SOURCE_LETTERS_ALL, 0, take_letter, l, e);
    if (l->save != NULL && fclose(l->save) != 0 && st == STATUS_OK)
        st = ERR_SET(e, STATUS_IO, "%s: %s", l->save_path, strerror(errno));
    return st;
}

static int most_first(const void *a, const void *b)
{
    const struct kind *x = a, *y = b;
    if (x->n != y->n) return x->n < y->n ? 1 : -1;
    return x->first < y->first ? -1 : 1;
}

static void show_kind(struct cmd_check *c, const struct kind *k)
{
    char from[CLOCK_TEXT], to[CLOCK_TEXT];
    cmd_check_more(c, "%-10s %-20s %llu", k->stage, k->reason, (unsigned long long)k->n);
    if (k->first_ms > 0) {
        clock_format(k->first_ms, from);
        clock_format(k->last_ms, to);
        cmd_check_more(c, "  from %s to %s", from, to);
    }
    cmd_check_more(c, "  line %llu: %s", (unsigned long long)k->first, k->message);
    cmd_check_more(c, "  %s: %s", k->where, k->value);
    cmd_check_more(c, "  -> %s", cmd_check_advice(k->reason));
}

static void show(struct cmd_check *c, struct letters *l, const char *path)
{
    qsort(l->kinds, l->n_kinds, sizeof *l->kinds, most_first);
    cmd_check_row(c, CMD_CHECK_OK, "dead letters", NULL, "%s: %llu", path, (unsigned long long)l->n);
    for (size_t i = 0; i < l->n_kinds; i++) show_kind(c, &l->kinds[i]);
    if (l->n > 0 && strncmp(path, "topic:", 6) != 0)
        cmd_check_more(c, "when it is mended: freshet replay --dead-letters -o state.dir=FOLDER %s", path);
    else if (l->n > 0)
        cmd_check_more(c,
                       l->save_path != NULL ? "saved in %s: freshet replay --dead-letters tries them again"
                                            : "--save %s writes them to a file that replay --dead-letters tries again",
                       l->save_path != NULL ? l->save_path : "FILE");
    if (l->n_malformed > 0)
        cmd_check_row(c, CMD_CHECK_WRONG, "dead letters", "is it what ingest.dead_letters named?",
                      "%llu lines are no dead letters, the first is line %llu", (unsigned long long)l->n_malformed,
                      (unsigned long long)l->first_malformed);
}

void cmd_check_letters(struct cmd_check *c, const char *path, const char *save)
{
    struct err e = {.text = "out of memory"};
    struct letters *l = mem_calloc(1, sizeof *l);
    enum status st = l == NULL ? STATUS_OOM : STATUS_OK;
    if (l != NULL) {
        l->save_path = save;
        st = strncmp(path, "topic:", 6) == 0 ? read_topic(l, c->conf, path + 6, &e) : read_file(l, path, &e);
    }
    if (st == STATUS_OK)
        show(c, l, path);
    else
        cmd_check_row(c, CMD_CHECK_WRONG, "dead letters", NULL, "%s", e.text);
    if (l != NULL) buf_fini(&l->line);
    mem_free(l);
}

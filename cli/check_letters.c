/* check_letters.c - a dead-letter file in figures: how many by stage and reason, with the first message of each. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/check.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS_MAX 256
#define LINE_BYTES_MAX ((size_t)160 << 20) /* base64 of the largest message and key there can be */

struct kind {
    char stage[32], reason[48], message[200];
    uint64_t n, first_line;
};
struct letters {
    struct kind kinds[KINDS_MAX];
    size_t n_kinds;
    uint64_t n, n_malformed, first_malformed, n_lines;
};

static void copy_text(char *out, size_t cap, const json_t *v)
{
    (void)snprintf(out, cap, "%s", json_is_string(v) ? json_string_value(v) : "?");
    for (char *p = out; *p != 0; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f) *p = '?';
}

static bool count_letter(struct letters *l, const json_t *o)
{
    char stage[32], reason[48];
    if (!json_is_string(json_object_get(o, "reason")) || !json_is_string(json_object_get(o, "stage"))) return false;
    copy_text(stage, sizeof stage, json_object_get(o, "stage"));
    copy_text(reason, sizeof reason, json_object_get(o, "reason"));
    l->n++;
    size_t i = 0;
    while (i < l->n_kinds && (strcmp(l->kinds[i].stage, stage) != 0 || strcmp(l->kinds[i].reason, reason) != 0)) i++;
    if (i == KINDS_MAX) i--; /* more kinds than there are codes: somebody else's file */
    if (i == l->n_kinds) {
        memcpy(l->kinds[i].stage, stage, sizeof stage);
        memcpy(l->kinds[i].reason, reason, sizeof reason);
        copy_text(l->kinds[i].message, sizeof l->kinds[i].message, json_object_get(o, "message"));
        l->kinds[i].first_line = l->n_lines;
        l->n_kinds++;
    }
    l->kinds[i].n++;
    return true;
}

static void count_line(struct letters *l, const struct buf *line)
{
    json_error_t why;
    json_t *o = json_loadb((const char *)line->p, line->n, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL || !count_letter(l, o)) {
        if (l->n_malformed++ == 0) l->first_malformed = l->n_lines;
    }
    json_decref(o);
}

static enum status read_file(struct letters *l, const char *path, struct err *e)
{
    struct buf line = {0};
    FILE *in = fopen(path, "r");
    int c = 0;
    if (in == NULL) return ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    while (c != EOF && !line.oom) {
        buf_clear(&line);
        while ((c = getc_unlocked(in)) != EOF && c != '\n' && line.n <= LINE_BYTES_MAX) buf_u8(&line, (uint8_t)c);
        if (c == EOF && line.n == 0) break;
        l->n_lines++;
        count_line(l, &line);
    }
    enum status st = buf_status(&line, e);
    if (st == STATUS_OK && ferror(in)) st = ERR_SET(e, STATUS_IO, "%s: %s", path, strerror(errno));
    (void)fclose(in);
    buf_fini(&line);
    return st;
}

static int most_first(const void *a, const void *b)
{
    const struct kind *x = a, *y = b;
    if (x->n != y->n) return x->n < y->n ? 1 : -1;
    return x->first_line < y->first_line ? -1 : 1;
}

void cmd_check_letters(struct cmd_check *c, const char *path)
{
    struct err e = {0};
    struct letters *l = mem_calloc(1, sizeof *l);
    if (l == NULL || read_file(l, path, &e) != STATUS_OK) {
        cmd_check_row(c, CMD_CHECK_WRONG, "dead letters", NULL, "%s", l == NULL ? "out of memory" : e.text);
        mem_free(l);
        return;
    }
    qsort(l->kinds, l->n_kinds, sizeof *l->kinds, most_first);
    cmd_check_row(c, CMD_CHECK_OK, "dead letters", NULL, "%s: %llu", path, (unsigned long long)l->n);
    for (size_t i = 0; i < l->n_kinds; i++) {
        cmd_check_more(c, "%-10s %-20s %llu", l->kinds[i].stage, l->kinds[i].reason, (unsigned long long)l->kinds[i].n);
        cmd_check_more(c, "  line %llu: %s", (unsigned long long)l->kinds[i].first_line, l->kinds[i].message);
    }
    if (l->n_malformed > 0)
        cmd_check_row(c, CMD_CHECK_WRONG, "dead letters", "is it a file that ingest.dead_letters named?",
                      "%llu lines are no dead letters, the first is line %llu", (unsigned long long)l->n_malformed,
                      (unsigned long long)l->first_malformed);
    mem_free(l);
}

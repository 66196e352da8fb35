/* checkpoint_variants.c - the variants' weight files: weights/<version>.<name>, beside the default line's weights/<version>.
 *
 * The record "lines" of STORE_META names them, with the hash of each and the keys that it follows from, in the same commit as
 * everything else: all lines are of one version or none is.
 */
#include "base/file.h"
#include "base/mem.h"
#include "job/checkpoint_meta.h"
#include "job/checkpoint_private.h"
#include "job/checkpoint_verify.h"
#include "schemas/weights.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t checkpoint_files_of(int weights, uint64_t version, char names[CONF_LINES_MAX][CHECKPOINT_FILE_NAME])
{
    size_t n = 0;
    DIR *d = file_list(weights);
    for (const char *name; n < CONF_LINES_MAX && (name = file_next(d)) != NULL;) {
        char *end;
        if (name[0] < '0' || name[0] > '9' || strtoull(name, &end, 10) != version) continue;
        if ((*end != '\0' && *end != '.') || strlen(name) >= CHECKPOINT_FILE_NAME) continue;
        memcpy(names[n++], name, strlen(name) + 1);
    }
    file_list_end(d);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

/* ---- out ---- */

enum status checkpoint_variants_write(struct checkpoint *cp, struct learner *l, uint64_t version, struct err *e)
{
    const struct variants *v = learner_variants(l);
    for (size_t i = 1; i <= variants_count(v); i++)
        TRY(checkpoint_write_line(cp, variants_line(v, i), conf_line_name(cp->conf, i), version, e));
    return STATUS_OK;
}

enum status checkpoint_variants_put(const struct checkpoint *cp, struct store_txn *t, struct learner *l, struct err *e)
{
    const struct variants *v = learner_variants(l);
    struct buf b = {0}, meaning = {0};
    enum status st;
    if (variants_count(v) == 0) return store_delete(t, STORE_META, STR("lines"), e);
    buf_varint(&b, variants_count(v));
    for (size_t i = 1; i <= variants_count(v); i++) {
        const struct line *line = variants_line(v, i);
        buf_clear(&meaning);
        checkpoint_line_meaning(&meaning, line);
        TRY_OUT(st, buf_status(&meaning, e));
        buf_str(&b, str_from(conf_line_name(cp->conf, i)));
        buf_str(&b, str_from(line->params->sha256));
        buf_str(&b, (struct str){(const char *)meaning.p, meaning.n});
    }
    TRY_OUT(st, buf_status(&b, e));
    st = store_put(t, STORE_META, STR("lines"), (struct str){(const char *)b.p, b.n}, e);
out:
    buf_fini(&b);
    buf_fini(&meaning);
    return st;
}

/* ---- back ---- */

/* One variant of the folder; one that the configuration no longer has is passed over. */
static enum status restore_line(struct checkpoint *cp, struct learner *l, const struct checkpoint_line *was,
                                struct err *e)
{
    const size_t line = conf_line_find(cp->conf, was->name);
    struct buf now = {0};
    if (line == SIZE_MAX) return STATUS_OK;
    if (line == 0)
        return ERR_SET(e, STATUS_CORRUPT, "state folder %s: record of variant " STR_FMT, cp->dir, STR_ARG(was->name));
    struct line *to = variants_line(learner_variants(l), line);
    checkpoint_line_meaning(&now, to);
    enum status st = buf_status(&now, e);
    if (st == STATUS_OK)
        st = checkpoint_same_meaning(was->meaning, (struct str){(const char *)now.p, now.n}, cp->dir, e);
    buf_fini(&now);
    if (st != STATUS_OK)
        return st == STATUS_CONFLICT ? err_prefix(e, "variant %s", conf_line_name(cp->conf, line)) : st;
    return checkpoint_load_line(cp, to, conf_line_name(cp->conf, line), was->sha256, e);
}

enum status checkpoint_variants_restore(struct checkpoint *cp, struct store_txn *t, struct learner *l, struct err *e)
{
    struct str v;
    const enum status st = store_get(t, STORE_META, STR("lines"), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    struct buf_reader r = buf_reader(v.p, v.n);
    const size_t n = buf_get_count(&r, 3);
    for (size_t i = 0; i < n; i++) {
        struct checkpoint_line line;
        struct err why;
        if (checkpoint_line_decode(&line, &r, &why) != STATUS_OK)
            return ERR_SET(e, STATUS_CORRUPT, "state folder %s: %s", cp->dir, why.text);
        TRY(restore_line(cp, l, &line, e));
    }
    return STATUS_OK;
}

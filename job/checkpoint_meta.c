/* checkpoint_meta.c - see checkpoint_meta.h. */
#include "job/checkpoint_meta.h"
#include "base/child.h"
#include "job/verdict.h"
#include "schemas/conf_variant.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PATH_ROOM = 700, TRY_MS = 60000 };

/* The hash of a weight file, as text. */
static bool get_hash(struct buf_reader *r, char out[HASH_SHA256_HEX])
{
    const struct str hash = buf_get_str(r);
    if (r->bad || hash.n != HASH_SHA256_HEX - 1) return false;
    memcpy(out, hash.p, hash.n);
    out[hash.n] = '\0';
    return true;
}

void checkpoint_mark_encode(struct buf *b, const struct checkpoint_mark *m)
{
    buf_u64(b, m->version);
    buf_u64(b, m->dead_letters);
    buf_str(b, str_from(m->sha256));
    buf_u64(b, m->epoch);
}

enum status checkpoint_mark_decode(struct checkpoint_mark *out, struct str record, struct err *e)
{
    struct buf_reader r = buf_reader(record.p, record.n);
    out->version = buf_get_u64(&r);
    out->dead_letters = buf_get_u64(&r);
    const bool whole = get_hash(&r, out->sha256);
    out->epoch = buf_get_u64(&r);
    return whole && !r.bad ? STATUS_OK : ERR_SET(e, STATUS_CORRUPT, "the version record is cut short");
}

enum status checkpoint_line_decode(struct checkpoint_line *out, struct buf_reader *r, struct err *e)
{
    out->name = buf_get_str(r);
    const bool whole = get_hash(r, out->sha256);
    out->meaning = buf_get_str(r);
    return whole && !r->bad && out->name.n < CONF_VARIANT_NAME
               ? STATUS_OK
               : ERR_SET(e, STATUS_CORRUPT, "the record of variants is cut short");
}

static enum status read_version(struct checkpoint_meta *m, struct store_txn *t, const char *dir, struct err *e)
{
    struct str v;
    struct checkpoint_mark mark;
    struct err why;
    const enum status st = store_get(t, STORE_META, STR("version"), &v, e);
    if (st == STATUS_NOT_FOUND) return STATUS_OK;
    TRY(st);
    if (checkpoint_mark_decode(&mark, v, &why) != STATUS_OK)
        return ERR_SET(e, STATUS_CORRUPT, "state folder %s: %s", dir, why.text);
    m->version = mark.version;
    m->epoch = mark.epoch;
    memcpy(m->sha256, mark.sha256, sizeof m->sha256);
    TRY(store_get(t, STORE_META, STR("meaning"), &v, e));
    buf_put(&m->meaning, v.p, v.n);
    return buf_status(&m->meaning, e);
}

static enum status open_it(struct checkpoint_meta *out, const char *dir, struct err *e)
{
    enum status st;
    struct store_txn *t = NULL;
    struct checkpoint_meta m = {0};
    *out = m;
    TRY_OUT(st, store_open(&m.store, dir, true, e));
    TRY_OUT(st, store_begin(&t, m.store, false, e));
    TRY_OUT(st, read_version(&m, t, dir, e));
    *out = m;
    m = (struct checkpoint_meta){0};
out:
    store_abort(t);
    checkpoint_meta_close(&m);
    return st;
}

static enum status pass_over(void *user, struct str key, struct str value, struct err *e)
{
    (void)user, (void)key, (void)value, (void)e;
    return STATUS_OK;
}

/* In a child: every page that is read afterwards. */
static enum status try_it(void *dir, void *answer, struct err *e)
{
    struct checkpoint_meta m;
    struct store_txn *t = NULL;
    (void)answer;
    TRY(open_it(&m, dir, e));
    enum status st = store_begin(&t, m.store, false, e);
    if (st == STATUS_OK) st = store_each(t, STORE_META, pass_over, NULL, e);
    store_abort(t);
    checkpoint_meta_close(&m);
    return st;
}

enum status checkpoint_meta_open(struct checkpoint_meta *out, const char *dir, struct err *e)
{
    char path[PATH_ROOM], none[1];
    struct err why = {0};
    *out = (struct checkpoint_meta){0};
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path)
        return ERR_SET(e, STATUS_INVALID, "state folder: path of %zu bytes is too long", strlen(dir));
    const enum status st = child_run(try_it, path, none, 0, TRY_MS, -1, &why);
    if (st == STATUS_CORRUPT) return ERR_SET(e, st, "state folder %s is damaged: %s", dir, why.text);
    if (st != STATUS_OK) return ERR_SET(e, st, "%s", why.text);
    return open_it(out, dir, e);
}

void checkpoint_meta_close(struct checkpoint_meta *m)
{
    store_close(m->store);
    buf_fini(&m->meaning);
    *m = (struct checkpoint_meta){0};
}

static struct str key_of(char out[40], uint64_t version)
{
    (void)snprintf(out, 40, "version/%" PRIu64, version);
    return str_from(out);
}

enum status checkpoint_meta_version(const struct checkpoint_meta *m, uint64_t version, struct checkpoint_version *out,
                                    struct err *e)
{
    char key[40];
    struct str v;
    struct store_txn *t = NULL;
    *out = (struct checkpoint_version){0};
    TRY(store_begin(&t, m->store, false, e));
    enum status st = store_get(t, STORE_META, key_of(key, version), &v, e);
    if (st == STATUS_OK) {
        struct buf_reader r = buf_reader(v.p, v.n);
        out->examples = buf_get_u64(&r);
        out->slates = buf_get_u64(&r);
        out->steps = buf_get_u64(&r);
        out->watermark_ms = buf_get_i64(&r);
        if (r.bad) st = ERR_SET(e, STATUS_CORRUPT, "record of version %" PRIu64 " is cut short", version);
    }
    store_abort(t);
    return st;
}

enum status checkpoint_meta_verdicts(const struct checkpoint_meta *m, struct verdict_log *out, uint64_t *pinned,
                                     struct err *e)
{
    struct str v;
    struct store_txn *t = NULL;
    *pinned = 0;
    TRY(store_begin(&t, m->store, false, e));
    enum status st = store_get(t, STORE_LEARNER, STR("gate"), &v, e);
    if (st == STATUS_OK) {
        struct buf_reader r = buf_reader(v.p, v.n);
        st = learner_gate_peek(&r, out, pinned, e);
    }
    store_abort(t);
    return st == STATUS_NOT_FOUND ? STATUS_OK : st;
}

enum status checkpoint_meta_put(struct store_txn *t, const struct learner *l, uint64_t version, uint64_t keep,
                                struct err *e)
{
    char key[40];
    struct buf b = {0};
    const struct line_counts *c = learner_learnt(l);
    buf_u64(&b, c->learnt_examples);
    buf_u64(&b, c->learnt_slates);
    buf_u64(&b, c->steps);
    buf_i64(&b, learner_watermark(l));
    enum status st = buf_status(&b, e);
    if (st == STATUS_OK) st = store_put(t, STORE_META, key_of(key, version), (struct str){(const char *)b.p, b.n}, e);
    if (st == STATUS_OK && version > keep) st = store_delete(t, STORE_META, key_of(key, version - keep), e);
    buf_fini(&b);
    return st;
}

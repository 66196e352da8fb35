/* warm_sources.c - catalogues: of a log as the learner would come to know it, of a state folder, of the records in Redis. */
#include "base/hash.h"
#include "base/log.h"
#include "cli/warm.h"
#include "featurize/world.h"
#include "ingest/source.h"
#include "job/checkpoint_meta.h"
#include "serving/fetch_warm.h"

enum { WAIT_MS = 100 };

static enum status stopped(void)
{
    return cmd_warm_stopping ? STATUS_END : STATUS_OK;
}

/* --- logs --------------------------------------------------------------------------------------------------------- */

struct logs {
    struct cmd_warm *w;
    struct world *world; /* items alone: what users did is rendered as it comes by, and forgotten */
    struct source *source;
    struct source_batch *batch;
    uint64_t rejected;
    struct err *e;
};

static enum status event_sentence(struct cmd_warm *w, uint8_t type, const struct record_item *i, struct err *e)
{
    const int32_t *ids;
    uint32_t n;
    TRY(feat_event_sentence(w->feat, type, w->conf->types[type].name, i ? i->attrs : NULL, i ? i->n_attrs : 0, &ids, &n,
                            e));
    return cmd_warm_sentence(w, hash_bytes(ids, n * sizeof *ids), ids, n, e);
}

static enum status take_behaviour(struct logs *l, const struct event *ev, struct err *e)
{
    struct event line = *ev;
    line.user = (struct str){0};
    if (!str_has(ev->item)) return STATUS_OK;
    TRY(world_take(l->world, &line, 1, e));
    return event_sentence(l->w, ev->type, world_find_item(l->world, ev->item), e);
}

static enum status take_batch(struct logs *l, struct err *e)
{
    for (uint32_t i = 0; i < l->batch->n; i++) {
        const struct source_record *r = &l->batch->records[i];
        l->rejected += r->kind == SOURCE_REJECT;
        if (r->kind != SOURCE_EVENT) continue;
        if (r->event.kind == EVENT_ITEM) TRY(world_item(l->world, &r->event, e));
        if (r->event.kind == EVENT_BEHAVIOUR) TRY(take_behaviour(l, &r->event, e));
    }
    return STATUS_OK;
}

static enum status no_user(void *arg, const struct record_user *u)
{
    (void)arg, (void)u;
    return STATUS_OK;
}

static enum status each_item(void *arg, const struct record_item *i)
{
    struct logs *l = arg;
    TRY(stopped());
    return cmd_warm_item(l->w, i, l->e);
}

/* What is said of an item that nothing is known of. */
static enum status unknown_item(struct cmd_warm *w, struct err *e)
{
    const int32_t *ids;
    uint32_t n;
    TRY(feat_item_sentence(w->feat, NULL, 0, &ids, &n, e));
    TRY(cmd_warm_sentence(w, hash_bytes(ids, n * sizeof *ids), ids, n, e));
    for (uint32_t type = 0; type < w->conf->n_types; type++) TRY(event_sentence(w, (uint8_t)type, NULL, e));
    return STATUS_OK;
}

static enum status read_logs(struct logs *l, struct err *e)
{
    enum status st = STATUS_OK;
    TRY(unknown_item(l->w, e));
    while ((st = source_next(l->source, l->batch, WAIT_MS, e)) == STATUS_OK || st == STATUS_AGAIN) {
        TRY(stopped());
        if (st == STATUS_AGAIN) continue; /* a pipe that nobody fills at the moment */
        const uint64_t total = source_bytes_total(l->source);
        l->w->done_frac = total > 0 ? (double)source_bytes_read(l->source) / (double)total : -1.0;
        TRY(take_batch(l, e));
        cmd_warm_show(l->w);
    }
    if (st != STATUS_END) return st;
    l->w->done_frac = -1.0;
    return world_each_changed(l->world, no_user, each_item, l, e);
}

enum status cmd_warm_logs(struct cmd_warm *w, const char *const *paths, size_t n, struct err *e)
{
    enum status st;
    struct logs l = {.w = w, .e = e};
    TRY_OUT(st, source_open_files(&l.source, w->conf, paths, n, NULL, e));
    TRY_OUT(st, source_batch_new(&l.batch, e));
    TRY_OUT(st, world_new(&l.world, w->conf, w->feat, NULL, e));
    st = read_logs(&l, e);
    if (l.rejected > 0)
        log_warn("warm", "rejected=%llu text=\"freshet convert names them\"", (unsigned long long)l.rejected);
    if (world_counts(l.world)->refused_items > 0)
        log_warn("warm", "items_left_out=%llu limit=catalogue.items",
                 (unsigned long long)world_counts(l.world)->refused_items);
out:
    world_free(l.world);
    source_batch_free(l.batch);
    source_close(l.source);
    return st;
}

/* --- a state folder ----------------------------------------------------------------------------------------------- */

static enum status stored_item(void *user, struct str key, struct str value, struct err *e)
{
    struct record_item i = {0};
    struct buf_reader r = buf_reader(value.p, value.n);
    (void)key;
    TRY(stopped());
    TRY(record_item_decode(&i, &r, e));
    const enum status st = cmd_warm_item(user, &i, e);
    record_item_fini(&i);
    return st;
}

static enum status stored_user(void *user, struct str key, struct str value, struct err *e)
{
    struct record_user u = {0};
    struct buf_reader r = buf_reader(value.p, value.n);
    (void)key;
    TRY(stopped());
    TRY(record_user_decode(&u, &r, e));
    const enum status st = cmd_warm_user(user, &u, e);
    record_user_fini(&u);
    return st;
}

enum status cmd_warm_state(struct cmd_warm *w, const struct checkpoint_meta *m, struct err *e)
{
    struct store_txn *t = NULL;
    TRY(unknown_item(w, e));
    TRY(store_begin(&t, m->store, false, e));
    enum status st = store_each(t, STORE_ITEM, stored_item, w, e);
    if (st == STATUS_OK) st = store_each(t, STORE_USER, stored_user, w, e);
    store_abort(t);
    return st;
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

static enum status fetched_item(void *arg, struct record_item *i, struct err *e)
{
    return cmd_warm_item(arg, i, e);
}

static enum status fetched_user(void *arg, struct record_user *u, struct err *e)
{
    return cmd_warm_user(arg, u, e);
}

enum status cmd_warm_redis(struct cmd_warm *w, struct err *e)
{
    enum status st;
    struct fetch_warm *f;
    struct fetch_warm_counts n;
    const struct fetch_warm_sink sink = {fetched_user, fetched_item, w};
    TRY(unknown_item(w, e));
    TRY(fetch_warm_open(&f, w->conf, clock_system(), e));
    do {
        st = stopped();
        if (st == STATUS_OK) st = fetch_warm_records(f, &sink, e);
        cmd_warm_show(w);
    } while (st == STATUS_OK);
    fetch_warm_counts(f, &n);
    fetch_warm_close(f);
    if (cmd_warm_stopping || st != STATUS_END) return st;
    if (n.damaged > 0) log_warn("warm", "damaged_records=%llu", (unsigned long long)n.damaged);
    return STATUS_OK;
}

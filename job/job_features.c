/* job_features.c - users, items and sentence states on their way to Redis: what changed, and after a loss everything.
 *
 * After a loss the store's users go out as they lie, then all that is in memory, which is newer.  Both in slices of the
 * learner's time, so that events go on being learnt meanwhile, however many users there are.
 */
#include "base/log.h"
#include "job/job_private.h"
#include <string.h>

enum { SLICE_US = 10000 };

/* The batch that the callbacks below fill. */
struct features {
    struct job *j;
    struct publish_batch *batch;
    struct buf pack;
    size_t n;         /* records put */
    int64_t until_us; /* of this slice; 0: no end */
    struct err *e;
};

/* FULL when the slice is over; at least one record is put in each. */
static enum status check_slice(struct features *f)
{
    const bool over = f->until_us != 0 && f->n > 0 && job_now_us(f->j) >= f->until_us;
    return over ? ERR_SET(f->e, STATUS_FULL, "features: the slice is over") : STATUS_OK;
}

static enum status put_state(struct features *f, uint64_t hash, const int32_t *ids, uint32_t n)
{
    struct state_cache *states = learner_states(f->j->learner);
    if (states == NULL || n == 0 || !publish_wants_state(f->j->publish, state_key(states, hash))) return STATUS_OK;
    const struct state_request want = {hash, ids, n};
    const struct state_entry *entry;
    TRY(state_acquire(states, &want, 1, &entry, f->e));
    const struct record_state rec = state_record(entry);
    buf_clear(&f->pack);
    record_state_encode(&f->pack, &rec);
    state_release(states, &entry, 1);
    TRY(buf_status(&f->pack, f->e));
    return publish_put_state(f->batch, state_key(states, hash), (struct str){(const char *)f->pack.p, f->pack.n}, f->e);
}

static enum status put_user(void *arg, const struct record_user *u)
{
    struct features *f = arg;
    TRY(check_slice(f));
    f->n++;
    if (record_user_is_empty(u)) return publish_put_user(f->batch, u->id, (struct str){NULL, 0}, f->e);
    for (uint32_t i = 0; i < u->n_events && i < (uint32_t)f->j->conf->model_events; i++)
        TRY(put_state(f, u->events[i].sentence, u->events[i].ids, u->events[i].n_ids));
    buf_clear(&f->pack);
    record_user_encode(&f->pack, u);
    TRY(buf_status(&f->pack, f->e));
    return publish_put_user(f->batch, u->id, (struct str){(const char *)f->pack.p, f->pack.n}, f->e);
}

static enum status put_item(void *arg, const struct record_item *i)
{
    struct features *f = arg;
    TRY(check_slice(f));
    f->n++;
    TRY(put_state(f, i->sentence, i->ids, i->n_ids));
    buf_clear(&f->pack);
    record_item_encode(&f->pack, i);
    TRY(buf_status(&f->pack, f->e));
    return publish_put_item(f->batch, i->id, (struct str){(const char *)f->pack.p, f->pack.n}, f->e);
}

/* --- after a loss ------------------------------------------------------------------------------------------------- */

void job_refill(struct job *j)
{
    struct job_refill *r = &j->refill;
    if (r->stored) { /* what it has passed may be among what is missing */
        r->again = true;
        return;
    }
    *r = (struct job_refill){.stored = true, .began_us = job_now_us(j)};
}

bool job_refilling(const struct job *j)
{
    return j->refill.stored || j->refill.memory;
}

/* A stored record goes out as it lies.  FULL: here the next slice begins. */
static enum status put_stored(void *arg, struct str id, struct str packed, struct err *e)
{
    struct features *f = arg;
    struct job_refill *r = &f->j->refill;
    enum status st = check_slice(f);
    if (st == STATUS_OK) st = publish_put_user(f->batch, id, packed, e);
    if (st == STATUS_FULL && id.n <= sizeof r->from) {
        memcpy(r->from, id.p, id.n);
        r->n_from = id.n;
    }
    f->n += st == STATUS_OK;
    return st;
}

static enum status walk(struct job *j, struct features *f, struct store *store, struct err *e)
{
    struct store_txn *t = NULL;
    TRY(store_begin(&t, store, false, e));
    const enum status st =
        store_each_from(t, STORE_USER, (struct str){j->refill.from, j->refill.n_from}, put_stored, f, e);
    store_abort(t);
    j->refill.users += f->n;
    return st;
}

/* The store's users, on from where the last slice ended.  Nothing while Redis is away or takes no more. */
static enum status refill_stored(struct job *j, int64_t until_us, struct err *e)
{
    struct features f = {.j = j, .until_us = until_us, .e = e};
    struct job_refill *r = &j->refill;
    struct store *store = checkpoint_store(j->checkpoint);
    struct publish_state s;
    publish_state(j->publish, &s);
    if (!s.connected || s.lease != PUBLISH_LEASE_HELD) return STATUS_OK;
    enum status st = publish_features_begin(j->publish, &f.batch, e);
    if (st == STATUS_AGAIN) return STATUS_OK;
    if (st == STATUS_OK && store != NULL) st = walk(j, &f, store, e);
    publish_features_end(j->publish, f.batch);
    if (st == STATUS_FULL) return STATUS_OK;
    TRY(st);
    r->n_from = 0;
    r->stored = r->again;
    r->again = false;
    if (r->stored) return STATUS_OK;
    world_mark_all_changed(learner_world(j->learner));
    r->memory = true;
    return STATUS_OK;
}

static void note_slice(struct job *j, int64_t from_us)
{
    const int64_t took_us = job_now_us(j) - from_us;
    j->refill.slices++;
    if (took_us > j->refill.longest_us) j->refill.longest_us = took_us;
}

static enum status hand_out(struct job *j, int64_t until_us, struct err *e)
{
    struct features f = {.j = j, .until_us = until_us, .e = e};
    enum status st = publish_features_begin(j->publish, &f.batch, e);
    if (st == STATUS_AGAIN) return STATUS_OK;
    TRY(st);
    st = world_each_changed(learner_world(j->learner), put_user, put_item, &f, e);
    publish_features_end(j->publish, f.batch);
    buf_fini(&f.pack);
    if (st == STATUS_OK) j->refill.memory = false;
    return st == STATUS_FULL ? STATUS_OK : st;
}

enum status job_publish_features(struct job *j, struct err *e)
{
    const int64_t from_us = job_now_us(j);
    if (j->publish == NULL) return STATUS_OK;
    if (publish_lost(j->publish)) {
        j->refill.stored = false;
        job_refill(j);
    }
    if (!job_refilling(j)) return hand_out(j, 0, e); /* all that changed: before a version nothing may be missing */
    if (j->refill.stored) TRY(refill_stored(j, from_us + SLICE_US, e));
    TRY(hand_out(j, from_us + 2 * SLICE_US, e));
    note_slice(j, from_us);
    if (job_refilling(j)) return STATUS_OK;
    log_info("refill", "stored_users=%llu slices=%llu ms=%lld longest_slice_ms=%lld",
             (unsigned long long)j->refill.users, (unsigned long long)j->refill.slices,
             (long long)((job_now_us(j) - j->refill.began_us) / 1000), (long long)(j->refill.longest_us / 1000));
    return STATUS_OK;
}

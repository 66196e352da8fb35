/* slot.c - a pointer, a count in the version, and a list of the retired, under one mutex. */
#include "serving/slot.h"
#include "base/mem.h"
#include <assert.h>
#include <pthread.h>

struct slot {
    pthread_mutex_t lock;
    struct slot_version *current, *retired;
};

enum status slot_version_new(struct slot_version **out, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    return *out ? STATUS_OK : ERR_SET(e, STATUS_OOM, "slot: no memory for a version");
}

void slot_version_free(struct slot_version *v)
{
    if (v == NULL) return;
    param_set_release(v->params);
    publish_manifest_fini(&v->manifest);
    mem_free(v);
}

enum status slot_new(struct slot **out, struct err *e)
{
    *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "slot: no memory");
    if (pthread_mutex_init(&(*out)->lock, NULL) == 0) return STATUS_OK;
    mem_free(*out);
    *out = NULL;
    return ERR_SET(e, STATUS_OOM, "slot: no lock can be made");
}

void slot_free(struct slot *s)
{
    if (s == NULL) return;
    const size_t left = slot_reap(s);
    assert(left == 0);
    (void)left;
    assert(s->current == NULL || s->current->readers == 0);
    slot_version_free(s->current);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

void slot_publish(struct slot *s, struct slot_version *take_v)
{
    (void)pthread_mutex_lock(&s->lock);
    struct slot_version *old = s->current;
    s->current = take_v;
    if (old != NULL) {
        old->next = s->retired;
        s->retired = old;
    }
    (void)pthread_mutex_unlock(&s->lock);
    (void)slot_reap(s);
}

struct slot_version *slot_acquire(struct slot *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct slot_version *v = s->current;
    if (v != NULL) v->readers++;
    (void)pthread_mutex_unlock(&s->lock);
    return v;
}

void slot_share(struct slot *s, struct slot_version *v)
{
    if (v == NULL) return;
    (void)pthread_mutex_lock(&s->lock);
    assert(v->readers > 0);
    v->readers++;
    (void)pthread_mutex_unlock(&s->lock);
}

void slot_release(struct slot *s, struct slot_version *v)
{
    if (v == NULL) return;
    (void)pthread_mutex_lock(&s->lock);
    assert(v->readers > 0);
    v->readers--;
    (void)pthread_mutex_unlock(&s->lock);
}

size_t slot_reap(struct slot *s)
{
    struct slot_version *gone = NULL;
    size_t left = 0;
    (void)pthread_mutex_lock(&s->lock);
    for (struct slot_version **at = &s->retired; *at != NULL;) {
        struct slot_version *v = *at;
        if (v->readers > 0) {
            left++;
            at = &v->next;
            continue;
        }
        *at = v->next;
        v->next = gone;
        gone = v;
    }
    (void)pthread_mutex_unlock(&s->lock);
    while (gone != NULL) {
        struct slot_version *v = gone;
        gone = v->next;
        slot_version_free(v);
    }
    return left;
}

/* tape.c - see tape.h.  Backend memory is a chain of blocks bumped in multiples of 16 floats. */
#include "model/tape.h"
#include "base/mem.h"
#include <string.h>

#define TAPE_ALIGN 16
#define TAPE_BLOCK ((size_t)1 << 18) /* floats: 1 MiB */
#define HOST_BLOCK ((size_t)1 << 20) /* bytes */

void tape_init(struct tape *t, struct kern *kern, bool record)
{
    *t = (struct tape){.kern = kern, .record = record};
    arena_init(&t->host, HOST_BLOCK);
}

static void drop_blocks(struct tape *t)
{
    while (t->first != NULL) {
        struct tape_block *next = t->first->next;
        t->kern->ops->release(t->kern, t->first->data);
        mem_free(t->first);
        t->first = next;
    }
    t->current = NULL;
}

void tape_fini(struct tape *t)
{
    if (t->kern != NULL) drop_blocks(t);
    arena_fini(&t->host);
    mem_free(t->asked);
    *t = (struct tape){0};
}

static struct tape_block *block_new(struct tape *t, size_t floats)
{
    struct tape_block *b = mem_calloc(1, sizeof *b);
    if (b == NULL) return NULL;
    b->data = floats <= SIZE_MAX / sizeof(float) ? t->kern->ops->alloc(t->kern, floats * sizeof(float)) : NULL;
    if (b->data == NULL) {
        mem_free(b);
        return NULL;
    }
    b->cap = floats;
    return b;
}

/* Several blocks become one of their total size, so that the next round of the same work runs in one piece. */
static void merge_blocks(struct tape *t)
{
    size_t total = 0;
    for (const struct tape_block *b = t->first; b != NULL; b = b->next) total += b->cap;
    drop_blocks(t);
    t->first = block_new(t, total); /* NULL: the next allocation tries again */
}

void tape_reset(struct tape *t)
{
    if (t->first != NULL && t->first->next != NULL) merge_blocks(t);
    t->current = NULL;
    t->last = NULL;
    t->n_asked = 0;
    t->oom = false;
    arena_reset(&t->host);
}

enum status tape_status(const struct tape *t, struct err *e)
{
    if (t->oom) return ERR_SET(e, STATUS_OOM, "tape: out of memory; fewer candidates or tokens per slate need less");
    return STATUS_OK;
}

struct tape_mark tape_save(const struct tape *t)
{
    return (struct tape_mark){arena_save(&t->host), t->current, t->current != NULL ? t->current->used : 0};
}

void tape_rewind(struct tape *t, struct tape_mark m)
{
    arena_rewind(&t->host, m.host);
    t->current = m.block;
    if (m.block != NULL) m.block->used = m.used;
}

/* Makes a block with room for n floats the current one: a kept one if it is large enough, else a new one at the end. */
static bool advance(struct tape *t, size_t n)
{
    struct tape_block **at = t->current != NULL ? &t->current->next : &t->first;
    while (*at != NULL && (*at)->cap < n) at = &(*at)->next;
    if (*at == NULL) *at = block_new(t, n > TAPE_BLOCK ? n : TAPE_BLOCK);
    if (*at == NULL) return false;
    t->current = *at;
    t->current->used = 0;
    return true;
}

float *tape_floats(struct tape *t, size_t n)
{
    const size_t need = (n + TAPE_ALIGN) / TAPE_ALIGN * TAPE_ALIGN; /* never 0, so that pointers differ */
    if (t->oom || n > SIZE_MAX - TAPE_ALIGN) {
        t->oom = true;
        return NULL;
    }
    if ((t->current == NULL || t->current->cap - t->current->used < need) && !advance(t, need)) {
        t->oom = true;
        return NULL;
    }
    float *x = t->current->data + t->current->used;
    t->current->used += need;
    return x;
}

float *tape_zeros(struct tape *t, size_t n)
{
    float *x = tape_floats(t, n);
    if (x != NULL) t->kern->ops->zero(t->kern, x, n);
    return x;
}

void *tape_upload(struct tape *t, const void *host, size_t bytes)
{
    void *p = tape_floats(t, bytes / sizeof(float) + 1);
    if (p != NULL && bytes > 0) t->kern->ops->upload(t->kern, p, host, bytes);
    return p;
}

void *tape_host(struct tape *t, size_t n, size_t size)
{
    void *p = t->oom ? NULL : arena_alloc(&t->host, n, size);
    if (p == NULL) t->oom = true;
    return p;
}

struct tape_value tape_new(struct tape *t, size_t n, size_t c, bool grad)
{
    size_t total;
    struct tape_value v = {.n = n, .c = c};
    if (__builtin_mul_overflow(n, c, &total))
        t->oom = true;
    else
        v.x = tape_floats(t, total);
    if (v.x != NULL && grad && t->record) v.dx = tape_zeros(t, total);
    if (t->oom) v.x = v.dx = NULL;
    return v;
}

struct tape_value tape_constant(struct tape *t, const float *host, size_t n, size_t c)
{
    struct tape_value v = tape_new(t, n, c, false);
    if (v.x != NULL && n * c > 0) t->kern->ops->upload(t->kern, v.x, host, n * c * sizeof *host);
    return v;
}

struct tape_value tape_rows(struct tape_value v, size_t first, size_t n)
{
    if (v.x == NULL) return v;
    return (struct tape_value){v.x + first * v.c, v.dx != NULL ? v.dx + first * v.c : NULL, n, v.c};
}

/* --- numbers for the host ------------------------------------------------------------------------------------------- */

void tape_ask(struct tape *t, const float *x, size_t n, tape_told_fn *told, void *user)
{
    if (t->oom || n == 0) return;
    if (t->kern->ops->host_visible) {
        told(user, x, n);
        return;
    }
    if (MEM_GROW(t->asked, &t->asked_cap, t->n_asked + 1) != 0)
        t->oom = true;
    else
        t->asked[t->n_asked++] = (struct tape_asked){x, n, told, user};
}

bool tape_is_asked(const struct tape *t)
{
    return t->n_asked > 0;
}

void tape_keep(void *user, const float *x, size_t n)
{
    memcpy(user, x, n * sizeof *x);
}

/* Put together there, since each download is a wait. */
enum status tape_settle(struct tape *t, struct err *e)
{
    const size_t n = t->n_asked;
    size_t total = 0, at = 0;
    if (n == 0) return tape_status(t, e);
    for (size_t i = 0; i < n; i++) total += t->asked[i].n;
    float *here = tape_host(t, total, sizeof *here), *together = n > 1 ? tape_floats(t, total) : NULL;
    t->n_asked = 0;
    TRY(tape_status(t, e));
    for (size_t i = 0; i < n && n > 1; at += t->asked[i++].n)
        t->kern->ops->copy(t->kern, together + at, t->asked[i].x, t->asked[i].n);
    t->kern->ops->download(t->kern, here, n > 1 ? together : t->asked[0].x, total * sizeof *here);
    at = 0;
    for (size_t i = 0; i < n; at += t->asked[i++].n) t->asked[i].told(t->asked[i].user, here + at, t->asked[i].n);
    return tape_status(t, e);
}

void tape_push(struct tape *t, tape_backward_fn *backward, void *saved)
{
    if (!t->record || t->oom) return;
    struct tape_step *s = tape_host(t, 1, sizeof *s);
    if (s == NULL) return;
    *s = (struct tape_step){backward, saved, t->last};
    t->last = s;
}

void tape_forget(struct tape *t, const struct tape_step *stop)
{
    while (t->last != stop && t->last != NULL) t->last = t->last->below;
}

void tape_backward(struct tape *t)
{
    tape_backward_to(t, NULL);
}

void tape_backward_to(struct tape *t, const struct tape_step *stop)
{
    while (t->last != stop && t->last != NULL && !t->oom) {
        struct tape_step *s = t->last;
        t->last = s->below;
        const struct tape_mark m = tape_save(t);
        s->backward(t, s->saved);
        tape_rewind(t, m); /* what the step took for itself */
    }
}

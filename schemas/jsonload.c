/* jsonload.c - see jsonload.h. */
#include "schemas/jsonload.h"
#include "base/jsonwide.h"
#include <pthread.h>

/* Set while this thread loads a text: then jansson's memory is the arena's. */
static _Thread_local struct arena *arena_now;
static _Thread_local bool refused;
static json_malloc_t take_before; /* what jansson had, and has at all other times */
static json_free_t give_before;

static void *json_take(size_t n)
{
    if (arena_now == NULL) return take_before(n);
    void *p = arena_small(arena_now, n, 1);
    refused = refused || p == NULL;
    return p;
}

static void json_give(void *p)
{
    if (arena_now == NULL) give_before(p);
}

static void set_functions(void)
{
    json_get_alloc_funcs(&take_before, &give_before);
    json_set_alloc_funcs(json_take, json_give);
    json_object_seed(0); /* random; before other threads can race for it */
}

void jsonload_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_functions);
}

static json_t *load(struct arena *a, struct str text, size_t flags, json_error_t *why)
{
    arena_now = a;
    json_t *root = json_loadb(text.p ? text.p : "", text.n, flags, why);
    arena_now = NULL;
    return root;
}

/* Once more, after a number that jansson can't hold. */
static json_t *load_wide(struct arena *a, struct str text, size_t flags, json_error_t *why)
{
    struct buf b = {0};
    json_t *root = NULL;
    if (jsonwide_put(&b, text)) root = load(a, (struct str){(const char *)b.p, text.n}, flags, why);
    refused = refused || b.oom;
    buf_fini(&b);
    return root;
}

enum status jsonload(struct arena *a, struct str text, size_t flags, json_t **root, json_error_t *why)
{
    json_malloc_t take_now;
    json_free_t give_now;
    jsonload_init();
    json_get_alloc_funcs(&take_now, &give_now);
    if (take_now != json_take || give_now != json_give) set_functions(); /* another part of the process set its own */
    refused = false;
    *root = load(a, text, flags, why);
    if (*root == NULL && !refused && json_error_code(why) == json_error_numeric_overflow)
        *root = load_wide(a, text, flags, why);
    if (refused) *root = NULL;
    return refused ? STATUS_OOM : STATUS_OK;
}

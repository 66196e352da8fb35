/* redis_none.c - stands in for redis.c in a build without hiredis: nothing can be opened, so nothing else is reached. */
#include "serving/redis.h"
#include <assert.h>

enum status redis_open(struct redis **out, const struct conf *c, struct clock *clock, struct err *e)
{
    (void)clock;
    *out = NULL;
    if (c->redis_url[0] == '\0')
        return ERR_SET(e, STATUS_NOT_FOUND, "redis.url is empty; give unix:/path or redis://host:port/db");
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "redis.url: %s: this build has no Redis; configure with -DFRESHET_WITH_REDIS=ON", c->redis_url);
}

static enum status never(struct err *e)
{
    return ERR_SET(e, STATUS_UNSUPPORTED, "this build has no Redis; configure with -DFRESHET_WITH_REDIS=ON");
}

void redis_close(struct redis *r)
{
    (void)r;
    assert(r == NULL);
}

enum status redis_connect(struct redis *r, struct err *e)
{
    (void)r;
    return never(e);
}

bool redis_connected(const struct redis *r)
{
    (void)r;
    return false;
}

uint64_t redis_connections(const struct redis *r)
{
    (void)r;
    return 0;
}

int64_t redis_retry_ms(const struct redis *r)
{
    (void)r;
    return 0;
}

const char *redis_name(const struct redis *r)
{
    (void)r;
    return "";
}

void redis_drop(struct redis *r)
{
    (void)r;
}

enum status redis_append(struct redis *r, struct err *e, const struct str *args, size_t n)
{
    (void)r, (void)args, (void)n;
    return never(e);
}

enum status redis_get(struct redis *r, struct err *e, const struct redis_reply **out)
{
    (void)r;
    *out = NULL;
    return never(e);
}

void redis_clear(struct redis *r)
{
    (void)r;
}

enum status redis_call(struct redis *r, struct err *e, const struct redis_reply **out, const struct str *args, size_t n)
{
    (void)r, (void)args, (void)n;
    *out = NULL;
    return never(e);
}

bool redis_is(const struct redis_reply *p, const char *word)
{
    (void)p, (void)word;
    return false;
}

/* key.c - Redis key names by snprintf; ids are copied, since they may hold any byte. */
#include "schemas/key.h"
#include "schemas/event.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "fr:", the model between open and close, what names its variant, the rest. */
static size_t named(char out[KEY_MAX], const char *open, const char *model, const char *close, const char *rest)
{
    const char *slash = strchr(model, '/');
    const int bytes = slash != NULL ? (int)(slash - model) : (int)strlen(model);
    const int n =
        snprintf(out, KEY_MAX, "fr:%s%.*s%s:%s%s%s%s", open, bytes, model, close, slash != NULL ? "variant:" : "",
                 slash != NULL ? slash + 1 : "", slash != NULL ? ":" : "", rest);
    assert(n > 0 && n < KEY_MAX);
    return (size_t)n;
}

static size_t fenced(char out[KEY_MAX], const char *model, const char *rest)
{
    return named(out, "{", model, "}", rest);
}

static size_t plain(char out[KEY_MAX], const char *model, const char *rest)
{
    return named(out, "", model, "", rest);
}

/* An id longer than any valid one is cut, so that a caller's slip never writes past out. */
static size_t with_id(char out[KEY_MAX], const char *model, const char *table, struct str id)
{
    assert(id.n <= EVENT_ID_MAX);
    const size_t at = plain(out, model, table), n = id.n <= EVENT_ID_MAX ? id.n : EVENT_ID_MAX;
    if (n > 0) memcpy(out + at, id.p, n);
    out[at + n] = 0;
    return at + n;
}

size_t key_current(char out[KEY_MAX], const char *model)
{
    return fenced(out, model, "current");
}

bool key_current_read(struct str text, uint64_t *version)
{
    char digits[KEY_CURRENT_MAX + 1], *end;
    if (text.n == 0 || text.n > KEY_CURRENT_MAX || text.p[0] < '0' || text.p[0] > '9') return false;
    memcpy(digits, text.p, text.n);
    digits[text.n] = '\0';
    *version = strtoull(digits, &end, 10);
    return end == digits + text.n;
}

size_t key_manifest(char out[KEY_MAX], const char *model, uint64_t version)
{
    char rest[64];
    (void)snprintf(rest, sizeof rest, "manifest:%llu", (unsigned long long)version);
    return fenced(out, model, rest);
}

size_t key_chunk(char out[KEY_MAX], const char *model, uint64_t version, uint32_t i)
{
    char rest[64];
    (void)snprintf(rest, sizeof rest, "chunk:%llu:%u", (unsigned long long)version, i);
    return fenced(out, model, rest);
}

size_t key_log(char out[KEY_MAX], const char *model)
{
    return fenced(out, model, "log");
}

size_t key_commands(char out[KEY_MAX], const char *model)
{
    return fenced(out, model, "commands");
}

size_t key_answer(char out[KEY_MAX], const char *model, const char *id)
{
    char rest[64];
    (void)snprintf(rest, sizeof rest, "answer:%.40s", id);
    return fenced(out, model, rest);
}

size_t key_lease(char out[KEY_MAX], const char *model)
{
    return fenced(out, model, "lease");
}

size_t key_champion(char out[KEY_MAX], const char *model)
{
    return fenced(out, model, "champion");
}

size_t key_user(char out[KEY_MAX], const char *model, struct str id)
{
    return with_id(out, model, "user:", id);
}

size_t key_item(char out[KEY_MAX], const char *model, struct str id)
{
    return with_id(out, model, "item:", id);
}

size_t key_state(char out[KEY_MAX], const char *model, uint64_t hash)
{
    char rest[64];
    (void)snprintf(rest, sizeof rest, "state:%016llx", (unsigned long long)hash);
    return plain(out, model, rest);
}

size_t key_served(char out[KEY_MAX], const char *model)
{
    return plain(out, model, "served");
}

size_t key_metrics(char out[KEY_MAX], const char *model)
{
    return plain(out, model, "metrics");
}

size_t key_metrics_ts(char out[KEY_MAX], const char *model)
{
    return plain(out, model, "metrics:ts");
}

size_t key_info(char out[KEY_MAX], const char *model)
{
    return plain(out, model, "info");
}

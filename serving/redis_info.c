/* redis_info.c - INFO server and INFO memory, taken apart by line. */
#include "serving/redis_info.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of "name:value" in the text of INFO; "" when it is not there. */
static void field(struct str text, const char *name, char *out, size_t cap)
{
    const size_t n = strlen(name);
    out[0] = '\0';
    for (const char *p = text.p, *end = text.p + text.n; p < end;) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        if (eol == NULL) eol = end;
        size_t line = (size_t)(eol - p);
        if (line > 0 && p[line - 1] == '\r') line--;
        if (line > n && memcmp(p, name, n) == 0 && p[n] == ':') {
            (void)snprintf(out, cap, "%.*s", (int)(line - n - 1), p + n + 1);
            return;
        }
        p = eol + 1;
    }
}

static uint64_t number(struct str text, const char *name)
{
    char digits[24];
    field(text, name, digits, sizeof digits);
    return strtoull(digits, NULL, 10);
}

enum status redis_info(struct redis *r, struct redis_info *out, struct err *e)
{
    const struct redis_reply *reply;
    memset(out, 0, sizeof *out);
    TRY(redis_call(r, e, &reply, REDIS_ARGS(STR("INFO"), STR("server"))));
    if (reply->kind == REDIS_TEXT) field(reply->text, "run_id", out->run_id, sizeof out->run_id);
    TRY(redis_call(r, e, &reply, REDIS_ARGS(STR("INFO"), STR("memory"))));
    if (reply->kind != REDIS_TEXT) return STATUS_OK;
    out->used_bytes = number(reply->text, "used_memory");
    out->max_bytes = number(reply->text, "maxmemory");
    field(reply->text, "maxmemory_policy", out->policy, sizeof out->policy);
    return STATUS_OK;
}

bool redis_info_evicts(const struct redis_info *i)
{
    return strncmp(i->policy, "allkeys-", strlen("allkeys-")) == 0;
}

void redis_info_memory(const struct redis_info *i, char out[REDIS_INFO_TEXT])
{
    if (i->max_bytes == 0)
        (void)snprintf(out, REDIS_INFO_TEXT, "used %.1f MiB, maxmemory not set (%s)", (double)i->used_bytes / 0x1p20,
                       i->policy);
    else
        (void)snprintf(out, REDIS_INFO_TEXT, "used %.1f MiB of maxmemory %.1f MiB (%s)", (double)i->used_bytes / 0x1p20,
                       (double)i->max_bytes / 0x1p20, i->policy);
}

/* status.c - names and texts from the one list, and the err_* writers. */
#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *status_name(enum status s)
{
    static const char *const names[] = {
#define X(name, text) #name,
        STATUS_LIST(X)
#undef X
    };
    return (unsigned)s < STATUS_COUNT ? names[s] : "?";
}

const char *status_text(enum status s)
{
    static const char *const texts[] = {
#define X(name, text) text,
        STATUS_LIST(X)
#undef X
    };
    return (unsigned)s < STATUS_COUNT ? texts[s] : "?";
}

enum status err_set(struct err *e, enum status code, const char *where, const char *fmt, ...)
{
    if (e == NULL) return code;
    va_list ap;
    char text[sizeof e->text]; /* an argument may be e->text itself */
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    e->code = code;
    e->where = where;
    memcpy(e->text, text, sizeof text);
    return code;
}

enum status err_prefix(struct err *e, const char *fmt, ...)
{
    va_list ap;
    char text[sizeof e->text];
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0) return e->code;
    size_t used = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (used + 2 < sizeof text) {
        memcpy(text + used, ": ", 2);
        used += 2;
        size_t rest = strlen(e->text), room = sizeof text - 1 - used;
        if (rest > room) rest = room;
        memcpy(text + used, e->text, rest);
        used += rest;
    }
    text[used] = 0;
    memcpy(e->text, text, used + 1);
    return e->code;
}

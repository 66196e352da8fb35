/* preset_pattern.c - one walk over the pattern with a stack of open groups. */
#include "ingest/preset_pattern.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };
static const size_t too_many = (size_t)-1 / 2;

struct walk {
    size_t sum[DEPTH_MAX]; /* of each open group, without its last atom */
    size_t last[DEPTH_MAX];
    int depth;
};

static void atom(struct walk *w, size_t n)
{
    w->sum[w->depth] += w->last[w->depth];
    w->last[w->depth] = n;
}

static void times(struct walk *w, size_t n)
{
    size_t *last = &w->last[w->depth];
    *last = n == 0 || *last <= PRESET_PATTERN_MAX / n ? *last * n + 1 : PRESET_PATTERN_MAX + 1;
}

/* The last character of a bracket expression that begins at p. */
static const char *bracket_end(const char *p)
{
    p++;
    if (*p == '^') p++;
    if (*p == ']') p++;
    for (; *p != 0 && *p != ']'; p++)
        if (*p == '[' && p[1] != 0 && strchr(":.=", p[1]) != NULL) {
            const char close[] = {p[1], ']', 0};
            const char *end = strstr(p + 2, close);
            if (end != NULL) p = end + 1;
        }
    return *p != 0 ? p : p - 1;
}

/* {n}, {n,} or {n,m}: the largest number, and where it ends. */
static size_t interval(const char **p)
{
    size_t most = 1;
    for (const char *at = *p + 1; *at != 0; at++) {
        const size_t n = strtoul(at, NULL, 10);
        if (*at == '}') {
            *p = at;
            return most + 1;
        }
        if (n > most && strchr("0123456789", *at) != NULL) most = n;
    }
    return 1;
}

size_t preset_pattern_atoms(const char *pattern)
{
    struct walk w = {0};
    bool repeats = false; /* the character before was an operator */
    for (const char *p = pattern; *p != 0; p++) {
        const bool operates = strchr("*+?{", *p) != NULL;
        if (*p == '\\' && p[1] != 0) {
            p++;
            atom(&w, 1);
        } else if (*p == '[') {
            p = bracket_end(p);
            atom(&w, 1);
        } else if (*p == '(') {
            if (w.depth + 1 == DEPTH_MAX) return too_many;
            atom(&w, 0);
            w.depth++;
            w.sum[w.depth] = w.last[w.depth] = 0;
        } else if (*p == ')' && w.depth > 0) {
            const size_t group = w.sum[w.depth] + w.last[w.depth] + 1;
            w.depth--;
            w.last[w.depth] = group;
        } else if (operates) {
            if (repeats) return too_many;
            times(&w, *p == '+' ? 2 : *p == '{' ? interval(&p) : 1);
        } else {
            atom(&w, 1);
        }
        repeats = operates;
        if (w.sum[w.depth] + w.last[w.depth] > PRESET_PATTERN_MAX) return too_many;
    }
    size_t all = 0;
    for (int i = 0; i <= w.depth; i++) all += w.sum[i] + w.last[i];
    return all <= PRESET_PATTERN_MAX ? all : too_many;
}

/* reject.c - names, texts and counts of refusals. */
#include "ingest/reject.h"
#include "base/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TALLY_FORMAT 1

static const char *const names[] = {
#define X(code, name, text) name,
    REJECT_LIST(X)
#undef X
};
static const char *const texts[] = {
#define X(code, name, text) text,
    REJECT_LIST(X)
#undef X
};

const char *reject_name(enum reject_code code)
{
    return (unsigned)code < REJECT_COUNT ? names[code] : "?";
}

const char *reject_text(enum reject_code code)
{
    return (unsigned)code < REJECT_COUNT ? texts[code] : "?";
}

bool reject_set(struct reject *r, enum reject_code code, const char *fmt, ...)
{
    va_list ap;
    r->code = code;
    va_start(ap, fmt);
    const int n = vsnprintf(r->text, sizeof r->text, fmt, ap);
    va_end(ap);
    if (n < 0) r->text[0] = 0;
    if (n >= (int)sizeof r->text) r->text[utf8_cut(r->text, sizeof r->text - 1)] = 0;
    utf8_clean(r->text); /* a format may cut inside a character, and what is quoted may be no UTF-8 */
    return false;
}

static void add_skipped(struct reject_tally *t, const char *reason, uint64_t n)
{
    for (uint32_t i = 0; i < t->n_skipped; i++) {
        if (strncmp(t->skipped[i].name, reason, sizeof t->skipped[i].name - 1) == 0) {
            t->skipped[i].n += n;
            return;
        }
    }
    if (t->n_skipped == REJECT_REASONS_MAX) {
        t->by_code[REJECT_SKIPPED] += n;
        return;
    }
    (void)snprintf(t->skipped[t->n_skipped].name, sizeof t->skipped[0].name, "%.39s", reason);
    t->skipped[t->n_skipped++].n = n;
}

void reject_tally_add(struct reject_tally *t, const struct reject *r)
{
    if (r->code == REJECT_SKIPPED && r->text[0])
        add_skipped(t, r->text, 1);
    else if ((unsigned)r->code < REJECT_COUNT)
        t->by_code[r->code]++;
}

uint64_t reject_tally_total(const struct reject_tally *t)
{
    uint64_t n = 0;
    for (unsigned i = 1; i < REJECT_COUNT; i++)
        if (i != REJECT_SKIPPED) n += t->by_code[i];
    return n;
}

static void report_line(struct report *r, const char *prefix, const char *name, uint64_t n)
{
    if (n == 0 || r->n_rejects == REPORT_REJECTS_MAX) return;
    const size_t i = r->n_rejects++;
    (void)snprintf(r->rejects[i].code, sizeof r->rejects[i].code, "%s%s", prefix, name);
    r->rejects[i].n = n;
}

void reject_tally_report(const struct reject_tally *t, struct report *r)
{
    r->n_rejects = 0;
    r->rejected = reject_tally_total(t);
    for (unsigned i = 1; i < REJECT_COUNT; i++) report_line(r, "", names[i], t->by_code[i]);
    for (uint32_t i = 0; i < t->n_skipped; i++) report_line(r, "skipped.", t->skipped[i].name, t->skipped[i].n);
}

/* By name, not by number: the list may gain codes in the middle. */
void reject_tally_encode(struct buf *b, const struct reject_tally *t)
{
    uint32_t n = 0;
    for (unsigned i = 1; i < REJECT_COUNT; i++) n += t->by_code[i] > 0;
    buf_u8(b, TALLY_FORMAT);
    buf_varint(b, n);
    for (unsigned i = 1; i < REJECT_COUNT; i++) {
        if (t->by_code[i] == 0) continue;
        buf_str(b, str_from(names[i]));
        buf_varint(b, t->by_code[i]);
    }
    buf_varint(b, t->n_skipped);
    for (uint32_t i = 0; i < t->n_skipped; i++) {
        buf_str(b, str_from(t->skipped[i].name));
        buf_varint(b, t->skipped[i].n);
    }
}

static void decode_code(struct reject_tally *t, struct str name, uint64_t n)
{
    for (unsigned i = 1; i < REJECT_COUNT; i++)
        if (str_is(name, names[i])) t->by_code[i] += n;
}

enum status reject_tally_decode(struct reject_tally *t, struct buf_reader *r, struct err *e)
{
    *t = (struct reject_tally){0};
    if (buf_get_u8(r) != TALLY_FORMAT) r->bad = true;
    const size_t n_codes = buf_get_count(r, 2);
    for (size_t i = 0; i < n_codes && !r->bad; i++) {
        const struct str name = buf_get_str(r);
        decode_code(t, name, buf_get_varint(r));
    }
    const size_t n_skipped = buf_get_count(r, 2);
    for (size_t i = 0; i < n_skipped && !r->bad; i++) {
        char reason[sizeof t->skipped[0].name];
        const struct str name = buf_get_str(r);
        (void)snprintf(reason, sizeof reason, STR_FMT, STR_ARG(name));
        add_skipped(t, reason, buf_get_varint(r));
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "rejects: the stored counts can't be read") : STATUS_OK;
}

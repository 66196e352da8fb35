/* source_reader.c - a sliding buffer over a stream, and the state machine that finds where a CSV record ends. */
#include "ingest/source_reader.h"
#include "base/mem.h"
#include <string.h>

#define CHUNK_BYTES 262144
#define RESCAN 8 /* bytes that may be looked at again for each byte that is handed out */

enum place { PLACE_FIELD_START, PLACE_BARE, PLACE_QUOTED, PLACE_AFTER_QUOTE };
struct source_reader {
    struct source_stream *stream;
    struct source_framing framing;
    size_t max_bytes;
    char *p;
    size_t cap, start, end; /* unread bytes are p[start..end) */
    size_t scan;            /* p[start..scan) was looked at */
    enum place place;       /* of p[scan] in its record */
    int64_t credit;         /* bytes that may still be looked at in vain; <= 0: quotes don't span lines for now */
    enum status over;       /* END or IO once the stream has said so */
    struct err fault;
};

const struct source_stream *source_reader_stream(const struct source_reader *r)
{
    return r->stream;
}

bool source_reader_waits(const struct source_reader *r, int wait_ms)
{
    if (r->over != STATUS_OK || (r->end > r->scan && memchr(r->p + r->scan, '\n', r->end - r->scan) != NULL))
        return false;
    return source_stream_waits(r->stream, wait_ms);
}

bool source_reader_unended(const struct source_reader *r)
{
    return r->over != STATUS_OK && r->start == r->end && r->end > 0 && r->p[r->end - 1] != '\n';
}

/* Moves what is unread to the front and reads more; over is set when nothing more comes. */
static void more(struct source_reader *r)
{
    size_t got = 0;
    if (r->start > 0) {
        memmove(r->p, r->p + r->start, r->end - r->start);
        r->scan -= r->start;
        r->end -= r->start;
        r->start = 0;
    }
    r->over = source_stream_read(r->stream, r->p + r->end, r->cap - r->end, &got, &r->fault);
    r->end += got;
}

enum status source_reader_open(struct source_reader **out, const char *path, size_t max_bytes,
                               struct source_framing framing, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct source_reader *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory to read it", path);
    r->framing = framing;
    r->max_bytes = max_bytes;
    r->credit = RESCAN * (int64_t)max_bytes;
    r->cap = max_bytes + CHUNK_BYTES;
    r->p = mem_realloc(NULL, r->cap, 1);
    if (r->p == NULL) {
        st = ERR_SET(e, STATUS_OOM, "%s: no memory for lines of ingest.max_bytes=%zu", path, max_bytes);
        goto out;
    }
    TRY_OUT(st, source_stream_open(&r->stream, path, e));
    while (r->over == STATUS_OK && r->end < 3) more(r);
    if (r->end >= 3 && memcmp(r->p, "\xef\xbb\xbf", 3) == 0) r->start = r->scan = 3;
    *out = r;
    r = NULL;
out:
    source_reader_close(r);
    return st;
}

void source_reader_close(struct source_reader *r)
{
    if (r == NULL) return;
    source_stream_close(r->stream);
    mem_free(r->p);
    mem_free(r);
}

enum found { FOUND_END, FOUND_NOTHING, FOUND_BROKEN };

/* The newline that ends a plain line, at p[scan]. */
static enum found find_line(struct source_reader *r)
{
    const char *at = r->end > r->scan ? memchr(r->p + r->scan, '\n', r->end - r->scan) : NULL;
    r->scan = at != NULL ? (size_t)(at - r->p) : r->end;
    return at != NULL ? FOUND_END : FOUND_NOTHING;
}

/* Goes on to the closing quote.  BROKEN at a newline when too much was looked at in vain already. */
static enum found find_quote(struct source_reader *r, char quote)
{
    const char *at = memchr(r->p + r->scan, quote, r->end - r->scan);
    const size_t to = at != NULL ? (size_t)(at - r->p) : r->end - 1;
    const char *newline = r->credit <= 0 ? memchr(r->p + r->scan, '\n', to - r->scan + 1) : NULL;
    r->scan = newline != NULL ? (size_t)(newline - r->p) : to;
    if (newline != NULL) return FOUND_BROKEN;
    if (at != NULL) r->place = PLACE_AFTER_QUOTE;
    return FOUND_NOTHING;
}

/* The newline outside quotes that ends a record; BROKEN at a byte that may not follow a closing quote. */
static enum found find_record(struct source_reader *r)
{
    const char quote = r->framing.quote, delimiter = r->framing.delimiter;
    for (; r->scan < r->end; r->scan++) {
        const char c = r->p[r->scan];
        if (r->place == PLACE_QUOTED) {
            if (find_quote(r, quote) == FOUND_BROKEN) return FOUND_BROKEN;
        } else if (c == '\n') {
            return FOUND_END;
        } else if (c == delimiter) {
            r->place = PLACE_FIELD_START;
        } else if (c == quote && r->place != PLACE_BARE) {
            r->place = PLACE_QUOTED; /* opening, or the second of a pair */
        } else if (r->place == PLACE_AFTER_QUOTE && c != '\r') {
            return FOUND_BROKEN;
        } else if (r->place == PLACE_FIELD_START) {
            r->place = PLACE_BARE;
        }
    }
    return FOUND_NOTHING;
}

static enum found find(struct source_reader *r)
{
    return r->framing.quote ? find_record(r) : find_line(r);
}

/* Hands out p[start..to) without its carriage return; reading goes on at `next`. */
static void take(struct source_reader *r, size_t to, size_t next, struct str *message)
{
    const int64_t most = RESCAN * (int64_t)r->max_bytes, now = r->credit + RESCAN * (int64_t)(next - r->start);
    *message = (struct str){r->p + r->start, to - r->start};
    if (message->n > 0 && message->p[message->n - 1] == '\r') message->n--;
    r->credit = now < most ? now : most;
    r->start = r->scan = next;
    r->place = PLACE_FIELD_START;
}

/* The line at `start` is longer than the buffer takes: keeps its first bytes and drops the rest up to its newline. */
static void take_over_long(struct source_reader *r, struct str *message)
{
    const char *newline = NULL;
    if (r->start > 0) {
        memmove(r->p, r->p + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    size_t from = r->max_bytes; /* p[0..max_bytes) is kept; the newline is looked for behind it */
    for (;;) {
        newline = r->end > from ? memchr(r->p + from, '\n', r->end - from) : NULL;
        if (newline != NULL || r->over != STATUS_OK) break;
        size_t got = 0;
        r->over = source_stream_read(r->stream, r->p + from, r->cap - from, &got, &r->fault);
        r->end = from + got;
    }
    const size_t next = newline != NULL ? (size_t)(newline - r->p) + 1 : r->end;
    take(r, r->max_bytes, next, message);
}

/* The line at `start` ends at p[at]. */
static enum reject_code take_broken_line(struct source_reader *r, size_t at, struct str *message)
{
    const bool too_long = at - r->start > r->max_bytes;
    take(r, at, at + 1, message);
    if (too_long) message->n = r->max_bytes;
    return too_long ? REJECT_TOO_LONG : REJECT_CSV_QUOTE;
}

/* A record with broken quotes is its first physical line only, so that one stray quote costs one row.  What was looked at
 * behind that line was in vain: in a file where that happens all the time, quotes soon end with their line, else reading
 * it would take time by the square of its size. */
static enum reject_code take_broken(struct source_reader *r, struct str *message)
{
    r->credit -= (int64_t)(r->scan - r->start);
    for (;;) {
        const char *newline = memchr(r->p + r->start, '\n', r->end - r->start);
        if (newline != NULL) return take_broken_line(r, (size_t)(newline - r->p), message);
        if (r->over != STATUS_OK) {
            take(r, r->end, r->end, message);
            return REJECT_CSV_QUOTE;
        }
        if (r->end - r->start > r->max_bytes) {
            take_over_long(r, message);
            return REJECT_TOO_LONG;
        }
        more(r);
    }
}

/* Nothing more comes: what is left is the last message, unless the stream broke off inside it. */
static enum status take_last(struct source_reader *r, struct str *message, enum reject_code *broken, struct err *e)
{
    if (r->over == STATUS_END && r->end > r->start) {
        if (r->place == PLACE_QUOTED)
            *broken = take_broken(r, message);
        else
            take(r, r->end, r->end, message);
        return STATUS_OK;
    }
    if (r->over != STATUS_END && e != NULL) *e = r->fault;
    return r->over;
}

enum status source_reader_next(struct source_reader *r, struct str *message, enum reject_code *broken, struct err *e)
{
    for (;;) {
        const enum found found = find(r);
        *broken = REJECT_NONE;
        if (found == FOUND_BROKEN) {
            *broken = take_broken(r, message);
        } else if (found == FOUND_END) {
            if (r->scan - r->start > r->max_bytes) *broken = REJECT_TOO_LONG;
            take(r, r->scan, r->scan + 1, message);
            if (message->n > r->max_bytes) message->n = r->max_bytes;
        } else if (r->end - r->start > r->max_bytes) {
            *broken = REJECT_TOO_LONG;
            if (r->framing.quote)
                *broken = take_broken(r, message);
            else
                take_over_long(r, message);
        } else if (r->over == STATUS_OK) {
            more(r);
            continue;
        } else {
            TRY(take_last(r, message, broken, e));
        }
        if (message->n > 0 || *broken != REJECT_NONE) return STATUS_OK;
    }
}

/* reject_letter.h - one dead letter as a JSON line: what the sink writes, and what reads it back to try it again.
 *
 *   {"topic":…,"partition":…,"offset":…,"time":…,"stage":…,"reason":…,"message":…,"headers":{…},"key_base64":…,"value_base64":…}
 *
 * Key and value are the message's bytes, untouched (base64, RFC 4648), headers as in reject_headers.h, time in milliseconds;
 * what was absent is null.  A letter that is refused again keeps the place that it came from.
 */
#ifndef INGEST_REJECT_LETTER_H
#define INGEST_REJECT_LETTER_H
#include "base/arena.h"
#include "base/buf.h"
#include "ingest/source.h"

struct parse_json;
struct reject_letter {
    struct source_raw raw;
    struct str stage, reason, message;
    struct event_position at; /* topic index always 0 when read */
};
/* Where the message was, the first time. */
struct reject_where {
    uint32_t partition;
    uint64_t offset;
};
struct reject_where reject_where(const struct source_record *rec);
/* A letter's line for what was read from a topic. */
void reject_letter_put(struct buf *b, const struct reject_letter *letter);
/* Appends the line with its newline. */
void reject_letter_write(struct buf *b, const struct source_record *rec, const char *stage);
/* Strings in a.  INVALID: the line is no dead letter, *why says why; OOM. */
enum status reject_letter_read(struct reject_letter *out, struct parse_json *json, struct str line, struct arena *a,
                               struct reject *why, struct err *e) MUST_CHECK;
/* The same, but a letter may be without its value (too large for a topic, or a tombstone). */
enum status reject_letter_parse(struct reject_letter *out, struct parse_json *json, struct str line, struct arena *a,
                                struct reject *why, struct err *e) MUST_CHECK;
void reject_put_text(struct buf *b,
                     struct str s); /* as a JSON text; in what is not UTF-8, bytes above 127 become '?'; absent: null */
void reject_base64_put(struct buf *b, struct str s);                                  /* without quotes */
bool reject_base64_get(struct str text, struct arena *a, struct str *out, bool *oom); /* false: not base64, or oom */
#endif

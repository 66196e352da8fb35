/* reject_letter.h - one dead letter as a JSON line: what the sink writes, and what reads it back to try it again.
 *
 *   {"topic":…,"partition":…,"offset":…,"stage":…,"reason":…,"message":…,"headers":{…},"key_base64":…,"value_base64":…}
 *
 * Key and value are the message's bytes, untouched (base64, RFC 4648); what was absent is null.
 */
#ifndef INGEST_REJECT_LETTER_H
#define INGEST_REJECT_LETTER_H
#include "base/arena.h"
#include "base/buf.h"
#include "ingest/source.h"

struct parse_json;
struct reject_letter {
    struct source_raw raw; /* headers: always absent when read */
    struct str stage, reason, message;
    struct event_position at; /* topic index always 0 when read */
};
/* Appends the line with its newline. */
void reject_letter_write(struct buf *b, const struct source_record *rec, const char *stage);
/* Strings in a.  INVALID: the line is no dead letter, *why says why; OOM. */
enum status reject_letter_read(struct reject_letter *out, struct parse_json *json, struct str line, struct arena *a,
                               struct reject *why, struct err *e) MUST_CHECK;
void reject_put_text(struct buf *b,
                     struct str s); /* as a JSON text; in what is not UTF-8, bytes above 127 become '?'; absent: null */
void reject_base64_put(struct buf *b, struct str s);                                  /* without quotes */
bool reject_base64_get(struct str text, struct arena *a, struct str *out, bool *oom); /* false: not base64, or oom */
#endif

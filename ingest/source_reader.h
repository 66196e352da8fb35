/* source_reader.h - one log file taken apart into messages: lines, or CSV records whose quotes may span lines (RFC 4180).
 *
 * A message that is too long, or whose quotes are broken, is handed out once as its first bytes and a reject code; reading
 * goes on after its line.  Blank lines are no messages; a final newline, carriage returns before newlines and a byte order
 * mark at the start are taken off.  Memory: one buffer of max_bytes and a chunk.  Not for other rooms.
 */
#ifndef INGEST_SOURCE_READER_H
#define INGEST_SOURCE_READER_H
#include "base/status.h"
#include "base/str.h"
#include "ingest/reject.h"
#include "ingest/source_stream.h"

struct source_framing {
    char delimiter, quote; /* quote 0: plain lines (or CSV without quotes) */
};
struct source_reader;
enum status source_reader_open(struct source_reader **out, const char *path, size_t max_bytes,
                               struct source_framing framing, struct err *e) MUST_CHECK;
void source_reader_close(struct source_reader *r); /* NULL is fine */
/* *message lives until the next call.  *broken: REJECT_NONE, else why it is no message.  END; IO as source_stream_read. */
enum status source_reader_next(struct source_reader *r, struct str *message, enum reject_code *broken,
                               struct err *e) MUST_CHECK;
/* The message handed out last was ended by the end of the file instead of a newline. */
bool source_reader_unended(const struct source_reader *r);
/* True when the next message is not here yet and its pipe is silent, after waiting wait_ms for it. */
bool source_reader_waits(const struct source_reader *r, int wait_ms);
const struct source_stream *source_reader_stream(const struct source_reader *r);
#endif

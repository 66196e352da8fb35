/* source_stream.h - the bytes of a log file: plain, gzip, xz or zstd by their first bytes, "-" is standard input.
 *
 * Several members or frames one after the other are one stream (as `cat a.gz b.gz` makes).  Bytes that were whole are
 * handed out before an error is: a file that was cut short gives all it has, then IO naming the file and the byte.
 * Not for other rooms.
 */
#ifndef INGEST_SOURCE_STREAM_H
#define INGEST_SOURCE_STREAM_H
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source_stream;
enum status source_stream_open(struct source_stream **out, const char *path, struct err *e) MUST_CHECK;
void source_stream_close(struct source_stream *s); /* NULL is fine */
/* Up to n (> 0) bytes into p.  END when the file is done; IO with the file's name and the stored byte it stopped at. */
enum status source_stream_read(struct source_stream *s, void *p, size_t n, size_t *got, struct err *e) MUST_CHECK;
/* True when the next read would wait for a pipe's other end, after waiting wait_ms for it. */
bool source_stream_waits(const struct source_stream *s, int wait_ms);
uint64_t source_stream_taken(const struct source_stream *s); /* stored bytes read so far */
uint64_t source_stream_total(const struct source_stream *s); /* the file's size; 0 for a pipe */
const char *source_stream_name(const struct source_stream *s);
#endif

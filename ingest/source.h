/* source.h - where events come from: log files or Kafka, as batches of parsed records with their positions.
 *
 * A source reads, splits into messages, and parses (through the preset), because merging several files by time needs the
 * times.  It does nothing that depends on state: dedupe, order assembly and joining belong to the learner's thread.
 * Thread: one (the poller); a filled batch may then travel to another thread.
 */
#ifndef INGEST_SOURCE_H
#define INGEST_SOURCE_H
#include "base/arena.h"
#include "base/clock.h"
#include "base/status.h"
#include "ingest/reject.h"
#include "schemas/conf.h"
#include "schemas/event.h"
#include <stdbool.h>

#define SOURCE_BATCH 256                     /* records of one batch at most */
#define SOURCE_BATCH_BYTES ((size_t)2 << 20) /* a batch whose arena holds more than this is full */

enum source_kind {
    SOURCE_EVENT,  /* event is valid */
    SOURCE_REJECT, /* malformed: reject says why; raw holds the untouched bytes */
    SOURCE_SKIP,   /* deliberately skipped by a map's rule; counted by `reject` code, not a reject */
    SOURCE_IDLE,   /* Kafka: partition `at` stood at its end for join.idle_ms: it no longer holds the watermark back */
    SOURCE_JOINED, /* Kafka: partition `at` is read from at.offset on: the watermark waits for it */
    SOURCE_LEFT, /* Kafka: partition `at` went to another member of the group: it no longer holds the watermark back */
};
struct source_raw {               /* the message as it came; of every record but SKIP and IDLE */
    struct str topic, key, value; /* .p NULL: absent */
    struct str headers;           /* JSON object text (reject_headers.h), or absent */
    int64_t time_ms;              /* Kafka: the message's; files: of the event before it; 0: not known */
    bool letter;                  /* a dead letter that is tried again: it came from this place of `topic` ... */
    bool was_event;               /* ... and was refused as an event, after its id was remembered */
    uint32_t partition;
    uint64_t offset;
};
struct source_record {
    enum source_kind kind;
    uint32_t file; /* which of the files, in the order given; Kafka: not set */
    struct event_position at;
    uint64_t mark; /* Kafka: hash of the message's key and value, never 0; files: 0; a dead letter: its place's hash */
    struct event event;
    struct reject reject;
    struct source_raw raw;
};
struct source_batch {
    struct arena arena; /* owns all strings of the records */
    struct source_record records[SOURCE_BATCH];
    uint32_t n;
    int64_t lag_events; /* Kafka: messages known to wait behind this batch; -1 unknown */
    uint64_t barrier;   /* not 0: partitions leave with this batch; once it is taken and a checkpoint is durable, call
                           source_released with this number */
};
enum status source_batch_new(struct source_batch **out, struct err *e) MUST_CHECK;
void source_batch_free(struct source_batch *b);
bool source_batch_full(const struct source_batch *b);

/* Where a partition stands, as the checkpoint holds it. */
struct source_offset {
    uint32_t topic, partition;
    uint64_t next;    /* offset of the next record to read */
    uint64_t mark;    /* of the record before that: a re-created topic holds another one there; 0: not known */
    uint64_t records; /* taken so far */
    uint64_t chain; /* hash over (chain, offset, mark) of every record taken: what was read, in order, as one number */
};
struct source;
/* Files: plain, .gz, .zst, .xz by their content; "-" is stdin; several are merged by time (ties: order given).
 * skip (n; NULL: none): of each file, how many of its records were given out before: they are read and dropped, ordinals
 * begin behind all of them.  With `skip` there is a next time: a last line that has no newline and is no event is still
 * being written, and left for then (not of stdin and pipes). */
enum status source_open_files(struct source **out, const struct conf *c, const char *const *paths, size_t n,
                              const uint64_t *skip, struct err *e) MUST_CHECK;
/* The same over files of dead letters (reject_letter.h): their messages are tried again.  UNSUPPORTED for csv, whose rows
 * mean nothing without their file's header. */
enum status source_open_dead_letters(struct source **out, const struct conf *c, const char *const *paths, size_t n,
                                     const uint64_t *skip, struct err *e) MUST_CHECK;
/* Stored bytes of one of the files that were read so far; 0 unless s reads files. */
uint64_t source_file_bytes(const struct source *s, size_t file);
/* Kafka topics of ingest.topics, as a member of the group (its partitions come and go) or all partitions, by
 * ingest.membership; joined by the first source_next.  A partition goes on at its entry in `offsets`; one without begins
 * at ingest.start if no entry is of its topic, else at its first record (it was added since).  A broker that can't be
 * reached within kafka.socket.connection.setup.timeout.ms (10 s default) is IO with its address and the reason, a partition
 * whose offset is no longer there IO with the choices (ingest.missing).  UNSUPPORTED when built without. */
enum status source_open_kafka(struct source **out, const struct conf *c, struct clock *clock,
                              const struct source_offset *offsets, size_t n_offsets, struct err *e) MUST_CHECK;
/* A source_open_kafka under way, or any later one, gives up soon with END: the process was told to stop.  Async-signal-safe. */
void source_interrupt(void);
void source_close(struct source *s);
/* Fills b (emptied first) with up to SOURCE_BATCH records; waits at most wait_ms for the first.  OK with n >= 1; AGAIN
 * when nothing came; END when files are exhausted; IO names path or broker (Kafka: temporary faults are logged and
 * reported as AGAIN, only fatal ones as IO); CONFLICT: another process joined the group under our name.  Each Kafka
 * partition is first told of by SOURCE_JOINED.  While partitions have more than was read yet, records come in the order of
 * event time over all of them, each partition's own order kept: next is the record of the partition that has come least far. */
enum status source_next(struct source *s, struct source_batch *b, int wait_ms, struct err *e) MUST_CHECK;
/* Nobody can take a batch now: fetching ends at its bounds, while heartbeats and rebalances go on.  Waits at most wait_ms;
 * source_next goes on behind what it gave last.  Files: nothing to do, does not wait.  IO, CONFLICT as source_next. */
enum status source_hold(struct source *s, int wait_ms, struct err *e) MUST_CHECK;
/* After a durable checkpoint: tells the group, for lag monitors only.  Failures are logged, never fatal. */
void source_commit(struct source *s, const struct source_offset *offsets, size_t n);
/* Every partition there is, with the offset it is read from when it is ours: (0, 0, sum of skip) for files.  Fills at most cap,
 * returns how many there are.  To be called before the first source_next. */
size_t source_partitions(const struct source *s, struct source_offset *out, size_t cap);
/* A checkpoint that holds everything up to and with the batch of this barrier is durable: the partitions may leave.
 * Thread: any. */
void source_released(struct source *s, uint64_t barrier);
/* How the source fares, for metrics and health.  Thread: any. */
struct source_health {
    bool up;                   /* files: always; Kafka: at least one broker answers */
    int64_t down_ms;           /* since when it is not up; 0: it is */
    uint64_t duplicates;       /* messages below the expected offset, dropped */
    uint64_t gaps;             /* offsets that were never there ... */
    uint64_t gap_alarms;       /* ... in topics that are neither compacted nor transactional */
    uint64_t rebalances, lost; /* assignments that changed; partitions lost without being asked for */
    uint64_t unaligned;        /* times that a partition was no longer waited for (ingest.align_ms) */
    uint32_t partitions;       /* read at the moment */
    char text[200];            /* the last trouble, "" none */
};
void source_health(struct source *s, struct source_health *out);
uint64_t source_bytes_read(const struct source *s);  /* of the files as stored; for the progress bar */
uint64_t source_bytes_total(const struct source *s); /* 0: unknown */
#endif

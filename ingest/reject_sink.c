/* reject_sink.c - where dead letters go: a file of JSON lines, or a Kafka topic. */
#include "base/mem.h"
#include "ingest/reject_letter.h"
#include "ingest/source_kafka_producer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_BYTES 65536
#define FLUSH_MS 30000

struct reject_sink {
    char path[CONF_TEXT];
    int fd; /* -1: no file */
    uint64_t length;
    struct buf out; /* not yet written */
    struct source_producer *producer;
};

static enum status open_file(struct reject_sink *s, uint64_t length, struct err *e)
{
    struct stat about;
    s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->fd < 0 || fstat(s->fd, &about) != 0)
        return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: can't be opened: %s", s->path, strerror(errno));
    if (!S_ISREG(about.st_mode)) return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: is not a file", s->path);
    if ((uint64_t)about.st_size < length)
        return ERR_SET(
            e, STATUS_CORRUPT,
            "ingest.dead_letters=%s: has %lld bytes, the checkpoint says %llu; put the file back, or name another one",
            s->path, (long long)about.st_size, (unsigned long long)length);
    if (ftruncate(s->fd, (off_t)length) != 0 || lseek(s->fd, (off_t)length, SEEK_SET) < 0)
        return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: can't be cut back to %llu bytes: %s", s->path,
                       (unsigned long long)length, strerror(errno));
    s->length = length;
    return STATUS_OK;
}

enum status reject_sink_open(struct reject_sink **out, const struct conf *c, uint64_t length, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct reject_sink *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "dead letters: no memory for their sink");
    s->fd = -1;
    (void)snprintf(s->path, sizeof s->path, "%s", c->ingest_dead_letters);
    if (strncmp(s->path, "topic:", 6) == 0)
        TRY_OUT(st, source_producer_open(&s->producer, c, s->path + 6, e));
    else if (s->path[0] != 0)
        TRY_OUT(st, open_file(s, length, e));
    *out = s;
    s = NULL;
out:
    reject_sink_close(s);
    return st;
}

void reject_sink_close(struct reject_sink *s)
{
    if (s == NULL) return;
    source_producer_close(s->producer);
    if (s->fd >= 0) (void)close(s->fd);
    buf_fini(&s->out);
    mem_free(s);
}

static enum status write_out(struct reject_sink *s, struct err *e)
{
    size_t done = 0;
    while (done < s->out.n) {
        const ssize_t n = write(s->fd, s->out.p + done, s->out.n - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: writing failed: %s", s->path, strerror(errno));
        done += (size_t)n;
    }
    s->length += s->out.n;
    buf_clear(&s->out);
    return STATUS_OK;
}

/* The message as it came, with Kafka Connect's header names. */
static enum status produce(struct reject_sink *s, const struct source_record *rec, const char *stage, struct err *e)
{
    char partition[16], offset[24];
    (void)snprintf(partition, sizeof partition, "%u", rec->at.partition);
    (void)snprintf(offset, sizeof offset, "%llu", (unsigned long long)rec->at.offset);
    const struct source_producer_header headers[] = {
        {"__connect.errors.topic", rec->raw.topic},
        {"__connect.errors.partition", str_from(partition)},
        {"__connect.errors.offset", str_from(offset)},
        {"__connect.errors.stage", str_from(stage)},
        {"__connect.errors.exception.message", str_from(rec->reject.text)},
        {"freshet.reason", str_from(reject_name(rec->reject.code))},
    };
    return source_producer_send(s->producer, rec->raw.key, rec->raw.value, headers, sizeof headers / sizeof *headers,
                                e);
}

enum status reject_sink_write(struct reject_sink *s, const struct source_record *rec, const char *stage, struct err *e)
{
    if (s->producer != NULL) return produce(s, rec, stage, e);
    if (s->fd < 0) return STATUS_OK;
    reject_letter_write(&s->out, rec, stage);
    TRY(buf_status(&s->out, e));
    return s->out.n >= FLUSH_BYTES ? write_out(s, e) : STATUS_OK;
}

enum status reject_sink_sync(struct reject_sink *s, uint64_t *length, struct err *e)
{
    *length = 0;
    if (s->producer != NULL) return source_producer_flush(s->producer, FLUSH_MS, e);
    if (s->fd < 0) return STATUS_OK;
    TRY(write_out(s, e));
    if (fsync(s->fd) != 0)
        return ERR_SET(e, STATUS_IO, "ingest.dead_letters=%s: not durable: %s", s->path, strerror(errno));
    *length = s->length;
    return STATUS_OK;
}

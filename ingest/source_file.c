/* source_file.c - log files as one stream, merged by event time.
 *
 * Each file has a head: its next record, parsed.  The earliest head goes out; ties go by the order the files were given
 * in, and a reject or skip, which has no time, has that of the record before it.  Ordinals count what goes out; where a run
 * goes on is counted in each file by itself, as a file that grows moves the ordinals of all that is merged with it.
 */
#include "base/log.h"
#include "base/mem.h"
#include "ingest/parse_json.h"
#include "ingest/preset.h"
#include "ingest/reject_letter.h"
#include "ingest/reject_places.h"
#include "ingest/source_ops.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD_BLOCK 8192
#define LETTER_BYTES 65536

struct log_file {
    struct source_reader *reader;
    struct preset *preset;
    struct parse_json *letters; /* dead letters: their lines are taken out of JSON first; else NULL */
    struct arena arena;         /* of the head, when there are several files */
    struct source_record head;
    int64_t time_ms; /* of the last event: stands in for a reject's */
    uint64_t skip;   /* records still to be dropped */
    bool leaves;     /* a last line that is half written is left for the next time */
    bool has_head, ended, has_header;
};
struct source_file {
    struct source base;
    struct log_file *files;
    size_t n_files;
    uint64_t ordinal;
    uint64_t total;
    atomic_uint_fast64_t taken; /* read by the progress bar's thread */
    enum status over;           /* IO once a file failed: told when what came before it is out */
    struct err fault;
};

static void file_close(struct source *base)
{
    struct source_file *s = (struct source_file *)base;
    for (size_t i = 0; i < s->n_files; i++) {
        source_reader_close(s->files[i].reader);
        preset_free(s->files[i].preset);
        parse_json_free(s->files[i].letters);
        arena_fini(&s->files[i].arena);
    }
    mem_free(s->files);
    mem_free(s);
}

static void file_commit(struct source *base, const struct source_offset *offsets, size_t n)
{
    (void)base;
    (void)offsets;
    (void)n;
}

static uint64_t file_bytes_read(const struct source *base)
{
    const struct source_file *s = (const struct source_file *)base;
    return atomic_load_explicit(&s->taken, memory_order_relaxed);
}

static uint64_t file_bytes_total(const struct source *base)
{
    return ((const struct source_file *)base)->total;
}

static size_t file_partitions(const struct source *base, struct source_offset *out, size_t cap)
{
    if (cap > 0) out[0] = (struct source_offset){.next = ((const struct source_file *)base)->ordinal};
    return 1;
}

static void update_taken(struct source_file *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->n_files; i++) n += source_stream_taken(source_reader_stream(s->files[i].reader));
    atomic_store_explicit(&s->taken, n, memory_order_relaxed);
}

/* The next message of f; a header on the way is taken by the preset. */
static enum status next_message(struct log_file *f, struct str *message, enum reject_code *broken, struct err *e)
{
    const char *name = source_stream_name(source_reader_stream(f->reader));
    TRY(source_reader_next(f->reader, message, broken, e));
    if (f->has_header) return STATUS_OK;
    f->has_header = true;
    if (*broken != REJECT_NONE)
        return ERR_SET(e, STATUS_INVALID, "%s: the header row can't be read: %s", name, reject_text(*broken));
    TRY(preset_header(f->preset, name, *message, e));
    return source_reader_next(f->reader, message, broken, e);
}

static bool keep(struct arena *a, struct str *s)
{
    if (s->p != NULL) *s = arena_str(a, *s);
    return s->p != NULL;
}

/* The message as it came and the file's name (a letter has the name of its own topic): an event too may be refused later. */
static enum status keep_raw(const struct log_file *f, struct str message, struct arena *a, struct source_record *rec,
                            struct err *e)
{
    struct source_raw *raw = &rec->raw;
    const bool has_key = raw->key.p != NULL, has_headers = raw->headers.p != NULL;
    if (!raw->letter || raw->topic.p == NULL)
        raw->topic = str_from(source_stream_name(source_reader_stream(f->reader)));
    if (!raw->letter && f->time_ms > 0) raw->time_ms = f->time_ms;
    raw->value = message;
    if (keep(a, &raw->topic) && keep(a, &raw->value) && keep(a, &raw->key) == has_key &&
        keep(a, &raw->headers) == has_headers)
        return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "source: no memory to keep a message of %zu bytes", message.n);
}

/* The message of a dead letter, and the topic that it came from; *broken when the line is none. */
static enum status open_letter(struct log_file *f, struct arena *a, struct str *message, struct source_record *rec,
                               enum reject_code *broken, struct err *e)
{
    struct reject_letter letter;
    const enum status st = reject_letter_read(&letter, f->letters, *message, a, &rec->reject, e);
    if (st == STATUS_INVALID) *broken = rec->reject.code;
    if (st != STATUS_OK) return st == STATUS_INVALID ? STATUS_OK : st;
    *message = letter.raw.value;
    rec->raw = letter.raw;
    rec->raw.letter = true;
    rec->raw.was_event = str_has(letter.stage) && !str_is(letter.stage, "parse");
    rec->raw.partition = letter.at.partition;
    rec->raw.offset = letter.at.offset;
    rec->mark = reject_place(letter.raw.topic, letter.at.partition, letter.at.offset);
    return STATUS_OK;
}

/* The line that was read last is being written. */
static bool is_left(const struct log_file *f)
{
    if (!f->leaves || !source_reader_unended(f->reader)) return false;
    log_warn("ingest", "file=%s left=\"its last line has no end and is no event: read by the next replay\"",
             source_stream_name(source_reader_stream(f->reader)));
    return true;
}

static enum status read_record(struct log_file *f, struct arena *a, struct source_record *rec, struct err *e)
{
    struct str message;
    enum reject_code broken;
    TRY(next_message(f, &message, &broken, e));
    rec->raw = (struct source_raw){0};
    rec->mark = 0;
    const struct arena_mark mark = arena_save(a);
    if (broken == REJECT_NONE && f->letters != NULL) TRY(open_letter(f, a, &message, rec, &broken, e));
    if (broken == REJECT_NONE) {
        TRY(preset_parse(f->preset, message, a, rec, e));
        if (rec->kind == SOURCE_EVENT) {
            f->time_ms = rec->event.time_ms;
            return keep_raw(f, message, a, rec, e);
        }
        if (f->letters == NULL) arena_rewind(a, mark); /* else the message itself is in there */
    } else {
        rec->kind = SOURCE_REJECT;
        (void)reject_set(&rec->reject, broken, "%s (%zu bytes kept)", reject_text(broken), message.n);
    }
    if (is_left(f)) return STATUS_END;
    rec->event = (struct event){0};
    return rec->kind == SOURCE_REJECT ? keep_raw(f, message, a, rec, e) : STATUS_OK;
}

/* Gives f a head unless it has one or has ended. */
static enum status fill_head(struct log_file *f, struct err *e)
{
    if (f->has_head || f->ended) return STATUS_OK;
    arena_reset(&f->arena);
    const enum status st = read_record(f, &f->arena, &f->head, e);
    f->ended = st == STATUS_END;
    if (st != STATUS_OK) return f->ended ? STATUS_OK : st;
    f->has_head = true;
    return STATUS_OK;
}

/* The head of all files that goes first, copied out. */
static enum status merge_record(struct source_file *s, struct arena *a, struct source_record *rec, struct err *e)
{
    struct log_file *first = NULL;
    for (size_t i = 0; i < s->n_files; i++) {
        struct log_file *f = &s->files[i];
        TRY(fill_head(f, e));
        if (f->has_head && (first == NULL || f->time_ms < first->time_ms)) first = f;
    }
    if (first == NULL) return STATUS_END;
    *rec = first->head;
    rec->file = (uint32_t)(first - s->files);
    first->has_head = false;
    if (rec->kind == SOURCE_SKIP) return STATUS_OK;
    TRY(keep_raw(first, rec->raw.value, a, rec, e));
    if (rec->kind == SOURCE_REJECT) return STATUS_OK;
    if (event_copy(&rec->event, &first->head.event, a) == STATUS_OK) return STATUS_OK;
    return ERR_SET(e, STATUS_OOM, "source: no memory to merge an event");
}

/* One file is only split; of several, the times are needed to merge what follows. */
static enum status skip_record(struct source_file *s, struct log_file *f, struct err *e)
{
    struct str message;
    enum reject_code broken;
    if (s->n_files == 1) return next_message(f, &message, &broken, e);
    arena_reset(&f->arena);
    return read_record(f, &f->arena, &f->head, e);
}

/* What was given out before. */
static enum status pass_skipped(struct source_file *s, struct err *e)
{
    for (size_t i = 0; i < s->n_files; i++) {
        struct log_file *f = &s->files[i];
        for (; f->skip > 0 && !f->ended; f->skip--) {
            const enum status st = skip_record(s, f, e);
            f->ended = st == STATUS_END;
            if (st != STATUS_OK && !f->ended) return st;
            if (f->skip % 4096 == 0) update_taken(s);
        }
    }
    return STATUS_OK;
}

static enum status next_record(struct source_file *s, struct source_batch *b, struct err *e)
{
    struct source_record *rec = &b->records[b->n];
    rec->file = 0;
    if (s->n_files != 1)
        TRY(merge_record(s, &b->arena, rec, e));
    else
        TRY(read_record(&s->files[0], &b->arena, rec, e));
    rec->at = (struct event_position){0, 0, s->ordinal++};
    rec->event.at = rec->at;
    b->n++;
    return STATUS_OK;
}

/* A pipe that has nothing now: what is there goes out, so that a live stream is not held up for a full batch. */
static bool must_wait(const struct source_file *s, int wait_ms)
{
    for (size_t i = 0; i < s->n_files; i++) {
        const struct log_file *f = &s->files[i];
        if (!f->has_head && !f->ended && source_reader_waits(f->reader, wait_ms)) return true;
    }
    return false;
}

static enum status file_next(struct source *base, struct source_batch *b, int wait_ms, struct err *e)
{
    struct source_file *s = (struct source_file *)base;
    enum status st = s->over;
    if (st == STATUS_OK && must_wait(s, wait_ms)) return STATUS_AGAIN;
    if (st == STATUS_OK) st = pass_skipped(s, &s->fault);
    while (st == STATUS_OK && !source_batch_full(b) && (b->n == 0 || !must_wait(s, 0)))
        st = next_record(s, b, &s->fault);
    update_taken(s);
    s->over = st;
    if (b->n > 0) return STATUS_OK;
    if (e != NULL && st != STATUS_END) *e = s->fault;
    return st;
}

/* What is rejected may not be written over what is read. */
static enum status check_apart(const char *path, const char *letters, struct err *e)
{
    struct stat a, b;
    if (stat(path, &a) != 0 || stat(letters, &b) != 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "%s is read, and ingest.dead_letters=%s is the same file; name another one", path,
                   letters);
}

static enum status open_one(struct source_file *s, struct log_file *f, const struct conf *c, const char *path,
                            bool letters, struct err *e)
{
    size_t max_bytes = (size_t)c->ingest_max_bytes;
    arena_init(&f->arena, HEAD_BLOCK);
    f->time_ms = INT64_MIN;
    TRY(preset_new(&f->preset, c, e));
    f->has_header = !preset_wants_header(f->preset);
    TRY(check_apart(path, c->ingest_dead_letters, e));
    if (letters) {
        TRY(parse_json_new(&f->letters, e));
        max_bytes = max_bytes * 4 + LETTER_BYTES; /* key and value in base64, and headers */
    }
    TRY(source_reader_open(&f->reader, path, max_bytes, preset_framing(f->preset), e));
    s->total += source_stream_total(source_reader_stream(f->reader));
    return STATUS_OK;
}

static enum status open_files(struct source **out, const struct conf *c, const char *const *paths, size_t n,
                              const uint64_t *skip, bool letters, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct source_file *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "source: no memory for %zu log files", n);
    s->base = (struct source){.close = file_close,
                              .next = file_next,
                              .commit = file_commit,
                              .bytes_read = file_bytes_read,
                              .bytes_total = file_bytes_total,
                              .partitions = file_partitions};
    s->files = mem_calloc(n, sizeof *s->files);
    if (s->files == NULL) {
        st = ERR_SET(e, STATUS_OOM, "source: no memory for %zu log files", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        s->n_files = i + 1;
        TRY_OUT(st, open_one(s, &s->files[i], c, paths[i], letters, e));
    }
    for (size_t i = 0; i < n; i++) {
        struct log_file *f = &s->files[i];
        const bool is_pipe = source_stream_total(source_reader_stream(f->reader)) == 0;
        if (is_pipe) s->total = 0;
        if (skip == NULL) continue;
        f->leaves = !is_pipe && !letters; /* a file of letters is read whole each time */
        f->skip = skip[i];
        s->ordinal += skip[i];
    }
    *out = &s->base;
    s = NULL;
out:
    if (s != NULL) file_close(&s->base);
    return st;
}

enum status source_open_files(struct source **out, const struct conf *c, const char *const *paths, size_t n,
                              const uint64_t *skip, struct err *e)
{
    return open_files(out, c, paths, n, skip, false, e);
}

uint64_t source_file_bytes(const struct source *base, size_t file)
{
    const struct source_file *s = (const struct source_file *)base;
    if (base->close != file_close || file >= s->n_files) return 0;
    return source_stream_taken(source_reader_stream(s->files[file].reader));
}

enum status source_open_dead_letters(struct source **out, const struct conf *c, const char *const *paths, size_t n,
                                     const uint64_t *skip, struct err *e)
{
    *out = NULL;
    if (strcmp(c->ingest_schema, "csv") == 0)
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "dead letters: rows of ingest.schema=csv can't be tried again without their file's header");
    return open_files(out, c, paths, n, skip, true, e);
}

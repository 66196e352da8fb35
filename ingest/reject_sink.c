/* reject_sink.c - where dead letters go: a file of JSON lines, or a Kafka topic; and the mark that says where it stood.
 *
 * A mark is one number, so that a checkpoint need not know what it means: two bits for the kind, 14 of the name's hash, 48
 * for the position.  A mark of another file or topic says nothing of this one.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "ingest/reject_file.h"
#include "ingest/reject_letter.h"
#include "ingest/reject_topic.h"
#include <stdio.h>
#include <string.h>

#define KIND_SHIFT 62
#define NAME_SHIFT 48
#define POSITION_BITS ((1ull << NAME_SHIFT) - 1)

enum kind { KIND_PLAIN, KIND_FILE, KIND_TOPIC }; /* PLAIN: a file's length alone, as earlier versions wrote it */
struct reject_sink {
    enum kind kind;
    uint64_t base; /* the mark without its position */
    bool unmarked;
    struct reject_file *file;
    struct reject_topic *topic;
};

static bool same_sink(const struct reject_sink *s, uint64_t mark)
{
    if (mark >> NAME_SHIFT == 0) return mark != 0 && s->kind == KIND_FILE;
    return (mark & ~POSITION_BITS) == s->base;
}

static enum status open_sink(struct reject_sink *s, const struct conf *c, struct reject_sink_start start, struct err *e)
{
    const char *name = c->ingest_dead_letters;
    if (name[0] == '\0') return STATUS_OK;
    s->kind = strncmp(name, "topic:", 6) == 0 ? KIND_TOPIC : KIND_FILE;
    s->base = (uint64_t)s->kind << KIND_SHIFT | (hash_str(str_from(name)) & 0x3fff) << NAME_SHIFT;
    const bool known = same_sink(s, start.mark);
    const uint64_t position = known ? start.mark & POSITION_BITS : 0;
    s->unmarked = !known;
    if (s->kind == KIND_TOPIC)
        return reject_topic_open(&s->topic, c, name + 6, (struct reject_topic_start){known, position}, e);
    const struct reject_file_start at = {known, position, start.keep, start.new_file};
    return reject_file_open(&s->file, name, at, e);
}

enum status reject_sink_open_at(struct reject_sink **out, const struct conf *c, struct reject_sink_start start,
                                struct err *e)
{
    *out = NULL;
    struct reject_sink *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "dead letters: no memory for their sink");
    const enum status st = open_sink(s, c, start, e);
    if (st == STATUS_OK)
        *out = s;
    else
        reject_sink_close(s);
    return st;
}

enum status reject_sink_open(struct reject_sink **out, const struct conf *c, uint64_t mark, struct err *e)
{
    return reject_sink_open_at(out, c, (struct reject_sink_start){.mark = mark}, e);
}

void reject_sink_close(struct reject_sink *s)
{
    if (s == NULL) return;
    reject_topic_close(s->topic);
    reject_file_close(s->file);
    mem_free(s);
}

bool reject_sink_unmarked(const struct reject_sink *s)
{
    return s->unmarked;
}

enum status reject_sink_write(struct reject_sink *s, const struct source_record *rec, const char *stage, struct err *e)
{
    if (s->topic != NULL) return reject_topic_write(s->topic, rec, stage, e);
    if (s->file == NULL) return STATUS_OK;
    reject_letter_write(reject_file_line(s->file), rec, stage);
    return reject_file_wrote(s->file, e);
}

enum status reject_sink_sync(struct reject_sink *s, uint64_t *mark, struct err *e)
{
    uint64_t position = 0;
    *mark = 0;
    if (s->topic != NULL) TRY(reject_topic_sync(s->topic, &position, e));
    if (s->file != NULL) TRY(reject_file_sync(s->file, &position, e));
    if (s->kind != KIND_PLAIN) *mark = s->base | (position & POSITION_BITS);
    return STATUS_OK;
}

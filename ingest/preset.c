/* preset.c - picks the format and turns its answers into record kinds. */
#include "ingest/preset.h"
#include "base/mem.h"
#include "ingest/parse.h"
#include "ingest/preset_csv.h"
#include "ingest/preset_metarank.h"
#include <string.h>

struct preset {
    struct parse *native;
    struct preset_metarank *metarank;
    struct preset_csv *csv;
};

enum status preset_new(struct preset **out, const struct conf *c, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct preset *p = mem_calloc(1, sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "preset: no memory for its state");
    if (strcmp(c->ingest_schema, "csv") == 0)
        st = preset_csv_new(&p->csv, c, e);
    else if (strcmp(c->ingest_schema, "metarank") == 0)
        st = preset_metarank_new(&p->metarank, c, e);
    else
        st = parse_new(&p->native, c, e);
    if (st == STATUS_OK)
        *out = p;
    else
        preset_free(p);
    return st;
}

void preset_free(struct preset *p)
{
    if (p == NULL) return;
    parse_free(p->native);
    preset_metarank_free(p->metarank);
    preset_csv_free(p->csv);
    mem_free(p);
}

struct source_framing preset_framing(const struct preset *p)
{
    return p->csv != NULL ? preset_csv_framing(p->csv) : (struct source_framing){0};
}

bool preset_wants_header(const struct preset *p)
{
    return p->csv != NULL;
}

enum status preset_header(struct preset *p, const char *path, struct str message, struct err *e)
{
    return preset_csv_header(p->csv, path, message, e);
}

enum status preset_parse(struct preset *p, struct str message, struct arena *a, struct source_record *rec,
                         struct err *e)
{
    enum status st;
    if (p->csv != NULL)
        st = preset_csv_parse(p->csv, message, a, &rec->event, &rec->reject, e);
    else if (p->metarank != NULL)
        st = preset_metarank_parse(p->metarank, message, a, &rec->event, &rec->reject, e);
    else
        st = parse_event(p->native, message, a, &rec->event, &rec->reject, e);
    rec->kind = SOURCE_EVENT;
    if (st != STATUS_INVALID) return st;
    rec->kind = rec->reject.code == REJECT_SKIPPED ? SOURCE_SKIP : SOURCE_REJECT;
    return STATUS_OK;
}

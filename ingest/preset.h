/* preset.h - one face over the formats of ingest.schema: a message of that format to an event, a reject or a skip.
 *
 * `native` is the project's own JSON; `metarank` and `csv` are mapped onto it.  One preset serves one file (CSV columns
 * are named by the file's own header) or one Kafka source.  Thread: one.  Not for other rooms.
 */
#ifndef INGEST_PRESET_H
#define INGEST_PRESET_H
#include "base/arena.h"
#include "base/status.h"
#include "ingest/source.h"
#include "ingest/source_reader.h"
#include "schemas/conf.h"

struct preset;
/* INVALID for a map that can't be used (path:line) and for csv without ingest.map. */
enum status preset_new(struct preset **out, const struct conf *c, struct err *e) MUST_CHECK;
void preset_free(struct preset *p);
struct source_framing preset_framing(const struct preset *p);
bool preset_wants_header(const struct preset *p);
/* The first message of a file whose format has a header.  INVALID names file, column and map. */
enum status preset_header(struct preset *p, const char *path, struct str message, struct err *e) MUST_CHECK;
/* Fills kind, event and reject of rec; strings in a.  OK also for rejects and skips; only OOM fails. */
enum status preset_parse(struct preset *p, struct str message, struct arena *a, struct source_record *rec,
                         struct err *e) MUST_CHECK;
#endif

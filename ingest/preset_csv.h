/* preset_csv.h - rows of a CSV log (RFC 4180, with a header row) to events, by a map (preset_map.h).
 *
 * A cell that is empty after its transforms is absent.  What a rule skips is INVALID with code SKIPPED and the rule's
 * reason as text: the caller counts it apart from rejects.
 */
#ifndef INGEST_PRESET_CSV_H
#define INGEST_PRESET_CSV_H
#include "base/arena.h"
#include "base/status.h"
#include "ingest/reject.h"
#include "ingest/source_reader.h"
#include "schemas/conf.h"
#include "schemas/event.h"

struct preset_csv;
enum status preset_csv_new(struct preset_csv **out, const struct conf *c, struct err *e) MUST_CHECK;
void preset_csv_free(struct preset_csv *p);
struct source_framing preset_csv_framing(const struct preset_csv *p);
/* INVALID when a column that the map uses is missing or named twice: says which, in which file, by which map's line. */
enum status preset_csv_header(struct preset_csv *p, const char *path, struct str row, struct err *e) MUST_CHECK;
/* As parse_event. */
enum status preset_csv_parse(struct preset_csv *p, struct str row, struct arena *a, struct event *ev, struct reject *r,
                             struct err *e) MUST_CHECK;
#endif

/* preset_metarank.h - Metarank's events (docs.metarank.ai, "Supported events") mapped onto native ones.
 *
 *   item, user    their `fields` become attributes (one named like a member of ours, or a price or quantity
 *                 that is no number, becomes field_NAME)
 *   ranking       an impression whose request is the ranking's id; `fields` are its context; items keep fields and relevancy
 *   interaction   a behaviour of that type with request = ranking; a numeric field `value` is the event's value
 *
 * timestamp is milliseconds as number or text, or ISO 8601 with a zone.  The ids of rankings and of interactions tell
 * duplicates apart within their kind; those of item and user events, which Metarank does not use, are ignored.
 */
#ifndef INGEST_PRESET_METARANK_H
#define INGEST_PRESET_METARANK_H
#include "base/arena.h"
#include "base/status.h"
#include "ingest/reject.h"
#include "schemas/conf.h"
#include "schemas/event.h"

struct preset_metarank;
enum status preset_metarank_new(struct preset_metarank **out, const struct conf *c, struct err *e) MUST_CHECK;
void preset_metarank_free(struct preset_metarank *m);
/* As parse_event. */
enum status preset_metarank_parse(struct preset_metarank *m, struct str message, struct arena *a, struct event *ev,
                                  struct reject *r, struct err *e) MUST_CHECK;
#endif

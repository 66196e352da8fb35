/* jsonload.h - JSON texts read by jansson into an arena: no heap call, and nothing freed piece by piece.
 *
 * jansson has one pair of allocation functions for the process; ours look at what this thread is about: while it loads a
 * text here they take from its arena, at all other times they call what jansson had before.  So documents of both kinds
 * live side by side.  Integers that 64 bits don't hold are read as the nearest double (base/jsonwide.h).
 */
#ifndef SCHEMAS_JSONLOAD_H
#define SCHEMAS_JSONLOAD_H
#include "base/arena.h"
#include "base/status.h"
#include <jansson.h>

/* Gives jansson its functions; the first load does it too, but a program whose threads use jansson calls this before. */
void jsonload_init(void);
/* *root: the text read with these flags of json_loadb, NULL when it is no JSON (then *why says why).  It lies in `a`: no
 * json_decref, and nothing may be put into it.  A text's size is the caller's to bound (jsonroom.h).  OOM: the arena could
 * not grow.  Thread: any. */
enum status jsonload(struct arena *a, struct str text, size_t flags, json_t **root, json_error_t *why) MUST_CHECK;
#endif

/* encoder_config.h - the JSON side of a BERT folder: sizes from config.json, pooling from sentence-transformers' files.
 *
 * Absent keys have BertConfig's defaults; whatever would change the arithmetic in a way that is not built here is
 * refused by its name.
 */
#ifndef MODEL_ENCODER_CONFIG_H
#define MODEL_ENCODER_CONFIG_H
#include "base/status.h"
#include "model/encoder.h"

/* NOT_FOUND: no config.json; INVALID: malformed or out of range; UNSUPPORTED: not BERT, naming the key; OOM, IO. */
enum status encoder_config_read(struct encoder_shape *out, const char *dir, struct err *e) MUST_CHECK;
/* "<dir>/<name>", the caller's (mem_free); NULL when out of memory. */
char *encoder_path(const char *dir, const char *name);
#endif

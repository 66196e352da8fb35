/* key.h - names of the Redis keys (DESIGN "Redis").
 *
 * Learner, scorers and dashboards meet in these names, so they are made in one place.  Braces are literal: one cluster
 * slot for all that is fenced together.
 */
#ifndef SCHEMAS_KEY_H
#define SCHEMAS_KEY_H
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define KEY_MAX 400 /* bytes, NUL included; ids are at most 256 */
#define KEY_CURRENT_MAX 20 /* digits of a version */
#define KEY_MODEL_MAX 98 /* bytes of a model's name with its variant's, NUL included */
/* Each writes a NUL-terminated key into out and returns its length.  model is at most 64 bytes (conf refuses more), or
 * "model/variant" for what each variant has of its own: then "variant:<variant>:" stands before the last word, as in
 * fr:{m}:variant:b:current, and the cluster slot stays the model's. */
size_t key_current(char out[KEY_MAX], const char *model);                                /* fr:{m}:current */
/* What stands there: 1 to KEY_CURRENT_MAX digits and nothing else, else false. */
bool key_current_read(struct str text, uint64_t *version);
size_t key_manifest(char out[KEY_MAX], const char *model, uint64_t version);             /* fr:{m}:manifest:<version> */
size_t key_chunk(char out[KEY_MAX], const char *model, uint64_t version, uint32_t i);    /* fr:{m}:chunk:<version>:<i> */
size_t key_log(char out[KEY_MAX], const char *model);                                    /* fr:{m}:log */
size_t key_commands(char out[KEY_MAX], const char *model);                               /* fr:{m}:commands */
size_t key_answer(char out[KEY_MAX], const char *model, const char *id);                 /* fr:{m}:answer:<id> */
size_t key_lease(char out[KEY_MAX], const char *model);                                  /* fr:{m}:lease */
size_t key_champion(char out[KEY_MAX], const char *model); /* fr:{m}:champion: the variant in charge; absent: default */
size_t key_user(char out[KEY_MAX], const char *model, struct str id);                    /* fr:m:user:<id> */
size_t key_item(char out[KEY_MAX], const char *model, struct str id);                    /* fr:m:item:<id> */
size_t key_state(char out[KEY_MAX], const char *model, uint64_t hash);                   /* fr:m:state:<16 hex digits> */
size_t key_served(char out[KEY_MAX], const char *model);                                 /* fr:m:served */
size_t key_metrics(char out[KEY_MAX], const char *model);                                /* fr:m:metrics */
size_t key_metrics_ts(char out[KEY_MAX], const char *model);                             /* fr:m:metrics:ts */
size_t key_info(char out[KEY_MAX], const char *model);                                   /* fr:m:info */
#endif

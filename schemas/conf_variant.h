/* conf_variant.h - champion and challengers: `[variant.NAME]` sections, what each one's configuration is, and who gets which.
 *
 * A variant is the base configuration with some keys of the learner changed; the world (events, sentences, features, labels,
 * negatives) is one for all, so keys that shape it are refused by name.  Two keys are a variant's own: `share`, the part of
 * the users that it serves, and `shadow`, scored and logged for all users but never served.  Lines are counted from 0: line 0
 * is the base configuration, "default"; line i is variant i - 1 in the order of the configuration.
 */
#ifndef SCHEMAS_CONF_VARIANT_H
#define SCHEMAS_CONF_VARIANT_H
#include "schemas/conf.h"

#define CONF_LINE_DEFAULT "default"
#define CONF_LINES_MAX (CONF_VARIANTS_MAX + 1)

/* A key that a variant may change: only the learner of one line reads it. */
bool conf_is_lines_own(const char *key);
/* Configurations that differ in this key alone still show the same lists, label them alike and judge them alike: it is one of
 * the learner, of sentences or of features.  The others shape the world that is predicted, or what is measured of it. */
bool conf_judges_alike(const char *key);
/* Sets NAME.share, NAME.shadow or NAME.<key of the learner>; the value is checked as the key itself would be.  INVALID: a bad
 * name, one variant too many, a key that shapes the world or does not exist, a bad value; OOM. */
enum status conf_variant_set(struct conf *c, const char *name_and_key, const char *value, struct err *e) MUST_CHECK;
void conf_variants_free(struct conf *c);
/* Each variant's own configuration passes conf_check, and the shares leave something for the one in charge. */
enum status conf_variants_check(const struct conf *c, struct err *e) MUST_CHECK;
void conf_variants_dump(const struct conf *c, struct buf *b); /* as sections of an INI file */
/* Line `line`'s configuration: a copy of c with the variant's keys, without kafka.* and variants.  Its model.name is
 * "NAME/VARIANT", the name under which its weights lie in Redis (schemas/key.h).  Free with conf_free.  OOM. */
enum status conf_line_new(struct conf **out, const struct conf *c, size_t line, struct err *e) MUST_CHECK;
/* The first line whose scores order a list and are no probabilities: all of its loss is the softmax within a list, which does not see
 * what is added to all of it, and nothing recalibrates them (train.softmax_share=1, train.recalibration=false; with another join.loss
 * than wait recorded lists have no softmax).  SIZE_MAX: none, or no memory to tell. */
size_t conf_line_only_orders(const struct conf *c);
/* The world's: a copy of c whose model.parts are all those that any line has.  Free with conf_free. */
enum status conf_world_new(struct conf **out, const struct conf *c, struct err *e) MUST_CHECK;
static inline size_t conf_lines(const struct conf *c)
{
    return c->n_variants + 1;
}
const char *conf_line_name(const struct conf *c, size_t line); /* "default" or the variant's */
size_t conf_line_find(const struct conf *c, struct str name);  /* SIZE_MAX: none of that name */
double conf_line_share(const struct conf *c, size_t line, size_t in_charge); /* of the users, as configured */
bool conf_line_shadow(const struct conf *c, size_t line, size_t in_charge);
/* Which line serves this user: stable as long as shares and their order stay; an unknown user (empty) gets the one in charge.
 * The user's hash is salted, so that it says nothing of other hashes of the same id.  Thread: any, beside a reload. */
size_t conf_line_of_user(const struct conf *c, struct str user, size_t in_charge);
/* SIGHUP: takes shares and shadows of `fresh` where the same variants stand there in the same order.  Returns how many
 * changed; *restart: something else differs. */
uint32_t conf_variants_take_live(struct conf *c, const struct conf *fresh, bool *restart);
#endif

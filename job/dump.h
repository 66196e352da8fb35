/* dump.h - --dump-examples: every scored example as a JSON line, so that other tools can be tried on exactly the same work.
 *
 * {"slate":7,"source":"organic","time":…,"user":"u","item":"i","item_hash":"…","label":1,"logit":…,"score":…,"cold_user":…,
 *  "cold_item":…,"first_time":…,"log_kq":…,"popularity":…,"repeat":…,"parts":{name:logit},"numeric":{name:value},
 *  "sentence":"…","history":["…"],"history_hash":["…"],"history_type":[0],"history_minutes":[1.5]}
 * Sentences are read back from the token ids that the model saw.  The history is newest first: each event's sentence, its
 * item's hash (hex, as item_hash: equal where the event is the candidate itself), type (row of the type embeddings) and age.
 */
#ifndef JOB_DUMP_H
#define JOB_DUMP_H
#include "base/status.h"
#include "featurize/feat.h"
#include "job/learner.h"

struct dump;
/* path "-": stdout.  m, f and vocab are borrowed. */
enum status dump_open(struct dump **out, const char *path, const struct model *m, const struct feat *f,
                      const struct token_vocab *vocab, struct err *e) MUST_CHECK;
enum status dump_seen(void *dump, const struct learner_seen *seen, struct err *e) MUST_CHECK; /* a learner_seen_fn */
/* --dump-slates: one line a slate,
 * {"slate":7,"time":…,"user":"u","counted":true,"examples":5,"labels":"…","logloss":0.41,"auc":0.75}; labels is a hash of the
 * items with their labels, equal where the same was judged; logloss is the mean over its examples, auc null without both labels. */
enum status dump_slate(struct dump *d, const struct learner_seen *seen, struct err *e) MUST_CHECK;
/* All of it is handed to the system, and nothing more is written.  IO: it did not take it.  NULL is fine, and here: */
enum status dump_finish(struct dump *d, struct err *e) MUST_CHECK;
void dump_close(struct dump *d);
#endif

/* conf_live.h - what a running process takes from its configuration read again: the keys marked L in the table.
 *
 * All others keep their values, so that nothing changes under code that read them once; each that differs is named in the
 * log as waiting for a restart.
 */
#ifndef SCHEMAS_CONF_LIVE_H
#define SCHEMAS_CONF_LIVE_H
#include "schemas/conf.h"

struct conf_live {
    uint32_t changed, restart; /* keys taken; keys that differ and need a restart */
};
/* Takes the live keys of `fresh` (which passed conf_check) into c and logs each change, old and new.  Thread: the one that
 * owns c; any other reads c's live keys through conf_now. */
struct conf_live conf_take_live(struct conf *c, const struct conf *fresh);
/* The value of a live key that is a whole number, at this moment.  Thread: any.  The others (of section guard) are the
 * owner's alone. */
static inline int64_t conf_now(const int64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}
#endif

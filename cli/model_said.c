/* model_said.c - what the version log says of a version, in a word. */
#include "cli/model.h"
#include "job/checkpoint_meta.h"
#include "job/verdict.h"
#include <stdio.h>

const char *cmd_model_said_of(const struct verdict_log *log, uint64_t pinned, uint64_t version)
{
    static const char *const words[VERDICT_KINDS] = {"blessed", "gone back to", "refused", "promoted", "pinned", NULL, NULL};
    if (version == pinned) return "pinned";
    const struct verdict *v = verdict_of(log, version);
    if (v != NULL && words[v->kind] != NULL && v->kind != VERDICT_PIN) return words[v->kind];
    return verdict_discards(log, version) ? "discarded" : NULL;
}

void cmd_model_said(char out[40], const char *state_dir, uint64_t version)
{
    struct checkpoint_meta meta;
    static struct verdict_log log; /* large */
    uint64_t pinned;
    out[0] = '\0';
    if (checkpoint_meta_open(&meta, state_dir, NULL) != STATUS_OK) return;
    const char *said = checkpoint_meta_verdicts(&meta, &log, &pinned, NULL) == STATUS_OK
                           ? cmd_model_said_of(&log, pinned, version)
                           : NULL;
    if (said != NULL) (void)snprintf(out, 40, ", %s", said);
    verdict_fini(&log);
    checkpoint_meta_close(&meta);
}

/* job_parts.c - see job_parts.h. */
#include "job/job_parts.h"
#include "base/log.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *advice(const char *part)
{
    if (strcmp(part, "text") == 0)
        return "leave it out of model.parts in a new state folder, or have it learn less: model.trainable_layers, "
               "serving.joint_top";
    if (strcmp(part, "match") == 0)
        return "leave it out of model.parts in a new state folder, or have it read fewer events: model.events";
    return "leave it out of model.parts in a new state folder";
}

bool job_part_is_dear(const struct conf *c, const struct report *r, uint32_t i, char *out, size_t n)
{
    const struct report_part *p = &r->parts[i];
    const double gain = r->progressive.gauc - p->gauc_without;
    const bool unproven = r->detail != NULL && r->detail->part_gauc[i].lower <= 0;
    if (r->progressive.slates < JOB_PARTS_SLATES || r->n_parts < 2) return false;
    if (!(p->cost_share > c->eval_part_cost_share) || !(gain < c->eval_part_min_gain || unproven)) return false;
    (void)snprintf(
        out, n,
        "part %s takes %.0f%% of the parts' time (%.1f us to score a candidate, %.1f us to learn an example) "
        "and brings %+.4f GAUC, %s eval.part_min_gain=%g: %s",
        p->name, 100 * p->cost_share, p->score_us, p->learn_us, gain,
        gain < c->eval_part_min_gain ? "less than" : "which may be chance (its interval reaches 0);",
        c->eval_part_min_gain, advice(p->name));
    return true;
}

void job_warn_parts(const struct conf *c, const struct report *r)
{
    char text[500];
    for (uint32_t i = 0; i < r->n_parts; i++)
        if (job_part_is_dear(c, r, i, text, sizeof text)) log_warn("parts", "dear=\"%s\"", text);
}

/* auc.c - see auc.h. */
#include "base/auc.h"
#include <math.h>

double auc_swept(const struct auc_sweep *s)
{
    return s->negatives > 0.0 && s->positives > 0.0 ? s->wins / (s->negatives * s->positives) : NAN;
}

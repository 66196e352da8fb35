/* fault.c - see fault.h. */
#include "simulate/fault.h"
#include "base/rand.h"
#include <math.h>
#include <string.h>

#define FAULT_STREAM 16 /* apart from the shop's own streams of random numbers */

bool fault_parse(const char *name, enum shop_fault *out)
{
    static const char *const names[] = {"none", "flip", "flood", "labels1", "prices0"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (enum shop_fault)i;
        return true;
    }
    return false;
}

bool fault_is_on(const struct shop_options *o, int64_t time_ms)
{
    const int64_t at = time_ms - o->start_ms - o->fault_at_ms;
    return o->fault != SHOP_FAULT_NONE && at >= 0 && at < o->fault_ms;
}

static void click(const struct shop_options *o, struct shop_list *l, uint32_t k, struct rand *r)
{
    l->click_ms[k] = l->time_ms + 1 + (int64_t)(-log(1.0 - rand_unit(r)) * o->delay_ms);
}

void fault_list(const struct shop_options *o, struct shop_list *l)
{
    struct rand r;
    if (!fault_is_on(o, l->time_ms) || l->source > 1) return;
    rand_init(&r, (struct rand_key){o->seed, 0, FAULT_STREAM, l->number, RAND_SIMULATE});
    for (uint32_t k = 0; k < l->n; k++) {
        const bool clicked = l->click_ms[k] > 0;
        if (o->fault == SHOP_FAULT_LABELS1 && !clicked) click(o, l, k, &r);
        if (o->fault != SHOP_FAULT_FLIP || rand_unit(&r) < 0.5) continue;
        l->bought[k] = false;
        if (clicked)
            l->click_ms[k] = 0;
        else
            click(o, l, k, &r);
    }
}

void fault_flood(const struct shop_options *o, const struct shop_list *l, uint32_t j, struct shop_list *out)
{
    struct rand r;
    rand_init(&r, (struct rand_key){o->seed, 1 + j, FAULT_STREAM, l->number, RAND_SIMULATE});
    *out = *l;
    out->number = l->number + ((uint64_t)(j + 1) << 40);
    out->user = o->users; /* one that the shop does not have */
    for (uint32_t k = 0; k < out->n; k++) {
        out->bought[k] = false;
        click(o, out, k, &r);
    }
}

/* fault.h - what goes wrong with a shop's log for a while: how a learner's defences are tried out.
 *
 * From fault_at_ms after the start, for fault_ms: half of all labels turned over (flip), one shopper who asks for four times as
 * many lists as all others and clicks everything (flood), an upstream that calls everything clicked (labels1), or that has lost all
 * prices (prices0).  With sources only what comes through source s0 is hit.  The truth and the best reachable figures are those
 * of the shop without its fault.
 */
#ifndef SIMULATE_FAULT_H
#define SIMULATE_FAULT_H
#include "simulate/shop.h"

#define FAULT_FLOOD_LISTS 4 /* the flooder's lists for each that others see */

bool fault_parse(const char *name, enum shop_fault *out); /* "none" "flip" "flood" "labels1" "prices0" */
bool fault_is_on(const struct shop_options *o, int64_t time_ms);
/* What the log says of a list, instead of what came of it. */
void fault_list(const struct shop_options *o, struct shop_list *l);
/* The flooder's j-th list (from 0) beside l. */
void fault_flood(const struct shop_options *o, const struct shop_list *l, uint32_t j, struct shop_list *out);
#endif

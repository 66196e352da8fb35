/* catalogue_parts.h - what an item's record points to, in one block: texts, tallies, token ids.
 *
 * For catalogue.c, which says when a record is open for changes, and for whoever fetches records ahead.  Blocks are rounded up
 * and used again, so an item whose texts come and go allocates nothing.
 */
#ifndef FEATURIZE_CATALOGUE_PARTS_H
#define FEATURIZE_CATALOGUE_PARTS_H
#include "featurize/catalogue.h"

size_t catalogue_parts_bytes(const struct record_item *i);
/* i's record becomes a copy of `from` (which may be i's own) with all parts in i's block, made anew when they don't fit.  By way
 * of `pack`, of catalogue_parts_bytes(from): parts may lie in the very block that they go to.  False: out of memory, i as before. */
bool catalogue_parts_put(struct catalogue_item *i, const struct record_item *from, void *pack) MUST_CHECK;
/* Asks for the lines of a block that a candidate's features read. */
void catalogue_parts_ahead(const struct catalogue_item *i);
#endif

/* store_pages.h - reads an LMDB file by itself, page for page, and believes nothing: LMDB's own checks are few.
 *
 * On-disk format of LMDB 0.9 (data version 1), 64-bit little-endian, one unnamed database without duplicates: what
 * base/store.c writes.  From the newer meta page both trees are walked: every page number in a header equals its place, kinds
 * and depths are right, nodes tile their page, keys ascend strictly and lie between their separators, overflow runs are whole,
 * counts are those of the meta page, and every page up to the last one is either reached once or on the free list once.  What
 * the records say is the caller's to check.  Nothing is allocated but one bit a page.  Thread: any; a file that shrinks
 * while it is mapped is SIGBUS (see child.h).
 */
#ifndef BASE_STORE_PAGES_H
#define BASE_STORE_PAGES_H
#include "base/status.h"
#include "base/str.h"
#include <stddef.h>
#include <stdint.h>

struct store_pages {
    uint64_t txnid, page_bytes, pages, records; /* pages: live length of the file in pages */
    unsigned meta;                              /* index of the meta page in force */
};
/* fn: each record in key order, its table byte in the key; a non-OK return stops and is returned. */
typedef enum status store_pages_fn(void *user, struct str key, struct str value, struct err *e);
/* CORRUPT names page and fault. */
enum status store_pages_walk(const void *map, size_t bytes, store_pages_fn *fn, void *user, struct store_pages *out,
                             struct err *e) MUST_CHECK;
/* Only the meta pages: which one is in force.  map: at least two pages' bytes. */
enum status store_pages_meta(const void *map, size_t bytes, struct store_pages *out, struct err *e) MUST_CHECK;
/* Writes the other meta page anew from the one in force, one transaction older: a copy of the file has no older state. */
void store_pages_one_meta(void *map, const struct store_pages *p);
#endif

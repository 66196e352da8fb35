/* store_pages.c - see store_pages.h.  Offsets and flags are those of LMDB 0.9's MDB_page, MDB_node, MDB_db, MDB_meta. */
#include "base/store_pages.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum {
    PAGE_HEAD = 16,
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    PAGE_META = 0x08,
    NODE_HEAD = 8,
    NODE_BIG = 0x01, /* the value lies in an overflow run */
    DB_BYTES = 48,
    META_DBS = PAGE_HEAD + 24, /* after magic, version, address, map size */
    META_LAST = META_DBS + 2 * DB_BYTES,
    META_TXN = META_LAST + 8,
    META_END = META_TXN + 8,
    DEPTH_MAX = 32,
    DB_FREE_FLAGS = 0x4008 /* made with MDB_NOSUBDIR; integer keys */
};
#define META_MAGIC 0xBEEFC0DEu
#define NO_PAGE UINT64_MAX
#define PAGES_AHEAD ((uint64_t)1 << 26) /* bounds the bit map */

struct tree { /* an MDB_db, and what the walk counts */
    bool free_list;
    uint16_t depth;
    uint64_t root, want[4], got[4]; /* branch, leaf, overflow pages, entries */
    struct str last;                /* the key before */
    bool any;
};
struct walk {
    const unsigned char *map;
    uint64_t page_bytes, pages; /* pages: last page + 1 */
    uint64_t there;      /* pages in the file: what was freed before it was ever written may lie behind its end */
    unsigned char *seen; /* one bit a page */
    store_pages_fn *fn;
    void *user;
};

static uint64_t le(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static enum status bad(struct err *e, uint64_t page, const char *what)
{
    return ERR_SET(e, STATUS_CORRUPT, "page %" PRIu64 ": %s", page, what);
}

/* ---- meta pages ---- */

static enum status check_meta(const unsigned char *p, size_t bytes, unsigned i, uint64_t *page_bytes, struct err *e)
{
    if (le(p, 8) != i || le(p + 10, 2) != PAGE_META) return bad(e, i, "no meta page");
    if (le(p + 16, 4) != META_MAGIC) return bad(e, i, "not LMDB's magic number");
    if (le(p + 20, 4) != 1) return bad(e, i, "another data version of LMDB");
    const uint64_t map = le(p + 32, 8);
    if (map == 0 || (map & (map - 1)) != 0) return bad(e, i, "the size of the map is none of ours");
    *page_bytes = le(p + META_DBS, 4);
    if (*page_bytes < 512 || *page_bytes > 65536 || (*page_bytes & (*page_bytes - 1)) != 0 || *page_bytes > bytes / 2)
        return bad(e, i, "its page size is none");
    return STATUS_OK;
}

enum status store_pages_meta(const void *map, size_t bytes, struct store_pages *out, struct err *e)
{
    const unsigned char *p = map;
    uint64_t second;
    *out = (struct store_pages){0};
    if (bytes < 2 * 512) return ERR_SET(e, STATUS_CORRUPT, "cut off after %zu bytes", bytes);
    TRY(check_meta(p, bytes, 0, &out->page_bytes, e));
    TRY(check_meta(p + out->page_bytes, bytes, 1, &second, e));
    if (second != out->page_bytes) return bad(e, 1, "another page size than page 0");
    const uint64_t txn[2] = {le(p + META_TXN, 8), le(p + out->page_bytes + META_TXN, 8)};
    out->meta = txn[1] > txn[0];
    out->txnid = txn[out->meta];
    const bool fresh = txn[0] == 0 && txn[1] == 0;
    if (!fresh && ((out->txnid & 1) != out->meta || txn[1 - out->meta] != out->txnid - 1))
        return ERR_SET(e, STATUS_CORRUPT, "meta pages of transactions %" PRIu64 " and %" PRIu64 ": one is damaged",
                       txn[0], txn[1]);
    out->pages = le(p + out->meta * out->page_bytes + META_LAST, 8) + 1;
    if (out->pages < 2 || out->pages > UINT64_MAX / out->page_bytes)
        return bad(e, out->meta, "its last page is out of range");
    return STATUS_OK;
}

void store_pages_one_meta(void *map, const struct store_pages *p)
{
    unsigned char *base = map, *from = base + p->meta * p->page_bytes, *to = base + (1 - p->meta) * p->page_bytes;
    const uint64_t older = p->txnid > 0 ? p->txnid - 1 : 0;
    memcpy(to, from, (size_t)p->page_bytes);
    to[0] = (unsigned char)(1 - p->meta);
    for (int i = 0; i < 8; i++) to[META_TXN + i] = (unsigned char)(older >> (8 * i));
}

static struct tree read_tree(const unsigned char *db, bool free_list)
{
    struct tree t = {.free_list = free_list, .depth = (uint16_t)le(db + 6, 2), .root = le(db + 40, 8)};
    for (int i = 0; i < 4; i++) t.want[i] = le(db + 8 + 8 * i, 8);
    return t;
}

/* ---- pages ---- */

static enum status claim(struct walk *w, uint64_t page, uint64_t n, struct err *e)
{
    if (page < 2 || page >= w->pages || n > w->pages - page) return bad(e, page, "out of range");
    for (uint64_t i = page; i < page + n; i++) {
        unsigned char *byte = &w->seen[i / 8];
        const unsigned char bit = (unsigned char)(1u << (i % 8));
        if ((*byte & bit) != 0) return bad(e, i, "is in use twice");
        *byte |= bit;
    }
    return STATUS_OK;
}

static int compare(const struct tree *t, struct str a, struct str b)
{
    if (t->free_list) {
        const uint64_t x = le((const unsigned char *)a.p, 8), y = le((const unsigned char *)b.p, 8);
        return x < y ? -1 : x > y;
    }
    const int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* A page that is read. */
static enum status in_file(const struct walk *w, uint64_t page, uint64_t n, struct err *e)
{
    return page <= w->there && n <= w->there - page ? STATUS_OK
                                                    : bad(e, page, "lies behind the end: the file is cut off");
}

/* A value outside its leaf: a run of pages whose first has a head.  A value that was overwritten by a shorter one keeps its
 * run. */
static enum status big_value(struct walk *w, struct tree *t, uint64_t page, size_t n, struct str *value, struct err *e)
{
    const uint64_t least = (PAGE_HEAD - 1 + n) / w->page_bytes + 1;
    TRY(in_file(w, page, least, e));
    const unsigned char *p = w->map + page * w->page_bytes;
    const uint64_t run = le(p + 12, 4);
    if (le(p, 8) != page || le(p + 10, 2) != PAGE_OVERFLOW) return bad(e, page, "is no overflow page of its number");
    if (run < least) return bad(e, page, "its run of pages is too short");
    TRY(claim(w, page, run, e));
    t->got[2] += run;
    *value = (struct str){(const char *)p + PAGE_HEAD, n};
    return STATUS_OK;
}

/* A list of free pages: count, then that many numbers. */
static enum status free_pages(struct walk *w, uint64_t page, struct str value, struct err *e)
{
    const unsigned char *p = (const unsigned char *)value.p;
    if (value.n < 8 || value.n % 8 != 0) return bad(e, page, "a free list of no whole number of pages");
    const uint64_t n = le(p, 8);
    if (n > value.n / 8 - 1) return bad(e, page, "a free list is longer than its record");
    for (uint64_t i = 1; i <= n; i++) TRY(claim(w, le(p + 8 * i, 8), 1, e));
    return STATUS_OK;
}

struct node {
    const unsigned char *p;
    struct str key;
    size_t low; /* leaf: bytes of the value; branch: unused */
    unsigned flags;
    uint64_t child;
};

static enum status leaf_node(struct walk *w, struct tree *t, uint64_t page, const struct node *n, struct err *e)
{
    const unsigned char *data = n->p + NODE_HEAD + n->key.n;
    struct str value = {(const char *)data, n->low};
    if (t->any && compare(t, t->last, n->key) >= 0) return bad(e, page, "keys do not ascend");
    t->last = n->key;
    t->any = true;
    t->got[3]++;
    if (n->flags == NODE_BIG) TRY(big_value(w, t, le(data, 8), n->low, &value, e));
    return t->free_list ? free_pages(w, page, value, e) : w->fn(w->user, n->key, value, e);
}

/* Node i of a page that ends at page_bytes; *size: what it takes up. */
static enum status get_node(const struct walk *w, const struct tree *t, const unsigned char *p, bool leaf, size_t i,
                            struct node *n, size_t *size, struct err *e)
{
    const uint64_t page = le(p, 8), upper = le(p + 14, 2), at = le(p + PAGE_HEAD + 2 * i, 2);
    if (at < upper || at + NODE_HEAD > w->page_bytes || at % 2 != 0) return bad(e, page, "a node lies outside");
    n->p = p + at;
    const size_t key = (size_t)le(n->p + 6, 2);
    n->flags = leaf ? (unsigned)le(n->p + 4, 2) : 0;
    n->low = (size_t)le(n->p, 4);
    n->child = le(n->p, 6);
    n->key = (struct str){(const char *)n->p + NODE_HEAD, key};
    if ((n->flags & ~(unsigned)NODE_BIG) != 0) return bad(e, page, "a node of an unknown kind");
    const size_t data = !leaf ? 0 : n->flags == NODE_BIG ? 8 : n->low;
    const uint64_t whole = (NODE_HEAD + (uint64_t)key + data + 1) & ~UINT64_C(1);
    if (at + whole > w->page_bytes) return bad(e, page, "a node reaches past its page");
    const bool first = !leaf && i == 0; /* a branch's first key is not used, and may be empty */
    if (t->free_list ? key != 8 && !(first && key == 0) : key == 0 && !first) return bad(e, page, "a key of no length");
    *size = (size_t)whole;
    return STATUS_OK;
}

static enum status walk_page(struct walk *w, struct tree *t, uint64_t page, unsigned depth, const struct str *low,
                             const struct str *high, struct err *e);

static enum status walk_branch(struct walk *w, struct tree *t, const unsigned char *p, size_t count, unsigned depth,
                               const struct str *low, const struct str *high, struct err *e)
{
    struct node n, next = {0};
    size_t size;
    TRY(get_node(w, t, p, false, 0, &n, &size, e));
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count) TRY(get_node(w, t, p, false, i + 1, &next, &size, e));
        TRY(walk_page(w, t, n.child, depth + 1, i == 0 ? low : &n.key, i + 1 < count ? &next.key : high, e));
        n = next;
    }
    return STATUS_OK;
}

static enum status walk_leaf(struct walk *w, struct tree *t, const unsigned char *p, size_t count,
                             const struct str *low, const struct str *high, struct err *e)
{
    struct node n;
    size_t size;
    for (size_t i = 0; i < count; i++) {
        TRY(get_node(w, t, p, true, i, &n, &size, e));
        if ((low != NULL && compare(t, n.key, *low) < 0) || (high != NULL && compare(t, n.key, *high) >= 0))
            return bad(e, le(p, 8), "a key is not where its branch says");
        TRY(leaf_node(w, t, le(p, 8), &n, e));
    }
    return STATUS_OK;
}

/* The nodes fill their page from `upper` to its end. */
static enum status check_tiling(const struct walk *w, const struct tree *t, const unsigned char *p, bool leaf,
                                size_t count, struct err *e)
{
    struct node n;
    size_t size, sum = 0;
    for (size_t i = 0; i < count; i++) {
        TRY(get_node(w, t, p, leaf, i, &n, &size, e));
        sum += size;
    }
    return sum == w->page_bytes - le(p + 14, 2) ? STATUS_OK : bad(e, le(p, 8), "its nodes do not fill it");
}

static enum status walk_page(struct walk *w, struct tree *t, uint64_t page, unsigned depth, const struct str *low,
                             const struct str *high, struct err *e)
{
    if (depth > t->depth) return bad(e, page, "the tree is deeper than its meta page says");
    const bool leaf = depth == t->depth;
    TRY(claim(w, page, 1, e));
    TRY(in_file(w, page, 1, e));
    const unsigned char *p = w->map + page * w->page_bytes;
    if (le(p, 8) != page) return bad(e, page, "says that it is another one");
    if (le(p + 10, 2) != (leaf ? PAGE_LEAF : PAGE_BRANCH)) return bad(e, page, "is of another kind");
    const uint64_t lower = le(p + 12, 2), upper = le(p + 14, 2);
    if (lower < PAGE_HEAD + 2 || lower % 2 != 0 || lower > upper || upper > w->page_bytes)
        return bad(e, page, "its bounds are out of range");
    const size_t count = (size_t)(lower - PAGE_HEAD) / 2;
    t->got[leaf ? 1 : 0]++;
    TRY(check_tiling(w, t, p, leaf, count, e));
    return leaf ? walk_leaf(w, t, p, count, low, high, e) : walk_branch(w, t, p, count, depth, low, high, e);
}

static enum status walk_tree(struct walk *w, struct tree *t, struct err *e)
{
    static const char *const what[4] = {"branch pages", "leaf pages", "overflow pages", "records"};
    const char *name = t->free_list ? "free list" : "records";
    if (t->depth > DEPTH_MAX || (t->depth == 0) != (t->root == NO_PAGE))
        return ERR_SET(e, STATUS_CORRUPT, "tree of %s: depth %u with root %" PRIu64, name, t->depth, t->root);
    if (t->depth > 0) TRY(walk_page(w, t, t->root, 1, NULL, NULL, e));
    for (int i = 0; i < 4; i++)
        if (t->want[i] != t->got[i])
            return ERR_SET(e, STATUS_CORRUPT, "tree of %s: %" PRIu64 " %s, its meta page says %" PRIu64, name,
                           t->got[i], what[i], t->want[i]);
    return STATUS_OK;
}

static enum status check_flags(const unsigned char *dbs, struct err *e)
{
    if (le(dbs + 4, 2) != DB_FREE_FLAGS || le(dbs + DB_BYTES + 4, 2) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "meta page: flags 0x%x and 0x%x are none of ours", (unsigned)le(dbs + 4, 2),
                       (unsigned)le(dbs + DB_BYTES + 4, 2));
    return STATUS_OK;
}

static enum status all_accounted(const struct walk *w, struct err *e)
{
    for (uint64_t i = 2; i < w->pages; i++)
        if ((w->seen[i / 8] >> (i % 8) & 1) == 0) return bad(e, i, "is neither in use nor free");
    return STATUS_OK;
}

enum status store_pages_walk(const void *map, size_t bytes, store_pages_fn *fn, void *user, struct store_pages *out,
                             struct err *e)
{
    struct walk w = {.map = map, .fn = fn, .user = user};
    enum status st;
    TRY(store_pages_meta(map, bytes, out, e));
    w.page_bytes = out->page_bytes;
    w.pages = out->pages;
    w.there = bytes / w.page_bytes;
    if (w.pages > w.there + PAGES_AHEAD) return bad(e, out->meta, "its last page is far behind the file's end");
    const unsigned char *dbs = w.map + out->meta * w.page_bytes + META_DBS;
    struct tree free_list = read_tree(dbs, true), records = read_tree(dbs + DB_BYTES, false);
    TRY(check_flags(dbs, e));
    w.seen = mem_calloc((size_t)(w.pages / 8 + 1), 1);
    if (w.seen == NULL) return ERR_SET(e, STATUS_OOM, "no memory for one bit a page");
    TRY_OUT(st, walk_tree(&w, &records, e));
    TRY_OUT(st, walk_tree(&w, &free_list, e));
    TRY_OUT(st, all_accounted(&w, e));
    out->records = records.got[3];
out:
    mem_free(w.seen);
    return st;
}

/* optim_sparse.c - pages of sparse rows and their accumulators in the store. */
#include "base/mem.h"
#include "trainer/optim.h"
#include <assert.h>
#include <string.h>

enum { PAGE_BYTES = 4, KEY_BYTES = 64 };

static struct str key_of(char key[KEY_BYTES], size_t page, struct str line)
{
    assert(line.n <= KEY_BYTES - PAGE_BYTES);
    for (int i = 0; i < PAGE_BYTES; i++) key[i] = (char)(unsigned char)(page >> (24 - 8 * i));
    if (line.n > 0) memcpy(key + PAGE_BYTES, line.p, line.n);
    return (struct str){key, PAGE_BYTES + line.n};
}

static size_t page_of(struct str key)
{
    size_t page = 0;
    for (size_t i = 0; i < PAGE_BYTES; i++) page = page << 8 | (unsigned char)key.p[i];
    return page;
}

static bool is_of(struct str key, struct str line)
{
    return key.n >= PAGE_BYTES && str_eq((struct str){key.p + PAGE_BYTES, key.n - PAGE_BYTES}, line);
}

enum status optim_sparse_save(const struct optim *o, const struct param_set *p, struct str line, struct store_txn *t,
                              struct err *e)
{
    for (size_t page = optim_dirty_page(o, 0); page != SIZE_MAX; page = optim_dirty_page(o, page + 1)) {
        struct optim_page out;
        char key[KEY_BYTES], bytes[OPTIM_PAGE_BYTES];
        optim_page_get(o, p, page, &out);
        const size_t n = optim_page_encode(o, page, &out, bytes);
        TRY(store_put(t, STORE_HASHED, key_of(key, page, line), (struct str){bytes, n}, e));
    }
    return STATUS_OK;
}

struct loading {
    struct optim *o;
    struct param_set *p;
    struct str line;
};

static enum status load_page(void *user, struct str key, struct str value, struct err *e)
{
    const struct loading *l = user;
    struct optim_page in;
    if (key.n < PAGE_BYTES)
        return ERR_SET(e, STATUS_CORRUPT, "sparse rows: a key of %zu bytes, at least %d expected", key.n, PAGE_BYTES);
    if (!is_of(key, l->line)) return STATUS_OK;
    TRY(optim_page_decode(l->o, page_of(key), value.p, value.n, &in, e));
    return optim_page_put(l->o, l->p, page_of(key), &in, e);
}

enum status optim_sparse_load(struct optim *o, struct param_set *p, struct str line, struct store_txn *t, struct err *e)
{
    return store_each(t, STORE_HASHED, load_page, &(struct loading){o, p, line}, e);
}

/* ---- a line that is gone ---- */

struct forgetting {
    struct str line;
    uint32_t *pages;
    size_t n, cap;
};

static enum status list_page(void *user, struct str key, struct str value, struct err *e)
{
    struct forgetting *f = user;
    (void)value;
    if (!is_of(key, f->line)) return STATUS_OK;
    if (MEM_GROW(f->pages, &f->cap, f->n + 1) != 0)
        return ERR_SET(e, STATUS_OOM, "hashed weights: %zu pages", f->n + 1);
    f->pages[f->n++] = (uint32_t)page_of(key);
    return STATUS_OK;
}

enum status optim_sparse_forget(struct store_txn *t, struct str line, struct err *e)
{
    char key[KEY_BYTES];
    struct forgetting f = {.line = line};
    enum status st = store_each(t, STORE_HASHED, list_page, &f, e);
    for (size_t i = 0; i < f.n && st == STATUS_OK; i++)
        st = store_delete(t, STORE_HASHED, key_of(key, f.pages[i], line), e);
    mem_free(f.pages);
    return st;
}

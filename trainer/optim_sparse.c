/* optim_sparse.c - pages of hashed weights and their accumulators in the store. */
#include "trainer/optim.h"
#include <string.h>

enum status optim_sparse_save(const struct optim *o, const struct param_set *p, struct store_txn *t, struct err *e)
{
    for (size_t page = optim_dirty_page(o, 0); page != SIZE_MAX; page = optim_dirty_page(o, page + 1)) {
        struct optim_page out;
        const unsigned char key[4] = {(unsigned char)(page >> 24), (unsigned char)(page >> 16),
                                      (unsigned char)(page >> 8), (unsigned char)page};
        optim_page_get(o, p, page, &out);
        TRY(store_put(t, STORE_HASHED, (struct str){(const char *)key, sizeof key},
                      (struct str){(const char *)&out, sizeof out}, e));
    }
    return STATUS_OK;
}

struct loading {
    struct optim *o;
    struct param_set *p;
};

static enum status load_page(void *user, struct str key, struct str value, struct err *e)
{
    const struct loading *l = user;
    const unsigned char *k = (const unsigned char *)key.p;
    struct optim_page in;
    if (key.n != 4 || value.n != sizeof in)
        return ERR_SET(e, STATUS_CORRUPT, "hashed weights: a record of %zu bytes, %zu expected", value.n, sizeof in);
    memcpy(&in, value.p, sizeof in);
    return optim_page_put(l->o, l->p, (size_t)k[0] << 24 | (size_t)k[1] << 16 | (size_t)k[2] << 8 | k[3], &in, e);
}

enum status optim_sparse_load(struct optim *o, struct param_set *p, struct store_txn *t, struct err *e)
{
    return store_each(t, STORE_HASHED, load_page, &(struct loading){o, p}, e);
}

/* conf_live.c - see conf_live.h. */
#include "schemas/conf_live.h"
#include "base/log.h"
#include "schemas/conf_table.h"
#include "schemas/conf_variant.h"
#include <string.h>

/* Whole numbers are read by other threads too; the rest by the owner's alone. */
static void take_value(struct conf *c, const struct conf *fresh, const struct conf_key *k)
{
    static const size_t bytes[] = {[CONF_KIND_NUM] = sizeof(double),
                                   [CONF_KIND_BOOL] = sizeof(bool),
                                   [CONF_KIND_TEXT] = CONF_TEXT,
                                   [CONF_KIND_WORD] = sizeof c->guard_mode};
    const void *from = (const char *)fresh + k->offset;
    void *to = (char *)c + k->offset;
    if (k->kind == CONF_KIND_INT)
        __atomic_store_n((int64_t *)to, *(const int64_t *)from, __ATOMIC_RELAXED);
    else
        memcpy(to, from, bytes[k->kind]);
}

static void differs(struct conf_live *n, const char *key)
{
    n->restart++;
    log_warn("reload", "key=%s changed=\"no: it needs a restart\"", key);
}

static void take_key(struct conf *c, const struct conf *fresh, const struct conf_key *k, struct conf_live *n)
{
    struct buf old = {0}, now = {0};
    conf_value_text(&old, c, k);
    conf_value_text(&now, fresh, k);
    const bool same = old.n == now.n && (old.n == 0 || memcmp(old.p, now.p, old.n) == 0);
    if (!same && strchr(k->flags, 'L') == NULL) {
        differs(n, k->key);
    } else if (!same) {
        take_value(c, fresh, k);
        n->changed++;
        log_info("reload", "key=%s old=%.*s new=%.*s", k->key, (int)old.n, (const char *)old.p, (int)now.n,
                 (const char *)now.p);
    }
    buf_fini(&old);
    buf_fini(&now);
}

static bool same_types(const struct conf *a, const struct conf *b)
{
    if (a->n_types != b->n_types) return false;
    for (uint32_t i = 0; i < a->n_types; i++) {
        const struct conf_type *x = &a->types[i], *y = &b->types[i];
        if (strcmp(x->name, y->name) != 0 || x->label != y->label || x->weight < y->weight || x->weight > y->weight ||
            strcmp(x->template_text, y->template_text) != 0)
            return false;
    }
    return true;
}

static bool same_kafka(const struct conf *a, const struct conf *b)
{
    if (a->n_kafka != b->n_kafka) return false;
    for (size_t i = 0; i < a->n_kafka; i++)
        if (strcmp(a->kafka[i].key, b->kafka[i].key) != 0 || strcmp(a->kafka[i].value, b->kafka[i].value) != 0)
            return false;
    return true;
}

struct conf_live conf_take_live(struct conf *c, const struct conf *fresh)
{
    struct conf_live n = {0};
    bool variants;
    for (size_t i = 0; i < conf_n_keys; i++) take_key(c, fresh, &conf_keys[i], &n);
    if (!same_types(c, fresh)) differs(&n, "type.*");
    n.changed += conf_variants_take_live(c, fresh, &variants);
    if (variants) differs(&n, "variant.*");
    if (!same_kafka(c, fresh)) differs(&n, "kafka.*"); /* values may be secrets: the family is named alone */
    if (n.changed + n.restart == 0) log_info("reload", "changed=nothing");
    return n;
}

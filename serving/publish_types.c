/* publish_types.c - a key of another type where one of ours belongs: somebody's slip of the hand, which no write gets over. */
#include "base/log.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <string.h>

bool publish_is_wrong_type(enum status st, const struct err *e)
{
    return st == STATUS_INVALID && strstr(e->text, "WRONGTYPE") != NULL;
}

/* Under WATCH, so that what another learner puts there meanwhile stays.  What the key holds is nothing of freshet's: its
 * removal needs no lease. */
static enum status remove_wrong(struct publish *p, const char *key, const char *type, struct err *e)
{
    const struct redis_reply *reply;
    redis_clear(p->redis);
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("WATCH"), str_from(key))));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("TYPE"), str_from(key))));
    TRY(redis_get(p->redis, e, &reply));
    TRY(redis_get(p->redis, e, &reply));
    if (redis_is(reply, type) || redis_is(reply, "none"))
        return redis_call(p->redis, e, &reply, REDIS_ARGS(STR("UNWATCH")));
    log_warn("publish", "redis=%s key=%s is a %.20s, not a %s: somebody else wrote it; it is removed and made anew",
             redis_name(p->redis), key, reply->text.p, type);
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("MULTI"))));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("UNLINK"), str_from(key))));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("EXEC"))));
    for (int i = 0; i < 3; i++) TRY(redis_get(p->redis, e, &reply));
    return STATUS_OK;
}

enum status publish_mend_types(struct publish *p, struct err *e)
{
    static const struct {
        size_t (*key)(char out[KEY_MAX], const char *model);
        const char *type;
    } all[] = {{key_lease, "string"}, {key_info, "hash"},         {key_log, "stream"},
               {key_metrics, "hash"}, {key_metrics_ts, "stream"}, {key_current, "string"}};
    char key[KEY_MAX];
    enum status st = STATUS_OK;
    for (size_t i = 0; st == STATUS_OK && i < sizeof all / sizeof *all; i++) {
        (void)all[i].key(key, p->model);
        st = remove_wrong(p, key, all[i].type, e);
    }
    redis_clear(p->redis);
    return st;
}

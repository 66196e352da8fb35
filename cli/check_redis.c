/* check_redis.c - Redis: can it be reached, is the version there one that this configuration can score with, does it have room? */
#include "base/clock.h"
#include "cli/check.h"
#include "schemas/key.h"
#include "serving/publish_manifest.h"
#include "serving/redis_info.h"
#include <inttypes.h>

/* Memory: what there is, what may be thrown away, and what this model asks for. */
static void check_memory(struct cmd_check *c, struct redis *r)
{
    struct redis_info i;
    struct err e = {0};
    char text[REDIS_INFO_TEXT], need[PUBLISH_NEED_TEXT];
    if (redis_info(r, &i, &e) != STATUS_OK) {
        cmd_check_row(c, CMD_CHECK_SKIP, "redis memory", NULL, "this user may not ask for it (INFO)");
        return;
    }
    redis_info_memory(&i, text);
    const bool tight = i.max_bytes > 0 && publish_need_bytes(&c->need, 0, 0, 0) > i.max_bytes;
    if (redis_info_evicts(&i))
        cmd_check_row(c, CMD_CHECK_WARN, "redis memory", "set maxmemory-policy to volatile-lru or noeviction",
                      "maxmemory-policy %s may throw weights away; %s", i.policy, text);
    else
        cmd_check_row(c, tight ? CMD_CHECK_WARN : CMD_CHECK_OK, "redis memory",
                      tight ? "raise maxmemory or lower publish.keep" : NULL, "%s", text);
    if (c->need.version_bytes == 0) return;
    publish_need_text(&c->need, need);
    cmd_check_more(c, "this model needs %s", need);
}

/* Would a scorer with this configuration take the version?  Says so where not, or where it can't be known. */
static bool version_fits(struct cmd_check *c, struct redis *r, uint64_t version)
{
    const struct redis_reply *reply;
    struct publish_manifest m = {0};
    struct err e = {0};
    char key[KEY_MAX];
    (void)key_manifest(key, c->conf->model_name, version);
    enum status st = redis_call(r, &e, &reply, REDIS_ARGS(STR("GET"), str_from(key)));
    if (st == STATUS_OK && reply->kind != REDIS_TEXT) st = ERR_SET(&e, STATUS_CORRUPT, "%s is missing", key);
    if (st == STATUS_OK) st = publish_manifest_decode(&m, reply->text, c->conf->model_name, &e);
    if (st != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WARN, "redis", "its learner publishes it anew when it runs", "%s: %s", redis_name(r),
                      e.text);
    else if (c->fingerprint != 0 && (st = publish_manifest_fits(&m, c->fingerprint, &e)) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "redis", "or give this model another model.name", "%s: %s", redis_name(r),
                      e.text);
    else if (c->recipe != 0 && (st = publish_manifest_agrees(&m, c->recipe, &e)) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "redis", "give scorer and learner the same", "%s: %s", redis_name(r), e.text);
    publish_manifest_fini(&m);
    return st == STATUS_OK;
}

static void check_version(struct cmd_check *c, struct redis *r)
{
    const struct redis_reply *reply;
    struct err e = {0};
    char key[KEY_MAX];
    uint64_t version;
    (void)key_current(key, c->conf->model_name);
    if (redis_call(r, &e, &reply, REDIS_ARGS(STR("GET"), str_from(key))) != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "redis", "does the user have rights on fr:*?", "%s", e.text);
    else if (reply->kind == REDIS_NIL)
        cmd_check_row(c, CMD_CHECK_OK, "redis", NULL, "%s: reachable; model %s has no version yet", redis_name(r),
                      c->conf->model_name);
    else if (reply->kind != REDIS_TEXT || !key_current_read(reply->text, &version))
        cmd_check_row(c, CMD_CHECK_WARN, "redis", "its learner writes it anew when it publishes",
                      "%s: %s is no version", redis_name(r), key);
    else if (version_fits(c, r, version))
        cmd_check_row(c, CMD_CHECK_OK, "redis", NULL, "%s: reachable; model %s is at version %" PRIu64, redis_name(r),
                      c->conf->model_name, version);
}

void cmd_check_redis(struct cmd_check *c)
{
    struct redis *r = NULL;
    struct err e = {0};
    enum status st = redis_open(&r, c->conf, clock_system(), &e);
    if (st == STATUS_NOT_FOUND) {
        cmd_check_row(c, CMD_CHECK_SKIP, "redis", NULL, "redis.url is not set; nothing is published, serve needs it");
        return;
    }
    if (st == STATUS_OK) st = redis_connect(r, &e);
    if (st != STATUS_OK) {
        cmd_check_row(c, CMD_CHECK_WRONG, "redis", "is the server up, redis.url and redis.password_file right?", "%s",
                      e.text);
    } else {
        check_version(c, r);
        check_memory(c, r);
    }
    redis_close(r);
}

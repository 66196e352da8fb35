/* job_reload.c - SIGHUP: the configuration is read again, and the live keys take effect between two batches.
 *
 * On the learner's thread, which is the only one that reads them from the job's configuration; what the uploader uses it is
 * handed.  A configuration that can't be read changes nothing.
 */
#include "base/log.h"
#include "job/job_notify.h"
#include "job/job_private.h"
#include "schemas/conf_live.h"

void job_reload_tick(struct job *j)
{
    struct conf *fresh = NULL;
    struct err e = {0};
    const struct job_options *o = j->options;
    if (o->read_again == NULL) return;
    if (j->ranks != NULL) {
        log_warn("reload", "refused=\"train.ranks = %lld: all processes learn by the keys that they began with\"",
                 (long long)j->conf->train_ranks);
        return;
    }
    job_notify_reloading();
    if (o->read_again(o->read_again_user, &fresh, &e) != STATUS_OK) {
        log_error("reload", "refused=\"%s\" changed=nothing", e.text);
    } else {
        const int64_t now = job_now_us(j);
        conf_take_live(j->conf, fresh);
        learner_reloaded(j->learner);
        publish_reload(j->publish, j->conf);
        job_variants_reload(j);
        /* shorter spacings count from now on */
        if (j->next_checkpoint_us > now + j->conf->state_checkpoint_ms * 1000)
            j->next_checkpoint_us = now + j->conf->state_checkpoint_ms * 1000;
        if (j->next_publish_us > now + j->conf->publish_every_ms * 1000)
            j->next_publish_us = now + j->conf->publish_every_ms * 1000;
        if (j->next_features_us > now + j->conf->publish_features_ms * 1000)
            j->next_features_us = now + j->conf->publish_features_ms * 1000;
        j->next_backup_us = now + j->conf->state_backup_ms * 1000;
    }
    conf_free(fresh);
    job_notify("READY=1");
}

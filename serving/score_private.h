/* score_private.h - the inside of the scorer, shared by score*.c alone. */
#ifndef SERVING_SCORE_PRIVATE_H
#define SERVING_SCORE_PRIVATE_H
#include "base/queue.h"
#include "base/rand.h"
#include "featurize/feat.h"
#include "serving/fetch.h"
#include "serving/redis.h"
#include "serving/score.h"
#include "serving/score_records.h"
#include <pthread.h>
#include <stdatomic.h>

#define SCORE_RECORD_BYTES ((size_t)128 << 20) /* decoded records in memory */
#define SCORE_SERVED_QUEUE 256                 /* answers waiting to be logged */
#define SCORE_SERVED_ITEMS 1000                /* items of one logged answer at most */

struct score_served { /* one answer on its way to fr:m:served, packed */
    struct buf pack;
};
struct score_hand {
    struct score *s;
    struct redis *redis;
    struct feat *feat;
    struct model_run *run;
    struct slate *slate;
    struct slot_version *version; /* bound, acquired; NULL: none */
    uint64_t order;               /* of binding: a larger one is newer */
    bool out;
    struct rand rand;
    struct score_request request;
    struct score_answer answer;
    uint32_t joint_top; /* serving.joint_top as it was when the request came */
    /* scratch of one request */
    struct arena arena;
    const struct score_record **held;
    size_t n_held, cap_held;
    struct record_user user; /* a copy that the request's own history and attributes were laid over */
    struct record_item *own; /* (n_own) stand-ins and copies with the request's attributes laid over */
    size_t n_own, cap_own;
    struct buf pack;
};
struct score {
    const struct conf *conf;
    struct clock *clock;
    struct metric *metric;
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    struct model *model;
    struct state_cache *states;
    struct feat *probe_feat;
    struct model_run *probe_run;
    struct fetch *fetch; /* watch's */
    struct slot *slot;
    struct score_records *records;
    int64_t opened_wall_ms;
    size_t text_part; /* index of the staged part among the model's; SIZE_MAX: none */

    pthread_mutex_t lock; /* of the pool */
    pthread_cond_t returned;
    struct score_hand *hands;
    size_t n_hands;
    uint64_t bindings;
    struct fetch_report report; /* the newest, copied for the request threads */

    bool bind_again;  /* watch's: a hand could not be bound to the version in force */
    atomic_bool away; /* a hand found Redis away: nobody asks it until the watch has reached it again */

    pthread_t watch, logger;
    bool watching, logging;
    atomic_bool stopping;
    _Atomic uint64_t looks; /* of the watch thread */
    pthread_cond_t stop;    /* with lock */
    uint64_t freshness_written;

    struct queue *served, *spare; /* of struct score_served: filled, empty */
    struct score_served *entries;
    struct redis *served_redis; /* logger's, as is its text */
    struct buf served_text;
};

enum status score_hand_init(struct score_hand *h, struct score *s, struct err *e) MUST_CHECK; /* score_hand.c */
void score_hand_fini(struct score_hand *h);
/* Binds every hand to the version in force, one at a time, as they come back. */
enum status score_bind_all(struct score *s, struct err *e) MUST_CHECK;
enum status score_watch_start(struct score *s, struct err *e) MUST_CHECK; /* score_watch.c */
void score_watch_stop(struct score *s);
enum status score_served_open(struct score *s, struct err *e) MUST_CHECK; /* score_served.c */
enum status score_served_start(struct score *s, struct err *e) MUST_CHECK;
void score_served_stop(struct score *s);
void score_served_close(struct score *s);
void score_served_put(struct score_hand *h, const struct score_answer *a);
/* Records of user, candidates and history: one round trip.  false: Redis is away. */
struct score_found {
    const struct score_record *user;
    const struct score_record **items;   /* (n_items) NULL: unknown */
    const struct score_record **history; /* (n_history) */
    bool away;
};
enum status score_gather(struct score_hand *h, struct score_found *f, struct err *e) MUST_CHECK; /* score_gather.c */
enum status score_gather_states(struct score_hand *h, struct err *e) MUST_CHECK;
void score_let_go(struct score_hand *h);
#endif

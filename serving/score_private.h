/* score_private.h - the inside of the scorer, shared by score*.c alone. */
#ifndef SERVING_SCORE_PRIVATE_H
#define SERVING_SCORE_PRIVATE_H
#include "base/queue.h"
#include "base/rand.h"
#include "featurize/feat.h"
#include "schemas/conf_variant.h"
#include "serving/fetch.h"
#include "serving/redis.h"
#include "serving/score.h"
#include "serving/score_records.h"
#include <pthread.h>
#include <stdatomic.h>

#define SCORE_RECORD_BYTES ((size_t)128 << 20) /* decoded records in memory */
#define SCORE_SERVED_QUEUE 256                 /* answers waiting to be logged */
#define SCORE_SERVED_ITEMS 1000                /* items of one logged answer at most */
#define SCORE_TOGETHER 16                      /* slates of one pass at most */
#define SCORE_TOGETHER_ITEMS 256               /* and their candidates, unless it is one slate */

#define SCORE_HAND_KEPT ((size_t)8 << 20)      /* of a hand's memory between requests */

#define SCORE_SHADOW_HANDS 4 /* requests that shadows score after their answer, at a time */

struct score_served { /* one answer on its way to fr:m:served, packed */
    struct buf pack;
};
struct score_hand {
    struct score *s;
    struct redis *redis;
    struct feat *feat;
    struct slate *slate;
    struct score_line *line;      /* whose version it is */
    struct slot_version *version; /* of the request under way, acquired; NULL: none */
    bool answered;                /* the shadows may score it too */
    bool out, coming;             /* coming: borrowed, and not ready to be scored yet */
    struct rand rand;
    struct score_request request;
    struct score_answer answer;
    uint32_t joint_top; /* serving.joint_top as it was when the request came */
    /* scratch of one request */
    struct arena arena;
    const struct score_record **held;
    size_t n_held, cap_held;
    const struct state_entry **states; /* (n_states) pinned; of the arena */
    size_t n_states;
    struct record_user user; /* a copy that the request's own history and attributes were laid over; of the arena */
    struct buf pack;
};
struct score_pass { /* one thread's hands over the model */
    struct model_run *run;
    struct slot_version *version; /* bound, acquired; NULL: none */
    bool out;
};
struct score_ticket { /* a slate that waits for a pass; on its request's stack */
    const struct slate *slate;
    struct slot_version *version;
    uint32_t joint_top;
    float *logits, *part_logits;
    int64_t from_us;
    bool taken, done;
    enum status status;
    struct err why;
    struct score_ticket *next;
};
struct score_line { /* one variant: score_line.c */
    struct score *s;
    const char *name; /* "default", or the variant's; the configuration's */
    struct conf *own;
    const struct conf *conf;
    struct model *model;
    struct state_cache *states; /* NULL: no part wants states */
    bool owns_states;           /* else an earlier line's */
    struct model_run *probe_run;
    struct fetch *fetch; /* watch's */
    struct slot *slot;
    size_t text_part; /* index of the staged part among the model's; SIZE_MAX: none */
    struct score_pass *passes;
    size_t n_passes;
    struct slot_version *bound; /* what new requests are scored with; acquired */
    struct fetch_report report; /* the newest, copied for the request threads */
    bool bind_again;            /* watch's: a pass could not be bound to the version in force */
};
struct score {
    const struct conf *conf;
    struct conf *world; /* what features are made by: all parts that any line has */
    struct clock *clock;
    struct metric *metric;
    struct token_vocab *vocab;
    struct describe *templates;
    struct kern *kern;
    struct encoder *encoder;
    struct feat *probe_feat;
    struct score_line lines[CONF_LINES_MAX]; /* (n_lines) */
    size_t n_lines;
    _Atomic size_t in_charge; /* which of them answers whom no share names */
    struct score_records *records;
    int64_t opened_wall_ms;

    pthread_mutex_t lock;    /* of hands, passes and the queue */
    pthread_cond_t returned; /* a hand */
    struct score_hand *hands;
    size_t n_hands, n_coming;
    pthread_cond_t moved; /* a pass came free, a slate was scored, a request arrived or left */
    size_t at_a_time, n_scoring;
    struct score_ticket *waiting; /* oldest first */
    struct pool *pool;            /* of the pass that is alone; NULL: one thread */

    atomic_bool away; /* a hand found Redis away: nobody asks it until the watch has reached it again */

    pthread_t watch, logger, shadow;
    bool watching, logging, shadowing;
    struct queue *shadows; /* of struct score_hand, answered; NULL: no variants */
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
void score_hand_rest(struct score_hand *h); /* its request is over: what an unusual one took is given back */
void score_hand_fini(struct score_hand *h);
/* score_line.c: every variant's half; what was opened is closed also after a failure. */
enum status score_lines_open(struct score *s, struct err *e) MUST_CHECK;
void score_lines_close(struct score *s);
struct score_line *score_line_of(struct score *s, struct str user); /* with the lock held: who answers this user */
struct score_line *score_line_in_charge(struct score *s);
void score_look_champion(struct score *s); /* watch's: who is in charge, as Redis says */
/* score_shadow.c: after an answer, the variants that are shadows score the same slate, and their rankings are logged. */
enum status score_shadow_open(struct score *s, struct err *e) MUST_CHECK;
enum status score_shadow_start(struct score *s, struct err *e) MUST_CHECK;
void score_shadow_stop(struct score *s);
void score_shadow_close(struct score *s);
bool score_shadow_take(struct score *s, struct score_hand *h); /* true: it will be returned when they are done */
void score_give_back(struct score *s, struct score_hand *h);   /* score.c: free for the next request */
enum status score_passes_open(struct score_line *l, struct err *e) MUST_CHECK; /* score_pass.c */
void score_passes_close(struct score_line *l);
/* The hand's request takes the version in force of the line that answers its user, to its end; false: there is none. */
bool score_pass_begin(struct score_hand *h);
/* The same with this line's (a shadow's). */
bool score_pass_begin_with(struct score_hand *h, struct score_line *l);
/* The hand's request waits for something else: nobody waits for it. */
void score_pass_put_off(struct score_hand *h);
/* Logits of the hand's slate, as model_score's, by a pass that has the request's version. */
enum status score_pass(struct score_hand *h, float *logits, float *part_logits, struct err *e) MUST_CHECK;
void score_pass_end(struct score_hand *h); /* with the lock held: the request is over, or never came so far */
/* Binds every pass to the version in force, one at a time, as they come free. */
enum status score_bind_all(struct score_line *l, struct err *e) MUST_CHECK;
enum status score_watch_start(struct score *s, struct err *e) MUST_CHECK; /* score_watch.c */
void score_watch_stop(struct score *s);
enum status score_served_open(struct score *s, struct err *e) MUST_CHECK; /* score_served.c */
enum status score_served_start(struct score *s, struct err *e) MUST_CHECK;
void score_served_stop(struct score *s);
void score_served_close(struct score *s);
void score_served_put(struct score_hand *h, const struct score_answer *a, bool shadow);
/* score_explore.c: is the hand's request one that is explored?  Then: what it is ordered by, instead of the logits (both (K)),
 * and how likely each position of the order came about, into its answer. */
struct score_order {
    double key;
    float logit;
    uint32_t index;
    bool staged; /* seen by all parts: these come first */
};
bool score_explores(const struct score_hand *h);
enum status score_explore_keys(struct score_hand *h, struct score_order *o, struct err *e) MUST_CHECK;
void score_explore_propensities(struct score_hand *h, const struct score_order *o);
/* score_hand.c: scores the filled slate by the hand's line and ranks it into its answer. */
enum status score_run_line(struct score_hand *h, struct err *e) MUST_CHECK;
/* Records of user, candidates and history: one round trip.  false: Redis is away. */
struct score_found {
    const struct score_record *user;
    const struct score_record **items;   /* (n_items) NULL: unknown */
    const struct score_record **history; /* (n_history) */
    bool away;
};
enum status score_gather(struct score_hand *h, struct score_found *f, struct err *e) MUST_CHECK; /* score_gather.c */
/* Frozen states that the line's pass will ask for: from Redis where they are not at hand, else computed here, so that no pass
 * waits for the encoder; pinned until score_let_states_go. */
enum status score_gather_states(struct score_hand *h, struct err *e) MUST_CHECK;
void score_let_states_go(struct score_hand *h);
void score_let_go(struct score_hand *h);
#endif

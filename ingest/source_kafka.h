/* source_kafka.h - the insides of the Kafka source, shared by source_kafka*.c alone.
 *
 * One consumer, one table of partitions.  source_kafka.c opens and closes; _start says where a partition begins; _group
 * takes and gives partitions; _read takes messages from them, _align says from which; _guard watches the offsets; _health
 * keeps what metrics show.  The poller's thread owns everything; what another thread reads or writes (commits, release,
 * health, librdkafka's events) stands under `lock` or is atomic.
 */
#ifndef INGEST_SOURCE_KAFKA_H
#define INGEST_SOURCE_KAFKA_H
#include "ingest/source_ops.h"
#include <pthread.h>
#include <stdatomic.h>

#define SOURCE_KAFKA_TOPICS 64
#define SOURCE_KAFKA_SHARES 4 /* the least; of what may be fetched ahead, one for each partition (source_kafka_share) */

struct rd_kafka_s;
struct rd_kafka_conf_s;
struct rd_kafka_message_s;
struct rd_kafka_queue_s;
struct rd_kafka_topic_partition_list_s;

enum source_kafka_policy { SOURCE_KAFKA_UNKNOWN, SOURCE_KAFKA_DELETE, SOURCE_KAFKA_COMPACT }; /* cleanup.policy */
struct source_kafka_topic {
    char *name;
    enum source_kafka_policy policy;
    uint32_t n_parts; /* as metadata said last */
    bool begun;       /* ingest.start is spent: partitions that appear now are read from their first record */
};
enum source_kafka_tell { SOURCE_KAFKA_QUIET, SOURCE_KAFKA_JOINED, SOURCE_KAFKA_LEFT };
struct source_kafka_part {
    uint32_t topic, partition; /* topic: index in ingest.topics */
    uint64_t next, mark;       /* next offset to give out; hash of the record before it, 0 not known */
    uint64_t high;             /* end of the partition when it was last known */
    bool begun;                /* next is ours: of the checkpoint, or found by ingest.start */
    bool owned;                /* assigned to us: read, and committed to the group */
    bool leaving;              /* asked back: nothing more is taken, the learner's checkpoint is waited for */
    bool verify;               /* the record before next is read again and compared with mark */
    bool follows;              /* a record was taken before this one, so a jump in the offsets is a gap */
    bool shaken;               /* paused or moved since the last record: a jump may be librdkafka's; looked at twice */
    uint64_t again_at;         /* next + 1 of that second look */
    bool doubtful;             /* its topic was away: verified anew when it answers */
    bool at_end, told_idle;
    int64_t end_us;              /* when the end was reached */
    enum source_kafka_tell tell; /* set by source_kafka_tell */
    /* source_kafka_align.c */
    struct rd_kafka_queue_s *queue;  /* its own, while it is ours */
    struct rd_kafka_message_s *head; /* taken out of it and judged, not given out yet; NULL: the queue is empty */
    struct source_record record;     /* made of head ... */
    uint64_t read;                   /* ... for this read, in its batch's arena */
    int64_t time_ms;                 /* greatest event time up to and with head; INT64_MIN: none yet */
    uint32_t jumps;                  /* events in a row beyond ingest.max_jump_ms */
    bool awaited;                    /* without head: has more, by the brokers' last answer */
    int64_t wait_us;                 /* since when it holds the others back; 0: it does not */
    /* source_kafka_wake.c: taken since its queue was empty last; it was full then, and has not been woken since */
    uint64_t run_messages, run_bytes;
    bool was_full;
};
struct source_kafka_turn { /* of a partition that has a head, or waits for one */
    int64_t time_ms;
    uint32_t part; /* index in parts */
    bool waits;
};
enum source_kafka_begin { SOURCE_KAFKA_EARLIEST, SOURCE_KAFKA_LATEST, SOURCE_KAFKA_TIME };
enum source_kafka_change { SOURCE_KAFKA_STEADY, SOURCE_KAFKA_TAKE, SOURCE_KAFKA_GIVE };

struct source_kafka {
    struct source base;
    const struct conf *conf;
    struct clock *clock;
    struct rd_kafka_s *rk;
    struct preset *preset;
    struct buf headers;
    int timeout_ms;
    bool group;   /* ingest.membership */
    bool opening; /* nothing is assigned yet */
    /* what is read */
    struct source_kafka_topic topics[SOURCE_KAFKA_TOPICS];
    uint32_t n_topics;
    struct rd_kafka_queue_s *answers; /* to source_kafka_ask_policies; NULL: taken */
    struct source_kafka_part *parts;  /* by (topic, partition) */
    size_t n_parts, cap_parts, last_part;
    enum source_kafka_begin begin;
    int64_t begin_ms;
    bool telling;      /* some partition has something to tell */
    bool tell_barrier; /* the next JOINED are to be durable before their records are learnt */
    int64_t refresh_us, next_refresh_us;
    /* rebalancing: librdkafka waits for our (un)assign; change says for which, over the partitions of `list` */
    enum source_kafka_change change;
    struct rd_kafka_topic_partition_list_s *list;
    bool lost, closing, joined_once, rejoined;
    int64_t change_us, retry_us, give_ms;
    uint64_t barrier, waits_for; /* last one given out; the one that `change` waits for, 0 not given out yet */
    atomic_uint_fast64_t released;
    uint32_t shares;
    uint64_t full_messages, full_bytes; /* source_kafka_wake.c: a queue that holds so much is full */
    /* source_kafka_align.c */
    struct rd_kafka_queue_s *events; /* the consumer's: callbacks and faults of all */
    atomic_bool filled;              /* partitions' queues are to be looked at, and their order is to be found anew */
    struct source_kafka_turn *turns; /* a heap */
    size_t n_turns, cap_turns;
    uint64_t reads; /* batches begun */
    /* under lock: owned and parts as others see them, health */
    pthread_mutex_t lock;
    struct source_health health;
    int64_t down_us;
    char last_fail[200]; /* of a connection, as librdkafka's log has it */
};

/* source_kafka_start.c: asks the brokers; IO names them, what was asked for and why it failed. */
enum status source_kafka_topics(struct source_kafka *s, struct err *e) MUST_CHECK; /* conf's names and ingest.start */
enum status source_kafka_find_parts(struct source_kafka *s, struct err *e) MUST_CHECK;
/* Where p goes on: sets next for one that has not begun, checks the checkpoint's (source_kafka_missing) and asks for
 * `verify` where the record before it can be read again. */
enum status source_kafka_place(struct source_kafka *s, struct source_kafka_part *p, struct err *e) MUST_CHECK;
enum status source_kafka_ends(struct source_kafka *s, struct source_kafka_part *p, uint64_t *low,
                              struct err *e) MUST_CHECK;
/* source_kafka_part.c: the table. */
struct source_kafka_part *source_kafka_part_at(struct source_kafka *s, uint32_t topic, uint32_t partition);
struct source_kafka_part *source_kafka_part_of(struct source_kafka *s, const char *topic, int32_t partition);
enum status source_kafka_add_part(struct source_kafka *s, uint32_t topic, uint32_t partition,
                                  struct source_kafka_part **out, struct err *e) MUST_CHECK;
/* Partitions that are ours, with the offsets to read from; NULL: OOM. */
struct rd_kafka_topic_partition_list_s *source_kafka_owned(struct source_kafka *s);
/* source_kafka_message.c: a message becomes rec; strings go into the arena. */
enum status source_kafka_record(struct source_kafka *s, const struct rd_kafka_message_s *m, struct source_kafka_part *p,
                                struct arena *a, struct source_record *rec, struct err *e) MUST_CHECK;
uint64_t source_kafka_mark(const struct rd_kafka_message_s *m); /* hash of key and value, never 0 */
/* source_kafka_group.c */
void source_kafka_group_conf(struct rd_kafka_conf_s *conf);
enum status source_kafka_join(struct source_kafka *s, struct err *e) MUST_CHECK;        /* subscribes, or assigns all */
enum status source_kafka_group_serve(struct source_kafka *s, struct err *e) MUST_CHECK; /* finishes what is pending */
void source_kafka_tell(struct source_kafka *s, struct source_kafka_part *p, enum source_kafka_tell what);
bool source_kafka_group_tell(struct source_kafka *s, struct source_batch *b); /* JOINED, LEFT; false: no room for all */
/* Before every change of the assignment, and the end: librdkafka (2.0) stops partitions by messages to itself, and aborts the
 * process where one that is being stopped is stopped again.  A question that it answers after them waits for that. */
void source_kafka_settle(struct source_kafka *s);
enum status source_kafka_reposition(struct source_kafka *s, struct err *e) MUST_CHECK; /* all owned, to their next */
void source_kafka_commit(struct source *base, const struct source_offset *offsets, size_t n);
void source_kafka_group_close(struct source_kafka *s);
/* source_kafka_read.c */
/* Messages, in turn, until b is full, there are no more, or something is pending; waits at most wait_ms for the first. */
enum status source_kafka_read(struct source_kafka *s, struct source_batch *b, int wait_ms, struct err *e) MUST_CHECK;
/* Lets librdkafka's callbacks run and takes faults, no messages.  Waits at most *wait_ms, for a fault or for partitions that are
 * filled; what is left of it is written there. */
enum status source_kafka_serve(struct source_kafka *s, int *wait_ms, struct err *e) MUST_CHECK;
/* source_kafka_align.c */
enum status source_kafka_split(struct source_kafka *s, struct source_kafka_part *p,
                               struct err *e) MUST_CHECK; /* p gets a queue of its own: before each assignment */
void source_kafka_split_close(struct source_kafka *s);
void source_kafka_drop_head(struct source_kafka *s, struct source_kafka_part *p); /* it comes again, or is not ours */
void source_kafka_advance(const struct source_kafka *s, struct source_kafka_part *p, int64_t time_ms);
enum status source_kafka_order(struct source_kafka *s, struct err *e) MUST_CHECK; /* finds all turns anew */
struct source_kafka_part *source_kafka_first(struct source_kafka *s);             /* whose turn it is, or NULL */
void source_kafka_reorder_first(struct source_kafka *s);                          /* its head is another, or gone */
/* source_kafka_wake.c */
struct source_kafka_limits {
    uint32_t messages, kbytes; /* queued of a partition: no more is fetched then */
    uint32_t fetch_bytes;      /* of it in one answer */
};
/* Of each of so many partitions, so that all together take no more memory however many there are (up to 256).  Notes what a
 * full queue is, by these or the user's. */
struct source_kafka_limits source_kafka_share(struct source_kafka *s, size_t n_parts);
void source_kafka_taken(struct source_kafka *s, struct source_kafka_part *p,
                        const struct rd_kafka_message_s *m); /* NULL: its queue is empty */
void source_kafka_wake(struct source_kafka *s); /* somebody is waited for; may wait for an answer from the brokers */
bool source_kafka_behind(struct source_kafka *s, struct source_kafka_part *p); /* the last answer told of more */
/* source_kafka_guard.c */
enum source_kafka_verdict {
    SOURCE_KAFKA_GIVE_OUT, /* the record that is due */
    SOURCE_KAFKA_DROP,     /* read before */
    SOURCE_KAFKA_AGAIN,    /* position p anew: what came can't be trusted */
    SOURCE_KAFKA_REPLACED  /* the record before next is another one than was taken: the topic was made anew */
};
enum source_kafka_verdict source_kafka_judge(struct source_kafka *s, struct source_kafka_part *p, uint64_t offset,
                                             uint64_t mark);
/* next can't be read, or means something else now.  As ingest.missing says: IO with the choices, or next is moved. */
enum status source_kafka_missing(struct source_kafka *s, struct source_kafka_part *p, uint64_t low, const char *what,
                                 struct err *e) MUST_CHECK;
void source_kafka_ask_policies(struct source_kafka *s); /* cleanup.policy of the topics; not waited for */
void source_kafka_hear_policies(struct source_kafka *s,
                                int wait_ms); /* takes the answer; a failure is logged: unknown */
/* source_kafka_health.c */
void source_kafka_health_conf(struct rd_kafka_conf_s *conf);
void source_kafka_trouble(struct source_kafka *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void source_kafka_answered(struct source_kafka *s);   /* a broker did */
const char *source_kafka_why(struct source_kafka *s); /* the newest trouble's text, "" none */
void source_kafka_health(struct source *base, struct source_health *out);
#endif

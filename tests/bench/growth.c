/* growth.c - how a learner's tables grow: bytes per record, and time per event at so many users and items, straight through the
 * world's own calls, so that neither parsing nor the model's arithmetic hides what memory costs.  tests/bench/growth.sh runs it.
 *
 *   growth USERS ITEMS ROUNDS                  in memory
 *   growth USERS ITEMS alone|among             users who come to 3 events by clicks, one user after the other or all by turns
 *   growth USERS ITEMS ROUNDS DIR IN_MEMORY    with a state folder and room for IN_MEMORY users: the first run fills it, a
 *                                              second one starts from it with a cold cache
 *
 * Items have a title, a category, a brand and a price and were shown once; users have a history of 3 events; 1,000 of them one of
 * 20.  A round fills a list of 24 random candidates for a random user, lets one click in and settles the list.  Times are of the
 * thread's CPU.  One JSON line on stdout.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "featurize/world.h"
#include "job/open.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SLATE = 24, SHORT = 3, FULL = 20, FULL_USERS = 1000, OPEN = 5000, TOKENS = 14 };
static const int64_t start_ms = INT64_C(1767225600000);

struct growth {
    struct conf *conf;
    struct token_vocab *vocab;
    struct describe *templates;
    struct feat *feat;
    struct store *store;
    struct world *world;
    struct slate *slate;
    struct rand rand;
    uint64_t users, items, made;
    int64_t now_ms;
    size_t item_bytes, user_bytes, full_bytes, open_bytes;
};

static void check(enum status st, const struct err *e)
{
    if (st == STATUS_OK) return;
    (void)fprintf(stderr, "growth: %s\n", e->text);
    exit(1);
}

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static size_t resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*u %lu", &pages) != 1) exit(1);
    (void)fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void set(struct growth *g, const char *key, double value)
{
    char option[100];
    struct err e = {0};
    (void)snprintf(option, sizeof option, "%s=%.0f", key, value);
    check(conf_set_option(g->conf, option, &e), &e);
}

static void make(struct growth *g, const char *dir, double in_memory)
{
    struct err e = {0};
    const char *source = getenv("FRESHET_SOURCE");
    char vocab[1000];
    (void)snprintf(vocab, sizeof vocab, "%s/tests/fixtures/uncased", source ? source : ".");
    check(conf_new(&g->conf, &e), &e);
    set(g, "catalogue.items", (double)g->items + 1);
    set(g, "catalogue.max_bytes", 1e15);
    set(g, "history.max_bytes", 1e15);
    set(g, "history.events", FULL);
    set(g, "history.users", dir ? in_memory : (double)g->users + 1);
    check(token_open(&g->vocab, vocab, &e), &e);
    check(describe_open(&g->templates, g->conf, &e), &e);
    check(feat_new(&g->feat, g->conf, g->vocab, g->templates, &e), &e);
    if (dir != NULL) check(store_open(&g->store, dir, false, &e), &e);
    check(world_new(&g->world, g->conf, g->feat, g->store, &e), &e);
    check(slate_new(&g->slate, &e), &e);
    rand_init(&g->rand, (struct rand_key){.seed = 1, .purpose = RAND_SIMULATE});
    g->now_ms = start_ms;
}

static void save(struct growth *g)
{
    struct err e = {0};
    struct store_txn *t;
    enum status st;
    if (g->store == NULL) return;
    do {
        st = store_begin(&t, g->store, true, &e);
        if (st != STATUS_OK) break;
        st = world_save(g->world, t, &e);
        if (st == STATUS_OK)
            st = store_commit(t, &e);
        else
            store_abort(t);
    } while (st == STATUS_AGAIN);
    check(st, &e);
    world_saved(g->world);
}

static struct str name(char *text, size_t n, char kind, uint64_t i)
{
    return (struct str){text, (size_t)snprintf(text, n, "%c%llu", kind, (unsigned long long)i)};
}

static void announce(struct growth *g, uint64_t i)
{
    static const char *const colours[] = {"red", "blue", "green", "yellow", "white", "black", "pink", "purple"};
    static const char *const nouns[] = {"lantern", "table lamp", "teapot", "cake stand", "cushion", "tote bag", "rug"};
    struct err e = {0};
    char id[24], title[80], brand[24];
    const struct str t = {title, (size_t)snprintf(title, sizeof title, "%s %s of the series %llu", colours[i % 8],
                                                  nouns[i % 7], (unsigned long long)(i % 1000))};
    const struct event_attr attrs[] = {
        {.name = STR("title"), .kind = EVENT_ATTR_TEXT, .text = t, .number = NAN},
        {.name = STR("category"), .kind = EVENT_ATTR_TEXT, .text = str_from(nouns[i % 7]), .number = NAN},
        {.name = STR("brand"), .kind = EVENT_ATTR_TEXT, .text = name(brand, sizeof brand, 'b', i % 500), .number = NAN},
        {.name = STR("price"), .kind = EVENT_ATTR_NUMBER, .number = (double)(i % 97) + 0.5},
    };
    const struct event ev = {.kind = EVENT_ITEM,
                             .time_ms = g->now_ms,
                             .item = name(id, sizeof id, 'i', i),
                             .attrs = (struct event_attr *)attrs,
                             .n_attrs = 4};
    check(world_item(g->world, &ev, &e), &e);
}

static void click(struct growth *g, uint64_t user, uint64_t item)
{
    struct err e = {0};
    char u[24], i[24];
    const struct event ev = {.kind = EVENT_BEHAVIOUR,
                             .type = EVENT_CLICK,
                             .time_ms = g->now_ms += 10,
                             .user = name(u, sizeof u, 'u', user),
                             .item = name(i, sizeof i, 'i', item),
                             .value = NAN,
                             .quantity = NAN,
                             .price = NAN};
    check(world_take(g->world, &ev, 1, &e), &e);
}

static void show(struct growth *g, uint64_t user)
{
    struct err e = {0};
    char u[24], ids[SLATE][24];
    struct event_item items[SLATE] = {0};
    struct event ev = {.kind = EVENT_IMPRESSION,
                       .time_ms = g->now_ms += 10,
                       .user = name(u, sizeof u, 'u', user),
                       .items = items,
                       .n_items = SLATE};
    for (int k = 0; k < SLATE; k++) items[k].item = name(ids[k], sizeof ids[k], 'i', rand_below(&g->rand, g->items));
    slate_reset(g->slate);
    g->slate->id = ++g->made;
    g->slate->source = SLATE_IMPRESSION;
    g->slate->time_ms = g->now_ms;
    g->slate->user = arena_str(g->slate->arena, ev.user);
    check(world_fill_impression(g->world, g->slate, &ev, &e), &e);
}

static void settle(struct growth *g)
{
    struct err e = {0};
    for (uint32_t k = 0; k < g->slate->n_items; k++) g->slate->items[k].label = k == 0;
    g->slate->settled_ms = g->now_ms;
    check(world_settled(g->world, g->slate, &e), &e);
}

/* A user with a history of n events: what a published version would bring. */
static void bring(struct growth *g, uint64_t user, uint32_t n)
{
    static int32_t ids[TOKENS];
    struct record_event events[FULL] = {0};
    struct record_pair pairs[FULL] = {0};
    struct record_tally tallies[2] = {{.type = EVENT_VIEW}, {.type = EVENT_CLICK}};
    struct arena nothing = {0};
    struct err e = {0};
    char id[24];
    for (int32_t t = 0; t < TOKENS; t++) ids[t] = 100 + t;
    for (uint32_t i = 0; i < n; i++) {
        events[i] =
            (struct record_event){.item = i, .time_ms = start_ms, .ids = ids, .n_ids = TOKENS, .type = EVENT_CLICK};
        pairs[i] = (struct record_pair){.item = i, .last_ms = start_ms, .count = 1, .type = EVENT_CLICK};
    }
    struct record_user u = {.scratch = &nothing,
                            .id = name(id, sizeof id, 'u', user),
                            .first_ms = start_ms,
                            .last_ms = start_ms,
                            .tallies = tallies,
                            .n_tallies = 2,
                            .events = events,
                            .n_events = n,
                            .pairs = pairs,
                            .n_pairs = n};
    check(world_put_user(g->world, &u, &e), &e);
}

/* All items in lists of 24, settled: each has been shown once. */
static void show_all(struct growth *g)
{
    struct err e = {0};
    struct slate_item items[SLATE] = {0};
    char ids[SLATE][24];
    struct slate s = {.source = SLATE_IMPRESSION, .time_ms = start_ms, .settled_ms = start_ms, .items = items};
    for (uint64_t i = 0; i < g->items; i += s.n_items) {
        s.n_items = g->items - i < SLATE ? (uint32_t)(g->items - i) : SLATE;
        for (uint32_t k = 0; k < s.n_items; k++) {
            items[k].id = name(ids[k], sizeof ids[k], 'i', i + k);
            items[k].item = hash_str(items[k].id);
        }
        check(world_settled(g->world, &s, &e), &e);
    }
}

static size_t counted(struct growth *g)
{
    return world_counts(g->world)->bytes;
}

static void fill(struct growth *g)
{
    size_t before = resident();
    for (uint64_t i = 0; i < g->items; i++) announce(g, i);
    show_all(g);
    g->item_bytes = (resident() - before) / g->items;
    before = resident();
    for (uint64_t u = 0; u < g->users; u++) {
        bring(g, u, SHORT);
        if (g->store != NULL && u % 100000 == 99999) save(g);
    }
    g->user_bytes = (resident() - before) / g->users;
    before = counted(g);
    for (uint64_t u = 0; u < FULL_USERS && u < g->users; u++) bring(g, u, FULL);
    g->full_bytes = g->user_bytes + (counted(g) - before) / (g->users < FULL_USERS ? g->users : FULL_USERS);
    save(g);
}

/* The same by events as they happen: a user's block grows with each, and leaves its place to others'. */
static void grow(struct growth *g, bool among)
{
    const uint64_t n = g->users * SHORT;
    for (uint64_t i = 0; i < g->items; i++) announce(g, i);
    const size_t before = resident();
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t user = among ? i % g->users : i / SHORT;
        click(g, user, (user * SHORT + (among ? i / g->users : i % SHORT)) % g->items);
    }
    (void)printf("{\"users\":%llu,\"grown\":\"%s\",\"user_bytes\":%zu}\n", (unsigned long long)g->users,
                 among ? "among" : "alone", (resident() - before) / g->users);
}

static void load(struct growth *g)
{
    struct err e = {0};
    struct store_txn *t;
    check(store_begin(&t, g->store, false, &e), &e);
    check(world_load(g->world, t, &e), &e);
    store_abort(t);
}

static void open_some(struct growth *g)
{
    struct err e = {0};
    struct open_slates *o;
    float zero[SLATE * 2] = {0};
    struct open_predictions p = {zero, zero, zero, 2};
    check(open_new(&o, 2, &e), &e);
    for (uint64_t i = 0; i < OPEN; i++) {
        show(g, i % FULL_USERS);
        check(open_put(o, g->slate, &p, &e), &e);
    }
    g->open_bytes = open_bytes(o) / OPEN;
    open_free(o);
}

/* Drops what the system has cached of a state that is there; false: there is none. */
static bool forget_cache(const char *dir)
{
    char path[1000];
    (void)snprintf(path, sizeof path, "%s/state.mdb", dir);
    const int fd = open(path, O_RDONLY);
    if (fd < 0) return false;
    (void)fdatasync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(fd);
    return true;
}

static uint64_t bytes_read(void)
{
    unsigned long long n = 0;
    char line[100];
    FILE *f = fopen("/proc/self/io", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) (void)sscanf(line, "read_bytes: %llu", &n);
    if (f != NULL) (void)fclose(f);
    return n;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct round_costs {
    double *ns;
    uint64_t rounds, missing, read;
    long allocations;
};

static void rounds(struct growth *g, struct round_costs *c)
{
    const struct world_counts *w = world_counts(g->world);
    const uint64_t there = w->users_in_memory + w->evicted, read = bytes_read();
    const long allocations = mem_total();
    for (uint64_t i = 0; i < c->rounds; i++) {
        const uint64_t user = rand_below(&g->rand, g->users), item = rand_below(&g->rand, g->items);
        const double from = now_ns();
        show(g, user);
        click(g, user, item);
        settle(g);
        c->ns[i] = now_ns() - from;
    }
    c->allocations = mem_total() - allocations;
    c->read = bytes_read() - read;
    w = world_counts(g->world);
    c->missing = w->users_in_memory + w->evicted - there;
}

static void measure(struct growth *g, uint64_t n)
{
    struct round_costs c = {.rounds = n, .ns = calloc(n, sizeof *c.ns)};
    double sum = 0;
    if (c.ns == NULL) exit(1);
    rounds(g, &c); /* warm: the program's own code and buffers, and the branches of the store's tree */
    rounds(g, &c);
    for (uint64_t i = 0; i < n; i++) sum += c.ns[i];
    qsort(c.ns, n, sizeof *c.ns, by_size);
    (void)printf("{\"users\":%llu,\"items\":%llu,\"item_bytes\":%zu,\"user_bytes\":%zu,\"full_user_bytes\":%zu,"
                 "\"open_slate_bytes\":%zu,\"rss_mib\":%zu,\"mean_ns\":%.0f,\"median_ns\":%.0f,\"p999_ns\":%.0f,"
                 "\"max_ns\":%.0f,\"allocations_per_round\":%.3f,\"missing\":%llu,\"pages_per_missing\":%.3f}\n",
                 (unsigned long long)g->users, (unsigned long long)g->items, g->item_bytes, g->user_bytes,
                 g->full_bytes, g->open_bytes, resident() >> 20, sum / (double)n, c.ns[n / 2], c.ns[n - n / 1000 - 1],
                 c.ns[n - 1], (double)c.allocations / (double)n, (unsigned long long)c.missing,
                 c.missing > 0 ? (double)c.read / 4096 / (double)c.missing : 0);
    free(c.ns);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6) {
        (void)fprintf(stderr, "usage: growth USERS ITEMS ROUNDS [DIR IN_MEMORY] | growth USERS ITEMS alone|among\n");
        return 2;
    }
    struct growth g = {.users = strtoull(argv[1], NULL, 10), .items = strtoull(argv[2], NULL, 10)};
    const char *dir = argc == 6 ? argv[4] : NULL;
    const bool filled = dir != NULL && forget_cache(dir);
    const bool alone = strcmp(argv[3], "alone") == 0, among = strcmp(argv[3], "among") == 0;
    make(&g, dir, dir != NULL ? strtod(argv[5], NULL) : 0);
    if (filled)
        load(&g);
    else if (alone || among)
        grow(&g, among);
    else
        fill(&g);
    if (dir == NULL && !alone && !among) open_some(&g);
    if ((dir == NULL && !alone && !among) || filled) measure(&g, strtoull(argv[3], NULL, 10));
    slate_free(g.slate);
    world_free(g.world);
    store_close(g.store);
    feat_free(g.feat);
    describe_close(g.templates);
    token_free(g.vocab);
    conf_free(g.conf);
    return 0;
}

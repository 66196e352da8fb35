/* bench_crew.c - the same work on several threads at once, each on a core of its own; and the clock that all use. */
#include "base/clock.h"
#include "cli/bench.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>

struct hand {
    pthread_t thread;
    cmd_bench_work *work;
    void *user;
    int i, core; /* core < 0: wherever the system puts it */
    enum status status;
    struct err err;
};

double cmd_bench_now_s(void)
{
    return (double)clock_system()->mono_us(clock_system()) * 1e-6;
}

int cmd_bench_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n < CMD_BENCH_CORES_MAX ? n : CMD_BENCH_CORES_MAX;
}

static void pin(int core)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)core, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
}

static void *work_one(void *arg)
{
    struct hand *h = arg;
    if (h->core >= 0) pin(h->core);
    h->status = h->work(h->user, h->i, &h->err);
    return NULL;
}

/* The i-th of the cores that this process may use. */
static int core_of(int i)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET((size_t)core, &set) && i-- == 0) return core;
    return -1;
}

enum status cmd_bench_crew(int n, cmd_bench_work *work, void *user, struct err *e)
{
    struct hand hands[CMD_BENCH_CORES_MAX];
    int made = 0;
    enum status st = STATUS_OK;
    for (; made < n && st == STATUS_OK; made++) {
        hands[made] = (struct hand){.work = work, .user = user, .i = made, .core = core_of(made)};
        if (pthread_create(&hands[made].thread, NULL, work_one, &hands[made]) != 0) break;
    }
    if (made < n) st = ERR_SET(e, STATUS_OOM, "thread %d of %d can't be made", made + 1, n);
    for (int i = 0; i < made; i++) {
        (void)pthread_join(hands[i].thread, NULL);
        if (st != STATUS_OK || hands[i].status == STATUS_OK) continue;
        st = hands[i].status;
        if (e != NULL) *e = hands[i].err;
    }
    return st;
}

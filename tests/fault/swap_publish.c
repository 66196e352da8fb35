/* swap_publish.c - a learner's side for swap.sh: a private Redis with users, items and as many versions as are asked for.
 *
 *   swap_publish TABLE [section.key=value…]
 *
 * SETS parameter sets take turns: version v has the numbers of set v % SETS.  TABLE gets what each of them scores, by the
 * learner's own arithmetic: lines `sha256 set user item score`.  On stdout: `ready REDIS_URL BASE_FOLDER`, and after each
 * command `done LAST_VERSION`.  Commands on stdin:
 *   port P          from now on a version is published when the scorer at P serves the one before (0: no waiting)
 *   versions N MS   N more versions, at least MS apart
 */
#include "tests/support/check.h"
#include "tests/support/http_client.h"
#include "tests/support/serving_world.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SETS = 4, USERS = 4, ITEMS = 10 };
#define ALL "i0,i1,i2,i3,i4,i5,i6,i7,i8,i9"
#define WAIT_MS 20000

static struct serving_world w;
static struct param_set *sets[SETS];
static uint64_t version;
static int port;

static void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* No two sets may score a list alike, else a mixture would go unnoticed. */
static void check_distinct(float scores[SETS][USERS][ITEMS])
{
    for (int a = 0; a < SETS; a++)
        for (int b = 0; b < a; b++)
            for (int u = 0; u < USERS; u++) {
                float most = 0;
                for (int i = 0; i < ITEMS; i++) most = fmaxf(most, fabsf(scores[a][u][i] - scores[b][u][i]));
                if (!(most > 1e-3f)) fail_msg("sets %d and %d score user u%d alike", a, b, u);
            }
}

static void make_sets(const char *path)
{
    static float scores[SETS][USERS][ITEMS];
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int s = 0; s < SETS; s++) {
        serving_world_shake(&w, 100u + (unsigned)s);
        for (int u = 0; u < USERS; u++) {
            char user[16];
            float logits[ITEMS];
            (void)snprintf(user, sizeof user, "u%d", u);
            serving_world_score(&w, user, ALL, logits);
            for (int i = 0; i < ITEMS; i++) {
                scores[s][u][i] = (float)(1 / (1 + exp(-(double)logits[i])));
                (void)fprintf(f, "%s %d %s i%d %.9g\n", w.params->sha256, s, user, i, (double)scores[s][u][i]);
            }
        }
        sets[s] = w.params;
        w.params = NULL;
    }
    assert_int_equal(fclose(f), 0);
    check_distinct(scores);
    w.params = sets[0];
}

/* Until the scorer serves the newest version. */
static void wait_served(void)
{
    char want[40];
    (void)snprintf(want, sizeof want, "\"version\":%llu,", (unsigned long long)version);
    for (int ms = 0; port != 0 && ms < WAIT_MS; ms++) {
        struct http_client_answer a = http_client_ask(port, "GET", "/v1/models", "", NULL, 0);
        const bool there = a.status == 200 && strstr(a.body, want) != NULL;
        http_client_free(&a);
        if (there) return;
        pause_ms(1);
    }
    if (port != 0) fail_msg("version %llu is not served after %d ms", (unsigned long long)version, WAIT_MS);
}

static void publish(long n, long gap_ms)
{
    for (long i = 0; i < n; i++) {
        w.params = sets[++version % SETS];
        serving_world_version(&w, version);
        wait_served();
        if (gap_ms > 0) pause_ms(gap_ms);
    }
}

static void obey(char *line)
{
    long a = 0, b = 0;
    if (sscanf(line, "port %ld", &a) == 1)
        port = (int)a;
    else if (sscanf(line, "versions %ld %ld", &a, &b) == 2)
        publish(a, b);
    else
        fail_msg("no such command: %s", line);
    (void)printf("done %llu\n", (unsigned long long)version);
}

int main(int argc, char **argv)
{
    char line[200];
    if (argc < 2) {
        (void)fprintf(stderr, "usage: swap_publish TABLE [section.key=value...]\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    serving_world_open(&w, (const char *const *)argv + 2);
    make_sets(argv[1]);
    serving_world_features(&w);
    (void)printf("ready %s %s\n", w.redis.url, w.base.path);
    while (fgets(line, sizeof line, stdin) != NULL) obey(line);
    w.params = NULL;
    for (int s = 0; s < SETS; s++) param_set_release(sets[s]);
    serving_world_close(&w);
    return 0;
}

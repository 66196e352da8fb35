/* state_files.c - see state_files.h. */
#include "tests/support/state_files.h"
#include "base/hash.h"
#include "base/rand.h"
#include "model/state_file_format.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 20)

static struct kern *kern;
static struct encoder *model;
static int32_t ids[SENTENCES][MOST_TOKENS];
struct state_request state_files_req[SENTENCES];
struct tmpdir state_files_dir;

int state_files_open_model(void **state)
{
    (void)state;
    char folder[400];
    struct rand r;
    struct err e = {0};
    (void)snprintf(folder, sizeof folder, "%s", files_source("tests/golden/encoder/gelu"));
    assert_ok(kern_new(&kern, "cpu", &e), &e);
    assert_ok(encoder_open(&model, kern, folder, &e), &e);
    assert_int_equal(encoder_shape(model)->C, WIDTH);
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_TEST});
    for (size_t i = 0; i < SENTENCES; i++) {
        state_files_req[i].ids = ids[i];
        state_files_req[i].n = 1 + (uint32_t)rand_below(&r, MOST_TOKENS);
        for (uint32_t j = 0; j < state_files_req[i].n; j++)
            ids[i][j] = (int32_t)rand_below(&r, encoder_shape(model)->V);
        state_files_req[i].hash = hash_bytes(ids[i], state_files_req[i].n * sizeof ids[i][0]);
    }
    return 0;
}

int state_files_close_model(void **state)
{
    (void)state;
    encoder_free(model);
    kern_free(kern);
    return 0;
}

int state_files_make_dir(void **state)
{
    (void)state;
    state_files_dir = tmpdir_make("states");
    return 0;
}

int state_files_remove_dir(void **state)
{
    (void)state;
    tmpdir_remove(&state_files_dir);
    return 0;
}

struct state_cache *state_files_cache(bool tokens)
{
    struct state_cache *c;
    struct err e = {0};
    assert_ok(state_cache_new(&c, model, STATE_FILES_MID, tokens, ROOM, 2, "cpu", &e), &e);
    return c;
}

const char *state_files_path(const struct state_cache *c)
{
    static char path[300];
    char name[STATE_FILE_NAME_MAX];
    const struct state_file_kind k = state_file_kind(c);
    state_file_name(name, &k);
    return tmpdir_file(&state_files_dir, name, path);
}

enum status state_files_add(struct state_file_writer *w, struct state_cache *c, size_t n, struct err *e)
{
    const struct state_entry *got[SENTENCES];
    TRY(state_acquire(c, state_files_req, n, got, e));
    enum status st = STATUS_OK;
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        const struct record_state r = state_record(got[i]);
        st = state_file_add(w, state_files_req[i].hash, &r, e);
    }
    state_release(c, got, n);
    return st;
}

/* The file of the first n sentences, as c computes them. */
void state_files_make(struct state_cache *c, size_t n)
{
    uint64_t probe, bytes;
    struct err e = {0};
    struct stat info;
    struct state_file_writer *w;
    const struct state_file_kind k = state_file_kind(c);
    assert_ok(state_file_probe(c, &probe, &e), &e);
    assert_ok(state_file_create(&w, state_files_dir.path, &k, probe, &e), &e);
    assert_ok(state_files_add(w, c, n, &e), &e);
    assert_ok(state_file_commit(w, &bytes, &e), &e);
    state_file_writer_free(w);
    assert_int_equal(stat(state_files_path(c), &info), 0);
    assert_int_equal(info.st_size, bytes);
}

struct state_file *state_files_open(const struct state_cache *c)
{
    struct state_file *f;
    struct err e = {0};
    const struct state_file_kind k = state_file_kind(c);
    assert_ok(state_file_open(&f, state_files_path(c), &k, SIZE_MAX, &e), &e);
    return f;
}

void state_files_assert_same(struct state_cache *a, struct state_cache *b)
{
    const struct state_entry *x[SENTENCES], *y[SENTENCES];
    struct err e = {0};
    assert_ok(state_acquire(a, state_files_req, SENTENCES, x, &e), &e);
    assert_ok(state_acquire(b, state_files_req, SENTENCES, y, &e), &e);
    for (size_t i = 0; i < SENTENCES; i++) {
        assert_int_equal(x[i]->n_tokens, y[i]->n_tokens);
        assert_memory_equal(x[i]->pooled, y[i]->pooled, WIDTH * sizeof(uint16_t));
        assert_memory_equal(x[i]->final, y[i]->final, WIDTH * sizeof(uint16_t));
        if (x[i]->n_tokens > 0)
            assert_memory_equal(x[i]->tokens, y[i]->tokens, x[i]->n_tokens * WIDTH * sizeof(uint16_t));
    }
    state_release(a, x, SENTENCES);
    state_release(b, y, SENTENCES);
}

/* Changes the header of c's file, its check made to fit. */
void state_files_change_head(const struct state_cache *c, void (*change)(struct state_file_head *h))
{
    struct state_file_head h;
    const int fd = open(state_files_path(c), O_RDWR);
    assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
    change(&h);
    h.check = state_file_head_check(&h);
    assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
    assert_int_equal(close(fd), 0);
}

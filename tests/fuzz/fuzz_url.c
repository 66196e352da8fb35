/* fuzz_url.c - addresses: redis.url, serving.listen, the password file, ingest.start.
 *
 * The first byte picks which.  What redis_url accepts stays in its bounds.
 */
#include "serving/redis_url.h"
#include "tests/fuzz/fuzz.h"

static void check_url(const char *text)
{
    struct redis_url url = {0};
    struct err e = {0};
    const enum status st = redis_url_parse(text, &url, &e);
    if (st != STATUS_OK) {
        fuzz_check_refusal(st, &e);
        return;
    }
    FUZZ_CHECK(memchr(url.host, 0, sizeof url.host) != NULL && url.host[0] != 0);
    FUZZ_CHECK(url.db >= 0 && url.port >= 0 && url.port <= 65535 && url.is_unix == (url.port == 0));
}

static void check_password(struct str bytes)
{
    struct redis_password p = {0};
    struct err e = {0};
    const enum status st = redis_password_read(fuzz_file(0, bytes), &p, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    FUZZ_CHECK(memchr(p.user, 0, sizeof p.user) != NULL && memchr(p.password, 0, sizeof p.password) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char *const keys[] = {"redis.url", "serving.listen", "ingest.start", "ingest.topics", "model.parts"};
    static struct conf *conf;
    struct fuzz_input in = {p, n};
    struct err e = {0};
    if (conf == NULL) conf = fuzz_conf(NULL);
    const uint8_t which = fuzz_byte(&in);
    const struct str rest = fuzz_rest(&in);
    char *text = mem_strndup(rest.p, rest.n);
    FUZZ_CHECK(text != NULL);
    fuzz_begin();
    if (which == 'u') check_url(text);
    if (which == 'p') check_password(rest);
    const enum status st = conf_set(conf, keys[which % 5], text, &e);
    if (st != STATUS_OK) fuzz_check_refusal(st, &e);
    if (st == STATUS_OK && which % 5 == 0 && text[0] != 0) check_url(text);
    fuzz_end(100000 + 10 * n);
    mem_free(text);
    return 0;
}

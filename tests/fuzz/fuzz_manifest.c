/* fuzz_manifest.c - what a version says of itself in Redis.
 *
 * The input lacks its end: the check and the brace are put behind it, so that what the check guards is reached.  A
 * manifest that is accepted, written again, reads as the same.
 * fuzz: -dict=manifest
 */
#include "base/hash.h"
#include "serving/publish_manifest.h"
#include "tests/fuzz/fuzz.h"
#include <inttypes.h>

static void check_again(const struct publish_manifest *m)
{
    struct publish_manifest back = {0};
    struct buf first = {0}, second = {0};
    struct err e = {0};
    FUZZ_OK(publish_manifest_encode(&first, m, "shop", &e), &e);
    FUZZ_OK(publish_manifest_decode(&back, (struct str){(const char *)first.p, first.n}, "shop", &e), &e);
    FUZZ_OK(publish_manifest_encode(&second, &back, "shop", &e), &e);
    FUZZ_CHECK(first.n == second.n && memcmp(first.p, second.p, first.n) == 0);
    publish_manifest_fini(&back);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct publish_manifest m = {0};
    struct buf text = {0};
    struct err e = {0};
    fuzz_begin();
    buf_put(&text, p, n);
    buf_printf(&text, ",\"check\":\"%016" PRIx64 "\"}", hash_bytes(p, n));
    const enum status st = publish_manifest_decode(&m, (struct str){(const char *)text.p, text.n}, "shop", &e);
    if (st == STATUS_OK) {
        FUZZ_CHECK(m.n_chunks <= PUBLISH_CHUNKS_MAX && m.n_offsets <= PUBLISH_OFFSETS_MAX &&
                   m.n_kept <= PUBLISH_KEPT_MAX);
        FUZZ_CHECK(m.bytes <= m.n_chunks * PUBLISH_CHUNK_BYTES);
        check_again(&m);
    } else {
        fuzz_check_refusal(st, &e);
        FUZZ_CHECK(m.chunks == NULL && m.offsets == NULL && m.kept == NULL);
    }
    publish_manifest_fini(&m);
    buf_fini(&text);
    fuzz_end(1000000 + 200 * n);
    return 0;
}

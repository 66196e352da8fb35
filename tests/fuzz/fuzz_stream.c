/* fuzz_stream.c - a log file that says it is compressed.
 *
 * The first byte puts a codec's magic before the input.  Memory stays bounded whatever a header asks for, reading ends,
 * and it ends in END or in an error that names the file.
 * fuzz: -max_len=4096
 */
#include "ingest/source_stream.h"
#include "tests/fuzz/fuzz.h"

#define MOST_BYTES 16777216 /* of what comes out; a bomb is not read to its end here */

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct str magic[] = {{"", 0}, {"\x1f\x8b\x08", 3}, {"\xfd\x37zXZ\0", 6}, {"\x28\xb5\x2f\xfd", 4}};
    static char out[65536];
    struct fuzz_input in = {p, n};
    struct source_stream *s = NULL;
    struct buf file = {0};
    struct err e = {0};
    size_t got = 0, sum = 0;
    const struct str head = magic[fuzz_byte(&in) % 4];
    fuzz_begin();
    buf_put(&file, head.p, head.n);
    const struct str rest = fuzz_rest(&in);
    buf_put(&file, rest.p, rest.n);
    const struct str bytes = file.p != NULL ? (struct str){(const char *)file.p, file.n} : STR("");
    FUZZ_OK(source_stream_open(&s, fuzz_file(0, bytes), &e), &e);
    enum status st = STATUS_OK;
    for (size_t reads = 0; st == STATUS_OK && sum < MOST_BYTES; reads++) {
        st = source_stream_read(s, out, 1 + (reads * 977) % sizeof out, &got, &e);
        FUZZ_CHECK(got <= sizeof out && (st != STATUS_OK || got > 0));
        sum += got;
    }
    if (st != STATUS_OK && st != STATUS_END) fuzz_check_refusal(st, &e);
    FUZZ_CHECK(source_stream_taken(s) <= file.n);
    source_stream_close(s);
    buf_fini(&file);
    fuzz_end((size_t)160 << 20);
    return 0;
}

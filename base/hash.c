/* hash.c - the only file that includes xxhash.h and OpenSSL. */
#include "base/hash.h"
#include "base/mem.h"
#include <openssl/evp.h>
#include <stdbool.h>
#include <xxhash.h>

#define SHA256_BYTES 32

uint64_t hash_bytes(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

uint64_t hash_seeded(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t hash_str(struct str s)
{
    return XXH3_64bits(s.p, s.n);
}

/* The finaliser of MurmurHash3 over a and a rotated, odd-multiplied b: cheap, and order matters. */
uint64_t hash_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a ^ (((b << 31) | (b >> 33)) * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u);
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    x ^= x >> 33;
    return x;
}

double hash_unit(uint64_t h)
{
    return (double)(h >> 11) * 0x1p-53;
}

struct hash_sha256 {
    EVP_MD_CTX *ctx;
    bool bad; /* a call into OpenSSL failed: the digest is not to be believed */
};

enum status hash_sha256_new(struct hash_sha256 **out, struct err *e)
{
    *out = NULL;
    struct hash_sha256 *h = mem_calloc(1, sizeof *h);
    if (h == NULL) return ERR_SET(e, STATUS_OOM, "sha256: no memory for its state");
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx == NULL || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
        hash_sha256_free(h);
        return ERR_SET(e, STATUS_OOM, "sha256: OpenSSL could not start a digest");
    }
    *out = h;
    return STATUS_OK;
}

void hash_sha256_add(struct hash_sha256 *h, const void *p, size_t n)
{
    if (n > 0 && EVP_DigestUpdate(h->ctx, p, n) != 1) h->bad = true;
}

void hash_sha256_hex(struct hash_sha256 *h, char hex[HASH_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(h->ctx, raw, &n) != 1 || n != SHA256_BYTES) h->bad = true;
    for (unsigned i = 0; i < SHA256_BYTES && !h->bad; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[h->bad ? 0 : 2 * SHA256_BYTES] = 0;
    h->bad = EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1;
}

void hash_sha256_free(struct hash_sha256 *h)
{
    if (h == NULL) return;
    EVP_MD_CTX_free(h->ctx);
    mem_free(h);
}

enum status hash_sha256_of(const void *p, size_t n, char hex[HASH_SHA256_HEX], struct err *e)
{
    struct hash_sha256 *h = NULL;
    hex[0] = 0;
    TRY(hash_sha256_new(&h, e));
    hash_sha256_add(h, p, n);
    hash_sha256_hex(h, hex);
    hash_sha256_free(h);
    return hex[0] ? STATUS_OK : ERR_SET(e, STATUS_OOM, "sha256: OpenSSL failed over %zu bytes", n);
}

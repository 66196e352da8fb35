/* rand.c - Philox4x32-10 and the distributions drawn from it.
 *
 * The name of a stream has 160 bits beside the seed, a counter has 128 and needs some for itself: so topic, partition
 * and purpose go through Philox once under the seed and make the stream's key; the counter is (block, offset).
 */
#include "base/rand.h"
#include <math.h>

#define PHILOX_ROUNDS 10

void rand_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int i = 0; i < PHILOX_ROUNDS; i++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void rand_init(struct rand *r, struct rand_key k)
{
    const uint32_t seed[2] = {(uint32_t)k.seed, (uint32_t)(k.seed >> 32)};
    const uint32_t name[4] = {k.topic, k.partition, k.purpose, 0x66726573u};
    uint32_t derived[4];
    rand_philox(seed, name, derived);
    *r = (struct rand){
        .key = {derived[0], derived[1]},
        .counter = {0, 0, (uint32_t)k.offset, (uint32_t)(k.offset >> 32)},
        .used = 4,
    };
}

uint32_t rand_u32(struct rand *r)
{
    if (r->used >= 4) {
        rand_philox(r->key, r->counter, r->block);
        if (++r->counter[0] == 0) r->counter[1]++;
        r->used = 0;
    }
    return r->block[r->used++];
}

uint64_t rand_u64(struct rand *r)
{
    const uint64_t low = rand_u32(r);
    return low | (uint64_t)rand_u32(r) << 32;
}

uint64_t rand_below(struct rand *r, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    wide m = (wide)rand_u64(r) * n;
    if ((uint64_t)m < n) {
        const uint64_t least = (0 - n) % n;
        while ((uint64_t)m < least) m = (wide)rand_u64(r) * n;
    }
    return (uint64_t)(m >> 64);
}

double rand_unit(struct rand *r)
{
    return (double)(rand_u64(r) >> 11) * 0x1p-53;
}

double rand_normal(struct rand *r)
{
    const double u = 1.0 - rand_unit(r), v = rand_unit(r); /* u in (0, 1] */
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

/* store_frame.c - see store_frame.h. */
#include "base/store_frame.h"
#include "base/buf.h"
#include "base/hash.h"
#include <string.h>

static void put_le64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_le64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint64_t store_frame_put(unsigned char *p, struct str key, struct str payload)
{
    p[0] = STORE_FORMAT;
    if (payload.n > 0) memcpy(p + 1, payload.p, payload.n);
    const uint64_t hash = hash_seeded(p, payload.n + 1, hash_str(key));
    put_le64(p + 1 + payload.n, hash);
    return hash;
}

uint64_t store_frame_hash(struct str framed)
{
    return framed.n < STORE_FRAME_BYTES ? 0 : get_le64((const unsigned char *)framed.p + framed.n - 8);
}

static enum status refuse(struct str key, struct str framed, struct err *e)
{
    char shown[49];
    const int table = key.n > 0 ? (unsigned char)key.p[0] : 0;
    const size_t rest = key.n > 0 ? key.n - 1 : 0, n = rest < sizeof shown - 1 ? rest : sizeof shown - 1;
    for (size_t i = 0; i < n; i++) shown[i] = key.p[1 + i] >= 0x20 && key.p[1 + i] < 0x7f ? key.p[1 + i] : '.';
    shown[n] = 0;
    const bool first = framed.n >= STORE_FRAME_BYTES && framed.p[0] == 1 &&
                       hash_bytes(framed.p, framed.n - 8) == store_frame_hash(framed);
    if (first || (framed.n >= STORE_FRAME_BYTES &&
                  hash_seeded(framed.p, framed.n - 8, hash_str(key)) == store_frame_hash(framed)))
        return ERR_SET(e, STATUS_UNSUPPORTED,
                       "store: record '%s' of table %d has format %u, this program reads %d; finish with the version "
                       "of freshet that wrote it, or begin a new state.dir",
                       shown, table, (unsigned char)framed.p[0], STORE_FORMAT);
    return ERR_SET(e, STATUS_CORRUPT,
                   "store: record '%s' of table %d (%zu bytes) fails its check; restore from backup/", shown, table,
                   framed.n);
}

enum status store_frame_get(struct str key, struct str framed, struct str *payload, uint64_t *hash, struct err *e)
{
    *payload = (struct str){NULL, 0};
    if (framed.n < STORE_FRAME_BYTES || framed.p[0] != STORE_FORMAT) return refuse(key, framed, e);
    const uint64_t want = store_frame_hash(framed);
    if (hash_seeded(framed.p, framed.n - 8, hash_str(key)) != want) return refuse(key, framed, e);
    *payload = (struct str){framed.p + 1, framed.n - STORE_FRAME_BYTES};
    *hash = want;
    return STATUS_OK;
}

/* ---- root ---- */

static size_t table_of(struct str key)
{
    const size_t table = key.n > 0 ? (unsigned char)key.p[0] : 0;
    return table < STORE_TABLES ? table : 0;
}

void store_root_add(struct store_root *r, struct str key, uint64_t hash)
{
    r->n[table_of(key)]++;
    r->sum[table_of(key)] += hash;
}

void store_root_take(struct store_root *r, struct str key, uint64_t hash)
{
    r->n[table_of(key)]--;
    r->sum[table_of(key)] -= hash;
}

void store_root_put(unsigned char p[STORE_ROOT_BYTES], const struct store_root *r)
{
    unsigned char payload[STORE_ROOT_BYTES - STORE_FRAME_BYTES];
    put_le64(payload, r->txnid);
    payload[8] = STORE_TABLES;
    for (size_t i = 0; i < STORE_TABLES; i++) {
        put_le64(payload + 9 + 16 * i, r->n[i]);
        put_le64(payload + 17 + 16 * i, r->sum[i]);
    }
    (void)store_frame_put(p, STORE_ROOT_KEY, (struct str){(const char *)payload, sizeof payload});
}

enum status store_root_get(struct str framed, struct store_root *r, struct err *e)
{
    struct str payload;
    uint64_t hash;
    *r = (struct store_root){0};
    TRY(store_frame_get(STORE_ROOT_KEY, framed, &payload, &hash, e));
    struct buf_reader in = buf_reader(payload.p, payload.n);
    r->txnid = buf_get_u64(&in);
    const size_t n = buf_get_u8(&in);
    for (size_t i = 0; i < n && i < STORE_TABLES; i++) {
        r->n[i] = buf_get_u64(&in);
        r->sum[i] = buf_get_u64(&in);
    }
    if (n > STORE_TABLES || in.bad || buf_left(&in) != 0)
        return ERR_SET(e, STATUS_UNSUPPORTED, "store: its root record has %zu tables, this program knows %d", n,
                       (int)STORE_TABLES);
    return STATUS_OK;
}

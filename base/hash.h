/* hash.h - the two hashes in use: XXH3-64 for tables and torn-write checks, SHA-256 for identity.
 *
 * Thin over xxHash and OpenSSL, so that no other file includes them.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include "base/status.h"
#include "base/str.h"
#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n);                 /* XXH3-64, seed 0 */
uint64_t hash_seeded(const void *p, size_t n, uint64_t seed); /* the same with a seed: separate key spaces */
uint64_t hash_str(struct str s);
uint64_t hash_mix(uint64_t a, uint64_t b); /* combines two hashes; order matters */
double hash_unit(uint64_t h);              /* in [0, 1), evenly: below s for a share s of all hashes */

#define HASH_SHA256_HEX 65 /* 64 digits and NUL */
struct hash_sha256;        /* a running SHA-256 */
enum status hash_sha256_new(struct hash_sha256 **out, struct err *e) MUST_CHECK;
void hash_sha256_add(struct hash_sha256 *h, const void *p, size_t n);
void hash_sha256_hex(struct hash_sha256 *h, char hex[HASH_SHA256_HEX]); /* and restarts h; "" if OpenSSL failed */
void hash_sha256_free(struct hash_sha256 *h);
enum status hash_sha256_of(const void *p, size_t n, char hex[HASH_SHA256_HEX], struct err *e) MUST_CHECK;
#endif

/* jsonroom.c - see jsonroom.h. */
#include "base/jsonroom.h"

#define OBJECT_BYTES 384 /* of jansson 2.14 on 64 bits: an object with its first table, aligned as an arena does */
#define LIST_BYTES 256
#define VALUE_BYTES 256 /* a number or text, its place in a list or under a short key */

bool jsonroom_over(struct str text, size_t most)
{
    size_t sum = 0;
    if (text.n <= most / OBJECT_BYTES) return false;
    for (size_t i = 0; i < text.n && sum <= most; i++) {
        const char c = text.p[i];
        sum += c == ',' ? VALUE_BYTES : c == '{' ? OBJECT_BYTES : c == '[' ? LIST_BYTES : 0;
    }
    return sum > most;
}

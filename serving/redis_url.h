/* redis_url.h - where Redis is: `redis.url` taken apart, and the text of the password file.
 *
 * Forms: unix:/path/to/socket, unix:/path?db=2, redis://host, redis://host:6379, redis://[::1]:6379/2.  A password does
 * not belong in a URL (it shows in logs and process lists): redis.password_file.  Only serving/ includes this.
 */
#ifndef SERVING_REDIS_URL_H
#define SERVING_REDIS_URL_H
#include "base/status.h"
#include <stdbool.h>

#define REDIS_URL_MAX 512

struct redis_url {
    bool is_unix;
    char host[REDIS_URL_MAX]; /* or the socket's path */
    int port;                 /* 0 for a socket; 6379 by default */
    int db;
};
/* INVALID names the URL and what a right one looks like.  Thread: any. */
enum status redis_url_parse(const char *url, struct redis_url *out, struct err *e) MUST_CHECK;

#define REDIS_PASSWORD_MAX 512
struct redis_password { /* both empty: none */
    char user[REDIS_PASSWORD_MAX], password[REDIS_PASSWORD_MAX];
};
/* Reads `password` or `user:password` (first line; the rest is ignored; a password with a colon in it is written
 * `default:password`).  An empty path gives none.  IO, INVALID. */
enum status redis_password_read(const char *path, struct redis_password *out, struct err *e) MUST_CHECK;
#endif

/* redis_url.c - parsing by hand: three forms are not worth a library. */
#include "serving/redis_url.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT_DEFAULT 6379
#define SOCKET_PATH_MAX 107 /* hiredis cuts a longer one: it would be another's */
#define DB_MAX 1023

static enum status refuse(const char *url, const char *why, struct err *e)
{
    return ERR_SET(e, STATUS_INVALID, "redis.url: '%s' %s; write unix:/path or redis://host:port/db", url, why);
}

/* Digits alone, at most max; false otherwise. */
static bool number(const char *s, size_t n, long max, int *out)
{
    long v = 0;
    if (n == 0 || n > 9) return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        v = v * 10 + (s[i] - '0');
    }
    if (v > max) return false;
    *out = (int)v;
    return true;
}

static enum status copy_part(const char *url, const char *what, const char *s, size_t n, char out[REDIS_URL_MAX],
                             struct err *e)
{
    if (n == 0) return refuse(url, what, e);
    if (n >= REDIS_URL_MAX) return refuse(url, "is too long", e);
    memcpy(out, s, n);
    out[n] = '\0';
    return STATUS_OK;
}

static enum status parse_unix(const char *url, struct redis_url *out, struct err *e)
{
    const char *path = url + strlen("unix:"), *query = strstr(path, "?db=");
    const size_t n = query ? (size_t)(query - path) : strlen(path);
    out->is_unix = true;
    if (query != NULL && !number(query + 4, strlen(query + 4), DB_MAX, &out->db)) return refuse(url, "has a bad db", e);
    if (n > SOCKET_PATH_MAX)
        return refuse(url, "has a path of more than 107 bytes, the most that a socket may have", e);
    return copy_part(url, "names no path", path, n, out->host, e);
}

static enum status parse_tcp(const char *url, struct redis_url *out, struct err *e)
{
    const char *rest = url + strlen("redis://"), *slash = strchr(rest, '/');
    size_t n = slash ? (size_t)(slash - rest) : strlen(rest);
    out->port = PORT_DEFAULT;
    if (memchr(rest, '@', n) != NULL)
        return ERR_SET(e, STATUS_INVALID, "redis.url: holds a password; put it into redis.password_file instead");
    if (slash != NULL && slash[1] != '\0' && !number(slash + 1, strlen(slash + 1), DB_MAX, &out->db))
        return refuse(url, "has a bad db", e);
    const char *host = rest, *port = NULL;
    size_t n_host = n;
    if (n > 0 && rest[0] == '[') {
        const char *close = memchr(rest, ']', n);
        if (close == NULL) return refuse(url, "lacks the closing ]", e);
        host = rest + 1;
        n_host = (size_t)(close - host);
        if (close + 1 < rest + n) port = close + 1;
        if (port != NULL && *port != ':') return refuse(url, "has text after ]", e);
    } else if ((port = memchr(rest, ':', n)) != NULL) {
        n_host = (size_t)(port - rest);
    }
    if (port != NULL && (!number(port + 1, (size_t)(rest + n - port - 1), 65535, &out->port) || out->port == 0))
        return refuse(url, "has a bad port", e);
    return copy_part(url, "names no host", host, n_host, out->host, e);
}

enum status redis_url_parse(const char *url, struct redis_url *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (strncmp(url, "unix:", 5) == 0) return parse_unix(url, out, e);
    if (strncmp(url, "redis://", 8) == 0) return parse_tcp(url, out, e);
    return refuse(url, "is of no known form", e);
}

/* "password" or "user:password". */
static enum status parse_password(const char *path, char *line, struct redis_password *out, struct err *e)
{
    if (line[0] == '\0') return ERR_SET(e, STATUS_INVALID, "redis.password_file: %s: its first line is empty", path);
    char *colon = strchr(line, ':');
    const char *password = colon ? colon + 1 : line;
    if (colon != NULL) *colon = '\0';
    if (strlen(password) >= REDIS_PASSWORD_MAX || (colon != NULL && strlen(line) >= REDIS_PASSWORD_MAX))
        return ERR_SET(e, STATUS_INVALID, "redis.password_file: %s: longer than %d bytes", path,
                       REDIS_PASSWORD_MAX - 1);
    if (password[0] == '\0') /* or it would go in as nobody */
        return ERR_SET(e, STATUS_INVALID, "redis.password_file: %s: no password after '%s:'", path, line);
    memcpy(out->password, password, strlen(password) + 1);
    if (colon != NULL) memcpy(out->user, line, strlen(line) + 1);
    return STATUS_OK;
}

enum status redis_password_read(const char *path, struct redis_password *out, struct err *e)
{
    char line[2 * REDIS_PASSWORD_MAX];
    memset(out, 0, sizeof *out);
    if (path[0] == '\0') return STATUS_OK;
    FILE *f = fopen(path, "r");
    if (f == NULL) return ERR_SET(e, STATUS_IO, "redis.password_file: %s: %s", path, strerror(errno));
    const bool got = fgets(line, sizeof line, f) != NULL;
    const int fault = !got && ferror(f) ? errno : 0;
    (void)fclose(f);
    if (fault != 0) return ERR_SET(e, STATUS_IO, "redis.password_file: %s: %s", path, strerror(fault));
    line[got ? strcspn(line, "\r\n") : 0] = '\0';
    const enum status st = parse_password(path, line, out, e);
    explicit_bzero(line, sizeof line);
    return st;
}

/* http_none.c - stands in for http.c in a build without libmicrohttpd. */
#include "serving/http.h"

enum status http_open(struct http **out, const struct http_options *o, struct err *e)
{
    (void)o;
    *out = NULL;
    return ERR_SET(e, STATUS_UNSUPPORTED, "this build has no HTTP server; configure with -DFRESHET_WITH_HTTP=ON");
}

void http_close(struct http *h, int64_t drain_ms)
{
    (void)h, (void)drain_ms;
}

const char *http_address(const struct http *h)
{
    (void)h;
    return "";
}

int http_port(const struct http *h)
{
    (void)h;
    return 0;
}

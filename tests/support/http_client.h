/* http_client.h - a tiny HTTP/1.1 client over loopback for tests: one request, one whole answer, plain text in and out.
 *
 * It checks nothing of what it sends, so that a test can send what is wrong.
 */
#ifndef TESTS_SUPPORT_HTTP_CLIENT_H
#define TESTS_SUPPORT_HTTP_CLIENT_H
#include <stddef.h>

struct http_client_answer {
    int status;      /* 0: the connection ended without an answer */
    char head[4096]; /* header lines */
    char *body;      /* malloc'ed, NUL after it */
    size_t n;
};
/* headers: lines ended by \r\n, or "".  body NULL: none.  The connection is closed afterwards. */
struct http_client_answer http_client_ask(int port, const char *method, const char *path, const char *headers,
                                          const char *body, size_t n);
/* Raw bytes in; reads until the other side closes or timeout_ms pass without a byte. */
struct http_client_answer http_client_raw(int port, const char *bytes, size_t n, int timeout_ms);
/* One POST over a kept connection; its whole answer, which must be 200 and leave the connection open, into `answer` (cap).
 * Returns the body in it, a NUL after it.  Touches no heap. */
const char *http_client_kept(int fd, const char *path, const char *body, size_t n, char *answer, size_t cap);
void http_client_free(struct http_client_answer *a);
int http_client_connect(int port); /* a socket that the caller closes */
#endif

/* http_response.h - replies as libmicrohttpd's response objects; those of usual replies are kept and used again.
 *
 * One costs ten heap calls to make (itself, and three for each header), and it names the memory and the size of its body,
 * not what stands there.  So an exchange keeps those that it made, and finds the next reply's among them: its bodies lie
 * in one buffer, and are filled up with blanks (which JSON allows) to few sizes, 16 to an octave and 64 bytes apart at least.
 */
#ifndef SERVING_HTTP_RESPONSE_H
#define SERVING_HTTP_RESPONSE_H
#include "serving/http_routes.h"

#define HTTP_RESPONSES_KEPT 32 /* sizes of one exchange */

struct MHD_Connection;
struct MHD_Response;
struct http_responses { /* of one exchange; zeroed: none */
    struct http_response_kept {
        struct MHD_Response *response;
        const void *body;
        size_t n;
    } kept[HTTP_RESPONSES_KEPT];
    size_t next; /* the oldest, which goes first */
};
/* Queues r on the connection; its body stays as it is until the connection is done with it.  last: the connection ends with it.
 * False: out of memory, or the connection takes none now.  Thread: one at a time per exchange. */
bool http_response_queue(struct http_responses *kept, struct MHD_Connection *c, const struct http_reply *r, bool last);
void http_responses_fini(struct http_responses *kept);
#endif

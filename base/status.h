/* status.h - the one status type of the project, and the error text beside it.
 *
 * A function that can fail returns `enum status` and fills a caller-owned `struct err` (may be NULL) with one
 * sentence that names the thing, the value, the limit and the next step.  STATUS_OK is 0 and the only success.
 * The code tells the caller what to do: AGAIN retry, CORRUPT set aside and count, INVALID bad input, NOT_FOUND and
 * END are answers rather than faults, all others stop the stage.  New codes go in STATUS_LIST; names and texts follow.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#define STATUS_LIST(X)                                                                                                 \
    X(OK, "success")                                                                                                   \
    X(OOM, "out of memory")                                                                                            \
    X(INVALID, "argument or input out of range")                                                                       \
    X(IO, "read, write or network failure")                                                                            \
    X(CORRUPT, "stored bytes fail their own check")                                                                    \
    X(AGAIN, "not now; safe to try the same call")                                                                     \
    X(NOT_FOUND, "no such thing")                                                                                      \
    X(END, "nothing more will come")                                                                                   \
    X(FULL, "a configured bound is reached")                                                                           \
    X(CONFLICT, "owned or changed by someone else")                                                                    \
    X(UNSUPPORTED, "not built in or not known")

enum status {
#define X(name, text) STATUS_##name,
    STATUS_LIST(X)
#undef X
        STATUS_COUNT
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Caller-owned, fixed size: recording an error never allocates. */
struct err {
    enum status code;
    const char *where; /* "file:line" of the call that failed; static */
    char text[400];
};

const char *status_name(enum status s); /* "OOM"; "?" out of range */
const char *status_text(enum status s);

/* Records and returns `code`, so that the call site reads `return ERR_SET(e, STATUS_IO, "...")`. e may be NULL. */
#define ERR_STR2(x) #x
#define ERR_STR(x) ERR_STR2(x)
#define ERR_SET(e, code, ...) err_set((e), (code), __FILE__ ":" ERR_STR(__LINE__), __VA_ARGS__)
enum status err_set(struct err *e, enum status code, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "<prefix>: " before the text already in e and returns e's code: context on the way up. e must not be NULL. */
enum status err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Propagates a failure: `TRY(thing(..., e));` in functions with nothing to clean up, TRY_OUT where `out:` cleans. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        const enum status try_st_ = (call);                                                                            \
        if (try_st_ != STATUS_OK) return try_st_;                                                                      \
    } while (0)
#define TRY_OUT(st, call)                                                                                              \
    do {                                                                                                               \
        (st) = (call);                                                                                                 \
        if ((st) != STATUS_OK) goto out;                                                                               \
    } while (0)
#endif

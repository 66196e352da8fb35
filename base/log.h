/* log.h - one line, key=value, on stderr.
 *
 *   log_info("publish", "version=%d bytes=%zu", v, n);   →   2026-01-02T03:04:05.678Z info publish version=12 bytes=…
 *
 * Lines are written whole (one write call).  Values with spaces are quoted by the caller.  log_limited says the same of an event
 * (both by string literals) at most once a second; the next line that gets through says `repeated=N`.  Control
 * characters become spaces; a line ends at 4 KiB.  Thread: any.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_set_level(enum log_level level); /* default LOG_INFO */
enum log_level log_get_level(void);
struct clock;
void log_set_clock(struct clock *c); /* not taken over; NULL (default): the system's.  Tests hold it still */
void log_write(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void log_limited(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_error(event, ...) log_write(LOG_ERROR, (event), __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_WARN, (event), __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, (event), __VA_ARGS__)
#endif

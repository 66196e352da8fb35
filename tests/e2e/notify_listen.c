/* notify_listen.c - the other end of sd_notify(3), for scripts: prints what arrives at a Unix datagram socket.
 *
 *   notify_listen PATH
 *
 * One line "ms message" for each datagram, its newlines as blanks, ms by the monotonic clock; until SIGTERM or until its
 * parent ends.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char text[4096];
    if (argc != 2 || strlen(argv[1]) >= sizeof at.sun_path) return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    memcpy(at.sun_path, argv[1], strlen(argv[1]) + 1);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        perror(argv[1]);
        return 1;
    }
    for (ssize_t n; (n = recv(fd, text, sizeof text - 1, 0)) >= 0;) {
        struct timespec now;
        text[n] = 0;
        for (char *p = text; *p != 0; p++)
            if (*p == '\n') *p = ' ';
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        (void)printf("%lld %s\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, text);
        (void)fflush(stdout);
    }
    return 1;
}

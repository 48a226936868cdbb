// A unix stream socket that listens for one client at a time.
#include "sockets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool listener_open(struct listener *listener, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    listener->path = path;
    listener->client = -1;
    listener->listening = -1;
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "canopic-board: socket path %s is longer than %zu characters; use a shorter one\n", path,
                sizeof address.sun_path - 1);
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // A socket left behind by a board that was killed refuses connections; it may go.
    (void)unlink(path);
    if (listening < 0 || bind(listening, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listening, 4) != 0) {
        fprintf(stderr, "canopic-board: cannot listen at %s: %s\n", path, strerror(errno));
        if (listening >= 0) {
            close(listening);
        }
        return false;
    }
    listener->listening = listening;
    return true;
}

bool listener_accept(struct listener *listener) {
    const int client = accept4(listener->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) {
        return false;
    }
    listener_drop(listener, NULL);
    listener->client = client;
    return true;
}

void listener_drop(struct listener *listener, const char *reason) {
    if (reason != NULL) {
        fprintf(stderr, "canopic-board: client of %s dropped: %s\n", listener->path, reason);
    }
    if (listener->client >= 0) {
        close(listener->client);
        listener->client = -1;
    }
}

void listener_close(struct listener *listener) {
    listener_drop(listener, NULL);
    if (listener->listening >= 0) {
        close(listener->listening);
        listener->listening = -1;
        (void)unlink(listener->path);
    }
}

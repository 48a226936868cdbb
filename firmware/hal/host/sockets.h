// A unix stream socket that listens for one client at a time; a new client takes the place of the old.
#ifndef CANOPIC_HOST_SOCKETS_H
#define CANOPIC_HOST_SOCKETS_H

#include <stdbool.h>

struct listener {
    const char *path;
    int listening; // file descriptors, -1: none
    int client;
};

// Listens at a path, replacing a stale socket. False: says why on stderr.
bool listener_open(struct listener *listener, const char *path);

// Takes a waiting client, if there is one. True: there is a new one, and the old is gone.
bool listener_accept(struct listener *listener);

// Closes the connection to the client; with a reason, says it on stderr.
void listener_drop(struct listener *listener, const char *reason);

// Stops listening and removes the socket.
void listener_close(struct listener *listener);

#endif

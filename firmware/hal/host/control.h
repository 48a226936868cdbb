// The control socket: text lines that inject faults and ask for the truth, each answered by one line.
#ifndef CANOPIC_HOST_CONTROL_H
#define CANOPIC_HOST_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "analog.h"
#include "frames.h"
#include "serial.h"
#include "sockets.h"

struct control {
    struct listener socket;
    char line[256];
    size_t size;
    bool reset_asked; // by `reset`: the main loop restarts the firmware
};

// What the lines act on.
struct control_targets {
    struct analog *analog;
    struct serial *serial;
    struct frames *frames;
};

bool control_open(struct control *control, const char *path);
void control_accept(struct control *control);

// Reads what the client sent, without waiting, and answers every complete line.
void control_read(struct control *control, const struct control_targets *targets);

// Carries out one line; `answer` gets "ok", what was asked for, or "error: ...", without a newline.
void control_line(struct control *control, const struct control_targets *targets, char *line, char *answer,
                  size_t capacity);

void control_close(struct control *control);

#endif

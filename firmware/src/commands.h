// What the board does with a frame from the host.
#ifndef CANOPIC_COMMANDS_H
#define CANOPIC_COMMANDS_H

#include "core.h"

// Checks a frame against the allow-list, serves it and answers.
void commands_serve(struct core *core, const struct frame *frame);

#endif

// The board's main loop body.
#include "core.h"

#include <string.h>

#include "commands.h"
#include "safety.h"

#define FRAMES_PER_POLL 8   // bounds how long one poll takes
#define REBOOT_WAIT_MS 100u // a host that does not read gets no reply to RESET, but its reset

void core_init(struct core *core, const struct hal *hal, const struct board_identity *identity) {
    memset(core, 0, sizeof *core);
    core->hal = hal;
    core->identity = *identity;
    core->state = STATE_SAFE;
    core->fault = FAULT_NONE;
    core->fault_channel = PROTOCOL_NO_CHANNEL;
    link_init(&core->link, hal);
    thresholds_init(&core->thresholds, hal);
    stream_init(&core->stream, hal);
    core->started_ms = hal->millis(hal->context);
    core->checked_ms = core->started_ms;
    safety_disarm(core);
}

// Serves what the host sent. True: there may be more.
static bool serve(struct core *core) {
    for (int i = 0; i < FRAMES_PER_POLL && !core->rebooting; i++) {
        struct frame frame;
        if (!link_receive(&core->link, &frame)) {
            return false;
        }
        commands_serve(core, &frame);
        if (frame.type == MESSAGE_CONVERT) {
            link_forget(&core->link);
        }
        if (frame.type == MESSAGE_SWEEP || frame.type == MESSAGE_CONVERT) {
            break; // these take long: the checks come in between
        }
    }
    return true;
}

uint32_t core_poll(struct core *core) {
    const struct hal *hal = core->hal;
    if (core->stopped) {
        return PROTOCOL_CHECK_INTERVAL_MS;
    }
    hal->watchdog_kick(hal->context);
    const bool more = serve(core);
    safety_poll(core);
    uint8_t stuck = CONSISTENCY_NO_SUSPECT;
    const bool measured = stream_measure(&core->stream, &stuck);
    if (stuck != CONSISTENCY_NO_SUSPECT) {
        safety_latch(core, FAULT_COMPARATOR_STUCK, stuck);
    }
    const bool chunks_left = stream_fill(&core->stream, &core->link);
    const enum link_progress progress = link_pump(&core->link);
    if (core->rebooting) {
        if (progress == LINK_IDLE || hal->millis(hal->context) - core->rebooting_ms >= REBOOT_WAIT_MS) {
            core->stopped = true;
            hal->reboot(hal->context);
        }
        return 1;
    }
    const bool sendable = progress == LINK_BUSY || (chunks_left && progress == LINK_IDLE);
    return more || measured || sendable ? 0 : safety_due_ms(core);
}

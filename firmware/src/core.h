// The board: everything that is portable. Call core_init once, then core_poll for ever.
#ifndef CANOPIC_CORE_H
#define CANOPIC_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "hal.h"
#include "link.h"
#include "protocol.h"
#include "stream.h"
#include "thresholds.h"

#define REPLY_MAX 128u // [bytes] longest payload of a reply

// Who this board is, and which of its starts this is.
struct board_identity {
    char serial[16]; // ASCII, padded with zeros
    uint32_t boot_id;
    enum hardware hardware; // what it runs on: a simulation must never pass for a board
};

// What the host was last told, in case it asks again.
struct reply_cache {
    bool valid;
    uint8_t type; // of the command
    uint16_t sequence;
    uint16_t digest; // CRC-16 of the command's payload
    uint8_t reply_type;
    uint8_t size;
    uint8_t payload[REPLY_MAX];
};

struct core {
    const struct hal *hal;
    struct board_identity identity;
    struct link link;
    struct thresholds thresholds;
    struct stream stream;

    enum state state;
    enum fault fault;
    uint8_t fault_channel;
    uint32_t started_ms;
    uint32_t heard_ms;   // when the host last said something valid
    uint32_t checked_ms; // when the periodic checks last ran
    uint32_t noticed_ms; // when the latched fault was last announced
    uint8_t check_channel;
    uint8_t check_comparator;
    uint8_t low_supply_readings; // in a row

    bool hello_seen;
    bool schema_matches;
    bool rebooting; // RESET was served: restart when the reply is out
    uint32_t rebooting_ms;
    bool stopped; // the restart was asked for: wait for it
    struct reply_cache cache;
};

// Initialises the board and brings it into the safe state. The HAL must outlive the core.
void core_init(struct core *core, const struct hal *hal, const struct board_identity *identity);

// Does what there is to do, without waiting. Returns after how many ms it must be called again at the latest when
// neither a byte nor a frame arrives and the UART takes nothing before; 0: at once.
uint32_t core_poll(struct core *core);

#endif

// A board for the tests: a HAL whose every part can be set, broken and looked at, and the host's end of the line.
#ifndef CANOPIC_TESTS_FAKE_BOARD_H
#define CANOPIC_TESTS_FAKE_BOARD_H

#include "core.h"

#ifndef FAKE_RX_BYTES
#define FAKE_RX_BYTES 16384u
#endif
#ifndef FAKE_TX_BYTES
#define FAKE_TX_BYTES (1u << 20)
#endif

// A frame that the board sent.
struct sent_frame {
    uint8_t type;
    uint16_t sequence;
    size_t size;
    uint8_t payload[PROTOCOL_MAX_PAYLOAD];
};

struct fake_board {
    struct core core;
    struct hal hal;

    uint32_t now_ms;
    uint8_t rx[FAKE_RX_BYTES]; // on its way to the board
    size_t rx_at;
    size_t rx_size;
    size_t rx_piece;           // most bytes that one read gives
    uint8_t tx[FAKE_TX_BYTES]; // everything that the board sent
    size_t tx_size;
    size_t tx_read;     // up to where the host has looked
    size_t tx_room;     // bytes that the UART takes before it is full; SIZE_MAX: never full
    unsigned tx_broken; // frames that did not decode

    uint16_t dac[PROTOCOL_DAC_CHANNELS];
    int drift[PROTOCOL_DAC_CHANNELS]; // [DAC codes]
    uint16_t dac_write_fails;         // bit i: channel i
    unsigned dac_dies_in;             // writes: that one and all that follow fail; 0: none
    uint16_t dac_read_fails;
    unsigned dac_glitches;            // the next readbacks that give nonsense
    int offset[PROTOCOL_COMPARATORS]; // [DAC codes]
    int hysteresis;                   // [DAC codes] of every comparator
    uint16_t high;                    // what the comparators read last
    unsigned comparator_glitches;     // the next readings of the test cell that are all wrong
    int noise;                        // [DAC codes], uniform on both sides
    uint32_t noise_state;
    uint16_t stuck_high;
    uint16_t stuck_low;
    uint16_t supply_millivolts;
    uint32_t selected;
    uint16_t cells[CANOPIC_MAX_CELLS]; // [DAC codes]

    bool frame_waits;
    bool frame_held;
    struct frame_info info;
    unsigned measured;
    unsigned unfit;
    unsigned abandoned;
    bool safe;
    unsigned kicks;
    unsigned reboots;
    bool exposure_refused;
    uint32_t exposure_us;
    uint32_t gain_milli;

    uint16_t sequence; // of the last command
};

extern struct fake_board fake;

// The encoding and thresholds that the tests use.
extern const uint8_t FAKE_ENCODING[16];
extern const uint16_t FAKE_THRESHOLDS[PROTOCOL_COMPARATORS];
extern const int16_t NO_TRIMS[PROTOCOL_COMPARATORS];

// A healthy board that has just started. Has the signature of a cmocka set-up function.
int fake_setup(void **state);

// Polls until there is nothing more to do at once.
void fake_run(void);

// Lets time pass in steps of 1 ms, polling.
void fake_pass_ms(uint32_t ms);

// Sends raw bytes, or a frame, without polling.
void fake_bytes(const uint8_t *bytes, size_t size);
void fake_frame(uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size);

// Takes the next frame that the board sent. False: there is none.
bool fake_take(struct sent_frame *frame);

// Forgets what the board sent so far.
void fake_skip(void);

// Sends a command with the next sequence, runs, and finds its reply among what was sent. Fails the test without one.
struct sent_frame fake_command(uint8_t type, const uint8_t *payload, size_t size);

// The same; requires the reply to be a success, or an error with this code; returns the detail of the error.
struct sent_frame fake_ok(uint8_t type, const uint8_t *payload, size_t size);
uint16_t fake_refused(uint8_t type, const uint8_t *payload, size_t size, enum error_code code);

// Commands that need a payload.
void fake_hello(void);
void fake_stage(const uint16_t *thresholds);
void fake_stage_trimmed(const uint16_t *thresholds, const int16_t *trims);
void fake_commit(void);
uint8_t *fake_arm_payload(uint16_t rows, uint16_t columns, uint8_t channels, uint8_t chunk_bytes);
void fake_credit(uint32_t acknowledged, uint32_t limit);
uint16_t fake_clear_refused(enum fault fault, enum error_code code);
void fake_clear(enum fault fault);

// Brings the board into a state, from its start. Armed: rows x columns x channels with chunks of 32 bytes, no credit.
void fake_bring_to(enum state state, uint16_t rows, uint16_t columns, uint8_t channels);

// A frame waits from now on.
void fake_offer(uint32_t frame, uint16_t rows, uint16_t columns, uint16_t channels);

#endif

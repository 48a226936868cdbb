// What the core needs from a board: every device it touches, and nothing else.
//
// No function may block or wait longer than its stated time; each is called from core_poll only, never from an
// interrupt.
#ifndef CANOPIC_HAL_H
#define CANOPIC_HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Cell number that connects the comparators to the test cell, whose voltage is the last DAC channel.
#define HAL_TEST_CELL UINT32_MAX

// A frame that waits, sampled and held, to be measured.
struct frame_info {
    uint32_t frame;           // the sensor's frame counter
    uint64_t capture_time_us; // [us] on the sensor's clock
    uint32_t exposure_us;     // [us] that this frame was exposed with
    uint32_t gain_milli;      // [1/1000] gain that this frame was taken with
    uint16_t rows;
    uint16_t columns;
    uint16_t channels;
};

// What became of a held frame.
enum frame_fate {
    FRAME_MEASURED,
    FRAME_UNFIT,    // another geometry than ARM named
    FRAME_ABANDONED // the board went blind in the middle; a sensor that can may offer it again
};

struct hal {
    void *context; // handed to every function

    // Copies at most `capacity` received bytes into `buffer`; returns how many, 0 when there are none.
    size_t (*uart_read)(void *context, uint8_t *buffer, size_t capacity);
    // Takes as many of the bytes as there is room for; returns how many, 0 when there is none.
    size_t (*uart_write)(void *context, const uint8_t *bytes, size_t size);
    // [ms] since some moment, monotonic, wraps.
    uint32_t (*millis)(void *context);

    // Sets a DAC channel (0..15) and returns when its output has settled (at most 50 us). False: the DAC did not
    // answer.
    bool (*dac_write)(void *context, uint8_t channel, uint16_t code);
    // Reads back what a DAC channel puts out, as a DAC code. False: the DAC did not answer.
    bool (*dac_readback)(void *context, uint8_t channel, uint16_t *code);

    // Connects the comparators to a cell (row-major over rows, columns, channels) or to HAL_TEST_CELL.
    void (*cell_select)(void *context, uint32_t cell);
    // Waits until the comparators have settled (at most 2 us) and reads them: bit i is comparator i.
    uint16_t (*comparators)(void *context);
    // [mV] of the analog supply.
    uint16_t (*supply_millivolts)(void *context);

    void (*watchdog_kick)(void *context);
    // True isolates the sensor from the comparators in hardware; the test cell stays readable.
    void (*safe_output)(void *context, bool safe);

    // True when a frame waits: it is described in `info` and held until frame_release.
    bool (*frame_poll)(void *context, struct frame_info *info);
    // Lets go of the held frame.
    void (*frame_release)(void *context, enum frame_fate fate);
    // Asks the sensor for an exposure [us] and a gain [1/1000]. False: out of its range.
    bool (*exposure_set)(void *context, uint32_t exposure_us, uint32_t gain_milli);

    // Restarts the board. May return: the core then does nothing until it is initialised again.
    void (*reboot)(void *context);
};

#endif

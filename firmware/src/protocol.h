// The wire protocol. Generated from protocol.yaml by generate_protocol.py: do not edit.
// clang-format off
#ifndef CANOPIC_PROTOCOL_H
#define CANOPIC_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// [bytes] Longest payload of a frame, before COBS.
#define PROTOCOL_MAX_PAYLOAD 512u
// [bytes] Type (1), sequence (2) and CRC-16 (2) around the payload, before COBS.
#define PROTOCOL_FRAME_OVERHEAD 5u
// A reply has the type of its command with this bit set.
#define PROTOCOL_REPLY_BIT 128u
// Comparators, so thresholds, of one cell; codes are 0..15.
#define PROTOCOL_COMPARATORS 15u
// DAC channels: one for each comparator's threshold, the last one drives the test cell.
#define PROTOCOL_DAC_CHANNELS 16u
// Resolution of the DAC.
#define PROTOCOL_DAC_BITS 16u
// DAC code of the reference voltage; also every threshold of the safe table.
#define PROTOCOL_DAC_FULL_SCALE 65535u
// [uV] Reference voltage: full scale of thresholds and cells.
#define PROTOCOL_REFERENCE_MICROVOLTS 2500000u
// [bytes] Smallest chunk of a measurement.
#define PROTOCOL_CHUNK_BYTES_MIN 32u
// [bytes] Largest chunk of a measurement.
#define PROTOCOL_CHUNK_BYTES_MAX 240u
// Most chunks of codes in one measurement (chunk 0, the header, comes on top).
#define PROTOCOL_CHUNKS_MAX 255u
// [ms] An armed board that hears nothing valid for this long latches heartbeat_lost.
#define PROTOCOL_HEARTBEAT_TIMEOUT_MS 2000u
// [ms] A latched fault is announced again after this time, until cleared.
#define PROTOCOL_FAULT_REPEAT_MS 500u
// [ms] While armed, one DAC channel is read back and one comparator probed each interval.
#define PROTOCOL_CHECK_INTERVAL_MS 5u
// [DAC codes] A DAC channel that reads back further off than this while armed latches readback_drift (0.6 mV).
#define PROTOCOL_READBACK_TOLERANCE 16u
// [DAC codes] A comparator must switch this close to its wanted code (75 mV: untrimmed offset and noise together).
#define PROTOCOL_COMPARATOR_TOLERANCE 1966u
// [DAC codes] Largest trim of a threshold, either way (50 mV): a comparator that needs more is defective.
#define PROTOCOL_TRIM_MAX 1311u
// [us] A DAC channel has settled this long after a write.
#define PROTOCOL_DAC_WRITE_MICROSECONDS 50u
// [us] The comparators have settled, and are read, this long after their input has.
#define PROTOCOL_COMPARATORS_MICROSECONDS 2u
// Most levels of one SWEEP.
#define PROTOCOL_SWEEP_LEVELS_MAX 64u
// [us] Longest SWEEP while armed: frames and checks wait for it.
#define PROTOCOL_SWEEP_ARMED_MICROSECONDS 30000u
// Most levels of one CONVERT.
#define PROTOCOL_CONVERT_LEVELS_MAX 240u
// [mV] A supply below this latches brown_out.
#define PROTOCOL_SUPPLY_MINIMUM_MILLIVOLTS 3000u
// [mV] brown_out can be cleared, and the board armed, from this supply on.
#define PROTOCOL_SUPPLY_RECOVERED_MILLIVOLTS 3100u
// fault_channel when a fault concerns no single channel.
#define PROTOCOL_NO_CHANNEL 255u
#define PROTOCOL_VERSION 2u
// First 8 bytes of the SHA-256 of the definition.
#define PROTOCOL_SCHEMA_DIGEST {0xA5, 0x50, 0x3D, 0xBF, 0xC3, 0x3F, 0x85, 0x3A}

// What the board is doing; exactly one at a time.
enum state {
    STATE_SAFE = 0, // Safe table in the DAC, nothing staged.
    STATE_STAGED = 1, // Thresholds received and checked, safe table still in the DAC.
    STATE_COMMITTED = 2, // Thresholds written to every DAC channel and read back equal.
    STATE_ARMED = 3, // Frames are measured and streamed.
    STATE_FAULTED = 4, // A fault is latched; safe table in the DAC; nothing is measured until it is cleared.
};

// Why the board went blind. The first fault stays latched until cleared.
enum fault {
    FAULT_NONE = 0, // No fault.
    FAULT_HEARTBEAT_LOST = 1, // Armed, and the host said nothing valid for HEARTBEAT_TIMEOUT_MS.
    FAULT_READBACK_DRIFT = 2, // A DAC channel no longer reads back what was committed; fault_channel says which.
    FAULT_COMPARATOR_STUCK = 3, // A comparator does not follow its input, or contradicts the others; fault_channel says which.
    FAULT_BROWN_OUT = 4, // The supply fell below SUPPLY_MINIMUM_MILLIVOLTS.
    FAULT_DAC_WRITE_FAILED = 5, // The DAC did not take a write or did not answer a readback; fault_channel says which channel.
};

// Where a SWEEP brings the test cell from before each reading: hysteresis makes a comparator remember it.
enum approach {
    APPROACH_NONE = 0, // From wherever it was: the level before, or dark at the first.
    APPROACH_BELOW = 1, // From DAC code 0.
    APPROACH_ABOVE = 2, // From DAC_FULL_SCALE.
};

// What the firmware runs on: what may be claimed of a measurement depends on it.
enum hardware {
    HARDWARE_SIMULATED = 0, // A program or an emulator: comparators and light are simulated.
    HARDWARE_ANALOG = 1, // A board with real peak detectors, DAC and comparators.
};

// Why a command was refused.
enum error_code {
    ERROR_UNKNOWN_COMMAND = 1, // No command has this type; detail is the type.
    ERROR_BAD_LENGTH = 2, // The payload has the wrong size; detail is the size that was received.
    ERROR_SCHEMA_MISMATCH = 3, // HELLO named another schema digest: only HELLO, STATUS and RESET are served.
    ERROR_HELLO_REQUIRED = 4, // No HELLO since the board started: only HELLO, STATUS and RESET are served.
    ERROR_WRONG_STATE = 5, // The command is not on the allow-list of the present state; detail is the state.
    ERROR_BAD_VALUE = 6, // A field is out of range; detail is its index in the message (thresholds: the first that descends; 15 + i: trim i).
    ERROR_CRC_MISMATCH = 7, // The CRC-32 is not that of the staged (COMMIT) or committed (ARM) thresholds.
    ERROR_DAC_MISMATCH = 8, // A DAC channel did not read back what was written; detail is the channel.
    ERROR_DAC_WRITE_FAILED = 9, // The DAC refused a write or a readback; detail is the channel.
    ERROR_ENCODING_MISMATCH = 10, // ARM names another encoding than the committed one.
    ERROR_BAD_GEOMETRY = 11, // No cells, more cells than max_cells, or more than CHUNKS_MAX chunks; detail is the chunk count, capped.
    ERROR_SUPPLY_LOW = 12, // The supply is below SUPPLY_RECOVERED_MILLIVOLTS; detail is its value in mV.
    ERROR_FAULT_NOT_LATCHED = 13, // CLEAR_FAULT names another fault than the latched one; detail is the latched fault.
    ERROR_FAULT_PERSISTS = 14, // The condition behind the fault is still there; detail is the channel or NO_CHANNEL.
    ERROR_NOT_APPLIED = 15, // The sensor did not take the exposure.
};

enum message_type {
    MESSAGE_HELLO = 0x01, // Opens a session and empties the reply cache. A digest other than the board's disarms it.
    MESSAGE_STATUS = 0x02, // Everything worth knowing.
    MESSAGE_RESET = 0x03, // Safe table, reply, restart.
    MESSAGE_DISARM = 0x04, // Safe table; staged and committed thresholds and unsent measurements are forgotten. A latched fault stays.
    MESSAGE_HEARTBEAT = 0x05, // Keeps an armed board armed, as any valid command or notice does.
    MESSAGE_CLEAR_FAULT = 0x06, // Tests whether the condition is gone; if so the board is safe again, and thresholds have to be staged anew.
    MESSAGE_STAGE_THRESHOLDS = 0x10, // Hands over thresholds; from committed, the safe table is written first.
    MESSAGE_COMMIT = 0x11, // Writes every DAC channel and reads every one back; one that differs leaves the board safe.
    MESSAGE_READ_THRESHOLDS = 0x12, // Reads the 15 threshold channels back now.
    MESSAGE_ARM = 0x13, // Reads every channel back once more and starts measuring. Sequences restart at 0, acknowledged and limit too.
    MESSAGE_SET_EXPOSURE = 0x14, // Forwarded to the sensor; takes effect some frames later, the measurement's header says from when on.
    MESSAGE_SELF_TEST = 0x15, // Tests every DAC channel and every comparator; ends with the safe table, so committed becomes staged.
    MESSAGE_SET_CHUNK = 0x16, // Chunk size of the measurements produced from now on; those in the slots keep theirs.
    MESSAGE_SWEEP = 0x17, // Drives the test cell through levels and counts in how many readings of each a comparator is high. Ends dark.
    MESSAGE_CONVERT = 0x18, // Drives the test cell to each level and reads the comparators as they are read for a cell. Ends dark.
    MESSAGE_CREDIT = 0x20, // Cumulative and idempotent: send it as often as you like, a lost one costs nothing.
    MESSAGE_RESEND = 0x21, // Asks for chunks of a measurement again; bits beyond its chunks, and sequences not held, are ignored.
    MESSAGE_MEASUREMENT = 0x40, // A chunk of a measurement: 0 is its MeasurementHeader, i holds packed codes from (i - 1) * chunk_bytes on.
    MESSAGE_FAULT_NOTICE = 0x41, // Sent when a fault is latched and every FAULT_REPEAT_MS until it is cleared.
    MESSAGE_ERROR_REPLY = 0xFF, // Refuses a command; carries its sequence.
};

#define MSG_HELLO_SIZE 8u
struct msg_hello {
    uint8_t schema_digest[8]; // First 8 bytes of the SHA-256 of the host's protocol definition.
};
void msg_hello_pack(const struct msg_hello *message, uint8_t *out);
void msg_hello_unpack(struct msg_hello *message, const uint8_t *in);

#define MSG_HELLO_REPLY_SIZE 47u
struct msg_hello_reply {
    uint8_t schema_digest[8]; // The board's.
    uint16_t protocol_version; // `version` of the board's protocol definition.
    uint8_t firmware_version[3]; // Major, minor, patch.
    char board_serial[16]; // ASCII, padded with zeros.
    uint32_t boot_id; // Changes with every start of the board.
    uint8_t comparators;
    uint8_t dac_bits;
    uint32_t reference_microvolts; // [uV]
    uint32_t max_cells; // Most cells (rows x columns x channels) that fit a measurement slot.
    uint8_t measurement_slots; // Measurements that the board keeps until acknowledged.
    uint8_t state;
    uint8_t fault;
    uint8_t hardware;
};
void msg_hello_reply_pack(const struct msg_hello_reply *message, uint8_t *out);
void msg_hello_reply_unpack(struct msg_hello_reply *message, const uint8_t *in);

#define MSG_STATUS_SIZE 0u
#define MSG_STATUS_REPLY_SIZE 49u
struct msg_status_reply {
    uint8_t state;
    uint8_t fault;
    uint8_t fault_channel; // DAC channel or comparator, or NO_CHANNEL.
    uint32_t uptime_ms; // [ms] Since the board started; wraps after 49.7 days.
    uint32_t thresholds_crc; // CRC-32 of the committed thresholds, 0 when there are none.
    uint8_t encoding_id[16]; // Of the staged, committed or armed encoding; zeros when there is none.
    uint32_t sequence; // Sequence of the next measurement.
    uint32_t acknowledged;
    uint32_t limit;
    uint32_t frames_unmeasured; // Frames since ARM that gave no measurement.
    uint32_t rx_bad_frames; // Frames received since start with a wrong CRC, COBS code or length.
    uint16_t supply_millivolts; // [mV]
};
void msg_status_reply_pack(const struct msg_status_reply *message, uint8_t *out);
void msg_status_reply_unpack(struct msg_status_reply *message, const uint8_t *in);

#define MSG_RESET_SIZE 0u
#define MSG_RESET_REPLY_SIZE 0u
#define MSG_DISARM_SIZE 0u
#define MSG_DISARM_REPLY_SIZE 0u
#define MSG_HEARTBEAT_SIZE 0u
#define MSG_HEARTBEAT_REPLY_SIZE 2u
struct msg_heartbeat_reply {
    uint8_t state;
    uint8_t fault;
};
void msg_heartbeat_reply_pack(const struct msg_heartbeat_reply *message, uint8_t *out);
void msg_heartbeat_reply_unpack(struct msg_heartbeat_reply *message, const uint8_t *in);

#define MSG_CLEAR_FAULT_SIZE 1u
struct msg_clear_fault {
    uint8_t fault; // The fault that the host has seen.
};
void msg_clear_fault_pack(const struct msg_clear_fault *message, uint8_t *out);
void msg_clear_fault_unpack(struct msg_clear_fault *message, const uint8_t *in);

#define MSG_CLEAR_FAULT_REPLY_SIZE 0u
#define MSG_STAGE_THRESHOLDS_SIZE 76u
struct msg_stage_thresholds {
    uint8_t encoding_id[16]; // First 16 bytes of the encoding id.
    uint16_t dac_codes[15]; // Where the comparators are wanted to switch: ascending, duplicates allowed.
    int16_t trims[15]; // [DAC codes] Added when written, to cancel offsets; at most TRIM_MAX either way, sums within the DAC's range.
};
void msg_stage_thresholds_pack(const struct msg_stage_thresholds *message, uint8_t *out);
void msg_stage_thresholds_unpack(struct msg_stage_thresholds *message, const uint8_t *in);

#define MSG_STAGE_THRESHOLDS_REPLY_SIZE 4u
struct msg_stage_thresholds_reply {
    uint32_t crc32; // CRC-32 of the 60 bytes of dac_codes and trims as received.
};
void msg_stage_thresholds_reply_pack(const struct msg_stage_thresholds_reply *message, uint8_t *out);
void msg_stage_thresholds_reply_unpack(struct msg_stage_thresholds_reply *message, const uint8_t *in);

#define MSG_COMMIT_SIZE 4u
struct msg_commit {
    uint32_t crc32; // Must be that of the staged thresholds.
};
void msg_commit_pack(const struct msg_commit *message, uint8_t *out);
void msg_commit_unpack(struct msg_commit *message, const uint8_t *in);

#define MSG_COMMIT_REPLY_SIZE 4u
struct msg_commit_reply {
    uint32_t crc32; // The same: every channel read back as its dac_code plus trim.
};
void msg_commit_reply_pack(const struct msg_commit_reply *message, uint8_t *out);
void msg_commit_reply_unpack(struct msg_commit_reply *message, const uint8_t *in);

#define MSG_READ_THRESHOLDS_SIZE 0u
#define MSG_READ_THRESHOLDS_REPLY_SIZE 64u
struct msg_read_thresholds_reply {
    uint16_t readback[15]; // [DAC codes] What the channels hold now: wanted code plus trim.
    int16_t trims[15]; // [DAC codes] Those in what was written last; 0 in the safe table.
    uint32_t crc32; // CRC-32 of the 60 bytes of readback less trims, and trims.
};
void msg_read_thresholds_reply_pack(const struct msg_read_thresholds_reply *message, uint8_t *out);
void msg_read_thresholds_reply_unpack(struct msg_read_thresholds_reply *message, const uint8_t *in);

#define MSG_ARM_SIZE 26u
struct msg_arm {
    uint8_t encoding_id[16]; // Must be the committed one.
    uint32_t thresholds_crc; // Must be that of the committed thresholds.
    uint16_t rows;
    uint16_t columns;
    uint8_t channels;
    uint8_t chunk_bytes; // [bytes] CHUNK_BYTES_MIN..CHUNK_BYTES_MAX.
};
void msg_arm_pack(const struct msg_arm *message, uint8_t *out);
void msg_arm_unpack(struct msg_arm *message, const uint8_t *in);

#define MSG_ARM_REPLY_SIZE 0u
#define MSG_SET_EXPOSURE_SIZE 8u
struct msg_set_exposure {
    uint32_t exposure_us; // [us]
    uint32_t gain_milli; // [1/1000]
};
void msg_set_exposure_pack(const struct msg_set_exposure *message, uint8_t *out);
void msg_set_exposure_unpack(struct msg_set_exposure *message, const uint8_t *in);

#define MSG_SET_EXPOSURE_REPLY_SIZE 0u
#define MSG_SELF_TEST_SIZE 0u
#define MSG_SELF_TEST_REPLY_SIZE 6u
struct msg_self_test_reply {
    uint16_t dac_ok; // Bit i: DAC channel i wrote and read back two patterns.
    uint16_t comparators_ok; // Bit i: comparator i was low below and high above its threshold.
    uint16_t supply_millivolts; // [mV]
};
void msg_self_test_reply_pack(const struct msg_self_test_reply *message, uint8_t *out);
void msg_self_test_reply_unpack(struct msg_self_test_reply *message, const uint8_t *in);

#define MSG_SET_CHUNK_SIZE 1u
struct msg_set_chunk {
    uint8_t chunk_bytes; // [bytes] CHUNK_BYTES_MIN..CHUNK_BYTES_MAX.
};
void msg_set_chunk_pack(const struct msg_set_chunk *message, uint8_t *out);
void msg_set_chunk_unpack(struct msg_set_chunk *message, const uint8_t *in);

#define MSG_SET_CHUNK_REPLY_SIZE 0u
#define MSG_SWEEP_SIZE 8u
struct msg_sweep {
    uint8_t comparator; // 0..14.
    uint16_t start; // [DAC codes] First level.
    int16_t step; // [DAC codes] From each level to the next; none may lie beyond the DAC's ends.
    uint8_t count; // Levels, 1..SWEEP_LEVELS_MAX; fewer where armed and too long otherwise.
    uint8_t reads; // Readings of each level, 1 or more.
    uint8_t approach;
};
void msg_sweep_pack(const struct msg_sweep *message, uint8_t *out);
void msg_sweep_unpack(struct msg_sweep *message, const uint8_t *in);

#define MSG_SWEEP_REPLY_SIZE 64u
struct msg_sweep_reply {
    uint8_t counts[64]; // Of each level; 0 beyond the last.
};
void msg_sweep_reply_pack(const struct msg_sweep_reply *message, uint8_t *out);
void msg_sweep_reply_unpack(struct msg_sweep_reply *message, const uint8_t *in);

#define MSG_CONVERT_SIZE 481u
struct msg_convert {
    uint8_t count; // Levels, 1..CONVERT_LEVELS_MAX.
    uint16_t levels[240]; // [DAC codes] Those beyond count are ignored.
};
void msg_convert_pack(const struct msg_convert *message, uint8_t *out);
void msg_convert_unpack(struct msg_convert *message, const uint8_t *in);

#define MSG_CONVERT_REPLY_SIZE 120u
struct msg_convert_reply {
    uint8_t codes[120]; // Packed as in a measurement, the first in the low half; 0 beyond the last.
};
void msg_convert_reply_pack(const struct msg_convert_reply *message, uint8_t *out);
void msg_convert_reply_unpack(struct msg_convert_reply *message, const uint8_t *in);

#define MSG_CREDIT_SIZE 8u
struct msg_credit {
    uint32_t acknowledged; // Measurements with a lower sequence are done; their slots are free.
    uint32_t limit; // The board may produce sequences below this.
};
void msg_credit_pack(const struct msg_credit *message, uint8_t *out);
void msg_credit_unpack(struct msg_credit *message, const uint8_t *in);

#define MSG_RESEND_SIZE 36u
struct msg_resend {
    uint32_t sequence;
    uint8_t bitmap[32]; // Bit i % 8 of byte i // 8: chunk i is missing.
};
void msg_resend_pack(const struct msg_resend *message, uint8_t *out);
void msg_resend_unpack(struct msg_resend *message, const uint8_t *in);

#define MSG_MEASUREMENT_SIZE 5u
struct msg_measurement {
    uint32_t sequence;
    uint8_t chunk;
};
void msg_measurement_pack(const struct msg_measurement *message, uint8_t *out);
void msg_measurement_unpack(struct msg_measurement *message, const uint8_t *in);

#define MSG_FAULT_NOTICE_SIZE 3u
struct msg_fault_notice {
    uint8_t fault;
    uint8_t channel;
    uint8_t state;
};
void msg_fault_notice_pack(const struct msg_fault_notice *message, uint8_t *out);
void msg_fault_notice_unpack(struct msg_fault_notice *message, const uint8_t *in);

#define MSG_ERROR_REPLY_SIZE 4u
struct msg_error_reply {
    uint8_t command; // Type of the refused command.
    uint8_t code;
    uint16_t detail;
};
void msg_error_reply_pack(const struct msg_error_reply *message, uint8_t *out);
void msg_error_reply_unpack(struct msg_error_reply *message, const uint8_t *in);

#define MSG_MEASUREMENT_HEADER_SIZE 38u
struct msg_measurement_header {
    uint32_t sequence;
    uint32_t frame; // The sensor's frame counter; a gap is a frame that was not measured.
    uint64_t capture_time_us; // [us] On the clock of the sensor or the recorded scene.
    uint32_t exposure_us; // [us]
    uint32_t gain_milli; // [1/1000]
    uint16_t rows;
    uint16_t columns;
    uint8_t channels;
    uint8_t chunk_bytes; // [bytes]
    uint32_t thresholds_crc; // Of the thresholds that were committed when this was measured.
    uint32_t cells_crc32; // CRC-32 of all packed codes.
};
void msg_measurement_header_pack(const struct msg_measurement_header *message, uint8_t *out);
void msg_measurement_header_unpack(struct msg_measurement_header *message, const uint8_t *in);


// One row of the allow-list: what the core needs to know before it serves a command or notice.
struct command_rule {
    uint8_t type;
    uint8_t states;       // bit s: served in state s
    bool before_hello;    // served without a HELLO with the right schema digest
    bool cached;          // a repeated sequence is answered from the reply cache
    bool answered;        // false: a notice
    uint16_t request_size; // [bytes] the only payload size that is accepted
};

// The rule of a type, or NULL when no command or notice has it.
const struct command_rule *protocol_rule(uint8_t type);

#endif

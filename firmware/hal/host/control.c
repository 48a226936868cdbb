// The control socket.
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "reveal.h"

#define WORDS_MAX 4

struct words {
    char *word[WORDS_MAX];
    size_t count;
};

static const char USAGE[] =
    "error: unknown command; there are: stick CH high|low, unstick CH, drift CH VOLTS, offset CH VOLTS, gain CH SHARE, "
    "noise [CH] VOLTS, hysteresis [CH] VOLTS, inl CH VOLTS, dnl LSB, mute CH [WRITES], unmute CH, corrupt rx|tx PROB, "
    "drop rx|tx PROB, supply MILLIVOLTS, reset, clear, stats, reveal, output CH CODE";
static const char WRONG_COMPARATOR[] = "error: the comparator must be 0..14";
static const char WRONG_CHANNEL[] = "error: the DAC channel must be 0..15";

bool control_open(struct control *control, const char *path) {
    memset(control, 0, sizeof *control);
    return listener_open(&control->socket, path);
}

void control_accept(struct control *control) {
    if (listener_accept(&control->socket)) {
        control->size = 0;
    }
}

static bool parse_channel(const char *word, uint8_t channels, uint8_t *channel) {
    char *end = NULL;
    const long value = strtol(word, &end, 10);
    *channel = (uint8_t)value;
    return end != word && *end == '\0' && value >= 0 && value < channels;
}

static bool parse_number(const char *word, double least, double most, double *number) {
    char *end = NULL;
    *number = strtod(word, &end);
    return end != word && *end == '\0' && isfinite(*number) && *number >= least && *number <= most;
}

static bool is(const struct words *words, const char *command, size_t count) {
    return words->count == count && strcmp(words->word[0], command) == 0;
}

// stick CH high|low, unstick CH. NULL: done; otherwise what is wrong.
static const char *stick(struct analog *analog, const struct words *words) {
    uint8_t channel = 0;
    const bool sticks = words->count == 3;
    if (!parse_channel(words->word[1], PROTOCOL_COMPARATORS, &channel)) {
        return WRONG_COMPARATOR;
    }
    if (sticks && strcmp(words->word[2], "high") != 0 && strcmp(words->word[2], "low") != 0) {
        return "error: a comparator sticks high or low";
    }
    const uint16_t bit = (uint16_t)(1u << channel);
    analog->stuck_high &= (uint16_t)~bit;
    analog->stuck_low &= (uint16_t)~bit;
    if (sticks) {
        *(strcmp(words->word[2], "high") == 0 ? &analog->stuck_high : &analog->stuck_low) |= bit;
    }
    return NULL;
}

// drift CH VOLTS, offset CH VOLTS, gain CH SHARE, inl CH VOLTS.
static const char *shift(struct analog *analog, const struct words *words) {
    uint8_t channel = 0;
    double value = 0.0;
    const bool of_dac = strcmp(words->word[0], "drift") == 0 || strcmp(words->word[0], "inl") == 0;
    const bool gains = strcmp(words->word[0], "gain") == 0;
    if (!parse_channel(words->word[1], of_dac ? PROTOCOL_DAC_CHANNELS : PROTOCOL_COMPARATORS, &channel)) {
        return of_dac ? WRONG_CHANNEL : WRONG_COMPARATOR;
    }
    if (!parse_number(words->word[2], gains ? -0.5 : -10.0, gains ? 0.5 : 10.0, &value)) {
        return gains ? "error: the gain error must be a number from -0.5 to 0.5"
                     : "error: the voltage must be a number from -10 to 10";
    }
    if (strcmp(words->word[0], "drift") == 0) {
        analog_drift(analog, channel, value);
    } else if (of_dac) {
        analog->parts.bow_volts[channel] = value;
    } else if (gains) {
        analog->parts.gain_error[channel] = value;
    } else {
        analog->parts.offset_volts[channel] = value;
    }
    analog_parts_changed(analog);
    return NULL;
}

// noise [CH] VOLTS, hysteresis [CH] VOLTS: of one comparator, or of all.
static const char *width(struct analog *analog, const struct words *words) {
    const bool noisy = strcmp(words->word[0], "noise") == 0;
    double *volts = noisy ? analog->parts.noise_volts : analog->parts.hysteresis_volts;
    uint8_t from = 0;
    double value = 0.0;
    if (words->count == 3 && !parse_channel(words->word[1], PROTOCOL_COMPARATORS, &from)) {
        return WRONG_COMPARATOR;
    }
    if (!parse_number(words->word[words->count - 1], 0.0, 10.0, &value)) {
        return noisy ? "error: the noise must be a number of volts from 0 to 10"
                     : "error: the hysteresis must be a number of volts from 0 to 10";
    }
    const uint8_t end = words->count == 3 ? (uint8_t)(from + 1u) : PROTOCOL_COMPARATORS;
    for (uint8_t i = from; i < end; i++) {
        volts[i] = value;
    }
    analog_parts_changed(analog);
    return NULL;
}

// mute CH [WRITES], unmute CH.
static const char *mute(struct analog *analog, const struct words *words) {
    uint8_t channel = 0;
    double writes = 0.0;
    if (!parse_channel(words->word[1], PROTOCOL_DAC_CHANNELS, &channel)) {
        return WRONG_CHANNEL;
    }
    if (words->count == 3 && !parse_number(words->word[2], 0.0, 1e9, &writes)) {
        return "error: the writes that are still taken must be a number from 0 to 1e9";
    }
    const uint16_t bit = (uint16_t)(1u << channel);
    analog->mute &= (uint16_t)~bit;
    if (strcmp(words->word[0], "mute") == 0) {
        analog->mute |= bit;
    }
    analog->writes_left[channel] = (uint32_t)writes;
    return NULL;
}

// corrupt rx|tx PROB, drop rx|tx PROB.
static const char *spoil(struct serial *serial, const struct words *words) {
    double probability = 0.0;
    const bool rx = strcmp(words->word[1], "rx") == 0;
    if (!rx && strcmp(words->word[1], "tx") != 0) {
        return "error: the direction must be rx (host to board) or tx (board to host)";
    }
    if (!parse_number(words->word[2], 0.0, 1.0, &probability)) {
        return "error: the probability must be a number from 0 to 1";
    }
    struct byte_faults *faults = rx ? &serial->rx : &serial->tx;
    *(strcmp(words->word[0], "drop") == 0 ? &faults->drop : &faults->corrupt) = probability;
    return NULL;
}

// supply MILLIVOLTS, dnl LSB.
static const char *level(struct analog *analog, const struct words *words) {
    double value = 0.0;
    if (strcmp(words->word[0], "dnl") == 0) {
        if (!parse_number(words->word[1], 0.0, 0.999, &value)) {
            return "error: the differential nonlinearity must be a number of LSB from 0 to 0.999";
        }
        analog->parts.dac_dnl_lsb = value;
        analog_parts_changed(analog);
        return NULL;
    }
    if (!parse_number(words->word[1], 0.0, 65535.0, &value)) {
        return "error: the supply must be a number of millivolts from 0 to 65535";
    }
    analog->supply_millivolts = (uint16_t)value;
    return NULL;
}

// output CH CODE: the voltage is the answer.
static void output(const struct analog *analog, const struct words *words, char *answer, size_t capacity) {
    uint8_t channel = 0;
    double code = 0.0;
    if (!parse_channel(words->word[1], PROTOCOL_DAC_CHANNELS, &channel)) {
        (void)snprintf(answer, capacity, "%s", WRONG_CHANNEL);
    } else if (!parse_number(words->word[2], 0.0, PROTOCOL_DAC_FULL_SCALE, &code)) {
        (void)snprintf(answer, capacity, "error: the DAC code must be a number from 0 to 65535");
    } else {
        (void)snprintf(answer, capacity, "ok %.9g", analog_output_volts(analog, channel, (uint16_t)code));
    }
}

static void statistics(const struct control_targets *targets, char *answer, size_t capacity) {
    const struct frames *frames = targets->frames;
    (void)snprintf(answer, capacity,
                   "ok rx_bytes=%" PRIu64 " tx_bytes=%" PRIu64 " frames_received=%" PRIu64 " frames_replaced=%" PRIu64
                   " frames_measured=%" PRIu64 " frame_pending=%d",
                   targets->serial->rx_bytes, targets->serial->tx_bytes, frames->received, frames->replaced,
                   frames->measured, frames->has_pending ? 1 : 0);
}

void control_line(struct control *control, const struct control_targets *targets, char *line, char *answer,
                  size_t capacity) {
    struct words words = {.count = 0};
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL; word = strtok_r(NULL, " \t\r", &rest)) {
        if (words.count < WORDS_MAX) {
            words.word[words.count++] = word;
        }
    }
    const char *wrong = NULL;
    if (is(&words, "stick", 3) || is(&words, "unstick", 2)) {
        wrong = stick(targets->analog, &words);
    } else if (is(&words, "drift", 3) || is(&words, "offset", 3) || is(&words, "gain", 3) || is(&words, "inl", 3)) {
        wrong = shift(targets->analog, &words);
    } else if (is(&words, "corrupt", 3) || is(&words, "drop", 3)) {
        wrong = spoil(targets->serial, &words);
    } else if (is(&words, "noise", 2) || is(&words, "noise", 3) || is(&words, "hysteresis", 2) ||
               is(&words, "hysteresis", 3)) {
        wrong = width(targets->analog, &words);
    } else if (is(&words, "mute", 2) || is(&words, "mute", 3) || is(&words, "unmute", 2)) {
        wrong = mute(targets->analog, &words);
    } else if (is(&words, "supply", 2) || is(&words, "dnl", 2)) {
        wrong = level(targets->analog, &words);
    } else if (is(&words, "reset", 1)) {
        control->reset_asked = true;
    } else if (is(&words, "clear", 1)) {
        analog_clear(targets->analog);
        targets->serial->rx = (struct byte_faults){0.0, 0.0};
        targets->serial->tx = (struct byte_faults){0.0, 0.0};
    } else if (is(&words, "stats", 1)) {
        statistics(targets, answer, capacity);
        return;
    } else if (is(&words, "reveal", 1)) {
        reveal(targets->analog, answer, capacity);
        return;
    } else if (is(&words, "output", 3)) {
        output(targets->analog, &words, answer, capacity);
        return;
    } else {
        wrong = USAGE;
    }
    (void)snprintf(answer, capacity, "%s", wrong != NULL ? wrong : "ok");
}

void control_read(struct control *control, const struct control_targets *targets) {
    char received[256];
    const ssize_t got = recv(control->socket.client, received, sizeof received, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        listener_drop(&control->socket, NULL);
        return;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (received[i] != '\n') {
            if (control->size + 1 >= sizeof control->line) {
                listener_drop(&control->socket, "a line is longer than 255 characters");
                return;
            }
            control->line[control->size++] = received[i];
            continue;
        }
        char answer[REVEAL_BYTES];
        control->line[control->size] = '\0';
        control->size = 0;
        control_line(control, targets, control->line, answer, sizeof answer - 1);
        const size_t length = strlen(answer);
        answer[length] = '\n';
        if (send(control->socket.client, answer, length + 1, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length + 1) {
            listener_drop(&control->socket, "it does not read its answers");
            return;
        }
    }
}

void control_close(struct control *control) {
    listener_close(&control->socket);
}

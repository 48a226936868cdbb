// The board as a Linux process: the portable core on a pseudo-terminal, with a simulated analog half.
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "analog.h"
#include "control.h"
#include "core.h"
#include "frames.h"
#include "serial.h"

struct options {
    const char *pty;
    const char *frames;
    const char *control;
    const char *serial;
    uint64_t seed;
    struct analog_quality quality;
};

struct host_board {
    struct analog analog;
    struct serial serial;
    struct frames frames;
    struct control control;
    struct core core;
    struct hal hal;
    bool reboot_asked;
};

static volatile sig_atomic_t stop_asked = 0;

static void on_signal(int number) {
    (void)number;
    stop_asked = 1;
}

static size_t hal_uart_read(void *context, uint8_t *buffer, size_t capacity) {
    return serial_read(&((struct host_board *)context)->serial, buffer, capacity);
}

static size_t hal_uart_write(void *context, const uint8_t *bytes, size_t size) {
    return serial_write(&((struct host_board *)context)->serial, bytes, size);
}

static uint32_t hal_millis(void *context) {
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static bool hal_dac_write(void *context, uint8_t channel, uint16_t code) {
    return analog_dac_write(&((struct host_board *)context)->analog, channel, code);
}

static bool hal_dac_readback(void *context, uint8_t channel, uint16_t *code) {
    return analog_dac_readback(&((struct host_board *)context)->analog, channel, code);
}

static void hal_cell_select(void *context, uint32_t cell) {
    analog_select(&((struct host_board *)context)->analog, cell);
}

static uint16_t hal_comparators(void *context) {
    return analog_comparators(&((struct host_board *)context)->analog);
}

static uint16_t hal_supply_millivolts(void *context) {
    return ((struct host_board *)context)->analog.supply_millivolts;
}

static void hal_watchdog_kick(void *context) {
    (void)context; // the process that started this one watches it
}

static void hal_safe_output(void *context, bool safe) {
    (void)context; // there is no line to drive: the core does not read a cell while safe
    (void)safe;
}

static bool hal_frame_poll(void *context, struct frame_info *info) {
    struct host_board *board = context;
    if (!frames_hold(&board->frames, info)) {
        return false;
    }
    board->analog.cell_volts = board->frames.held.volts;
    board->analog.cells = board->frames.held.cells;
    return true;
}

static void hal_frame_release(void *context, enum frame_fate fate) {
    struct host_board *board = context;
    board->analog.cell_volts = NULL;
    board->analog.cells = 0;
    frames_release(&board->frames, fate);
}

static bool hal_exposure_set(void *context, uint32_t exposure_us, uint32_t gain_milli) {
    if (exposure_us == 0 || gain_milli == 0) {
        return false;
    }
    frames_exposure(&((struct host_board *)context)->frames, exposure_us, gain_milli);
    return true;
}

static void hal_reboot(void *context) {
    ((struct host_board *)context)->reboot_asked = true;
}

static int usage(const char *wrong) {
    fprintf(stderr, "canopic-board: %s\n", wrong);
    fprintf(stderr, "usage: canopic-board --pty LINK --frames SOCK --control SOCK [--serial TEXT] [--seed N]\n"
                    "                     [--offset-volts SIGMA] [--noise-volts SIGMA] [--gain-error SIGMA]\n"
                    "                     [--hysteresis-volts VOLTS] [--spread SHARE] [--dac-inl-volts VOLTS]\n"
                    "                     [--dac-dnl-lsb LSB]\n");
    return 2;
}

// A number from 0 to `most`.
static bool parse_number(const char *text, double most, double *number) {
    char *end = NULL;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*number) && *number >= 0.0 && *number <= most;
}

// Reads an option of the board's quality. NULL: fine; otherwise what is wrong with it.
static const char *parse_quality(int option, const char *text, struct analog_quality *quality) {
    const struct {
        int option;
        double most;
        double *number;
        const char *wrong;
    } known[] = {
        {'o', 10.0, &quality->offset_volts, "--offset-volts must be a number of volts from 0 to 10"},
        {'n', 10.0, &quality->noise_volts, "--noise-volts must be a number of volts from 0 to 10"},
        {'h', 10.0, &quality->hysteresis_volts, "--hysteresis-volts must be a number of volts from 0 to 10"},
        {'i', 10.0, &quality->dac_inl_volts, "--dac-inl-volts must be a number of volts from 0 to 10"},
        {'g', 0.1, &quality->gain_error, "--gain-error must be a number from 0 to 0.1"},
        {'w', 1.0, &quality->spread, "--spread must be a number from 0 to 1"},
        {'d', 0.999, &quality->dac_dnl_lsb, "--dac-dnl-lsb must be a number from 0 to 0.999"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].option == option) {
            return parse_number(text, known[i].most, known[i].number) ? NULL : known[i].wrong;
        }
    }
    return "unknown option";
}

// Reads the command line. NULL: fine; otherwise what is wrong with it.
static const char *parse(int argc, char **argv, struct options *options) {
    static const struct option KNOWN[] = {
        {"pty", required_argument, NULL, 'p'},
        {"frames", required_argument, NULL, 'f'},
        {"control", required_argument, NULL, 'c'},
        {"serial", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'r'},
        {"offset-volts", required_argument, NULL, 'o'},
        {"noise-volts", required_argument, NULL, 'n'},
        {"hysteresis-volts", required_argument, NULL, 'h'},
        {"gain-error", required_argument, NULL, 'g'},
        {"dac-inl-volts", required_argument, NULL, 'i'},
        {"spread", required_argument, NULL, 'w'},
        {"dac-dnl-lsb", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.serial = "CANOPIC-HOST"};
    char *end = NULL;
    const char *wrong = NULL;
    for (int option = 0; wrong == NULL && (option = getopt_long(argc, argv, "", KNOWN, NULL)) != -1;) {
        switch (option) {
        case 'p':
            options->pty = optarg;
            break;
        case 'f':
            options->frames = optarg;
            break;
        case 'c':
            options->control = optarg;
            break;
        case 's':
            options->serial = optarg;
            break;
        case 'r':
            options->seed = strtoull(optarg, &end, 10);
            wrong = end == optarg || *end != '\0' ? "--seed must be a whole number" : NULL;
            break;
        default:
            wrong = parse_quality(option, optarg, &options->quality);
            break;
        }
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (optind < argc) {
        return "there are only options";
    }
    if (options->pty == NULL || options->frames == NULL || options->control == NULL) {
        return "--pty, --frames and --control are needed";
    }
    return strlen(options->serial) > 16 ? "--serial takes at most 16 characters" : NULL;
}

// Powers the board up, with a boot id that no start had before.
static void boot(struct host_board *board, const char *serial) {
    struct board_identity identity = {.boot_id = 0, .hardware = HARDWARE_SIMULATED};
    memcpy(identity.serial, serial, strlen(serial));
    if (getrandom(&identity.boot_id, sizeof identity.boot_id, 0) != (ssize_t)sizeof identity.boot_id) {
        identity.boot_id = (uint32_t)time(NULL) ^ hal_millis(board);
    }
    frames_reset(&board->frames);
    board->analog.cell_volts = NULL;
    board->analog.cells = 0;
    core_init(&board->core, &board->hal, &identity);
}

// Waits until there is something to do, at most for this time, and takes in what came over the sockets.
static void wait_and_listen(struct host_board *board, int timeout_ms) {
    struct pollfd watched[] = {
        {.fd = board->serial.master, .events = (short)(POLLIN | (board->serial.full ? POLLOUT : 0))},
        {.fd = board->frames.socket.listening, .events = POLLIN},
        {.fd = board->frames.socket.client, .events = POLLIN},
        {.fd = board->control.socket.listening, .events = POLLIN},
        {.fd = board->control.socket.client, .events = POLLIN},
    };
    if (poll(watched, sizeof watched / sizeof watched[0], timeout_ms) <= 0) {
        return;
    }
    if ((watched[0].revents & POLLOUT) != 0) {
        (void)serial_flush(&board->serial);
    }
    const struct control_targets targets = {&board->analog, &board->serial, &board->frames};
    if (watched[2].revents != 0) {
        frames_read(&board->frames);
    }
    if (watched[4].revents != 0) {
        control_read(&board->control, &targets);
    }
    if (watched[1].revents != 0) {
        frames_accept(&board->frames);
    }
    if (watched[3].revents != 0) {
        control_accept(&board->control);
    }
}

// Until a signal or the end of the parent. The parent is looked at, not PR_SET_PDEATHSIG used: that signal also comes
// when only the thread that started this process ends.
static void run(struct host_board *board, const char *serial, pid_t parent) {
    uint32_t due_ms = 0;
    while (!stop_asked && getppid() == parent) {
        wait_and_listen(board, (int)due_ms);
        // A reset from the control socket was answered already: nothing may be served before it.
        if (!board->control.reset_asked) {
            due_ms = core_poll(&board->core);
        }
        if (board->reboot_asked || board->control.reset_asked) {
            board->reboot_asked = false;
            board->control.reset_asked = false;
            boot(board, serial);
            due_ms = 0;
        }
    }
}

int main(int argc, char **argv) {
    static struct host_board board; // large: not on the stack
    struct options options;
    const char *wrong = parse(argc, argv, &options);
    if (wrong != NULL) {
        return usage(wrong);
    }
    const pid_t parent = getppid();
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    board.hal = (struct hal){
        .context = &board,
        .uart_read = hal_uart_read,
        .uart_write = hal_uart_write,
        .millis = hal_millis,
        .dac_write = hal_dac_write,
        .dac_readback = hal_dac_readback,
        .cell_select = hal_cell_select,
        .comparators = hal_comparators,
        .supply_millivolts = hal_supply_millivolts,
        .watchdog_kick = hal_watchdog_kick,
        .safe_output = hal_safe_output,
        .frame_poll = hal_frame_poll,
        .frame_release = hal_frame_release,
        .exposure_set = hal_exposure_set,
        .reboot = hal_reboot,
    };
    analog_init(&board.analog, options.seed, &options.quality);
    int status = 1;
    board.serial = (struct serial){.master = -1, .slave = -1, .link = options.pty};
    board.control.socket = (struct listener){.listening = -1, .client = -1};
    if (frames_open(&board.frames, options.frames) && control_open(&board.control, options.control) &&
        serial_open(&board.serial, options.pty, options.seed)) {
        boot(&board, options.serial);
        printf("ready\n");
        fflush(stdout);
        run(&board, options.serial, parent);
        status = 0;
    }
    serial_close(&board.serial);
    control_close(&board.control);
    frames_close(&board.frames);
    return status;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keyboard controller, without a keyboard: it passes its self-test, keeps its command byte,
 * resets the system, and answers for an absent keyboard and mouse as an empty socket does.
 */
#include "chipset.h"
#include "machine/machine.h"

#define PORT_SYSTEM_CONTROL 0x92

#define STATUS_OUTPUT  0x01
#define STATUS_SYSTEM  0x04
#define STATUS_COMMAND 0x08
#define STATUS_UNLOCK  0x10
#define STATUS_MOUSE   0x20
#define STATUS_TIMEOUT 0x40

#define CONTROL_KEYBOARD_IRQ 0x01
#define CONTROL_MOUSE_IRQ    0x02
#define CONTROL_SYSTEM       0x04
#define CONTROL_NO_KEYBOARD  0x10 /* the keyboard's clock is off */
#define CONTROL_NO_MOUSE     0x20

#define IRQ_KEYBOARD 1
#define IRQ_MOUSE    12

enum {
    COMMAND_READ_RAM = 0x20,
    COMMAND_WRITE_RAM = 0x60,
    COMMAND_DISABLE_MOUSE = 0xa7,
    COMMAND_ENABLE_MOUSE = 0xa8,
    COMMAND_TEST_MOUSE = 0xa9,
    COMMAND_SELF_TEST = 0xaa,
    COMMAND_TEST_KEYBOARD = 0xab,
    COMMAND_DISABLE_KEYBOARD = 0xad,
    COMMAND_ENABLE_KEYBOARD = 0xae,
    COMMAND_READ_INPUT = 0xc0,
    COMMAND_READ_OUTPUT = 0xd0,
    COMMAND_WRITE_OUTPUT = 0xd1,
    COMMAND_ECHO_KEYBOARD = 0xd2,
    COMMAND_ECHO_MOUSE = 0xd3,
    COMMAND_WRITE_MOUSE = 0xd4,
    COMMAND_PULSE = 0xf0,
};

#define OUTPUT_NO_RESET 0x01
#define OUTPUT_A20      0x02
#define SELF_TEST_GOOD  0x55
#define NO_ANSWER       0xfe /* resend: with the time-out bit, nobody is there */

struct i8042 {
    struct device device;
    struct region data, command, system;
    uint8_t status, control, output, data_byte;
    uint8_t expecting; /* the command whose argument comes next, or 0 */
    uint8_t ram[32];
    uint8_t lines; /* levels: CONTROL_KEYBOARD_IRQ, CONTROL_MOUSE_IRQ */
};

static struct i8042 *i8042(struct device *d)
{
    return container_of(d, struct i8042, device);
}

static void update_lines(struct i8042 *k)
{
    bool full = k->status & STATUS_OUTPUT, mouse = k->status & STATUS_MOUSE;
    uint8_t lines = (full && !mouse ? k->control & CONTROL_KEYBOARD_IRQ : 0) |
                    (full && mouse ? k->control & CONTROL_MOUSE_IRQ : 0);
    uint8_t changed = lines ^ k->lines;

    k->lines = lines;
    if (changed & CONTROL_KEYBOARD_IRQ)
        irq_set(k->device.machine, IRQ_KEYBOARD, lines & CONTROL_KEYBOARD_IRQ);
    if (changed & CONTROL_MOUSE_IRQ)
        irq_set(k->device.machine, IRQ_MOUSE, lines & CONTROL_MOUSE_IRQ);
}

/* Puts BYTE in the output buffer.  FLAGS: STATUS_MOUSE, STATUS_TIMEOUT. */
static void answer(struct i8042 *k, uint8_t byte, uint8_t flags)
{
    k->data_byte = byte;
    k->status &= ~(STATUS_MOUSE | STATUS_TIMEOUT);
    k->status |= STATUS_OUTPUT | flags;
    update_lines(k);
}

static uint64_t data_read(struct device *d, uint64_t offset, unsigned size)
{
    struct i8042 *k = i8042(d);

    (void)offset, (void)size;
    k->status &= ~(STATUS_OUTPUT | STATUS_MOUSE | STATUS_TIMEOUT);
    update_lines(k);
    return k->data_byte;
}

static void set_output(struct i8042 *k, uint8_t value)
{
    k->output = value | OUTPUT_NO_RESET;
    if (!(value & OUTPUT_NO_RESET))
        machine_request_stop(k->device.machine, STOP_RESET, 0);
}

static void data_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *k = i8042(d);
    uint8_t command = k->expecting, byte = (uint8_t)value;

    (void)offset, (void)size;
    k->expecting = 0;
    k->status &= ~STATUS_COMMAND;
    switch (command) {
    case COMMAND_WRITE_RAM ... COMMAND_WRITE_RAM + 31:
        k->ram[command & 31] = byte;
        if (command == COMMAND_WRITE_RAM) {
            k->control = byte;
            k->status = (k->status & ~STATUS_SYSTEM) | (byte & CONTROL_SYSTEM);
            update_lines(k);
        }
        break;
    case COMMAND_WRITE_OUTPUT:
        set_output(k, byte);
        break;
    case COMMAND_ECHO_KEYBOARD:
        answer(k, byte, 0);
        break;
    case COMMAND_ECHO_MOUSE:
        answer(k, byte, STATUS_MOUSE);
        break;
    case COMMAND_WRITE_MOUSE:
        answer(k, NO_ANSWER, STATUS_MOUSE | STATUS_TIMEOUT);
        break;
    default: /* a byte for the keyboard, which is not there */
        answer(k, NO_ANSWER, STATUS_TIMEOUT);
    }
}

static uint64_t command_read(struct device *d, uint64_t offset, unsigned size)
{
    (void)offset, (void)size;
    return i8042(d)->status;
}

static void command_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *k = i8042(d);
    uint8_t command = (uint8_t)value;

    (void)offset, (void)size;
    k->expecting = 0;
    k->status |= STATUS_COMMAND;
    switch (command) {
    case COMMAND_READ_RAM ... COMMAND_READ_RAM + 31:
        answer(k, command == COMMAND_READ_RAM ? k->control : k->ram[command & 31], 0);
        break;
    case COMMAND_WRITE_RAM ... COMMAND_WRITE_RAM + 31:
    case COMMAND_WRITE_OUTPUT ... COMMAND_WRITE_MOUSE:
        k->expecting = command;
        break;
    case COMMAND_DISABLE_MOUSE:
        k->control |= CONTROL_NO_MOUSE;
        break;
    case COMMAND_ENABLE_MOUSE:
        k->control &= ~CONTROL_NO_MOUSE;
        break;
    case COMMAND_DISABLE_KEYBOARD:
        k->control |= CONTROL_NO_KEYBOARD;
        break;
    case COMMAND_ENABLE_KEYBOARD:
        k->control &= ~CONTROL_NO_KEYBOARD;
        break;
    case COMMAND_SELF_TEST:
        k->status |= STATUS_SYSTEM;
        answer(k, SELF_TEST_GOOD, 0);
        break;
    case COMMAND_TEST_KEYBOARD:
    case COMMAND_TEST_MOUSE:
        answer(k, 0, 0); /* the lines are good */
        break;
    case COMMAND_READ_INPUT:
        answer(k, 0x80, 0); /* not locked */
        break;
    case COMMAND_READ_OUTPUT:
        answer(k, k->output, 0);
        break;
    case COMMAND_PULSE ... 0xff:
        if (!(command & 1)) /* bit 0 low: the reset line is pulsed */
            machine_request_stop(d->machine, STOP_RESET, 0);
        break;
    default:
        break;
    }
}

/* Port 0x92: a fast way to A20 and reset. */
static uint64_t system_read(struct device *d, uint64_t offset, unsigned size)
{
    (void)offset, (void)size;
    return i8042(d)->output & OUTPUT_A20;
}

static void system_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *k = i8042(d);

    (void)offset, (void)size;
    k->output = (k->output & ~OUTPUT_A20) | (value & OUTPUT_A20);
    if (value & 1)
        machine_request_stop(d->machine, STOP_RESET, 0);
}

static const struct region_ops data_ops = {data_read, data_write};
static const struct region_ops command_ops = {command_read, command_write};
static const struct region_ops system_ops = {system_read, system_write};

static void i8042_reset(struct device *d)
{
    struct i8042 *k = i8042(d);

    k->status = STATUS_COMMAND | STATUS_UNLOCK;
    k->control = CONTROL_NO_KEYBOARD | CONTROL_NO_MOUSE;
    k->output = OUTPUT_NO_RESET | OUTPUT_A20;
    k->expecting = k->data_byte = 0;
    update_lines(k);
}

static void i8042_free(struct device *d)
{
    g_free(i8042(d));
}

static const struct state_field i8042_fields[] = {
    STATE_FIELD(struct i8042, status, 1),    STATE_FIELD(struct i8042, control, 1),
    STATE_FIELD(struct i8042, output, 1),    STATE_FIELD(struct i8042, data_byte, 1),
    STATE_FIELD(struct i8042, expecting, 1), STATE_ARRAY(struct i8042, ram, 1),
    STATE_FIELD(struct i8042, lines, 1),
};

static const struct device_class i8042_class = {
    .name = "i8042",
    .version = 1,
    .fields = i8042_fields,
    .field_count = ARRAY_SIZE(i8042_fields),
    .reset = i8042_reset,
    .free = i8042_free,
};

struct device *i8042_new(struct machine *m)
{
    struct i8042 *k = g_new0(struct i8042, 1);

    device_init(&k->device, &i8042_class, m, "i8042");
    k->data = (struct region){.device = &k->device, .ops = &data_ops, .size = 1};
    k->command = (struct region){.device = &k->device, .ops = &command_ops, .size = 1};
    k->system = (struct region){.device = &k->device, .ops = &system_ops, .size = 1};
    i8042_reset(&k->device);
    space_map(m, SPACE_PIO, &k->data, PORT_I8042);
    space_map(m, SPACE_PIO, &k->command, PORT_I8042 + 4);
    space_map(m, SPACE_PIO, &k->system, PORT_SYSTEM_CONTROL);
    return &k->device;
}

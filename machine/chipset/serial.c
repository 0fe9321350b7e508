/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 16550A UART (PC16550D data sheet).
 *
 * A byte written is on the line at once, so that the transmitter is always empty, except while the
 * back-end asks to wait: then THRE stays 0, and the guest waits as it would for a slow line.
 */
#include "chipset.h"
#include "machine/machine.h"

#include <string.h>

#define REGISTERS 8
#define FIFO_SIZE 16

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RECEIVE  0x01
#define IER_TRANSMIT 0x02
#define IER_LINE     0x04
#define IER_MODEM    0x08

#define IIR_NONE     0x01
#define IIR_MODEM    0x00
#define IIR_TRANSMIT 0x02
#define IIR_RECEIVE  0x04
#define IIR_LINE     0x06
#define IIR_TIMEOUT  0x0c
#define IIR_FIFOS    0xc0

#define FCR_ENABLE        0x01
#define FCR_CLEAR_RECEIVE 0x02
#define FCR_CLEAR_SEND    0x04
#define FCR_KEPT          0xc9 /* enable, DMA mode, trigger level */

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* gates the interrupt on a PC */
#define MCR_LOOP 0x10

#define LSR_DATA    0x01
#define LSR_OVERRUN 0x02
#define LSR_BREAK   0x10
#define LSR_THRE    0x20
#define LSR_TEMT    0x40
#define LSR_ERRORS  (LSR_OVERRUN | LSR_BREAK)

#define MSR_DELTAS 0x0f
#define MSR_CTS    0x10
#define MSR_DSR    0x20
#define MSR_RI     0x40
#define MSR_DCD    0x80

struct serial {
    struct device device;
    struct region region;
    struct character *character;
    uint32_t gsi;
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint16_t divisor;
    uint8_t fifo[FIFO_SIZE];
    uint8_t fifo_head, fifo_count;
    uint8_t transmit_pending; /* the THR-empty interrupt was raised and not yet seen */
    uint8_t waiting;          /* the back-end asked to wait: THRE is 0 */
    uint8_t line;             /* level of the interrupt line */
};

static struct serial *serial(struct device *d)
{
    return container_of(d, struct serial, device);
}

/* Received bytes at which the interrupt comes. */
static unsigned trigger_level(const struct serial *s)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The identification of the most urgent interrupt. */
static uint8_t pending(const struct serial *s)
{
    if ((s->ier & IER_LINE) && (s->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((s->ier & IER_RECEIVE) && s->fifo_count >= trigger_level(s))
        return IIR_RECEIVE;
    /* Nothing further is on the line: what is below the trigger level times out at once. */
    if ((s->ier & IER_RECEIVE) && s->fifo_count)
        return IIR_TIMEOUT;
    if ((s->ier & IER_TRANSMIT) && s->transmit_pending)
        return IIR_TRANSMIT;
    if ((s->ier & IER_MODEM) && (s->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_line(struct serial *s)
{
    bool level = pending(s) != IIR_NONE && (s->mcr & MCR_OUT2) && !(s->mcr & MCR_LOOP);

    if (level == s->line)
        return;
    s->line = level;
    irq_set(s->device.machine, s->gsi, level);
}

/* ---- receiving ---- */

static unsigned fifo_size(const struct serial *s)
{
    return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static void push(struct serial *s, uint8_t byte)
{
    if (s->fifo_count >= fifo_size(s)) {
        s->lsr |= LSR_OVERRUN;
        return;
    }
    s->fifo[(s->fifo_head + s->fifo_count++) % FIFO_SIZE] = byte;
    s->lsr |= LSR_DATA;
}

static uint8_t pop(struct serial *s)
{
    uint8_t byte = s->fifo[s->fifo_head];

    if (!s->fifo_count)
        return 0;
    s->fifo_head = (s->fifo_head + 1) % FIFO_SIZE;
    if (--s->fifo_count == 0) {
        s->lsr &= ~LSR_DATA;
        character_ready(s->character);
    }
    return byte;
}

static size_t client_room(void *opaque)
{
    struct serial *s = opaque;

    g_mutex_lock(&s->device.lock);
    size_t room = s->mcr & MCR_LOOP ? 0 : fifo_size(s) - MIN(s->fifo_count, fifo_size(s));
    g_mutex_unlock(&s->device.lock);
    return room;
}

static void client_receive(void *opaque, const uint8_t *data, size_t length)
{
    struct serial *s = opaque;

    g_mutex_lock(&s->device.lock);
    for (size_t i = 0; i < length; i++)
        push(s, data[i]);
    update_line(s);
    g_mutex_unlock(&s->device.lock);
}

static void client_break(void *opaque)
{
    struct serial *s = opaque;

    g_mutex_lock(&s->device.lock);
    push(s, 0);
    s->lsr |= LSR_BREAK;
    update_line(s);
    g_mutex_unlock(&s->device.lock);
}

/* ---- sending ---- */

static void transmitter_empty(struct serial *s)
{
    s->lsr |= LSR_THRE | LSR_TEMT;
    s->transmit_pending = 1;
}

static void client_writable(void *opaque)
{
    struct serial *s = opaque;

    g_mutex_lock(&s->device.lock);
    s->waiting = 0;
    transmitter_empty(s);
    update_line(s);
    g_mutex_unlock(&s->device.lock);
}

static void transmit(struct serial *s, uint8_t byte)
{
    s->transmit_pending = 0;
    if (s->mcr & MCR_LOOP) {
        push(s, byte);
    } else if (!character_write(s->character, &byte, 1)) {
        s->waiting = 1;
        s->lsr &= ~(LSR_THRE | LSR_TEMT);
        return;
    }
    if (!s->waiting)
        transmitter_empty(s);
}

/* ---- registers ---- */

/* In loop-back the modem's inputs are its outputs; else a modem is there and ready. */
static void update_modem(struct serial *s)
{
    uint8_t new = MSR_DCD | MSR_DSR | MSR_CTS, changed;

    if (s->mcr & MCR_LOOP)
        new = (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
              (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
    changed = (new ^ s->msr) & 0xf0;
    if ((changed & MSR_RI) && (new &MSR_RI))
        changed &= ~MSR_RI; /* only the trailing edge of RI counts */
    s->msr = new | (s->msr & MSR_DELTAS) | changed >> 4;
}

static void write_fcr(struct serial *s, uint8_t value)
{
    bool toggled = (value ^ s->fcr) & FCR_ENABLE;

    s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
    if (toggled || (value & FCR_CLEAR_RECEIVE)) {
        s->fifo_head = s->fifo_count = 0;
        s->lsr &= ~(LSR_DATA | LSR_BREAK);
        character_ready(s->character);
    }
    if ((toggled || (value & FCR_CLEAR_SEND)) && !s->waiting)
        transmitter_empty(s);
}

static uint8_t read_iir(struct serial *s)
{
    uint8_t id = pending(s);

    if (id == IIR_TRANSMIT)
        s->transmit_pending = 0;
    return id | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_register(struct serial *s, unsigned reg)
{
    uint8_t value;

    switch (reg) {
    case REG_DATA:
        return s->lcr & LCR_DLAB ? s->divisor & 0xff : pop(s);
    case REG_IER:
        return s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
    case REG_IIR_FCR:
        return read_iir(s);
    case REG_LCR:
        return s->lcr;
    case REG_MCR:
        return s->mcr;
    case REG_LSR:
        value = s->lsr;
        s->lsr &= ~LSR_ERRORS;
        return value;
    case REG_MSR:
        value = s->msr;
        s->msr &= ~MSR_DELTAS;
        return value;
    default:
        return s->scr;
    }
}

static void write_register(struct serial *s, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_DATA:
        if (s->lcr & LCR_DLAB)
            s->divisor = (s->divisor & 0xff00) | value;
        else
            transmit(s, value);
        break;
    case REG_IER:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (uint16_t)(value << 8 | (s->divisor & 0xff));
            break;
        }
        /* Enabling the interrupt raises it while the transmitter is empty. */
        if ((value & ~s->ier & IER_TRANSMIT) && (s->lsr & LSR_THRE))
            s->transmit_pending = 1;
        s->ier = value & 0x0f;
        break;
    case REG_IIR_FCR:
        write_fcr(s, value);
        break;
    case REG_LCR:
        s->lcr = value;
        break;
    case REG_MCR:
        s->mcr = value & 0x1f;
        update_modem(s);
        break;
    case REG_SCR:
        s->scr = value;
        break;
    default: /* LSR and MSR are the hardware's */
        break;
    }
}

static uint64_t serial_read(struct device *d, uint64_t offset, unsigned size)
{
    struct serial *s = serial(d);
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_register(s, (unsigned)offset + i) << (i * 8);
    update_line(s);
    return value;
}

static void serial_write(struct device *d, uint64_t offset, uint64_t value, unsigned size)
{
    struct serial *s = serial(d);

    for (unsigned i = 0; i < size; i++)
        write_register(s, (unsigned)offset + i, (uint8_t)(value >> (i * 8)));
    update_line(s);
}

static const struct region_ops serial_ops = {serial_read, serial_write};

/* ---- device ---- */

static void serial_reset(struct device *d)
{
    struct serial *s = serial(d);

    s->ier = s->fcr = s->lcr = s->scr = 0;
    s->mcr = 0;
    s->lsr = LSR_THRE | LSR_TEMT;
    s->msr = MSR_DCD | MSR_DSR | MSR_CTS;
    s->divisor = 12; /* 9600 baud */
    s->fifo_head = s->fifo_count = 0;
    s->transmit_pending = s->waiting = 0;
    update_line(s);
}

static int serial_loaded(struct device *d, GError **error)
{
    struct serial *s = serial(d);

    if (s->fifo_head < FIFO_SIZE && s->fifo_count <= FIFO_SIZE)
        return 0;
    g_set_error(error, MACHINE_ERROR, MACHINE_ERROR_CONFIG, "%s: the saved FIFO is out of bounds",
                d->id);
    return -1;
}

static void serial_free(struct device *d)
{
    g_free(serial(d));
}

static const struct state_field serial_fields[] = {
    STATE_FIELD(struct serial, ier, 1),        STATE_FIELD(struct serial, fcr, 1),
    STATE_FIELD(struct serial, lcr, 1),        STATE_FIELD(struct serial, mcr, 1),
    STATE_FIELD(struct serial, lsr, 1),        STATE_FIELD(struct serial, msr, 1),
    STATE_FIELD(struct serial, scr, 1),        STATE_FIELD(struct serial, divisor, 1),
    STATE_ARRAY(struct serial, fifo, 1),       STATE_FIELD(struct serial, fifo_head, 1),
    STATE_FIELD(struct serial, fifo_count, 1), STATE_FIELD(struct serial, transmit_pending, 1),
    STATE_FIELD(struct serial, waiting, 1),    STATE_FIELD(struct serial, line, 1),
};

static const struct device_class serial_class = {
    .name = "serial-16550",
    .version = 1,
    .fields = serial_fields,
    .field_count = ARRAY_SIZE(serial_fields),
    .reset = serial_reset,
    .loaded = serial_loaded,
    .free = serial_free,
};

struct device *serial_new(struct machine *m, const char *id, uint16_t port, unsigned gsi,
                          struct character *c)
{
    struct serial *s = g_new0(struct serial, 1);
    const struct character_client client = {.room = client_room,
                                            .receive = client_receive,
                                            .line_break = client_break,
                                            .writable = client_writable,
                                            .opaque = s};

    device_init(&s->device, &serial_class, m, id);
    s->character = c;
    s->gsi = gsi;
    s->region = (struct region){.device = &s->device, .ops = &serial_ops, .size = REGISTERS};
    serial_reset(&s->device);
    space_map(m, SPACE_PIO, &s->region, port);
    character_connect(c, &client);
    return &s->device;
}

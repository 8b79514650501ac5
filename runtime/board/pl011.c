/*
 * A PL011 whose transmitter is always ready and whose receiver is empty.
 *
 * Source: ARM DDI 0183, 3.2 (registers), 3.4 (interrupts).
 */

#include "board.h"

enum {
	UARTDR = 0, UARTFR = 0x18, UARTCR = 0x30, UARTIFLS = 0x34, UARTIMSC = 0x38, UARTRIS = 0x3c,
	UARTMIS = 0x40, UARTICR = 0x44, UART_REGISTERS = 0x4c, UART_ID = 0xfe0,
};

#define TX_EMPTY_RX_EMPTY (1u << 7 | 1u << 4)
#define TX_INTERRUPT (1u << 5)
#define NO_BYTE 0x100u

const struct shared pl011_shared[] = {
	SHARED(CONSOLE_BYTES), SHARED(NO_BYTE), SHARED(UART_INTID), SHARED_END,
};

/* UARTPeriphID0..3 and UARTPCellID0..3. */
static const uint8_t ids[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

typedef void print_text(void);

void uart_start(struct uart *uart)
{
	uart->registers[UARTCR / 4] = 0x300;
	uart->registers[UARTIFLS / 4] = 0x12;
	uart->watched = NO_BYTE;
}

static void put(struct board *board, uint8_t byte)
{
	struct uart *uart = &board->uart;

	uart->text[uart->count++] = byte;
	if (byte == '\n' || byte == uart->watched || uart->count == CONSOLE_BYTES) {
		((print_text *)(uintptr_t)board->print)();
		uart->count = 0;
	}
}

uint64_t uart_load(void *engine, uint64_t at, unsigned size, struct board *board)
{
	const struct uart *uart = &board->uart;

	(void)engine;
	(void)size;
	if (at == UARTFR)
		return TX_EMPTY_RX_EMPTY;
	if (at == UARTRIS)
		return uart->raised;
	if (at == UARTMIS)
		return uart->raised & uart->registers[UARTIMSC / 4];
	if (at >= UART_ID && at < UART_ID + 4 * sizeof ids)
		return ids[(at - UART_ID) / 4];
	return at < UART_REGISTERS ? uart->registers[at / 4] : 0;
}

/* What is sent is gone at once, which raises the transmitter's interrupt. */
void uart_store(void *engine, uint64_t at, unsigned size, uint64_t value, struct board *board)
{
	struct uart *uart = &board->uart;

	(void)engine;
	(void)size;
	if (at == UARTDR) {
		put(board, (uint8_t)value);
		uart->raised |= TX_INTERRUPT;
	} else if (at == UARTICR) {
		uart->raised &= ~(uint32_t)value;
	} else if (at < UART_REGISTERS && at != UARTFR && at != UARTRIS && at != UARTMIS) {
		uart->registers[at / 4] = value & 0xffff;
	}
	gic_set_line(&board->gic, UART_INTID,
		     (uart->raised & uart->registers[UARTIMSC / 4]) != 0);
	if (at != UARTDR || uart->registers[UARTIMSC / 4] & TX_INTERRUPT)
		board_changed(board);
}

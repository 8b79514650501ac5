/* The devices around one CPU: what the board's sources share. board.py allocates the structure. */

#ifndef RELOKIT_BOARD_H
#define RELOKIT_BOARD_H

#include "../engine/mmu.h"

/* Interrupts 0 to 15 are SGIs, to 31 PPIs, then SPIs: as many as QEMU's board has. */
enum { INTIDS = 288, INTID_WORDS = INTIDS / 32, SPURIOUS = 1023, UART_INTID = 33 };
enum { CONSOLE_BYTES = 256 };

/*
 * A bit an interrupt: `latched` is pending until it is taken, `lines` while its device asserts it.
 * `edges` has the words of ICFGR. The rest is the CPU interface: `active_priorities` has a bit for
 * each group priority that runs, `eoi_mode` is ICC_CTLR_EL1.
 */
struct gic {
	uint32_t control, waker;
	uint32_t group[INTID_WORDS], enabled[INTID_WORDS], latched[INTID_WORDS];
	uint32_t active[INTID_WORDS], lines[INTID_WORDS], edges[2 * INTID_WORDS];
	uint8_t priority[INTIDS];
	uint64_t route[INTIDS];
	uint32_t mask, point, cpu_control, enabled_group0, enabled_group1;
	uint32_t active_priorities, active_priorities0, point0;
};

/* Registers by offset / 4; `text` waits for `print`, which `watched` (a byte) makes sooner. */
struct uart {
	uint32_t registers[0x4c / 4];
	uint32_t raised, count, watched;
	uint8_t text[CONSOLE_BYTES];
};

/* `next` is the physical count at which a timer fires next. */
struct board {
	uint64_t blocks, mmu, print, next;
	struct gic gic;
	struct uart uart;
};

/* The highest pending interrupt, SPURIOUS if there is none; and whether the CPU is to take it. */
uint32_t gic_pending(const struct gic *gic);
int gic_signals(const struct gic *gic);
void gic_start(struct gic *gic);
void gic_set_line(struct gic *gic, uint32_t intid, int asserted);
uint32_t gic_acknowledge(struct gic *gic);
void gic_end(struct gic *gic, uint32_t intid);
void gic_deactivate(struct gic *gic, uint32_t intid);
uint32_t gic_running(const struct gic *gic);

void uart_start(struct uart *uart);

/* Something was written that may raise or lower an interrupt: look at the next block. */
void board_changed(struct board *board);

#endif

/*
 * The GICv3's distributor and the redistributor of its one CPU, in memory: no LPIs, no ITS.
 *
 * Source: ARM IHI 0069, 12.8 (map), 12.9 (GICD), 12.11 (GICR).
 */

#include "board.h"

/* Bytes from the distributor on; the redistributor is two frames. */
enum { FRAME = 0x10000, REDISTRIBUTOR = 0xa0000 };

enum {
	GICD_CTLR = 0, GICD_TYPER = 4, GICD_IIDR = 8, GICD_IROUTER = 0x6000,
	GICR_IIDR = 4, GICR_TYPER = 8, GICR_WAKER = 0x14,
	IGROUPR = 0x80, ISENABLER = 0x100, ICENABLER = 0x180, ISPENDR = 0x200, ICPENDR = 0x280,
	ISACTIVER = 0x300, ICACTIVER = 0x380, IPRIORITYR = 0x400, ICFGR = 0xc00, PIDR2 = 0xffe8,
};

/* GICD_CTLR: both groups can be enabled; ARE and DS are one. */
#define CONTROL_WRITABLE 3u
#define CONTROL_FIXED (1u << 4 | 1u << 6)
/* Ten bits of interrupt number, affinity level 3, and how many words of interrupts there are. */
#define TYPER (9u << 19 | 1u << 24 | (INTID_WORDS - 1))
/* Arm, revision 0, of which this is no product; and architecture 3. */
#define IIDR 0x43bu
#define PIDR2_V3 0x3bu
#define LAST_REDISTRIBUTOR (1u << 4)
#define WAKER_SLEEP 2u

const struct shared gic_mmio_shared[] = {
	SHARED(FRAME), SHARED(REDISTRIBUTOR), SHARED(INTIDS), SHARED_END,
};

/* The words of a row of registers that have one bit an interrupt. */
static uint32_t *row(struct gic *gic, uint32_t at)
{
	switch (at & ~0x7fu) {
	case IGROUPR: return gic->group;
	case ISENABLER: case ICENABLER: return gic->enabled;
	case ISPENDR: case ICPENDR: return gic->latched;
	case ISACTIVER: case ICACTIVER: return gic->active;
	default: return NULL;
	}
}

/* Registers of interrupts `first` up to `end`: the distributor's are the SPIs. */
static uint32_t read_interrupts(struct gic *gic, uint32_t at, uint32_t first, uint32_t end)
{
	const uint32_t *words = row(gic, at);
	uint32_t intid = (at & 0x7f) * 8, value = 0;

	if (words) {
		if (intid < first || intid >= end)
			return 0;
		value = words[intid / 32];
		return (at & ~0xffu) == ISPENDR ? value | gic->lines[intid / 32] : value;
	}
	if (at >= IPRIORITYR && at < IPRIORITYR + end) {
		intid = at - IPRIORITYR;
		for (uint32_t i = 0; intid >= first && i < 4; i++)
			value |= (uint32_t)gic->priority[intid + i] << 8 * i;
	} else if (at >= ICFGR && at < ICFGR + end / 4) {
		intid = (at - ICFGR) * 4;
		value = intid >= first ? gic->edges[intid / 16] : 0;
	}
	return value;
}

static void write_interrupts(struct gic *gic, uint32_t at, uint32_t size, uint32_t value,
			     uint32_t first, uint32_t end)
{
	uint32_t *words = row(gic, at), intid = (at & 0x7f) / 4 * 32;

	if (words) {
		if (intid < first || intid >= end)
			return;
		words += intid / 32;
		if ((at & ~0x7fu) == IGROUPR)
			*words = value;
		else
			*words = at & 0x80 ? *words & ~value : *words | value;
	} else if (at >= IPRIORITYR && at < IPRIORITYR + end) {
		intid = at - IPRIORITYR;
		for (uint32_t i = 0; intid >= first && i < size; i++)
			gic->priority[intid + i] = value >> 8 * i & 0xf8;
	} else if (at >= ICFGR && at < ICFGR + end / 4) {
		intid = (at - ICFGR) * 4;
		/* SGIs are edges, always. */
		if (intid >= first && intid >= 16)
			gic->edges[intid / 16] = value & 0xaaaaaaaa;
	}
}

static uint32_t half(uint64_t value, uint32_t at)
{
	return (uint32_t)(value >> (at & 4) * 8);
}

static uint32_t read_distributor(struct gic *gic, uint32_t at)
{
	switch (at) {
	case GICD_CTLR: return gic->control | CONTROL_FIXED;
	case GICD_TYPER: return TYPER;
	case GICD_IIDR: return IIDR;
	case PIDR2: return PIDR2_V3;
	default: break;
	}
	if (at - GICD_IROUTER < 8 * INTIDS)
		return half(gic->route[(at - GICD_IROUTER) / 8], at);
	return read_interrupts(gic, at, 32, INTIDS);
}

static void write_distributor(struct gic *gic, uint32_t at, uint32_t size, uint32_t value)
{
	if (at == GICD_CTLR) {
		gic->control = value & CONTROL_WRITABLE;
	} else if (at - GICD_IROUTER < 8 * INTIDS && at >= GICD_IROUTER + 8 * 32) {
		uint64_t *route = &gic->route[(at - GICD_IROUTER) / 8];
		unsigned shift = (at & 4) * 8;

		*route = (*route & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
	} else {
		write_interrupts(gic, at, size, value, 32, INTIDS);
	}
}

static uint32_t read_redistributor(struct gic *gic, uint32_t at)
{
	switch (at) {
	case GICR_IIDR: return IIDR;
	case GICR_TYPER: return LAST_REDISTRIBUTOR;
	case GICR_WAKER: return gic->waker;
	case PIDR2: return PIDR2_V3;
	default: break;
	}
	return at >= FRAME ? read_interrupts(gic, at - FRAME, 0, 32) : 0;
}

static void write_redistributor(struct gic *gic, uint32_t at, uint32_t size, uint32_t value)
{
	/* ChildrenAsleep follows ProcessorSleep at once. */
	if (at == GICR_WAKER)
		gic->waker = value & WAKER_SLEEP ? 6 : 0;
	else if (at >= FRAME)
		write_interrupts(gic, at - FRAME, size, value, 0, 32);
}

static uint32_t read_word(struct gic *gic, uint64_t at)
{
	if (at < FRAME)
		return read_distributor(gic, (uint32_t)at);
	if (at - REDISTRIBUTOR < 2 * FRAME)
		return read_redistributor(gic, (uint32_t)(at - REDISTRIBUTOR));
	return 0;
}

static void write_part(struct gic *gic, uint64_t at, uint32_t size, uint32_t value)
{
	if (at < FRAME)
		write_distributor(gic, (uint32_t)at, size, value);
	else if (at - REDISTRIBUTOR < 2 * FRAME)
		write_redistributor(gic, (uint32_t)(at - REDISTRIBUTOR), size, value);
}

uint64_t gic_load(void *engine, uint64_t at, unsigned size, struct board *board)
{
	uint64_t value = read_word(&board->gic, at & ~3ull) >> (at & 3) * 8;

	(void)engine;
	if (size == 8)
		value |= (uint64_t)read_word(&board->gic, at + 4) << 32;
	return value;
}

void gic_store(void *engine, uint64_t at, unsigned size, uint64_t value, struct board *board)
{
	(void)engine;
	write_part(&board->gic, at, size < 4 ? size : 4, (uint32_t)value);
	if (size == 8)
		write_part(&board->gic, at + 4, 4, (uint32_t)(value >> 32));
	board_changed(board);
}

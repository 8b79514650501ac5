/*
 * The GICv3 CPU interface by system registers, which the engine lacks. Those of the virtual
 * interface are not here: nothing but a hypervisor with a guest gives them a meaning.
 *
 * Source: ARM IHI 0069, 12.2 (ICC_*_EL1).
 */

#include "board.h"

/* A register's 16 bits: op0 is 3 and op1 0 in all of them. */
#define ICC(crn, crm, op2) (3u << 14 | (crn) << 7 | (crm) << 3 | (op2))

enum icc {
	PMR = ICC(4u, 6, 0), IAR0 = ICC(12u, 8, 0), EOIR0 = ICC(12u, 8, 1),
	HPPIR0 = ICC(12u, 8, 2), BPR0 = ICC(12u, 8, 3), AP0R0 = ICC(12u, 8, 4),
	AP1R0 = ICC(12u, 9, 0), DIR = ICC(12u, 11, 1), RPR = ICC(12u, 11, 3),
	SGI1R = ICC(12u, 11, 5), ASGI1R = ICC(12u, 11, 6), SGI0R = ICC(12u, 11, 7),
	IAR1 = ICC(12u, 12, 0), EOIR1 = ICC(12u, 12, 1), HPPIR1 = ICC(12u, 12, 2),
	BPR1 = ICC(12u, 12, 3), CTLR = ICC(12u, 12, 4), IGRPEN0 = ICC(12u, 12, 6),
	IGRPEN1 = ICC(12u, 12, 7),
};

/* ICC_CTLR_EL1: PRIbits (five, less one) and A3V; CBPR and EOImode can be written. */
#define CTLR_FIXED (4u << 8 | 1u << 15)
#define CTLR_WRITABLE 3u
#define PRIORITIES 0xf8u

const struct shared gic_cpu_shared[] = {
	SHARED(PMR), SHARED(IAR1), SHARED(EOIR1), SHARED(DIR), SHARED(SGI1R), SHARED(IGRPEN1),
	SHARED_END,
};

static int read_icc(struct gic *gic, uint32_t key, uint64_t *value)
{
	switch (key) {
	case PMR: *value = gic->mask; break;
	case IAR1: *value = gic_acknowledge(gic); break;
	case IAR0: case HPPIR0: *value = SPURIOUS; break;
	case HPPIR1: *value = gic_pending(gic); break;
	case BPR0: *value = gic->point0; break;
	case BPR1: *value = gic->point; break;
	case AP0R0: *value = gic->active_priorities0; break;
	case AP1R0: *value = gic->active_priorities; break;
	case RPR: *value = gic_running(gic); break;
	case CTLR: *value = gic->cpu_control | CTLR_FIXED; break;
	case IGRPEN0: *value = gic->enabled_group0; break;
	case IGRPEN1: *value = gic->enabled_group1; break;
	default: return 0;
	}
	return 1;
}

/* Software generates an interrupt: for this CPU, whose affinity is 0, or for all but this. */
static void generate(struct gic *gic, uint64_t value)
{
	int to_others = value >> 40 & 1;
	uint64_t affinity = value & 0xff00ff00ff0000ull, range = value >> 44 & 0xf;

	if (!to_others && !affinity && !range && value & 1)
		gic->latched[0] |= 1u << (value >> 24 & 0xf);
}

static uint32_t at_least(uint64_t value, uint32_t least)
{
	return (value & 7) < least ? least : (uint32_t)(value & 7);
}

static int write_icc(struct gic *gic, uint32_t key, uint64_t value)
{
	switch (key) {
	case PMR: gic->mask = (uint32_t)value & PRIORITIES; break;
	case EOIR1: gic_end(gic, (uint32_t)value & 0xffffff); break;
	case DIR: gic_deactivate(gic, (uint32_t)value & 0xffffff); break;
	case SGI1R: generate(gic, value); break;
	case EOIR0: case SGI0R: case ASGI1R: break;
	case BPR0: gic->point0 = at_least(value, 2); break;
	case BPR1: gic->point = at_least(value, 3); break;
	case AP0R0: gic->active_priorities0 = (uint32_t)value; break;
	case AP1R0: gic->active_priorities = (uint32_t)value; break;
	case CTLR: gic->cpu_control = (uint32_t)value & CTLR_WRITABLE; break;
	case IGRPEN0: gic->enabled_group0 = value & 1; break;
	case IGRPEN1: gic->enabled_group1 = value & 1; break;
	default: return 0;
	}
	return 1;
}

/* An MRS or MSR of a register that the engine lacks: whether it is one of these. */
uint32_t access_icc(void *engine, struct board *board, uint32_t key, int is_read, uint64_t *value)
{
	(void)engine;
	if (!(is_read ? read_icc(&board->gic, key, value) : write_icc(&board->gic, key, *value)))
		return 0;
	board_changed(board);
	return 1;
}

/*
 * GICv3 with one CPU and one security state: which interrupt is pending, and what becomes of it.
 * Group 0 is not signalled: it would be an FIQ.
 *
 * Source: ARM IHI 0069, 4.1 (states), 4.8 (priorities), 12.2 (the CPU interface).
 */

#include "board.h"

#define CONTROL_GROUP1 2u
#define CPU_CONTROL_EOI_MODE 2u
/* Five bits of priority: the least binary point of Group 1 has them all. */
#define PRIORITY_SHIFT 3u
#define IDLE 0xffu

static uint32_t bit_of(uint32_t intid)
{
	return 1u << intid % 32;
}

/* What preempts of a priority: the bits from the binary point on. */
static uint32_t group_priority(const struct gic *gic, uint32_t priority)
{
	uint32_t point = gic->point < PRIORITY_SHIFT ? PRIORITY_SHIFT : gic->point;

	return priority & 0xffu << point & 0xff;
}

void gic_start(struct gic *gic)
{
	gic->waker = 6;
	gic->edges[0] = 0xaaaaaaaa;
	gic->point = PRIORITY_SHIFT;
	gic->point0 = PRIORITY_SHIFT - 1;
}

uint32_t gic_pending(const struct gic *gic)
{
	uint32_t found = SPURIOUS, lowest = 0x100;

	if (!(gic->control & CONTROL_GROUP1))
		return SPURIOUS;
	for (uint32_t word = 0; word < INTID_WORDS; word++) {
		uint32_t bits = (gic->latched[word] | gic->lines[word]) & gic->enabled[word] &
				gic->group[word] & ~gic->active[word];

		for (; bits; bits &= bits - 1) {
			uint32_t intid = word * 32 + (uint32_t)__builtin_ctz(bits);

			if (gic->priority[intid] < lowest) {
				lowest = gic->priority[intid];
				found = intid;
			}
		}
	}
	return found;
}

uint32_t gic_running(const struct gic *gic)
{
	uint32_t bits = gic->active_priorities | gic->active_priorities0;

	return bits ? (uint32_t)__builtin_ctz(bits) << PRIORITY_SHIFT : IDLE;
}

int gic_signals(const struct gic *gic)
{
	uint32_t intid, priority;

	if (!(gic->enabled_group1 & 1))
		return 0;
	intid = gic_pending(gic);
	if (intid == SPURIOUS)
		return 0;
	priority = gic->priority[intid];
	return priority < gic->mask && group_priority(gic, priority) < gic_running(gic);
}

/* Level-sensitive, unless it is an SGI or was configured otherwise. */
void gic_set_line(struct gic *gic, uint32_t intid, int asserted)
{
	uint32_t *line = &gic->lines[intid / 32], bit = bit_of(intid);
	int is_edge = gic->edges[intid / 16] >> (2 * (intid % 16) + 1) & 1;

	if (is_edge) {
		if (asserted)
			gic->latched[intid / 32] |= bit;
		*line &= ~bit;
	} else {
		*line = asserted ? *line | bit : *line & ~bit;
	}
}

/* ICC_IAR1_EL1. */
uint32_t gic_acknowledge(struct gic *gic)
{
	uint32_t intid;

	if (!gic_signals(gic))
		return SPURIOUS;
	intid = gic_pending(gic);
	gic->active[intid / 32] |= bit_of(intid);
	gic->latched[intid / 32] &= ~bit_of(intid);
	gic->active_priorities |= 1u << (group_priority(gic, gic->priority[intid]) >> PRIORITY_SHIFT);
	return intid;
}

/* ICC_DIR_EL1. */
void gic_deactivate(struct gic *gic, uint32_t intid)
{
	if (intid < INTIDS)
		gic->active[intid / 32] &= ~bit_of(intid);
}

/* ICC_EOIR1_EL1: the priority drops; what was acknowledged ends, if that is not DIR's. */
void gic_end(struct gic *gic, uint32_t intid)
{
	if (intid >= INTIDS)
		return;
	gic->active_priorities &= gic->active_priorities - 1;
	if (!(gic->cpu_control & CPU_CONTROL_EOI_MODE))
		gic_deactivate(gic, intid);
}

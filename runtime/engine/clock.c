/*
 * Counters that a guest reads: instructions, not the host's time. A kernel that waits reads one in
 * a loop, ten million times a second of its own.
 *
 * Source: ARM DDI 0487, D11.2 (the system counter), D19.12: CNTPCT_EL0, CNTVCT_EL0, CNTKCTL_EL1,
 * CNTHCTL_EL2.
 */

#include "mmu.h"

/* A tick of the counter; and how many there were before the first instruction: an hour of them. */
#define INSTRUCTIONS_PER_TICK 4
#define UPTIME 225000000000

enum { COUNTER_PHYSICAL = 1, COUNTER_VIRTUAL = 2 };

const struct shared clock_shared[] = {
	SHARED(INSTRUCTIONS_PER_TICK),
	SHARED(UPTIME),
	SHARED_END,
};

/* The physical count at the instruction of the PC. */
uint64_t clock_now(void *engine, const struct mmu *mmu)
{
	const uint64_t *blocks = (const uint64_t *)(uintptr_t)mmu->blocks;

	return UPTIME + blocks_done(blocks, mmu_read(engine, mmu, REG_PC)) / INSTRUCTIONS_PER_TICK;
}

/* The same where the next block begins. */
uint64_t clock_at_block(const uint64_t *blocks)
{
	return UPTIME + (blocks[BLOCK_BEFORE] + blocks[BLOCK_INSTRUCTIONS]) / INSTRUCTIONS_PER_TICK;
}

/* How many instructions are to be done, of all runs, until the physical count is `count`. */
uint64_t clock_reaches(uint64_t count)
{
	uint64_t ticks = count - UPTIME;

	return ticks > NEVER / INSTRUCTIONS_PER_TICK ? NEVER : ticks * INSTRUCTIONS_PER_TICK;
}

/* Whether EL0 or EL1 may read it: else the engine has the trap. */
static int may_read(void *engine, const struct mmu *mmu, unsigned el, unsigned which)
{
	uint64_t host = HCR_E2H | HCR_TGE, hcr = mmu->hcr, control;

	if (el == 0) {
		control = (hcr & host) == host ? mmu_system(engine, mmu, 4, 14, 1, 0)
					       : mmu_system(engine, mmu, 0, 14, 1, 0);
		if (!(control & which))
			return 0;
		if ((hcr & host) == host)
			return 1;
	}
	if (el == 2 || which == COUNTER_VIRTUAL)
		return 1;
	control = mmu_system(engine, mmu, 4, 14, 1, 0);
	return control >> (hcr & HCR_E2H ? 10 : 0) & 1;
}

static uint32_t read_counter(void *engine, int32_t reg, struct mmu *mmu, unsigned which)
{
	unsigned el = PSTATE_EL(mmu_pstate(engine, mmu));
	uint64_t host = el ? HCR_E2H : HCR_E2H | HCR_TGE;
	uint64_t value;

	if (!may_read(engine, mmu, el, which))
		return 0;
	value = clock_now(engine, mmu);
	if (which == COUNTER_VIRTUAL && (el == 1 || (mmu->hcr & host) != host))
		value -= mmu_system(engine, mmu, 4, 14, 0, 3);
	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, reg, &value);
	return 1;
}

/* UC_HOOK_INSN for MRS: the counters here, timers in timers.c, what else is not the engine's in Python. */
uint32_t watch_reads(void *engine, int32_t reg, const struct system_access *access,
		     struct mmu *mmu)
{
	if (access->crn == 14 && !access->crm && access->op0 == 3 && access->op1 == 3 &&
	    (access->op2 == COUNTER_PHYSICAL || access->op2 == COUNTER_VIRTUAL))
		return read_counter(engine, reg, mmu, access->op2);
	if (access->crn == 14 && read_timer(engine, reg, access, mmu))
		return 1;
	if (read_answer(engine, reg, access, mmu))
		return 1;
	if (!mmu->mrs_filter)
		return 0;
	return filter_system(engine, reg, access, (const uint64_t *)(uintptr_t)mmu->mrs_filter);
}

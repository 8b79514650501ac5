/*
 * An interrupt that is raised at one moment and waits until it can be taken (interruption.py).
 * Source: ARM DDI 0487, D1.3.6 (routing and masking of asynchronous exceptions).
 */

#include "mmu.h"

#define PSTATE_I 0x80
#define HCR_IMO 0x10

/*
 * It comes before the instruction that `at` others have been begun before, `begun` so far. Once it
 * is to be taken, `target` is the level and `begun` stands still. `mmu` is the CPU's.
 */
struct interruption {
	uint64_t at, mmu, stop, begun, target;
};

const struct shared interruption_shared[] = {SHARED_SIZE(struct interruption), SHARED_END};

typedef int stop_engine(void *engine);

/* The level that takes an IRQ now; 0 if none does. */
uint64_t interrupt_taker(const struct mmu *mmu, uint64_t pstate)
{
	uint64_t el = PSTATE_EL(pstate), to_el2 = mmu->hcr & (HCR_IMO | HCR_TGE);

	/* What goes to a higher level is not masked by this one; what goes to a lower one waits. */
	if (el < 2 && to_el2)
		return 2;
	if (pstate & PSTATE_I || (el >= 2 && !to_el2))
		return 0;
	return el ? el : 1;
}

/* UC_HOOK_CODE, before each instruction. */
void watch_interruption(void *engine, uint64_t pc, uint32_t size, struct interruption *s)
{
	struct mmu *mmu = (struct mmu *)(uintptr_t)s->mmu;

	(void)pc;
	(void)size;
	if (s->target || mmu->doomed)
		return;
	if (s->begun >= s->at)
		s->target = interrupt_taker(mmu, mmu_pstate(engine, mmu));
	if (s->target)
		((stop_engine *)(uintptr_t)s->stop)(engine);
	else
		s->begun++;
}

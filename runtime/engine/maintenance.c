/*
 * System instructions that translate an address: maintenance of caches, and AT. The engine takes
 * the first for nothing and answers the second from a walk of its own.
 *
 * Source: ARM DDI 0487, C5.3 (DC, IC), C5.4 (AT), D8.4 (their permissions), PAR_EL1.
 */

#include "mmu.h"

/* UC_CTL_TLB_FLUSH, to be written. */
#define FLUSH_TLB (1 << 30 | 11)
/* What sharing PAR_EL1 has for Device and Non-cacheable memory: outer. */
#define OUTER_SHAREABLE 2ull

typedef int call_engine(void *engine);
typedef int call_control(void *engine, int what, ...);
typedef int call_save(void *engine, void *context);

/* What a SYS instruction with CRn 7 does to the line its operand is in. */
static enum operation operation_of(const struct system_access *access)
{
	if (access->crn != 7 || access->op2 != 1)
		return OPERATION_NONE;
	if (access->op1 == 0)
		return access->crm == 6 ? OPERATION_INVALIDATE : OPERATION_NONE;
	if (access->op1 != 3)
		return OPERATION_NONE;
	switch (access->crm) {
	case 4:
		return OPERATION_ZERO;
	case 5: /* IC IVAU; the rest is DC CVAC, CVAU, CVAP, CVADP and CIVAC */
	case 10:
	case 11:
	case 12:
	case 13:
	case 14:
		return OPERATION_CLEAN;
	default:
		return OPERATION_NONE;
	}
}

/*
 * Refuse the instruction that the engine is at. It has no way to stop there: the registers are
 * kept, and what is left of the block finds neither memory nor system registers.
 */
static uint32_t refuse(void *engine, struct mmu *mmu, uint64_t fault, uint64_t address)
{
	uint64_t *blocks = (uint64_t *)(uintptr_t)mmu->blocks;

	/* What comes after it in the block is not carried out. */
	if (mmu->recorder)
		leave_loop(engine, (struct recorder *)(uintptr_t)mmu->recorder);
	mmu->fault = fault;
	mmu->access = MAINTENANCE;
	mmu->pc = mmu_read(engine, mmu, REG_PC);
	mmu->address = address;
	mmu->doomed = 1;
	mmu->kept_page = 0;
	if (blocks[BLOCK_REASON] == STOP_NONE)
		ask_to_stop(blocks, STOP_FAULT);
	((call_save *)(uintptr_t)mmu->calls.save)(engine, (void *)(uintptr_t)mmu->context);
	((call_control *)(uintptr_t)mmu->calls.control)(engine, FLUSH_TLB);
	((call_engine *)(uintptr_t)mmu->calls.stop)(engine);
	return 1;
}

/* With effects: DC IVAC, CVAC, CVAP, CVADP and CIVAC reach the point of coherency. */
static __attribute__((noinline)) uint32_t take_effect(struct mmu *mmu,
						      const struct system_access *access)
{
	unsigned crm = access->crm;
	uint64_t pa = (mmu->kept_pa & PAGE_MASK) | (access->value & ~PAGE_MASK);

	if (mmu->effects && crm != 5 && crm != 11)
		effects_maintain((struct effects *)(uintptr_t)mmu->effects, pa, crm != 6,
				 crm == 6 || crm == 14);
	return 1;
}

/* Which SYS instruction it is. */
static uint64_t key_of(const struct system_access *access)
{
	return (uint64_t)access->crm << 32 | access->crn << 16 | access->op1 << 8 | access->op2;
}

/* Whether the engine has no part in it: it zeroes, and knows whether there are CVAP and CVADP. */
static uint32_t keep(struct mmu *mmu, const struct system_access *access, enum operation operation)
{
	int done = operation != OPERATION_ZERO && access->crm != 12 && access->crm != 13;

	if (operation != OPERATION_ZERO)
		take_effect(mmu, access);
	/* Where operations are counted none goes unseen. */
	mmu->kept_key = done && !mmu->operations ? key_of(access) : 0;
	return (uint32_t)done;
}

static uint32_t maintain(void *engine, struct mmu *mmu, const struct system_access *access,
			 enum operation operation)
{
	const struct walk_regime *regime;
	struct walk_result at;
	uint64_t va = access->value, pstate, rights;

	pstate = mmu_pstate(engine, mmu);
	regime = mmu_regime(mmu, pstate);
	/* Where it is trapped, the engine does that. */
	if (!PSTATE_EL(pstate) && !(regime->sctlr & SCTLR_UCI) && operation != OPERATION_ZERO)
		return 0;
	if (PSTATE_EL(pstate) < 2 && mmu->hcr & (HCR_TPC | HCR_TPU))
		return 0;
	if (mmu->kept_page == (va | 0xfff) && mmu->kept_el == PSTATE_EL(pstate) &&
	    mmu->kept_operation == (uint64_t)operation)
		return keep(mmu, access, operation);
	walk_stage1(&mmu->ram, regime, va, &at);
	/* DC ZVA is a store, which the engine makes; but not to Device memory. */
	if (operation == OPERATION_ZERO) {
		rights = walk_rights(regime, &at, !PSTATE_EL(pstate), pstate & PSTATE_PAN);
		if (at.fault != WALK_OK || !(rights & RIGHT_WRITE))
			return 0;
		if (walk_is_device(regime, &at))
			return refuse(engine, mmu, FAULT_ALIGNMENT, va);
	} else {
		if (at.fault != WALK_OK)
			return refuse(engine, mmu, at.fault, va);
		rights = walk_rights(regime, &at, !PSTATE_EL(pstate), 0);
		if (!(rights & (operation == OPERATION_INVALIDATE ? RIGHT_WRITE : RIGHT_READ)))
			return refuse(engine, mmu, FAULT_PERMISSION + at.level, va);
	}
	mmu->kept_page = va | 0xfff;
	mmu->kept_pa = at.pa;
	mmu->kept_operation = (uint64_t)operation;
	mmu->kept_el = PSTATE_EL(pstate);
	return keep(mmu, access, operation);
}

/* PAR_EL1 of a translation that succeeds. */
static uint64_t par_of(const struct walk_regime *regime, const struct walk_result *at)
{
	uint64_t sharing = OUTER_SHAREABLE, attributes = 0;

	if (regime->sctlr & 1)
		attributes = regime->mair >> 8 * (at->attributes >> 2 & 7) & 0xff;
	if (!walk_is_device(regime, at) && attributes != NORMAL_NC)
		sharing = at->sharing;
	return attributes << 56 | (at->pa & 0xffffffffff000) | 1 << 11 | 1 << 9 | sharing << 7;
}

/* AT S1E1R, S1E1W, S1E0R, S1E0W, S1E1RP, S1E1WP, S1E2R, S1E2W and S12E1R to S12E0W. */
static uint32_t translate_address(void *engine, struct mmu *mmu, const struct system_access *access)
{
	struct system_access par = {.crn = 7, .crm = 4, .op0 = 3, .op1 = 0, .op2 = 0};
	const uint64_t host = HCR_E2H | HCR_TGE;
	uint64_t pstate = mmu_pstate(engine, mmu), rights;
	const struct walk_regime *regime = &mmu->el1;
	int unprivileged = access->op2 >> 1 & 1, write = access->op2 & 1;
	int with_pan = access->crm == 9;
	struct walk_result at;

	/* What is undefined or trapped is so in the engine. */
	if (!PSTATE_EL(pstate) || (PSTATE_EL(pstate) == 1 && (access->op1 || mmu->hcr & HCR_AT)) ||
	    (access->op1 && access->op1 != 4) ||
	    (with_pan && (!mmu->has_pan2 || access->op1 || access->op2 > 1)) ||
	    (!access->op1 && access->op2 > 3) || (access->op1 && (access->op2 & 6) == 2) ||
	    (access->op1 && access->op2 > 3 && mmu->hcr & HCR_VM))
		return 0;
	if (access->op1 == 4 ? access->op2 < 2
			     : PSTATE_EL(pstate) == 2 && (mmu->hcr & host) == host)
		regime = &mmu->el2;
	walk_stage1(&mmu->ram, regime, access->value, &at);
	/* A table that cannot be read is an abort of this instruction. */
	if (at.fault == 0x13 || (at.fault & ~3ull) == FAULT_EXTERNAL_ON_WALK)
		return refuse(engine, mmu, at.fault, access->value);
	if (at.fault == WALK_OK) {
		rights = walk_rights(regime, &at, (uint64_t)unprivileged,
				     with_pan ? pstate & PSTATE_PAN : 0);
		if (!(rights & (write ? RIGHT_WRITE : RIGHT_READ)))
			at.fault = FAULT_PERMISSION + at.level;
	}
	par.value = at.fault == WALK_OK ? par_of(regime, &at) : 1 << 11 | at.fault << 1 | 1;
	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, REG_CP, &par);
	return 1;
}

/* Whether the engine need not do it: nothing is known of it beforehand. */
static __attribute__((noinline)) uint32_t look_at_operation(void *engine, int32_t reg,
							    const struct system_access *access,
							    struct mmu *mmu)
{
	enum operation operation;

	if (mmu->doomed)
		return 1;
	if (mmu->operations)
		count_system(engine, reg, access, (uint64_t *)(uintptr_t)mmu->operations);
	operation = operation_of(access);
	if (operation != OPERATION_NONE)
		return maintain(engine, mmu, access, operation);
	if (access->crn == 7 && (access->crm == 8 || access->crm == 9))
		return translate_address(engine, mmu, access);
	if (access->crn == 8) { /* TLBI */
		mmu->kept_page = mmu->code_page = 0;
		/*
		 * By VA (op2 is odd): the engine would forget 4 KiB of what may be a larger
		 * page or a block, in as many entries as were used of it.
		 */
		if (access->op2 & 1)
			((call_control *)(uintptr_t)mmu->calls.control)(engine, FLUSH_TLB);
	}
	return 0;
}

/*
 * UC_HOOK_INSN for SYS, before it is carried out; whether the engine need not do it.
 *
 * Nearly all of it are loops over lines. A block that follows itself is at the level where
 * it was. There is nothing left for the engine to do: it would check rights once more.
 */
uint32_t watch_operations(void *engine, int32_t reg, const struct system_access *access,
			  struct mmu *mmu)
{
	if (mmu->kept_page != (access->value | 0xfff) || mmu->kept_key != key_of(access) ||
	    !((const uint64_t *)(uintptr_t)mmu->blocks)[BLOCK_REPEATS])
		return look_at_operation(engine, reg, access, mmu);
	return mmu->effects ? take_effect(mmu, access) : 1;
}

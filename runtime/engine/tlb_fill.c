/*
 * The engine's TLB is filled here, by our walk (docs/adr/0017).
 */

#include "mmu.h"

const struct shared mmu_shared[] = {
	SHARED(REG_PC), SHARED(REG_PSTATE), SHARED(REG_CP), SHARED(MEM_READ), SHARED(MEM_WRITE),
	SHARED(MEM_FETCH), SHARED(MAINTENANCE), SHARED(WALK_OK), SHARED(FAULT_STAGE2),
	SHARED(FAULT_BUS), SHARED(WINDOWS), SHARED(EXCEPTION_UNDEFINED), SHARED_SIZE(struct mmu), SHARED_END,
};

typedef int read_register(void *engine, int reg, void *value);

uint64_t mmu_read(void *engine, const struct mmu *mmu, int reg)
{
	uint64_t value = 0;

	((read_register *)(uintptr_t)mmu->calls.read_register)(engine, reg, &value);
	return value;
}

/* A register that the CPU lacks is zero. */
uint64_t mmu_system(void *engine, const struct mmu *mmu, unsigned op1, unsigned crn, unsigned crm,
		    unsigned op2)
{
	struct system_access reg = {crn, crm, 3, op1, op2, 0};

	((read_register *)(uintptr_t)mmu->calls.read_register)(engine, REG_CP, &reg);
	return reg.value;
}

static void read_regime(void *engine, const struct mmu *mmu, unsigned op1,
			struct walk_regime *regime)
{
	regime->sctlr = mmu_system(engine, mmu, op1, 1, 0, 0);
	regime->tcr = mmu_system(engine, mmu, op1, 2, 0, 2);
	regime->ttbr0 = mmu_system(engine, mmu, op1, 2, 0, 0);
	regime->ttbr1 = mmu_system(engine, mmu, op1, 2, 0, 1);
	regime->mair = mmu_system(engine, mmu, op1, 10, 2, 0);
	regime->cpu_bits = mmu->cpu_bits;
}

static void read_registers(void *engine, struct mmu *mmu)
{
	mmu->hcr = mmu_system(engine, mmu, 4, 1, 1, 0);
	read_regime(engine, mmu, 0, &mmu->el1);
	read_regime(engine, mmu, 4, &mmu->el2);
	mmu->el1.two_ranges = 1;
	mmu->el2.two_ranges = (mmu->hcr & HCR_E2H) != 0;
	/* With TGE, EL1&0 is as if its MMU were off. */
	if (mmu->hcr & HCR_TGE)
		mmu->el1.sctlr &= ~1ull;
	mmu->code_page = mmu->kept_page = mmu->stale = 0;
}

/* PSTATE, the registers of translation being up to date. */
uint64_t mmu_pstate(void *engine, struct mmu *mmu)
{
	if (mmu->stale)
		read_registers(engine, mmu);
	return mmu_read(engine, mmu, REG_PSTATE);
}

/* The regime that `pstate` translates by. */
const struct walk_regime *mmu_regime(const struct mmu *mmu, uint64_t pstate)
{
	const uint64_t host = HCR_E2H | HCR_TGE;

	if (PSTATE_EL(pstate) >= 2 || (!PSTATE_EL(pstate) && (mmu->hcr & host) == host))
		return &mmu->el2;
	return &mmu->el1;
}

/*
 * The instruction at `pc`, or 0. The page it was found in last is remembered: the engine goes on
 * with the code it has, too, until it is told to fetch anew.
 */
static uint32_t instruction_at(struct mmu *mmu, const struct walk_regime *regime, uint64_t pc)
{
	struct walk_result at;

	if (!mmu->code_page || mmu->code_page != (pc & PAGE_MASK) || mmu->code_regime != (uintptr_t)regime) {
		walk_stage1(&mmu->ram, regime, pc & PAGE_MASK, &at);
		if (at.fault != WALK_OK || !is_ram(&mmu->ram, at.pa))
			return 0;
		mmu->code_page = pc & PAGE_MASK;
		mmu->code_regime = (uintptr_t)regime;
		mmu->code_offset = at.pa - mmu->ram.base;
	}
	return *(const uint32_t *)(uintptr_t)(mmu->ram.host + mmu->code_offset + (pc & 0xffc));
}

/* The same of the regime that the CPU is in. */
uint32_t mmu_instruction(void *engine, struct mmu *mmu, uint64_t pc)
{
	return instruction_at(mmu, mmu_regime(mmu, mmu_pstate(engine, mmu)), pc);
}

/*
 * Whether the access at `pc` has the rights of EL0: at EL0, and for LDTR and STTR (DDI 0487, C4.1:
 * load/store register, unprivileged) unless PSTATE.UAO is set. Those have no part in EL2's own
 * regime, nor in EL2&0 without TGE.
 */
static int is_unprivileged(struct mmu *mmu, const struct walk_regime *regime, uint64_t pc,
			   uint64_t pstate)
{
	if (!PSTATE_EL(pstate))
		return 1;
	if (pstate & PSTATE_UAO || (regime == &mmu->el2 && !(mmu->hcr & HCR_TGE)))
		return 0;
	return (instruction_at(mmu, regime, pc) & 0x3f200c00) == 0x38000800;
}

static uint32_t granted(uint64_t rights, int32_t type)
{
	/*
	 * Of a page that is writable and executable, data gets no X: the engine would look for code
	 * at every store. And a fetch gets no W, for the same reason.
	 */
	if ((rights & (RIGHT_WRITE | RIGHT_EXECUTE)) == (RIGHT_WRITE | RIGHT_EXECUTE))
		rights &= type == MEM_FETCH ? ~(uint64_t)RIGHT_WRITE : ~(uint64_t)RIGHT_EXECUTE;
	return (uint32_t)rights;
}

/* Whether RAM or a device is there. */
static int answers(const struct mmu *mmu, uint64_t pa)
{
	if (is_ram(&mmu->ram, pa))
		return 1;
	for (int i = 0; i < WINDOWS; i++)
		if (pa - mmu->windows[i].base < mmu->windows[i].size)
			return 1;
	return 0;
}

/* The fault of an access of `type` to the page at `va`; WALK_OK if `entry` is filled in. */
static uint64_t translate(void *engine, struct mmu *mmu, uint64_t va, int32_t type, uint64_t pc,
			  uint64_t pstate, struct tlb_entry *entry)
{
	const struct walk_regime *regime = mmu_regime(mmu, pstate);
	uint64_t wanted = type == MEM_FETCH ? RIGHT_EXECUTE
			  : type == MEM_WRITE ? RIGHT_WRITE
					      : RIGHT_READ;
	struct walk_result result;
	uint64_t rights;
	int unprivileged;

	if (regime == &mmu->el1 && mmu->hcr & HCR_VM)
		return FAULT_STAGE2;
	walk_stage1(&mmu->ram, regime, va, &result);
	if (result.fault != WALK_OK)
		return result.fault;
	unprivileged = type == MEM_FETCH ? !PSTATE_EL(pstate)
					 : is_unprivileged(mmu, regime, pc, pstate);
	rights = walk_rights(regime, &result, (uint64_t)unprivileged, pstate & PSTATE_PAN);
	if (!(rights & wanted))
		return FAULT_PERMISSION + result.level;
	if (!answers(mmu, result.pa)) {
		/* A run may end where nothing is. */
		if (!mmu->permissive && !(type == MEM_FETCH && pc == mmu->until))
			return FAULT_BUS;
		mmu->invented++;
	}
	entry->pa = result.pa;
	entry->rights = granted(rights, type);
	if (mmu->recorder)
		record_fill(engine, (struct recorder *)(uintptr_t)mmu->recorder,
			    &(struct fill){va, pc, PSTATE_EL(pstate), (uint64_t)type,
					   entry->rights},
			    regime, &result);
	if (mmu->effects)
		effects_fill((struct effects *)(uintptr_t)mmu->effects, regime, &result, type,
			     entry);
	/*
	 * What is copied goes to one page after the other: the host looks for the next one
	 * while this one is written. That changes nothing, and faults nowhere.
	 */
	if (type == MEM_WRITE && is_ram(&mmu->ram, result.pa))
		__builtin_prefetch((const void *)(uintptr_t)(mmu->ram.host - mmu->ram.base +
							     result.pa + PAGE_SIZE), 1);
	/* Maintenance of a line finds what loads and stores do. */
	if (type != MEM_FETCH && rights & RIGHT_READ) {
		mmu->kept_page = va | 0xfff;
		mmu->kept_pa = result.pa;
		mmu->kept_operation = OPERATION_CLEAN;
		mmu->kept_key = 0;
		mmu->kept_el = PSTATE_EL(pstate);
	}
	return WALK_OK;
}

/* UC_HOOK_TLB_FILL: `va` is that of the page. Returns whether `entry` is one. */
uint8_t fill_tlb(void *engine, uint64_t va, int32_t type, struct tlb_entry *entry,
		 struct mmu *mmu)
{
	uint64_t pc, fault;

	if (mmu->doomed)
		return 0;
	mmu->fills++;
	pc = mmu_read(engine, mmu, REG_PC);
	fault = translate(engine, mmu, va, type, pc, mmu_pstate(engine, mmu), entry);
	if (fault == WALK_OK) {
		if (type == MEM_FETCH)
			mmu->code_page = 0;
		return 1;
	}
	if (type == MEM_FETCH && (va ^ pc) & PAGE_MASK) {
		/*
		 * The guest fetches where its PC is. This is the engine on its own account: it
		 * looks at the page where a run is to end. Any answer will do, for the moment.
		 */
		mmu->invented++;
		entry->pa = mmu->ram.base;
		entry->rights = RIGHT_EXECUTE;
		return 1;
	}
	mmu->fault = fault;
	mmu->access = (uint64_t)type;
	mmu->pc = pc;
	return 0;
}

/*
 * UC_HOOK_INSN for MSR, before it is carried out: registers of translation are read again at the
 * next fill. CRn 1 has SCTLR and HCR, 2 TCR and TTBR, 10 MAIR.
 */
uint32_t watch_writes(void *engine, int32_t reg, const struct system_access *access,
		      struct mmu *mmu)
{
	uint32_t done;

	if (mmu->doomed)
		return 1;
	if (access->crn == 14 && write_timer(engine, access, mmu))
		return 1;
	(void)reg;
	done = write_answer(engine, access, mmu);
	if (access->crn == 1 || access->crn == 2 || access->crn == 10) {
		mmu->stale = 1;
		mmu->kept_page = 0;
	}
	return done;
}

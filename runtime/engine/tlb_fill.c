/*
 * The engine's TLB is filled here, by our walk (docs/adr: our own MMU). mmu.py has the same
 * structure; what it does not find there it is told.
 */

#include "native_hooks.h"
#include "walker.h"

/* Unicorn's numbers: uc_arm64_reg and uc_mem_type. */
enum { REG_PC = 260, REG_PSTATE = 265, REG_CP = 290 };
enum { MEM_READ = 16, MEM_WRITE = 17, MEM_FETCH = 18 };

#define PAGE_MASK (~0xfffull)
#define PSTATE_EL(pstate) ((pstate) >> 2 & 3)
#define PSTATE_PAN 0x400000
#define PSTATE_UAO 0x800000
#define HCR_VM 0x1
#define HCR_TGE 0x8000000
#define HCR_E2H 0x400000000

/* Unicorn's uc_tlb_entry. */
struct tlb_entry {
	uint64_t pa;
	uint32_t rights;
};

/* What a fill is refused with when a second stage should have a part in it: there is none here. */
#define FAULT_STAGE2 0x41

/*
 * One CPU's MMU. `stale` says that registers may have changed since they were read, `msr_filter`
 * is another hook's (filter_system), or none. A fill that is refused leaves `fault` (WALK_OK if
 * there was none) and for which access at what PC; the engine knows the exact address. `invented`
 * counts the answers that are to be forgotten. `code_page` is not 0 where the rest of it holds.
 */
struct mmu {
	struct guest_ram ram;
	uint64_t cpu_bits, read_register, msr_filter, stale, hcr;
	struct walk_regime el1, el2;
	uint64_t code_page, code_regime, code_offset;
	uint64_t fault, pc, access, fills, invented;
};

const struct shared tlb_fill_shared[] = {
	SHARED(REG_PC), SHARED(REG_PSTATE), SHARED(REG_CP), SHARED(MEM_READ), SHARED(MEM_WRITE),
	SHARED(MEM_FETCH), SHARED(WALK_OK), SHARED(FAULT_STAGE2), SHARED_SIZE(struct mmu),
	SHARED_SIZE(struct walk_regime), SHARED_SIZE(struct walk_result), SHARED_END,
};

typedef int read_register(void *engine, int reg, void *value);

static uint64_t read_register_of(void *engine, const struct mmu *mmu, int reg)
{
	uint64_t value = 0;

	((read_register *)(uintptr_t)mmu->read_register)(engine, reg, &value);
	return value;
}

/* A register that the CPU lacks is zero. */
static uint64_t read_system(void *engine, const struct mmu *mmu, unsigned op1, unsigned crn,
			    unsigned crm, unsigned op2)
{
	struct system_access reg = {crn, crm, 3, op1, op2, 0};

	((read_register *)(uintptr_t)mmu->read_register)(engine, REG_CP, &reg);
	return reg.value;
}

static void read_regime(void *engine, const struct mmu *mmu, unsigned op1,
			struct walk_regime *regime)
{
	regime->sctlr = read_system(engine, mmu, op1, 1, 0, 0);
	regime->tcr = read_system(engine, mmu, op1, 2, 0, 2);
	regime->ttbr0 = read_system(engine, mmu, op1, 2, 0, 0);
	regime->ttbr1 = read_system(engine, mmu, op1, 2, 0, 1);
	regime->mair = read_system(engine, mmu, op1, 10, 2, 0);
	regime->cpu_bits = mmu->cpu_bits;
}

static void read_registers(void *engine, struct mmu *mmu)
{
	mmu->hcr = read_system(engine, mmu, 4, 1, 1, 0);
	read_regime(engine, mmu, 0, &mmu->el1);
	read_regime(engine, mmu, 4, &mmu->el2);
	mmu->el1.two_ranges = 1;
	mmu->el2.two_ranges = (mmu->hcr & HCR_E2H) != 0;
	/* With TGE, EL1&0 is as if its MMU were off. */
	if (mmu->hcr & HCR_TGE)
		mmu->el1.sctlr &= ~1ull;
	mmu->code_page = mmu->stale = 0;
}

/* The regime that `pstate` translates by. */
static const struct walk_regime *regime_of(const struct mmu *mmu, uint64_t pstate)
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
		if (at.fault != WALK_OK || at.pa - mmu->ram.base >= mmu->ram.size)
			return 0;
		mmu->code_page = pc & PAGE_MASK;
		mmu->code_regime = (uintptr_t)regime;
		mmu->code_offset = at.pa - mmu->ram.base;
	}
	return *(const uint32_t *)(uintptr_t)(mmu->ram.host + mmu->code_offset + (pc & 0xffc));
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

/* UC_HOOK_TLB_FILL: `va` is that of the page. Returns whether `entry` is one. */
uint8_t fill_tlb(void *engine, uint64_t va, int32_t type, struct tlb_entry *entry,
		 struct mmu *mmu)
{
	const struct walk_regime *regime;
	struct walk_result result;
	uint64_t pstate, rights, wanted;
	uint64_t pc = read_register_of(engine, mmu, REG_PC);

	mmu->fills++;
	if (mmu->stale)
		read_registers(engine, mmu);
	pstate = read_register_of(engine, mmu, REG_PSTATE);
	regime = regime_of(mmu, pstate);
	walk_stage1(&mmu->ram, regime, va, &result);
	if (regime == &mmu->el1 && mmu->hcr & HCR_VM)
		result.fault = FAULT_STAGE2;
	if (result.fault == WALK_OK) {
		int unprivileged = type == MEM_FETCH ? !PSTATE_EL(pstate)
						     : is_unprivileged(mmu, regime, pc, pstate);

		rights = walk_rights(regime, &result, (uint64_t)unprivileged,
				     pstate & PSTATE_PAN);
		wanted = type == MEM_FETCH   ? RIGHT_EXECUTE
			 : type == MEM_WRITE ? RIGHT_WRITE
					     : RIGHT_READ;
		if (rights & wanted) {
			if (type == MEM_FETCH)
				mmu->code_page = 0;
			entry->pa = result.pa;
			entry->rights = granted(rights, type);
			return 1;
		}
		result.fault = FAULT_PERMISSION + result.level;
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
	mmu->fault = result.fault;
	mmu->pc = pc;
	mmu->access = (uint64_t)type;
	return 0;
}

/*
 * UC_HOOK_INSN for MSR, before it is carried out: registers of translation are read again at the
 * next fill. CRn 1 has SCTLR and HCR, 2 TCR and TTBR, 10 MAIR.
 */
uint32_t watch_writes(void *engine, int32_t reg, const struct system_access *access,
		      struct mmu *mmu)
{
	if (access->crn == 1 || access->crn == 2 || access->crn == 10)
		mmu->stale = 1;
	if (!mmu->msr_filter)
		return 0;
	return filter_system(engine, reg, access, (const uint64_t *)(uintptr_t)mmu->msr_filter);
}

/*
 * System registers that the engine answers otherwise than the machine: those that are told
 * otherwise, and those that reach another register under HCR_EL2.E2H (system_access.py has both).
 *
 * Source: ARM DDI 0487, "Virtualization Host Extensions", the register redirection tables.
 */

#include "mmu.h"

/* How many rows; then three words a row. A row without a target has a value. */
enum { ANSWER_KEY, ANSWER_TARGET, ANSWER_VALUE, ANSWER_WORDS };
enum { ANSWER_ROWS = 96, ANSWER_VALUES = 0x10000 };

#define FLUSH_TLB (1 << 30 | 11)

const struct shared answers_shared[] = {
	SHARED(ANSWER_WORDS), SHARED(ANSWER_ROWS), SHARED(ANSWER_VALUES), SHARED_END,
};

typedef int call_control(void *engine, int what, ...);

static const uint64_t *row_of(const struct mmu *mmu, const struct system_access *access)
{
	const uint64_t *rows = (const uint64_t *)(uintptr_t)mmu->answers, *row;
	uint64_t key = access->op0 << 14 | access->op1 << 11 | access->crn << 7 |
		       access->crm << 3 | access->op2;

	if (!rows)
		return NULL;
	row = rows + 1;
	for (uint64_t i = 0; i < rows[0]; i++, row += ANSWER_WORDS)
		if (row[ANSWER_KEY] == key)
			return row;
	return NULL;
}

static int is_redirecting(void *engine, struct mmu *mmu)
{
	return PSTATE_EL(mmu_pstate(engine, mmu)) == 2 && mmu->hcr & HCR_E2H;
}

static struct system_access target_of(const uint64_t *row)
{
	unsigned key = (unsigned)row[ANSWER_TARGET];

	return (struct system_access){
		.op0 = key >> 14, .op1 = key >> 11 & 7, .crn = key >> 7 & 15,
		.crm = key >> 3 & 15, .op2 = key & 7,
	};
}

/* UC_HOOK_INSN for MRS; whether it was one of them. */
uint32_t read_answer(void *engine, int32_t reg, const struct system_access *access,
		     struct mmu *mmu)
{
	const uint64_t *row = row_of(mmu, access);
	struct system_access target;
	uint64_t value;

	if (!row)
		return 0;
	value = row[ANSWER_VALUE];
	if (row[ANSWER_TARGET] != ANSWER_VALUES) {
		if (!is_redirecting(engine, mmu))
			return 0;
		target = target_of(row);
		value = mmu_system(engine, mmu, target.op1, target.crn, target.crm, target.op2);
	}
	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, reg, &value);
	return 1;
}

/* The same for MSR. A write from outside leaves the TLB as it was: SCTLR, TCR, TTBR, MAIR. */
uint32_t write_answer(void *engine, const struct system_access *access, struct mmu *mmu)
{
	const uint64_t *row = row_of(mmu, access);
	struct system_access target;

	if (!row || row[ANSWER_TARGET] == ANSWER_VALUES || !is_redirecting(engine, mmu))
		return 0;
	target = target_of(row);
	target.value = access->value;
	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, REG_CP, &target);
	if (target.crn == 2 || target.crn == 10 ||
	    (target.crn == 1 && !target.crm && !target.op2)) {
		mmu->stale = 1;
		((call_control *)(uintptr_t)mmu->calls.control)(engine, FLUSH_TLB);
	}
	return 1;
}

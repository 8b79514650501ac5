/*
 * Instructions that the engine takes for undefined: those that a board has are carried out here.
 */

#include "mmu.h"

/* UC_ARM64_REG_X0, X29 and X30. */
enum { REG_X0 = 199, REG_X29 = 1, REG_X30 = 2 };

const struct shared undefined_shared[] = {
	SHARED(REG_X0), SHARED(REG_X29), SHARED(REG_X30), SHARED_END,
};

typedef uint32_t access_register(void *engine, uint64_t board, uint32_t key, int is_read,
				 uint64_t *value);
typedef void handle_exception(void *engine, uint32_t number, void *data);

static int x_register(unsigned number)
{
	return number == 29 ? REG_X29 : number == 30 ? REG_X30 : REG_X0 + (int)number;
}

/* MRS and MSR (register) of DDI 0487, C5.6: a register's 16 bits from bit 5 on, of op0 2 and 3. */
static int carry_out(void *engine, struct mmu *mmu)
{
	uint64_t *blocks = (uint64_t *)(uintptr_t)mmu->blocks;
	uint64_t pc = mmu_read(engine, mmu, REG_PC), value = 0, next = pc + 4, done;
	uint32_t word;
	unsigned rt;
	int is_read;

	if (!PSTATE_EL(mmu_pstate(engine, mmu)))
		return 0;
	word = mmu_instruction(engine, mmu, pc);
	if ((word & 0xffd00000) != 0xd5100000)
		return 0;
	is_read = word >> 21 & 1;
	rt = word & 31;
	if (!is_read && rt != 31)
		value = mmu_read(engine, mmu, x_register(rt));
	if (!((access_register *)(uintptr_t)mmu->registers)(engine, mmu->board,
							    word >> 5 & 0xffff, is_read, &value))
		return 0;
	if (is_read && rt != 31)
		((call_write *)(uintptr_t)mmu->calls.write_register)(engine, x_register(rt),
								     &value);
	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, REG_PC, &next);
	/* The rest of the block was counted, and is entered as a block of its own. */
	done = next - blocks[BLOCK_LAST];
	if (done <= blocks[BLOCK_LAST_SIZE]) {
		blocks[BLOCK_INSTRUCTIONS] -= (blocks[BLOCK_LAST_SIZE] - done) / 4;
		blocks[BLOCK_LAST_SIZE] = done;
	}
	return 1;
}

/* UC_HOOK_INTR: QEMU's number of the exception. */
void watch_exceptions(void *engine, uint32_t number, struct mmu *mmu)
{
	if (mmu->doomed)
		return;
	if (number == EXCEPTION_UNDEFINED && mmu->registers && carry_out(engine, mmu))
		return;
	((handle_exception *)(uintptr_t)mmu->exceptions)(engine, number, NULL);
}

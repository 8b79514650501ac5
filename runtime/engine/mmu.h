/* One CPU's MMU: what its hooks share. mmu.py has the same structure. */

#ifndef RELOKIT_MMU_H
#define RELOKIT_MMU_H

#include "effects.h"
#include "native_hooks.h"
#include "walker.h"

/* Unicorn's numbers: uc_arm64_reg and uc_mem_type. */
enum { REG_PC = 260, REG_PSTATE = 265, REG_CP = 290 };
enum { MEM_READ = 16, MEM_WRITE = 17, MEM_FETCH = 18 };
/* Beside them: maintenance of a cache by address. */
enum { MAINTENANCE = 0x100 };

#define PAGE_SIZE 0x1000
#define PAGE_MASK (~0xfffull)
#define PSTATE_EL(pstate) ((pstate) >> 2 & 3)
#define PSTATE_PAN 0x400000
#define PSTATE_UAO 0x800000
#define HCR_VM 0x1
#define HCR_TPC 0x800000
#define HCR_TPU 0x1000000
#define HCR_TGE 0x8000000
#define HCR_E2H 0x400000000
#define HCR_AT 0x100000000000
#define SCTLR_UCI 0x4000000
#define SCTLR_C 0x4
#define SCTLR_I 0x1000

/* Beside the codes of DFSC: a second stage should have a part in it; nothing answers there. */
enum { FAULT_STAGE2 = 0x41, FAULT_BUS = 0x42 };
enum { FAULT_ALIGNMENT = 0x21 };

/* What a system instruction does to a line. Only INVALIDATE needs the right to write it. */
enum operation { OPERATION_NONE, OPERATION_CLEAN, OPERATION_INVALIDATE, OPERATION_ZERO };

#define NORMAL_NC 0x44

enum { WINDOWS = 16 };

#define NEVER (~0ull)

/* QEMU's number of the exception for an instruction that it has not (EXCP_UDEF). */
enum { EXCEPTION_UNDEFINED = 1 };

/* Where the engine's functions are. */
struct engine_calls {
	uint64_t read_register, write_register, stop, control, save;
};

/*
 * `stale` says that registers may have changed since they were read, `mrs_filter`
 * is another hook's (filter_system), or none, `operations` counts system instructions (count_system), or is
 * none, and `blocks` are the block counter's.
 *
 * `windows` are the devices'; where neither they nor RAM are, a fill is refused unless `permissive`
 * or for a fetch at `until`, where a run ends.
 *
 * What was refused: `fault` (WALK_OK if nothing was), for which `access` at what `pc`; `address`
 * for maintenance, else the engine knows it. `doomed` says that the engine has not stopped yet:
 * the rest of its block must do nothing that `context` cannot undo.
 *
 * `invented` counts the answers that are to be forgotten, `recorder` is told of fills, or is none;
 * `effects` is struct effects, or none.
 * `exceptions` is told of exceptions (undefined.c), after `registers`, which is called with `board`
 * for system registers that the engine lacks, or is none. `timers_written`: a timer's were.
 * `answers` are rows of answers.c, or none.
 * `code_page` and `kept_page` are not 0 where what goes with them holds: the page of the code, and
 * the one last translated for data, to `kept_pa` (`kept_key` is 0, or the instruction).
 */
struct mmu {
	struct guest_ram ram;
	struct engine_calls calls;
	struct extent windows[WINDOWS];
	uint64_t cpu_bits, has_pan2, permissive, until;
	uint64_t mrs_filter, operations, blocks, context;
	uint64_t stale, hcr;
	struct walk_regime el1, el2;
	uint64_t code_page, code_regime, code_offset;
	uint64_t kept_page, kept_operation, kept_el, kept_key, kept_pa;
	uint64_t fault, access, pc, address, doomed;
	uint64_t fills, invented, recorder, effects;
	uint64_t exceptions, registers, board, timers_written, answers;
};

typedef int call_write(void *engine, int reg, const void *value);

/* Unicorn's uc_tlb_entry. */
struct tlb_entry {
	uint64_t pa;
	uint32_t rights;
};

void effects_fill(struct effects *effects, const struct walk_regime *regime,
		  const struct walk_result *at, int32_t type, struct tlb_entry *entry);

/* A fill of the TLB, for the recorder: what the page is accessed for, and what is given. */
struct fill {
	uint64_t va, pc, el, access, rights;
};

struct recorder;
void leave_loop(void *engine, struct recorder *recorder);
void record_fill(void *engine, struct recorder *recorder, const struct fill *fill,
		 const struct walk_regime *regime, const struct walk_result *walk);

uint64_t clock_now(void *engine, const struct mmu *mmu);
uint64_t clock_at_block(const uint64_t *blocks);
uint64_t clock_reaches(uint64_t count);
uint32_t read_timer(void *engine, int32_t reg, const struct system_access *access,
		    struct mmu *mmu);
uint32_t write_timer(void *engine, const struct system_access *access, struct mmu *mmu);
uint32_t read_answer(void *engine, int32_t reg, const struct system_access *access,
		     struct mmu *mmu);
uint32_t write_answer(void *engine, const struct system_access *access, struct mmu *mmu);
uint32_t timers_firing(void *engine, const struct mmu *mmu, uint64_t now, uint64_t *next);
uint64_t interrupt_taker(const struct mmu *mmu, uint64_t pstate);
uint32_t mmu_instruction(void *engine, struct mmu *mmu, uint64_t pc);

uint64_t mmu_read(void *engine, const struct mmu *mmu, int reg);
uint64_t mmu_system(void *engine, const struct mmu *mmu, unsigned op1, unsigned crn, unsigned crm,
		    unsigned op2);
uint64_t mmu_pstate(void *engine, struct mmu *mmu);
const struct walk_regime *mmu_regime(const struct mmu *mmu, uint64_t pstate);

#endif

/* What is no range: system instructions, calls and exceptions. Nothing crosses them. */

#include "recorder.h"

/* PAR_EL1: the one register whose reading is of interest, because AT wrote it. */
#define PAR_EL1 0xc3a0

/* op2 of SPSR_ELx and ELR_ELx, S3_x_C4_C0 (DDI 0487, D24.2). */
enum { SPSR, ELR };
/* From VBAR_ELx: IRQ, from a lower level, or from the same by the stack pointer in use. */
enum { IRQ = 0x80, FROM_SP_ELX = 0x200, FROM_LOWER = 0x400 };
enum { PSTATE_SPSEL = 1, PSTATE_DAIF = 0x3c0 };

static struct mmu *mmu_of(const struct recorder *r)
{
	return (struct mmu *)(uintptr_t)r->mmu;
}

/* What op1 is in the encoding of a register of this level. */
static unsigned op1_of(uint64_t el)
{
	return el >= 2 ? 4 : 0;
}

static uint64_t special_register(void *engine, const struct recorder *r, unsigned op2)
{
	return mmu_system(engine, mmu_of(r), op1_of(r->el), 4, 0, op2);
}

static void change_level(struct recorder *r)
{
	begin_epoch(r);
	r->el = NO_ADDRESS;
	r->vectors_told = 0;
}

/* Where the vectors of `el` are, and the first instruction of the slot at `slot`. */
static void find_vectors(const struct recorder *r, const struct walk_regime *regime, uint64_t slot,
			 struct record *to)
{
	struct walk_result at;

	walk_stage1(&r->ram, regime, to->va, &at);
	if (at.fault != WALK_OK) {
		to->pa = NO_ADDRESS;
		to->flags = FLAG_NO_PA;
		return;
	}
	to->pa = at.pa;
	if (!is_ram(&r->ram, at.pa) || !(walk_rights(regime, &at, 0, 0) & RIGHT_EXECUTE))
		return;
	to->flags = FLAG_EXECUTABLE;
	slot += at.pa - r->ram.base;
	if (slot <= r->ram.size - 4)
		to->value = *(const uint32_t *)(uintptr_t)(r->ram.host + (slot & ~3ull));
}

/* What an exception would find from the instruction at `pc` on, if that is another thing now. */
void record_vectors(void *engine, struct recorder *r, uint64_t pc)
{
	struct mmu *mmu = mmu_of(r);
	uint64_t pstate = mmu_pstate(engine, mmu);
	uint64_t el = r->el ? r->el : mmu->hcr & HCR_TGE ? 2 : 1;
	uint64_t from = r->el < el ? FROM_LOWER : pstate & PSTATE_SPSEL ? FROM_SP_ELX : 0;
	struct record found = {
		.kind = KIND_VECTORS, .pc = pc, .el = (uint8_t)el, .count = 1,
		.va = mmu_system(engine, mmu, op1_of(el), 12, 0, 0),
		.encoding = (uint16_t)(pstate & (PSTATE_DAIF | PSTATE_SPSEL)),
		.before = r->instructions,
	};
	const struct record *last = &r->vectors;

	r->vectors_told = 1;
	find_vectors(r, el == 2 ? &mmu->el2 : &mmu->el1, from + IRQ, &found);
	if (last->kind == found.kind && last->va == found.va && last->pa == found.pa &&
	    last->value == found.value && last->encoding == found.encoding &&
	    last->flags == found.flags && last->el == found.el)
		return;
	r->vectors = found;
	record_event(r, &found);
}

/* SCTLR and HCR, TCR and TTBR, MAIR: CRn 1, 2 and 10. */
static int is_of_translation(uint16_t encoding)
{
	unsigned crn = encoding >> 7 & 0xf;

	return crn == 1 || crn == 2 || crn == 10;
}

void record_system(void *engine, struct recorder *r, const struct cached *done)
{
	const struct decoded *op = &done->decoded;
	struct record event = {
		.pc = r->pending_pc, .kind = op->kind, .encoding = op->encoding,
		.value = op->kind == KIND_MRS ? read_x(engine, r, op->operand) : r->pending_va,
		.el = (uint8_t)r->el, .count = 1, .before = r->instructions - 1,
	};

	record_event(r, &event);
	if (op->kind == KIND_MSR || op->kind == KIND_MSR_FIELD)
		r->vectors_told = 0;
	if (op->kind == KIND_MSR || op->kind == KIND_ISB || op->kind == KIND_TLBI ||
	    op->kind == KIND_IC)
		begin_epoch(r);
	if (op->kind == KIND_TLBI || (op->kind == KIND_MSR && is_of_translation(op->encoding)))
		begin_turn(engine, r);
}

/* SVC, HVC, SMC and ERET are followed by what they lead to, if that is an exception too. */
static void record_call(void *engine, struct recorder *r, const struct decoded *op, uint64_t pc)
{
	struct record call = {
		.kind = op->kind, .pc = pc, .encoding = op->encoding, .el = (uint8_t)r->el,
		.count = 1, .before = r->instructions,
	};

	call.value = read_x(engine, r, 0);
	if (op->kind == KIND_ERET) {
		call.va = special_register(engine, r, ELR);
		call.encoding = (uint16_t)special_register(engine, r, SPSR);
	}
	record_event(r, &call);
	change_level(r);
}

/* Extension of a register offset (DDI 0487, ExtendReg). */
static uint64_t extend(uint64_t value, unsigned option, unsigned shift)
{
	if (option == 2)
		value = (uint32_t)value;
	else if (option == 6)
		value = (uint64_t)(int64_t)(int32_t)value;
	return value << shift;
}

static uint64_t address_of(void *engine, const struct recorder *r, const struct cached *at,
			   uint64_t pc)
{
	const struct decoded *op = &at->decoded;
	uint64_t base = at->base ? read_any(engine, r, at->base) : op->base == BASE_PC ? pc : 0;

	if (op->index != NO_REGISTER)
		base += extend(read_x(engine, r, op->index), op->extend, op->shift);
	return base + (uint64_t)(int64_t)op->offset;
}

/* What is more, or less, than one access by a base register, is begun at `pc`. */
SLOW void begin_other(void *engine, struct recorder *r, struct cached *at, uint64_t pc)
{
	unsigned kind = at->decoded.kind;

	if (kind >= KIND_SVC && kind <= KIND_ERET) {
		record_call(engine, r, &at->decoded, pc);
		return;
	}
	if (kind == KIND_MRS && at->decoded.encoding != PAR_EL1)
		return;
	r->pending = at;
	r->pending_pc = pc;
	r->pending_va = kind == KIND_ACCESS ? address_of(engine, r, at, pc)
					    : read_x(engine, r, at->decoded.operand);
}

/* An exception taken to `el`, `pc` being the address it returns to. */
void record_exception(void *engine, struct recorder *r, uint64_t pc, uint64_t far, uint64_t esr,
		      uint64_t offset, uint64_t el)
{
	struct record taken = {
		.kind = KIND_EXCEPTION, .pc = pc, .va = far, .value = esr,
		.encoding = (uint16_t)offset, .el = (uint8_t)el, .count = 1,
	};

	leave_loop(engine, r);
	if (r->pending)
		record_pending(engine, r, pc);
	taken.before = r->instructions;
	record_event(r, &taken);
	change_level(r);
}

/* The instruction at `pc` was begun, as the hook was told, and an interrupt came before it. */
void withdraw_instruction(void *engine, struct recorder *r, uint64_t pc)
{
	const struct record *last;

	leave_loop(engine, r);
	last = (struct record *)(uintptr_t)r->records + r->used;
	r->instructions--;
	r->pending = NULL;
	if (!r->used)
		return;
	last--;
	/* Calls are noted before they are made. */
	if (last->kind >= KIND_SVC && last->kind <= KIND_ERET && last->pc == pc &&
	    last->before == r->instructions)
		r->used--;
}

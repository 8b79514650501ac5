/* What is no range: system instructions, calls and exceptions. Nothing crosses them. */

#include "recorder.h"

void record_system(void *engine, struct recorder *r, const struct cached *done)
{
	const struct decoded *op = &done->decoded;
	struct record event = {
		.pc = r->pending_pc, .kind = op->kind, .encoding = op->encoding,
		.value = op->kind == KIND_MRS ? read_x(engine, r, op->operand) : r->pending_va,
		.el = (uint8_t)r->el, .count = 1, .before = r->instructions - 1,
	};

	record_event(r, &event);
	if (op->kind == KIND_MSR || op->kind == KIND_ISB || op->kind == KIND_TLBI ||
	    op->kind == KIND_IC)
		begin_epoch(r);
}

/* SVC, HVC, SMC and ERET are followed by what they lead to, if that is an exception too. */
void record_call(void *engine, struct recorder *r, const struct decoded *op, uint64_t pc)
{
	struct record call = {
		.kind = op->kind, .pc = pc, .encoding = op->encoding, .el = (uint8_t)r->el,
		.count = 1, .before = r->instructions,
	};

	if (op->kind != KIND_ERET)
		call.value = read_x(engine, r, 0);
	record_event(r, &call);
	begin_epoch(r);
	r->el = NO_ADDRESS;
}

/* An exception taken to `el`, `pc` being the address it returns to. */
void record_exception(void *engine, struct recorder *r, uint64_t pc, uint64_t far, uint64_t esr,
		      uint64_t offset, uint64_t el)
{
	struct record taken = {
		.kind = KIND_EXCEPTION, .pc = pc, .va = far, .value = esr,
		.encoding = (uint16_t)offset, .el = (uint8_t)el, .count = 1,
	};

	if (r->pending)
		record_pending(engine, r, pc);
	taken.before = r->instructions;
	record_event(r, &taken);
	begin_epoch(r);
	r->el = NO_ADDRESS;
}

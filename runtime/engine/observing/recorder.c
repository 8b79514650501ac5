/*
 * The recorder: one hook for each instruction that runs. It comes before the instruction, so what
 * that does is recorded at the next one, which also tells whether it was carried out: none of these
 * is followed by anything but the instruction behind it.
 */

#include "recorder.h"

const struct shared recorder_shared[] = {
	SHARED(KIND_LOAD), SHARED(KIND_STORE), SHARED(KIND_FETCH), SHARED(KIND_FILL),
	SHARED(KIND_DC), SHARED(KIND_IC), SHARED(KIND_TLBI), SHARED(KIND_AT), SHARED(KIND_SYS),
	SHARED(KIND_MSR), SHARED(KIND_MSR_FIELD), SHARED(KIND_MRS), SHARED(KIND_DSB),
	SHARED(KIND_DMB), SHARED(KIND_ISB), SHARED(KIND_SB), SHARED(KIND_SVC), SHARED(KIND_HVC),
	SHARED(KIND_SMC), SHARED(KIND_ERET), SHARED(KIND_EXCEPTION), SHARED(KIND_UNKNOWN),
	SHARED(KIND_VECTORS),
	SHARED(FLAG_EXCLUSIVE), SHARED(FLAG_ACQUIRE), SHARED(FLAG_RELEASE),
	SHARED(FLAG_UNPRIVILEGED), SHARED(FLAG_ATOMIC), SHARED(FLAG_ZERO_BLOCK),
	SHARED(FLAG_UNALIGNED), SHARED(FLAG_NO_PA), SHARED(FLAG_READABLE), SHARED(FLAG_WRITABLE),
	SHARED(FLAG_EXECUTABLE), SHARED(ATTRIBUTE_SHAREABILITY), SHARED(ATTRIBUTE_MMU),
	SHARED(REG_SP), SHARED(REG_X0), SHARED(REG_X29), SHARED(REG_X30),
	SHARED_SIZE(struct record), SHARED_END,
};

/* The key of the ranges of a plain load or store, or of maintenance by address; 0 for the rest. */
static uint64_t simple_key(const struct decoded *op)
{
	unsigned special = FLAG_EXCLUSIVE | FLAG_ZERO_BLOCK | FLAG_ATOMIC;

	if (op->kind != KIND_ACCESS)
		return op->flags & FLAG_BY_ADDRESS ? key_of(op->kind, 0, op->encoding) : 0;
	if (op->flags & special || op->index != NO_REGISTER || op->base == BASE_PC)
		return 0;
	return key_of(op->flags & FLAG_LOADS ? KIND_LOAD : KIND_STORE,
		      op->flags & FLAGS_OF_RECORDS, op->encoding);
}

static void decode(const struct recorder *r, uint32_t word, struct cached *to)
{
	const struct decoded *op = &to->decoded;

	decode_word(word, &to->decoded);
	to->base = op->base < REGISTER_31 ? (uint16_t)register_id(op->base)
		   : op->base == REGISTER_31 ? REG_SP
					     : 0;
	to->key = to->base ? simple_key(op) : 0;
	to->length = op->size;
	if (op->flags & FLAG_BY_ADDRESS)
		to->length = (uint16_t)(op->kind == KIND_IC ? r->instruction_line : r->line);
}

/* An access, or maintenance instruction by address, that is over. */
static void record_done(void *engine, struct recorder *r, struct cached *done, unsigned kind,
			unsigned flags, uint64_t va, uint64_t length)
{
	uint64_t key = key_of(kind, flags, done->decoded.encoding);
	struct record what;

	if (grow_range(r, &done->hint, key, va, length))
		return;
	what = (struct record){
		.kind = (uint8_t)kind, .flags = (uint16_t)flags, .pc = r->pending_pc, .va = va,
		.length = length, .size = (uint16_t)length, .encoding = done->decoded.encoding,
		.el = (uint8_t)r->el, .count = 1, .before = r->instructions - 1,
	};
	record_range(engine, r, key, &what);
}

static void record_access(void *engine, struct recorder *r, struct cached *done)
{
	const struct decoded *op = &done->decoded;
	unsigned flags = op->flags & FLAGS_OF_RECORDS;
	uint64_t va = r->pending_va, length = op->size;

	if (op->flags & FLAG_ZERO_BLOCK) {
		va &= -r->zero_block;
		length = r->zero_block;
	} else if (va & (op->part - 1u)) {
		flags |= FLAG_UNALIGNED;
	}
	if (op->flags & FLAG_LOADS)
		record_done(engine, r, done, KIND_LOAD, flags, va, length);
	/* A store-exclusive tells whether it stored. */
	if (op->flags & FLAG_STORES && (op->operand == NO_REGISTER || !read_x(engine, r, op->operand)))
		record_done(engine, r, done, KIND_STORE, flags, va, length);
}

/* What the instruction before the one at `pc` did, if it was carried out. */
SLOW void record_pending(void *engine, struct recorder *r, uint64_t pc)
{
	struct cached *done = r->pending;
	const struct decoded *op = &done->decoded;

	r->pending = NULL;
	if (pc != r->pending_pc + 4)
		return;
	if (op->kind == KIND_ACCESS)
		record_access(engine, r, done);
	else if (op->flags & FLAG_BY_ADDRESS)
		record_done(engine, r, done, op->kind, 0, r->pending_va, done->length);
	else
		record_system(engine, r, done);
}

static void record_fetch(void *engine, struct recorder *r, struct cached *at, uint64_t pc)
{
	const uint64_t key = key_of(KIND_FETCH, 0, 0);
	struct record fetch = {
		.kind = KIND_FETCH, .pc = pc, .va = pc, .length = 4, .size = 4, .count = 1,
		.el = (uint8_t)r->el, .before = r->instructions,
	};

	at->fetched = r->page->stamp;
	if (!grow_range(r, &at->hint, key, pc, 4))
		record_range(engine, r, key, &fetch);
}

/* Returns 0 where nothing is recorded: for want of room, or of RAM. */
static SLOW int look_up_page(void *engine, struct recorder *r, uint64_t pc)
{
	if (r->full_at != NO_ADDRESS)
		return 0;
	if (r->el == NO_ADDRESS)
		r->el = PSTATE_EL(read_any(engine, r, REG_PSTATE));
	return enter_code_page(engine, r, pc);
}

/* What is new about the instruction at `pc`: its word, or that it is to be recorded once more. */
static SLOW void look_at(void *engine, struct recorder *r, struct cached *at, uint64_t pc)
{
	uint32_t word = r->words[pc / 4 % PAGE_WORDS];

	if (at->decoded.word != word)
		decode(r, word, at);
	if (at->fetched != r->page->stamp)
		record_fetch(engine, r, at, pc);
}

static int is_new(const struct recorder *r, const struct cached *at, uint64_t pc)
{
	return at->decoded.word != r->words[pc / 4 % PAGE_WORDS] || at->fetched != r->page->stamp;
}

static int is_in_page(const struct recorder *r, uint64_t pc)
{
	return (pc & -(uint64_t)PAGE_BYTES) == r->page_va;
}

/* The instruction at `pc` is begun; `va` is what it accesses, if that is known already. */
void record_begun(void *engine, struct recorder *r, uint64_t pc, const uint64_t *va)
{
	struct cached *at = r->pending, *before = at;

	if (at) {
		if (pc == r->pending_pc + 4 && grow_surely(r, at, r->pending_va))
			r->pending = NULL;
		else
			record_pending(engine, r, pc);
	}
	if (!is_in_page(r, pc) && !look_up_page(engine, r, pc)) {
		r->instructions++;
		return;
	}
	if (!r->vectors_told)
		record_vectors(engine, r, pc);
	at = &r->page->ops[pc / 4 % PAGE_WORDS];
	if (is_new(r, at, pc))
		look_at(engine, r, at, pc);
	if (at->key) {
		r->pending_va = va ? *va
				   : base_of(engine, r, at, pc, before) +
					     (uint64_t)(int64_t)at->decoded.offset;
		r->pending = at;
		r->pending_pc = pc;
	} else if (at->decoded.kind != KIND_PLAIN) {
		begin_other(engine, r, at, pc);
	}
	r->instructions++;
}

static SLOW void record_step(void *engine, struct recorder *r, uint64_t pc)
{
	/* The rest of a block whose instruction was refused. */
	if (r->pending && ((const struct mmu *)(uintptr_t)r->mmu)->doomed)
		return;
	record_begun(engine, r, pc, NULL);
}

/* UC_HOOK_CODE. Most instructions do nothing, and come after one that did nothing. */
void record_instruction(void *engine, uint64_t pc, uint32_t size, struct recorder *r)
{
	const struct cached *at;

	(void)size;
	if (r->loop) {
		r->reached = pc;
		return;
	}
	if (!r->pending && is_in_page(r, pc)) {
		at = &r->page->ops[pc / 4 % PAGE_WORDS];
		if (!is_new(r, at, pc) && at->decoded.kind == KIND_PLAIN) {
			r->instructions++;
			return;
		}
	}
	record_step(engine, r, pc);
}

/* The window ends before the instruction at `pc`. */
void end_recording(void *engine, struct recorder *r, uint64_t pc)
{
	leave_loop(engine, r);
	if (r->pending)
		record_pending(engine, r, pc);
	close_streams(r);
}

uint64_t recorder_bytes(void)
{
	return sizeof(struct recorder);
}

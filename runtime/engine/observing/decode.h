/*
 * What an A64 instruction does to memory and to the system, found from its word alone. Field
 * names and encodings: ARM DDI 0487, C4.1 ("A64 instruction set encoding").
 */

#ifndef RELOKIT_DECODE_H
#define RELOKIT_DECODE_H

#include "native.h"

/*
 * What there are records of (trace.py has the same numbers). Of the decoder's own are KIND_PLAIN,
 * which does nothing to memory or the system, and KIND_ACCESS, which loads, stores or both.
 * KIND_UNKNOWN may access memory, and nobody here knows where.
 */
enum trace_kind {
	KIND_PLAIN,
	KIND_LOAD,
	KIND_STORE,
	KIND_FETCH,
	KIND_FILL,
	KIND_DC,
	KIND_IC,
	KIND_TLBI,
	KIND_AT,
	KIND_SYS,
	KIND_MSR,
	KIND_MSR_FIELD,
	KIND_MRS,
	KIND_DSB,
	KIND_DMB,
	KIND_ISB,
	KIND_SB,
	KIND_SVC,
	KIND_HVC,
	KIND_SMC,
	KIND_ERET,
	KIND_EXCEPTION,
	KIND_UNKNOWN,
	KIND_VECTORS,
	KIND_ACCESS,
};

/* LOADS, STORES and BY_ADDRESS (a maintenance instruction that takes one) are the decoder's own. */
enum {
	FLAG_LOADS = 1 << 0,
	FLAG_STORES = 1 << 1,
	FLAG_BY_ADDRESS = 1 << 2,
	FLAG_EXCLUSIVE = 1 << 3,
	FLAG_ACQUIRE = 1 << 4,
	FLAG_RELEASE = 1 << 5,
	FLAG_UNPRIVILEGED = 1 << 6,
	FLAG_ATOMIC = 1 << 7,
	FLAG_ZERO_BLOCK = 1 << 8,
};

/* Registers by number; as a base, 31 is the stack pointer, elsewhere zero. */
enum { REGISTER_31 = 31, BASE_PC = 32, NO_REGISTER = 33 };

/*
 * The address is base + offset + (index, extended by `extend` and shifted left by `shift`).
 * `size` bytes are accessed from there; each `part` of them by itself. `operand` is the register
 * that MSR and SYS read, and that a store-exclusive writes its status to. `encoding` is the packed
 * op0, op1, CRn, CRm, op2 of a system instruction, the option (CRm) of a barrier, or the immediate
 * of a call. `keeps` says that the base register is the same behind it, for certain.
 */
struct decoded {
	uint32_t word;
	int32_t offset;
	uint16_t size, encoding, flags;
	uint8_t kind, base, index, extend, shift, part, operand, keeps;
};

void decode_word(uint32_t word, struct decoded *to);
void decode_access(uint32_t word, struct decoded *to);

static inline uint32_t field(uint32_t word, unsigned low, unsigned bits)
{
	return word >> low & ((1u << bits) - 1);
}

#endif

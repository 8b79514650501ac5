/* What a row of instructions leaves in general registers (decode_registers.c). */

#ifndef RELOKIT_DECODE_REGISTERS_H
#define RELOKIT_DECODE_REGISTERS_H

#include "decode.h"

/*
 * What was added to each register, 31 being the stack pointer; `lost` are those that may have any value.
 * Nothing is known of instructions that are neither KIND_PLAIN, nor one access by a base register that is
 * not atomic or exclusive, nor maintenance.
 */
struct registers {
	int64_t added[32];
	uint32_t lost;
};

void follow_registers(struct registers *to, const struct decoded *op);

#endif

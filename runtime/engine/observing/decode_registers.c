/*
 * What an A64 instruction leaves in general registers, as far as it is told by the word: what is added
 * to one, or that it has another value. Encodings: ARM DDI 0487, C4.1.
 */

#include "decode_registers.h"

#define NOP 0xd503201fu

static int64_t signed_field(uint32_t word, unsigned low, unsigned bits)
{
	return (int32_t)(field(word, low, bits) << (32 - bits)) >> (32 - bits);
}

static uint32_t register_in(uint32_t word, unsigned low)
{
	return 1u << field(word, low, 5);
}

/* A load or store: LDP and STP, one register by an immediate; of the rest, each that it names. */
static void follow_access(struct registers *to, const struct decoded *op)
{
	uint32_t word = op->word, loads = op->flags & FLAG_LOADS && !field(word, 26, 1);
	unsigned base = field(word, 5, 5);

	if (field(word, 28, 2) == 2) {
		if (field(word, 23, 1))
			to->added[base] += signed_field(word, 15, 7) * op->part;
		to->lost |= loads ? register_in(word, 0) | register_in(word, 10) : 0;
	} else if (field(word, 28, 2) == 3 && (field(word, 24, 1) || !field(word, 21, 1))) {
		if (!field(word, 24, 1) && field(word, 10, 1))
			to->added[base] += signed_field(word, 12, 9);
		to->lost |= loads ? register_in(word, 0) : 0;
	} else {
		to->lost |= register_in(word, 0) | register_in(word, 5) | register_in(word, 10) |
			    register_in(word, 16);
	}
}

/* B, B.cond, CBZ, CBNZ, TBZ, TBNZ (DDI 0487, C4.1: "Branches"). */
static int only_branches(uint32_t word)
{
	return (word & 0xfc000000) == 0x14000000 || (word & 0xff000000) == 0x54000000 ||
	       (word & 0x7c000000) == 0x34000000;
}

/* What is no load or store writes one register, in bits 4 to 0; but for some of the system's. */
void follow_registers(struct registers *to, const struct decoded *op)
{
	uint32_t word = op->word;

	if (op->kind == KIND_ACCESS) {
		follow_access(to, op);
	} else if ((word & 0xbf800000) == 0x91000000 && field(word, 0, 5) == field(word, 5, 5)) {
		/* ADD and SUB (immediate) of 64 bits. */
		int64_t value = (int64_t)field(word, 10, 12) << (field(word, 22, 1) ? 12 : 0);

		to->added[field(word, 0, 5)] += field(word, 30, 1) ? -value : value;
	} else if ((word & 0x1c000000) == 0x14000000) {
		if (!only_branches(word) && word != NOP && !(op->flags & FLAG_BY_ADDRESS))
			to->lost = ~0u;
	} else if ((word & 0x0a000000) != 0x08000000) { /* PRFM is left */
		to->lost |= register_in(word, 0);
	}
}

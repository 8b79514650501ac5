/*
 * The A64 class "loads and stores" (ARM DDI 0487, C4.1). What is not known to access nothing, and
 * is not decoded here (MTE's tags, MOPS, LSE128, LS64, LRCPC3, LDRAA), is KIND_UNKNOWN: the
 * engine lacks most of it, and a CPU that executes it is told so.
 */

#include "decode.h"

#define BIT(word, n) ((word) >> (n) & 1u)

static int32_t sign_extend(uint32_t value, unsigned bits)
{
	return (int32_t)(value << (32 - bits)) >> (32 - bits);
}

static void access(struct decoded *to, unsigned flags, unsigned part, unsigned parts)
{
	to->kind = KIND_ACCESS;
	to->flags = (uint16_t)flags;
	to->part = (uint8_t)part;
	to->size = (uint16_t)(part * parts);
}

static unsigned load_or_store(unsigned loads)
{
	return loads ? FLAG_LOADS : FLAG_STORES;
}

/* Exclusives, ordered ones, CAS and CASP: o2 (bit 23), L, o1 (bit 21), Rs, o0 (bit 15). */
static void decode_exclusive(uint32_t word, struct decoded *to)
{
	unsigned size = word >> 30, loads = BIT(word, 22), ordered = BIT(word, 15);
	unsigned ordering = !ordered ? 0 : loads ? FLAG_ACQUIRE : FLAG_RELEASE;
	unsigned both = FLAG_LOADS | FLAG_STORES | FLAG_ATOMIC | (loads ? FLAG_ACQUIRE : 0) |
			(ordered ? FLAG_RELEASE : 0);
	int no_rt2 = field(word, 10, 5) == REGISTER_31;

	to->base = (uint8_t)field(word, 5, 5);
	if (BIT(word, 23)) {
		if (BIT(word, 21) && no_rt2) /* CAS: the whole is one access */
			access(to, both, 1u << size, 1);
		else if (!BIT(word, 21)) /* LDAR, STLR, and the limited LDLAR, STLLR */
			access(to, load_or_store(loads) | (loads ? FLAG_ACQUIRE : FLAG_RELEASE),
			       1u << size, 1);
		return;
	}
	if (BIT(word, 21) && size < 2) {
		if (no_rt2) /* CASP */
			access(to, both, 8u << size, 1);
		return;
	}
	/* A pair is one access of twice the size. */
	access(to, load_or_store(loads) | FLAG_EXCLUSIVE | ordering,
	       (BIT(word, 21) ? 2u : 1u) << size, 1);
	if (!loads)
		to->operand = (uint8_t)field(word, 16, 5);
}

/* LD1 to ST4 of whole registers: how many, by opcode (bits 15 to 12). */
static void decode_structures(uint32_t word, struct decoded *to)
{
	static const uint8_t registers[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3,
					      [7] = 1, [8] = 2, [10] = 2};
	unsigned count = registers[field(word, 12, 4)], bytes = BIT(word, 30) ? 16 : 8;
	unsigned part = 1u << field(word, 10, 2);

	to->base = (uint8_t)field(word, 5, 5);
	if (count && (BIT(word, 23) || !field(word, 16, 5)) && !BIT(word, 21))
		access(to, load_or_store(BIT(word, 22)), part, count * bytes / part);
}

/* LD1 to ST4 of one element, and LD1R to LD4R: opcode (bits 15 to 13), S (12), size (11, 10). */
static void decode_element(uint32_t word, struct decoded *to)
{
	unsigned opcode = field(word, 13, 3), size = field(word, 10, 2), s = BIT(word, 12);
	unsigned count = (opcode & 1) * 2 + BIT(word, 21) + 1, part = 1u << (opcode >> 1);

	to->base = (uint8_t)field(word, 5, 5);
	if (!BIT(word, 23) && field(word, 16, 5))
		return;
	if (opcode >> 1 == 3) {
		if (!BIT(word, 22) || s)
			return;
		part = 1u << size;
	} else if (opcode >> 1 == 2 && size == 1 && !s) {
		part = 8;
	} else if ((opcode >> 1 == 1 && size & 1) || (opcode >> 1 == 2 && size)) {
		return;
	}
	access(to, load_or_store(BIT(word, 22)), part, count);
}

static void decode_literal(uint32_t word, struct decoded *to)
{
	unsigned opc = word >> 30, vector = BIT(word, 26);

	to->base = BASE_PC;
	to->offset = sign_extend(field(word, 5, 19), 19) * 4;
	if (opc == 3) /* PRFM */
		to->kind = vector ? KIND_UNKNOWN : KIND_PLAIN;
	else
		access(to, FLAG_LOADS, vector ? 4u << opc : opc == 1 ? 8 : 4, 1);
}

/* Whether one of the pair that is loaded is the base; the second one is in bits from `second` on. */
static int loads_base(uint32_t word, const struct decoded *to, unsigned second)
{
	return field(word, 0, 5) == to->base || field(word, second, 5) == to->base;
}

/* LDP, STP, LDPSW, LDNP, STNP: opc (bits 31, 30), what happens to the base (24, 23), L (22). */
static void decode_pair(uint32_t word, struct decoded *to)
{
	unsigned opc = word >> 30, vector = BIT(word, 26), loads = BIT(word, 22);
	unsigned part = vector ? 4u << opc : opc == 2 ? 8 : 4;

	if (opc == 3 || (opc == 1 && !vector && (!loads || !field(word, 23, 2))))
		return; /* STGP is among them */
	to->base = (uint8_t)field(word, 5, 5);
	if (field(word, 23, 2) != 1)
		to->offset = sign_extend(field(word, 15, 7), 7) * (int32_t)part;
	access(to, load_or_store(loads), part, 2);
	to->keeps = !BIT(word, 23) && (vector || !loads || !loads_base(word, to, 10));
}

/* LDADD and its like, SWP; LDAPR alone only loads. A (bit 23), R (22), o3 (15), opc (14 to 12). */
static void decode_atomic(uint32_t word, struct decoded *to)
{
	unsigned part = 1u << (word >> 30), opc = field(word, 12, 3), o3 = BIT(word, 15);
	unsigned ordering = (BIT(word, 23) ? FLAG_ACQUIRE : 0) |
			    (BIT(word, 22) ? FLAG_RELEASE : 0);

	if (o3 && opc == 4 && ordering == FLAG_ACQUIRE && field(word, 16, 5) == REGISTER_31)
		access(to, FLAG_LOADS | FLAG_ACQUIRE, part, 1);
	else if (!o3 || !opc)
		access(to, FLAG_LOADS | FLAG_STORES | FLAG_ATOMIC | ordering, part, 1);
}

/* One register: what it loads or stores by size, V and opc; PRFM accesses nothing. */
static void one_register(uint32_t word, struct decoded *to, unsigned more)
{
	unsigned size = word >> 30, opc = field(word, 22, 2);

	to->base = (uint8_t)field(word, 5, 5);
	if (BIT(word, 26)) {
		if (opc < 2 || !size)
			access(to, load_or_store(opc & 1), opc < 2 ? 1u << size : 16, 1);
	} else if (opc < 2) {
		access(to, load_or_store(opc) | more, 1u << size, 1);
	} else if (size == 3 && opc == 2) {
		to->kind = KIND_PLAIN;
	} else if (size + opc < 5) { /* no sign to extend from 64 bits, or from 32 to 32 */
		access(to, FLAG_LOADS | more, 1u << size, 1);
	}
}

static unsigned log2_of(unsigned size)
{
	return (unsigned)__builtin_ctz(size | 1u << 31);
}

/* Bits 29 to 27 are 111: immediate and register offsets, atomics. */
static void decode_register(uint32_t word, struct decoded *to)
{
	unsigned form = field(word, 10, 2), vector = BIT(word, 26);

	if (BIT(word, 24)) { /* unsigned and scaled */
		one_register(word, to, 0);
		to->offset = (int32_t)(field(word, 10, 12) * to->size);
	} else if (!BIT(word, 21)) { /* 9 bits: unscaled, post-indexed, unprivileged, pre-indexed */
		if (form == 2 && vector)
			return;
		one_register(word, to, form == 2 ? FLAG_UNPRIVILEGED : 0);
		if (form != 1)
			to->offset = sign_extend(field(word, 12, 9), 9);
	} else if (form == 2 && BIT(word, 14)) {
		one_register(word, to, 0);
		to->index = (uint8_t)field(word, 16, 5);
		to->extend = (uint8_t)field(word, 13, 3);
		to->shift = BIT(word, 12) ? (uint8_t)log2_of(to->size) : 0;
	} else if (form == 0 && !vector) {
		to->base = (uint8_t)field(word, 5, 5);
		decode_atomic(word, to);
	}
}

/* LDAPUR and STLUR: opc (bits 23, 22). */
static void decode_ordered_unscaled(uint32_t word, struct decoded *to)
{
	unsigned size = word >> 30, opc = field(word, 22, 2);

	to->base = (uint8_t)field(word, 5, 5);
	to->offset = sign_extend(field(word, 12, 9), 9);
	if (opc < 2 || size + opc < 5)
		access(to, opc ? FLAG_LOADS | FLAG_ACQUIRE : FLAG_STORES | FLAG_RELEASE,
		       1u << size, 1);
}

void decode_access(uint32_t word, struct decoded *to)
{
	unsigned vector = BIT(word, 26);

	to->kind = KIND_UNKNOWN;
	switch (field(word, 28, 2) << 1 | BIT(word, 24)) {
	case 0:
		if (vector)
			BIT(word, 31) ? (void)0 : decode_structures(word, to);
		else
			decode_exclusive(word, to);
		break;
	case 1:
		if (vector && !BIT(word, 31))
			decode_element(word, to);
		break;
	case 2:
		decode_literal(word, to);
		break;
	case 3:
		if (!vector && !BIT(word, 21) && !field(word, 10, 2))
			decode_ordered_unscaled(word, to);
		break;
	case 4:
	case 5:
		decode_pair(word, to);
		break;
	default:
		decode_register(word, to);
	}
}

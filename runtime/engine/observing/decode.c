/* The classes of A64 that matter, and its system instructions. */

#include "decode.h"

const struct shared decode_shared[] = {
	SHARED(KIND_PLAIN), SHARED(KIND_ACCESS), SHARED(KIND_DC), SHARED(KIND_IC),
	SHARED(KIND_TLBI), SHARED(KIND_AT), SHARED(KIND_SYS), SHARED(KIND_MSR),
	SHARED(KIND_MSR_FIELD), SHARED(KIND_MRS), SHARED(KIND_DSB), SHARED(KIND_DMB),
	SHARED(KIND_ISB), SHARED(KIND_SB), SHARED(KIND_SVC), SHARED(KIND_HVC),
	SHARED(KIND_SMC), SHARED(KIND_ERET), SHARED(KIND_UNKNOWN), SHARED(FLAG_LOADS),
	SHARED(FLAG_STORES), SHARED(FLAG_EXCLUSIVE), SHARED(FLAG_ACQUIRE),
	SHARED(FLAG_RELEASE), SHARED(FLAG_UNPRIVILEGED), SHARED(FLAG_ATOMIC),
	SHARED(FLAG_BY_ADDRESS), SHARED(REGISTER_31), SHARED(BASE_PC), SHARED(NO_REGISTER),
	SHARED_SIZE(struct decoded), SHARED_END,
};

static void found(struct decoded *to, enum trace_kind kind, uint32_t encoding, uint32_t operand)
{
	to->kind = (uint8_t)kind;
	to->encoding = (uint16_t)encoding;
	to->operand = (uint8_t)operand;
}

/* The address is that in the register, which is not the stack pointer. */
static void by_address(struct decoded *to, int takes_address)
{
	if (!takes_address)
		return;
	to->flags = FLAG_BY_ADDRESS;
	to->part = 1;
	to->base = to->operand < REGISTER_31 ? to->operand : NO_REGISTER;
}

/* CRn 7 and 8 of SYS (C5.1.2): address translation is CRm 8 and 9, TLBI CRn 8, and 9 for nXS. */
static void decode_sys(uint32_t word, struct decoded *to)
{
	uint32_t op1 = field(word, 16, 3), crn = field(word, 12, 4), crm = field(word, 8, 4);
	uint32_t op2 = field(word, 5, 3), encoding = field(word, 5, 16), rt = field(word, 0, 5);

	if (crn == 8 || crn == 9) {
		found(to, KIND_TLBI, encoding, rt);
	} else if (crn != 7) {
		found(to, KIND_SYS, encoding, rt);
	} else if ((crm == 1 || crm == 5) && ((op1 == 0 && op2 == 0) || (op1 == 3 && op2 == 1))) {
		found(to, KIND_IC, encoding, rt);
		by_address(to, op1 == 3);
	} else if (crm == 8 || crm == 9) {
		found(to, KIND_AT, encoding, rt);
	} else if (op1 == 3 && crm == 4 && (op2 == 1 || op2 == 4)) {
		/* ZVA, GZVA: `size` is DCZID_EL0's, which the word does not tell. */
		found(to, KIND_ACCESS, encoding, NO_REGISTER);
		to->flags = FLAG_STORES | FLAG_ZERO_BLOCK;
		to->base = rt < REGISTER_31 ? (uint8_t)rt : NO_REGISTER;
	} else if (crm == 6 || (crm >= 10 && crm <= 14)) {
		found(to, KIND_DC, encoding, rt);
		/* At EL1 and without an odd op2 they are by set and way; op1 6 is by PA. */
		by_address(to, op1 == 3 || (op1 == 0 && op2 & 1));
	} else {
		found(to, KIND_SYS, encoding, rt);
	}
}

/* op0 0: hints, barriers, and MSR (immediate). */
static void decode_op0_0(uint32_t word, struct decoded *to)
{
	uint32_t op1 = field(word, 16, 3), crn = field(word, 12, 4), crm = field(word, 8, 4);
	uint32_t op2 = field(word, 5, 3);

	if (field(word, 0, 5) != REGISTER_31)
		return;
	if (op1 == 3 && crn == 3) {
		if (op2 == 4 || (op2 == 1 && (crm & 3) == 2))
			found(to, KIND_DSB, op2 == 4 ? crm : crm | 16, NO_REGISTER);
		else if (op2 == 5)
			found(to, KIND_DMB, crm, NO_REGISTER);
		else if (op2 == 6)
			found(to, KIND_ISB, crm, NO_REGISTER);
		else if (op2 == 7)
			found(to, KIND_SB, crm, NO_REGISTER);
	} else if (crn == 4 && (op1 != 0 || op2 > 2)) {
		/* Without CFINV, XAFLAG and AXFLAG, which are about flags. */
		found(to, KIND_MSR_FIELD, field(word, 5, 16), NO_REGISTER);
	}
}

static void decode_system(uint32_t word, struct decoded *to)
{
	uint32_t op0 = field(word, 19, 2), reads = field(word, 21, 1);

	if (op0 == 0 && !reads)
		decode_op0_0(word, to);
	else if (op0 == 1 && !reads)
		decode_sys(word, to);
	else if (op0 >= 2)
		found(to, reads ? KIND_MRS : KIND_MSR, field(word, 5, 16), field(word, 0, 5));
}

/* SVC, HVC, SMC; and ERET, ERETAA, ERETAB. The engine returns whatever bits 9:5 of ERET are. */
static void decode_exception(uint32_t word, struct decoded *to)
{
	static const uint8_t calls[4] = {0, KIND_SVC, KIND_HVC, KIND_SMC};

	if ((word & 0xffe0001c) == 0xd4000000 && word & 3)
		found(to, (enum trace_kind)calls[word & 3], field(word, 5, 16), NO_REGISTER);
	else if ((word & 0xfffffc1f) == 0xd69f0000 || (word & 0xfffffbff) == 0xd69f0bff)
		found(to, KIND_ERET, 0, NO_REGISTER);
}

/* SVE and SME have their loads and stores where bit 31 is set (C4.1: SVE, SME encodings). */
static int is_scalable_access(uint32_t word)
{
	return (word & 0x9e000000) == 0x84000000 || (word & 0xfe000000) == 0xe0000000;
}

/* What `word` does: a class of loads and stores has bit 27 set and bit 25 clear. */
void decode_word(uint32_t word, struct decoded *to)
{
	*to = (struct decoded){
		.word = word, .index = NO_REGISTER, .operand = NO_REGISTER, .base = NO_REGISTER};
	if ((word & 0x0a000000) == 0x08000000)
		decode_access(word, to);
	else if ((word & 0xffc00000) == 0xd5000000)
		decode_system(word, to);
	else if (word >> 25 == 0xd4 >> 1 || word >> 25 == 0xd6 >> 1)
		decode_exception(word, to);
	else if (is_scalable_access(word))
		to->kind = KIND_UNKNOWN;
}

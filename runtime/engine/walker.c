/*
 * The stage 1 translation table walk, for the TLB's fills: a walk is at most five reads of guest
 * RAM. runtime/arch/walker.py says the same at leisure and is the oracle of its tests.
 *
 * Source: ARM DDI 0487, D8.2 (translation process), D8.3 (descriptors), D8.4 (permissions).
 */

#include "walker.h"

#define BIT(n) (1ull << (n))
#define ONES(n) (BIT(n) - 1)

/* SCTLR_ELx and the TCR_ELx fields that are in one place; `single` is EL2 without E2H. */
#define SCTLR_M BIT(0)
#define SCTLR_WXN BIT(19)
enum { T0SZ, EPD0 = 7, SH0 = 12, TG0 = 14, T1SZ = 16, EPD1 = 23, SH1 = 28, TG1 = 30, IPS = 32 };
enum { TBI0 = 37, TBI1 = 38, HPD0 = 41, HPD1 = 42, DS = 59 };
enum { SINGLE_PS = 16, SINGLE_TBI = 20, SINGLE_HPD = 24, SINGLE_DS = 32 };
enum { MIN_TXSZ = 16, WIDE_MIN_TXSZ = 12, MAX_TXSZ = 39, CPU_BITS = 48, LEAF_LEVEL = 3 };

/* Descriptors. */
enum { TYPE = 3, BLOCK = 1, TABLE = 3 };
#define AP_EL0 BIT(6)
#define AP_READ_ONLY BIT(7)
#define AF BIT(10)
#define PXN BIT(53)
#define UXN BIT(54) /* XN where there is one range */
#define TABLE_PXN BIT(59)
#define TABLE_UXN BIT(60)
#define TABLE_AP_NO_EL0 BIT(61)
#define TABLE_AP_READ_ONLY BIT(62)

static const uint8_t page_shifts[2][4] = {
	{12, 16, 14, 12}, /* TG0; the reserved value is read as 4 KiB */
	{12, 14, 12, 16}, /* TG1 */
};
static const uint8_t pa_sizes[8] = {32, 36, 40, 42, 44, 48, 52, 52};

/* Where descriptors have the upper bits of an address: nowhere, LPA, LPA2. */
enum format { PLAIN, LPA, LPA2 };

struct range {
	uint64_t root;
	unsigned va_bits, page_shift, pa_bits, ignored_top;
	enum format format;
	int upper, enabled, hierarchical;
};

static unsigned min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned max(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

static int start_level(const struct range *r)
{
	unsigned stride = r->page_shift - 3;

	return LEAF_LEVEL + 1 - (int)((r->va_bits - r->page_shift + stride - 1) / stride);
}

static unsigned level_shift(const struct range *r, int level)
{
	return r->page_shift + (unsigned)(LEAF_LEVEL - level) * (r->page_shift - 3);
}

/* PA of the first table: BADDR, aligned to the table's size. */
static uint64_t root_table(const struct range *r)
{
	unsigned align = max(6, r->va_bits - level_shift(r, start_level(r)) + 3);
	uint64_t base = r->root & ONES(48);

	/* DDI 0487, TTBR0_EL1.BADDR: with DS, or 64 KiB pages and 52-bit output. */
	if (r->format == LPA2 || r->pa_bits > CPU_BITS)
		base |= (r->root & 0x3c) << 46;
	return base & ~ONES(align);
}

static uint64_t output_address(const struct range *r, uint64_t descriptor)
{
	switch (r->format) {
	case LPA:
		return (descriptor & ONES(48) & ~ONES(16)) | (descriptor & 0xf000) << 36;
	case LPA2:
		return (descriptor & ONES(50) & ~ONES(12)) | (descriptor & 0x300) << 42;
	default:
		return descriptor & ONES(48) & ~ONES(12);
	}
}

static int may_hold_block(const struct range *r, int level)
{
	int lowest = r->page_shift == 12 ? 1 : 2;

	return level < LEAF_LEVEL && level >= lowest - (r->format != PLAIN);
}

static void read_range(const struct walk_regime *regime, uint64_t va, struct range *r)
{
	int single = !regime->two_ranges;
	uint64_t tcr = regime->tcr;
	unsigned widest = CPU_BITS;
	int wide;

	r->upper = !single && va >> 55 & 1;
	r->root = r->upper ? regime->ttbr1 : regime->ttbr0;
	r->page_shift = page_shifts[r->upper][tcr >> (r->upper ? TG1 : TG0) & 3];
	r->enabled = single || !(tcr >> (r->upper ? EPD1 : EPD0) & 1);
	r->ignored_top = tcr >> (single ? SINGLE_TBI : r->upper ? TBI1 : TBI0) & 1 ? 8 : 0;
	r->hierarchical = !(tcr >> (single ? SINGLE_HPD : r->upper ? HPD1 : HPD0) & 1);
	wide = regime->cpu_bits > CPU_BITS &&
	       (r->page_shift == 16 || tcr >> (single ? SINGLE_DS : DS) & 1);
	r->format = !wide ? PLAIN : r->page_shift == 16 ? LPA : LPA2;
	r->va_bits = 64 - min(max(tcr >> (r->upper ? T1SZ : T0SZ) & 0x3f,
				  wide ? WIDE_MIN_TXSZ : MIN_TXSZ), MAX_TXSZ);
	widest = wide ? (unsigned)regime->cpu_bits : min((unsigned)regime->cpu_bits, CPU_BITS);
	r->pa_bits = min(pa_sizes[tcr >> (single ? SINGLE_PS : IPS) & 7], widest);
}

static void fault(struct walk_result *result, unsigned kind, int level)
{
	result->level = (uint64_t)(int64_t)level;
	result->fault = kind + (unsigned)level;
	if (level < 0) /* codes of their own */
		result->fault = kind == FAULT_EXTERNAL_ON_WALK ? 0x13
				: kind == FAULT_TRANSLATION    ? 0x2b
							       : 0x29;
}

/* MMU off: the address itself, as wide as the CPU's, whatever TCR says. */
static void walk_flat(const struct walk_regime *regime, uint64_t va, struct walk_result *result)
{
	if (va >> regime->cpu_bits)
		fault(result, FAULT_ADDRESS_SIZE, 0);
	else
		result->pa = va;
}

/* Translate `va`. Whatever the tables hold, every read is within `ram` or not made. */
void walk_stage1(const struct guest_ram *ram, const struct walk_regime *regime, uint64_t va,
		 struct walk_result *result)
{
	uint64_t above, table, limits = 0;
	struct range r;

	result->pa = result->level = result->attributes = result->sharing = 0;
	result->fault = WALK_OK;
	if (!(regime->sctlr & SCTLR_M)) {
		walk_flat(regime, va, result);
		return;
	}
	read_range(regime, va, &r);
	above = (r.ignored_top ? ONES(56) : ~0ull) & ~ONES(r.va_bits);
	if (!r.enabled || (va & above) != (r.upper ? above : 0)) {
		fault(result, FAULT_TRANSLATION, 0);
		return;
	}
	table = root_table(&r);
	if (table >> r.pa_bits) {
		fault(result, FAULT_ADDRESS_SIZE, 0);
		return;
	}
	for (int level = start_level(&r);; level++) {
		unsigned shift = level_shift(&r, level);
		uint64_t index = (va & ONES(r.va_bits)) >> shift & ONES(r.page_shift - 3);
		uint64_t offset = table + 8 * index - ram->base;
		uint64_t descriptor;
		int leaf;

		if (!is_ram(ram, table + 8 * index)) {
			fault(result, FAULT_EXTERNAL_ON_WALK, level);
			return;
		}
		descriptor = *(const uint64_t *)(uintptr_t)(ram->host + offset);
		leaf = level == LEAF_LEVEL ? (descriptor & TYPE) == TABLE
					   : (descriptor & TYPE) == BLOCK;
		if (leaf ? level != LEAF_LEVEL && !may_hold_block(&r, level)
			 : level == LEAF_LEVEL || (descriptor & TYPE) != TABLE) {
			fault(result, FAULT_TRANSLATION, level);
			return;
		}
		table = output_address(&r, descriptor) & ~ONES(leaf ? shift : r.page_shift);
		if (table >> r.pa_bits) {
			fault(result, FAULT_ADDRESS_SIZE, level);
			return;
		}
		if (leaf) {
			if (!(descriptor & AF)) {
				fault(result, FAULT_ACCESS_FLAG, level);
				return;
			}
			result->level = (uint64_t)(int64_t)level;
			result->pa = table | (va & ONES(shift));
			result->attributes = (descriptor & ~(limits & AP_EL0)) |
					     (limits & (AP_READ_ONLY | PXN | UXN));
			result->sharing = (r.format == LPA2
						   ? regime->tcr >> (r.upper ? SH1 : SH0)
						   : descriptor >> 8) & 3;
			return;
		}
		if (r.hierarchical)
			limits |= (descriptor & (TABLE_AP_READ_ONLY | TABLE_AP_NO_EL0)) >> 55 |
				  (descriptor & (TABLE_UXN | TABLE_PXN)) >> 6;
	}
}

/*
 * What may be done where a walk ended: RIGHT_* bits. `unprivileged` is EL0 itself, or what LDTR
 * and STTR do above it. PAN keeps privileged loads and stores from what EL0 may access.
 */
uint64_t walk_rights(const struct walk_regime *regime, const struct walk_result *result,
		     uint64_t unprivileged, uint64_t pan)
{
	uint64_t bits = result->attributes, rights = 0;
	int wxn = (regime->sctlr & SCTLR_WXN) != 0;
	int writable = !(bits & AP_READ_ONLY);

	if (!(regime->sctlr & SCTLR_M))
		return RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE;
	if (!regime->two_ranges) {
		rights = RIGHT_READ | (writable ? RIGHT_WRITE : 0);
		return bits & UXN || (wxn && writable) ? rights : rights | RIGHT_EXECUTE;
	}
	if (unprivileged) {
		writable = writable && bits & AP_EL0;
		rights = (bits & AP_EL0 ? RIGHT_READ : 0) | (writable ? RIGHT_WRITE : 0);
		return bits & UXN || (wxn && writable) ? rights : rights | RIGHT_EXECUTE;
	}
	if (!(pan && bits & AP_EL0))
		rights = RIGHT_READ | (writable ? RIGHT_WRITE : 0);
	/* What EL0 may write, the privileged level never executes. */
	if (bits & PXN || (writable && (wxn || bits & AP_EL0)))
		return rights;
	return rights | RIGHT_EXECUTE;
}

/* Whether a walk ended at Device memory. With the MMU off all data accesses are to Device memory. */
uint64_t walk_is_device(const struct walk_regime *regime, const struct walk_result *result)
{
	unsigned index = result->attributes >> 2 & 7;

	return !(regime->sctlr & SCTLR_M) || !(regime->mair >> 8 * index & 0xf0);
}

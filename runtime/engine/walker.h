/* The stage 1 walk in C: what walker.c tells its users. All words are 64 bits, as Python has them. */

#ifndef RELOKIT_WALKER_H
#define RELOKIT_WALKER_H

#include "native.h"

struct extent {
	uint64_t base, size;
};

/*
 * Guest RAM: `size` bytes from PA `base` are at the host address `host`, but for `hole_count`
 * holes (struct extent) between its banks.
 */
struct guest_ram {
	uint64_t base, size, host, holes, hole_count;
};

/* Whether there is RAM at `pa`. */
static inline int is_ram(const struct guest_ram *ram, uint64_t pa)
{
	const struct extent *holes = (const struct extent *)(uintptr_t)ram->holes;

	if (pa < ram->base || pa - ram->base >= ram->size)
		return 0;
	for (uint64_t i = 0; i < ram->hole_count; i++)
		if (pa - holes[i].base < holes[i].size)
			return 0;
	return 1;
}

/*
 * The registers of one translation regime (translation.py: WalkRegisters). `two_ranges` for EL1&0
 * and EL2&0; `cpu_bits` is 48, or 52 for a CPU with LVA, LPA and LPA2.
 */
struct walk_regime {
	uint64_t sctlr, tcr, ttbr0, ttbr1, mair, two_ranges, cpu_bits;
};

/* The DFSC of a walk that ends well is none that the architecture has. */
#define WALK_OK 0x40

/*
 * How a walk ended: `fault` is a DFSC or IFSC code or WALK_OK, `level` is signed, and `attributes`
 * are those of the leaf under the limits of the tables above it, `sharing` its shareability.
 */
struct walk_result {
	uint64_t pa, fault, level, attributes, sharing;
};

/* Rights, as the engine has them (UC_PROT_*). */
enum { RIGHT_READ = 1, RIGHT_WRITE = 2, RIGHT_EXECUTE = 4 };

/* DFSC and IFSC codes at level 0 (DDI 0487, ESR_ELx.ISS). */
enum {
	FAULT_ADDRESS_SIZE = 0x00,
	FAULT_TRANSLATION = 0x04,
	FAULT_ACCESS_FLAG = 0x08,
	FAULT_PERMISSION = 0x0c,
	FAULT_EXTERNAL_ON_WALK = 0x14,
};

void walk_stage1(const struct guest_ram *ram, const struct walk_regime *regime, uint64_t va,
		 struct walk_result *result);
uint64_t walk_rights(const struct walk_regime *regime, const struct walk_result *result,
		     uint64_t unprivileged, uint64_t pan);
uint64_t walk_is_device(const struct walk_regime *regime, const struct walk_result *result);

#endif

/* What the sources of the recorder share (recorder.py, docs/trace.md). */

#ifndef RELOKIT_RECORDER_H
#define RELOKIT_RECORDER_H

#include "decode.h"
#include "../mmu.h"

/* Flags of records, beside those that the decoder gives (decode.h). */
enum {
	FLAG_UNALIGNED = 1 << 9,
	FLAG_NO_PA = 1 << 10,
	FLAG_READABLE = 1 << 11,
	FLAG_WRITABLE = 1 << 12,
	FLAG_EXECUTABLE = 1 << 13,
	FLAGS_OF_RECORDS = 0x3ff8,
};

/* Unicorn's uc_arm64_reg. */
enum { REG_X29 = 1, REG_X30 = 2, REG_SP = 4, REG_X0 = 199 };

/* Attributes: the MAIR byte, shareability in bits 9:8, and whether there was a translation. */
enum { ATTRIBUTE_SHAREABILITY = 8, ATTRIBUTE_MMU = 1 << 10 };

/* A line of the trace. What each field is for which kind: docs/trace.md. */
struct record {
	uint64_t pc, va, pa, length, value, before;
	uint32_t count;
	uint16_t stride, size, encoding, attributes, flags;
	uint8_t kind, el;
};

enum {
	PAGE_SHIFT = 12,
	PAGE_BYTES = 1 << PAGE_SHIFT,
	PAGE_WORDS = PAGE_BYTES / 4,
	/* Open ranges; pages of code decoded; translations remembered. */
	STREAMS = 12,
	CODE_PAGES = 128,
	TRANSLATIONS = 1 << 14,
	/* Twice the pages of 2 GiB, loaded and stored; what is not used of it costs nothing. */
	TOLD = 1 << 21,
	/* The most that one maintenance instruction may reach: CTR_EL0.CWG (DDI 0487, D19.2). */
	MAX_GRANULE = 2048,
	MAX_STRIDE = 4096,
	/* Loops remembered; and what one has at most. */
	LOOPS = 16,
	LOOP_WORDS = 64,
	LOOP_BASES = 4,
	LOOP_ACCESSES = 32,
};

/* No VA of a page: the low bits of those are clear. */
#define NO_PAGE 1ull
#define NO_ADDRESS (~0ull)

/*
 * A range that may grow, by accesses with its `key`. The next is at VA `next`, whose PA is `pa_next`,
 * and ends by `limit`, up to which the translation is known. `sure` is the generation in which
 * nothing can stand against it.
 */
struct stream {
	struct record record;
	uint64_t key, next, pa_next, limit, sure;
};

/*
 * An instruction of a page of code: `fetched` is the page's stamp when it was last recorded, `hint`
 * the number of its range, `base` Unicorn's number of the base register, 0 if it has none. If all
 * it does is one access of `length` bytes from there, `key` is not 0.
 */
struct cached {
	struct decoded decoded;
	uint8_t hint;
	uint16_t base, length;
	uint64_t fetched, key;
};

/* `stamp` changes when its instructions are to be recorded anew: at a new epoch, or a store. */
struct code_page {
	uint64_t pa, stamp, epoch;
	struct cached ops[PAGE_WORDS];
};

/* What a page is translated by, as its last fill told. */
struct translation {
	uint64_t tag, pa, leaf;
	uint16_t attributes;
};

/* A page and a kind of access that a fill was recorded for, by translation as of `turn`. */
struct told {
	uint64_t key, turn;
};

/* A base register of a loop: its value when a round begins, and what a round adds to it. */
struct loop_base {
	uint64_t va, step;
	uint32_t number, id;
};

/* An instruction of a loop, the `word`-th, accesses `offset` from what `base` is when a round begins. */
struct loop_access {
	struct cached *at;
	uint64_t offset;
	uint32_t word, base;
};

/* The block of `size` bytes from `pc` on, in a page as of `stamp`; if `known`, what a round does. */
struct loop {
	uint64_t pc, stamp;
	struct code_page *page;
	uint32_t size, known, used, accesses;
	struct loop_base bases[LOOP_BASES];
	struct loop_access access[LOOP_ACCESSES];
	uint32_t words[LOOP_WORDS];
};

/*
 * One CPU's recorder. The first row is given by Python (`line` and `instruction_line` in bytes,
 * `zero_block` of DC ZVA), the second is read by it: records, instructions begun, and at how many
 * of them the buffer was full (NO_ADDRESS if it never was). While it is in a `loop`, `rounds` of it are
 * over and `reached` is the last instruction begun; nothing else of it is up to date.
 */
struct recorder {
	uint64_t records, capacity, read_register, control, mmu, line, instruction_line, zero_block;
	uint64_t used, instructions, full_at;

	struct guest_ram ram;
	uint64_t el, page_va, epoch, stamps, generation, turn;
	struct code_page *page;
	const uint32_t *words;
	struct loop *loop;
	uint64_t rounds, reached;
	struct cached *pending;
	uint64_t pending_pc, pending_va, vectors_told;
	struct record vectors;
	uint32_t open;
	struct stream streams[STREAMS];
	struct translation translations[TRANSLATIONS];
	struct told told[TOLD];
	struct loop loops[LOOPS];
	struct code_page pages[CODE_PAGES];
};

typedef int read_register(void *engine, int reg, void *value);

static inline uint64_t read_any(void *engine, const struct recorder *r, int reg)
{
	uint64_t value = 0;

	((read_register *)(uintptr_t)r->read_register)(engine, reg, &value);
	return value;
}

static inline int register_id(unsigned number)
{
	return number == 30 ? REG_X30 : number == 29 ? REG_X29 : REG_X0 + (int)number;
}

static inline uint64_t read_x(void *engine, const struct recorder *r, unsigned number)
{
	return number >= REGISTER_31 ? 0 : read_any(engine, r, register_id(number));
}

/* The base register of `at`: asking the engine is not needed right behind another with that base. */
static inline uint64_t base_of(void *engine, const struct recorder *r, const struct cached *at,
			uint64_t pc, const struct cached *before)
{
	if (before && before->decoded.keeps && before->base == at->base && pc == r->pending_pc + 4)
		return r->pending_va - (uint64_t)(int64_t)before->decoded.offset;
	return read_any(engine, r, at->base);
}

/* Kept out of the way of what runs at each instruction. */
#define SLOW __attribute__((noinline))

/* recorder.c */
void record_pending(void *engine, struct recorder *r, uint64_t pc);
void record_begun(void *engine, struct recorder *r, uint64_t pc, const uint64_t *va);

/* recorder_streams.c */
int grow_range(struct recorder *r, uint8_t *hint, uint64_t key, uint64_t va, uint64_t length);
void record_range(void *engine, struct recorder *r, uint64_t key, const struct record *what);
void record_event(struct recorder *r, const struct record *what);
void record_in_order(struct recorder *r, const struct record *what);
void close_streams(struct recorder *r);

/* recorder_events.c */
void record_system(void *engine, struct recorder *r, const struct cached *done);
void record_vectors(void *engine, struct recorder *r, uint64_t pc);
void begin_other(void *engine, struct recorder *r, struct cached *at, uint64_t pc);

/* recorder_loops.c */
void begin_loop(void *engine, struct recorder *r, uint64_t pc, uint32_t size);
int loop_goes_on(struct recorder *r, uint64_t pc, uint32_t size);
void leave_loop(void *engine, struct recorder *r);

/* recorder_pages.c */
const struct translation *translate(void *engine, struct recorder *r, uint64_t va);
int enter_code_page(void *engine, struct recorder *r, uint64_t pc);
int holds_code(struct recorder *r, uint64_t pa);
void begin_epoch(struct recorder *r);
void begin_turn(void *engine, struct recorder *r);

/* No access has it. */
#define NO_KEY (~0ull)

/* Kind, flags and encoding in one word: accesses of a range have the same. */
static inline uint64_t key_of(unsigned kind, unsigned flags, unsigned encoding)
{
	return kind | flags << 8 | (uint64_t)encoding << 32;
}

/* The most usual case of grow_range(): an aligned access like the last ones. */
static inline int grow_surely(struct recorder *r, const struct cached *done, uint64_t va)
{
	struct stream *range = &r->streams[done->hint];
	uint64_t step = range->record.stride ? range->record.stride : done->length;

	if (range->next != va || range->key != done->key || range->sure != r->generation ||
	    va + done->length > range->limit || va & (done->decoded.part - 1u))
		return 0;
	range->record.count++;
	range->record.length += step;
	range->next += step;
	range->pa_next += step;
	return 1;
}

#endif

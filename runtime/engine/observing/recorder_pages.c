/*
 * Pages: what the engine translates by, as its fills told, and code as it was decoded.
 */

#include "recorder.h"

static struct translation *translation_of(struct recorder *r, uint64_t tag)
{
	uint64_t page = tag >> PAGE_SHIFT;

	return &r->translations[(page ^ page >> 14) % TRANSLATIONS];
}

/* Page and exception level, in one word that no unused entry has. */
static uint64_t tag_of(uint64_t va, uint64_t el)
{
	return (va & -(uint64_t)PAGE_BYTES) | el << 1 | 1;
}

static void forget_code(struct recorder *r)
{
	r->page_va = NO_PAGE;
}

void begin_epoch(struct recorder *r)
{
	r->epoch++;
	forget_code(r);
}

static uint16_t attributes_of(const struct walk_regime *regime, const struct walk_result *walk)
{
	unsigned index = walk->attributes >> 2 & 7;

	if (!(regime->sctlr & 1))
		return 0;
	return (uint16_t)((regime->mair >> 8 * index & 0xff) | ATTRIBUTE_MMU |
			  walk->sharing << ATTRIBUTE_SHAREABILITY);
}

static void remember(struct recorder *r, struct translation *to, uint64_t tag,
		     const struct walk_regime *regime, const struct walk_result *walk)
{
	uint64_t pa = walk->pa & -(uint64_t)PAGE_BYTES;
	uint16_t attributes = attributes_of(regime, walk);

	/* Ranges are open, and code is found, by what was known until now. */
	if (to->tag == tag && (to->pa != pa || to->attributes != attributes)) {
		close_streams(r);
		forget_code(r);
	}
	to->tag = tag;
	to->pa = pa;
	to->leaf = walk->attributes;
	to->attributes = attributes;
}

enum { PROBES = 64 };

/*
 * Where `key` is told, or is to be; NULL if there is no room near its place. 0 is no turn. Pages that
 * follow each other are told side by side: the table is large, and touching all of it takes time.
 */
static struct told *told_at(struct recorder *r, uint64_t key)
{
	uint64_t page = key >> PAGE_SHIFT;
	uint64_t at = (page << 2 | (key >> 8 & 3)) + (page >> 19) * 0x9e3779b97f4a7c15ull;

	for (unsigned probe = 0; probe < PROBES; probe++, at++) {
		struct told *one = &r->told[at % TOLD];

		if (one->turn != r->turn + 1 || one->key == key)
			return one;
	}
	return NULL;
}

static int is_told(struct recorder *r, uint64_t key)
{
	struct told *one = told_at(r, key);

	return one && one->turn == r->turn + 1;
}

static void tell(struct recorder *r, uint64_t key)
{
	struct told *one = told_at(r, key);

	if (one)
		*one = (struct told){key, r->turn + 1};
}

typedef int control(void *engine, int what, ...);
/* UC_CTL_WRITE(UC_CTL_TLB_FLUSH, 0). */
enum { CONTROL_FLUSH = 11 | 1 << 30 };

/*
 * What pages are translated by may be another thing from here on. The engine forgets all of it, so
 * that every page which is used is filled again: how many it holds depends on its host's clock.
 */
void begin_turn(void *engine, struct recorder *r)
{
	r->turn++;
	((control *)(uintptr_t)r->control)(engine, CONTROL_FLUSH);
}

static const uint64_t allows[] = {RIGHT_READ, RIGHT_WRITE, RIGHT_EXECUTE};

/* The low bits of a tag have a level and a one. */
static uint64_t key_of_fill(uint64_t tag, unsigned kind)
{
	return tag | (uint64_t)kind << 8;
}

/*
 * The access that the fill is made for is still to come. The engine may forget at any time and ask
 * again: until what may change the answer, one is recorded for what it allows, and no more.
 */
void record_fill(void *engine, struct recorder *r, const struct fill *fill,
		 const struct walk_regime *regime, const struct walk_result *walk)
{
	uint64_t tag = tag_of(fill->va, fill->el);
	struct translation *to = translation_of(r, tag);
	unsigned flags = (fill->rights & RIGHT_READ ? FLAG_READABLE : 0u) |
			 (fill->rights & RIGHT_WRITE ? FLAG_WRITABLE : 0u) |
			 (fill->rights & RIGHT_EXECUTE ? FLAG_EXECUTABLE : 0u);
	struct record record = {
		.kind = KIND_FILL,
		.pc = fill->pc,
		.va = fill->va,
		.length = PAGE_BYTES,
		.size = PAGE_BYTES,
		.count = 1,
		.value = walk->attributes,
		.encoding = (uint16_t)(fill->access - MEM_READ),
		.flags = (uint16_t)flags,
		.el = (uint8_t)fill->el,
	};
	int known;

	leave_loop(engine, r);
	/* Where the next instruction is fetched, the one before has been carried out. */
	if (r->pending && fill->access == MEM_FETCH && fill->pc == r->pending_pc + 4)
		record_pending(engine, r, fill->pc);
	record.before = r->instructions - (r->pending != NULL);
	/* Of a page that the tables map to another place now it is told anew. */
	known = to->tag != tag || to->leaf == walk->attributes;
	remember(r, to, tag, regime, walk);
	record.pa = to->pa;
	record.attributes = to->attributes;
	/* The engine looks, on its own account, at the page where the run is to end. */
	if (fill->access == MEM_FETCH && fill->va != (fill->pc & -(uint64_t)PAGE_BYTES))
		return;
	if (known && is_told(r, key_of_fill(tag, record.encoding)))
		return;
	for (unsigned kind = 0; kind < 3; kind++)
		if (fill->rights & allows[kind])
			tell(r, key_of_fill(tag, kind));
	record_in_order(r, &record);
}

/* The translation that the access at `va` was made by; NULL if there is none. */
const struct translation *translate(void *engine, struct recorder *r, uint64_t va)
{
	uint64_t tag = tag_of(va, r->el);
	struct translation *to = translation_of(r, tag);
	struct mmu *mmu = (struct mmu *)(uintptr_t)r->mmu;
	const struct walk_regime *regime;
	struct walk_result walk;

	if (to->tag == tag)
		return to;
	/* Its place was taken by another page: as a fill would be made now. */
	regime = mmu_regime(mmu, mmu_pstate(engine, mmu));
	walk_stage1(&r->ram, regime, va & -(uint64_t)PAGE_BYTES, &walk);
	if (walk.fault != WALK_OK)
		return NULL;
	remember(r, to, tag, regime, &walk);
	return to;
}

static struct code_page *code_page_at(struct recorder *r, uint64_t pa)
{
	return &r->pages[(pa >> PAGE_SHIFT) % CODE_PAGES];
}

static void stamp(struct recorder *r, struct code_page *page)
{
	page->epoch = r->epoch;
	page->stamp = ++r->stamps;
}

/* Whether code was decoded in the page at `pa`; if so, it is recorded anew when it is executed. */
int holds_code(struct recorder *r, uint64_t pa)
{
	struct code_page *page = code_page_at(r, pa);

	if (!page->stamp || page->pa != pa)
		return 0;
	stamp(r, page);
	return 1;
}

/* A range of stores in the page grows no more without asking holds_code(). */
static void watch_stores(struct recorder *r, uint64_t pa)
{
	for (uint32_t at = 0; at < r->open; at++) {
		struct stream *range = &r->streams[at];

		if (range->record.kind == KIND_STORE && (range->pa_next - 1) >> PAGE_SHIFT == pa >> PAGE_SHIFT)
			range->limit = range->next;
	}
}

/* The host address of RAM, or with effects of what an instruction fetch around caches finds. */
static uint64_t code_host(const struct recorder *r, const struct translation *to)
{
	const struct mmu *mmu = (const struct mmu *)(uintptr_t)r->mmu;

	if (mmu->effects && !(to->attributes & ATTRIBUTE_MMU))
		return ((const struct effects *)(uintptr_t)mmu->effects)->memory;
	return r->ram.host;
}

/* Returns 0 where the PC is in no RAM. */
int enter_code_page(void *engine, struct recorder *r, uint64_t pc)
{
	const struct translation *to = translate(engine, r, pc);
	struct code_page *page;

	if (!to || !is_ram(&r->ram, to->pa))
		return 0;
	page = code_page_at(r, to->pa);
	if (!page->stamp || page->pa != to->pa) {
		/* What was decoded of another page is told by its word. */
		page->pa = to->pa;
		watch_stores(r, to->pa);
		stamp(r, page);
	} else if (page->epoch != r->epoch) {
		stamp(r, page);
	}
	r->page = page;
	r->page_va = pc & -(uint64_t)PAGE_BYTES;
	r->words = (const uint32_t *)(uintptr_t)(code_host(r, to) + (to->pa - r->ram.base));
	return 1;
}

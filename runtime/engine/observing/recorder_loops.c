/*
 * Loops: a block that follows itself is looked at once. While it goes on its hooks note how far it
 * came and nothing else, and what it did is recorded afterwards: by arithmetic where every access
 * of so many rounds joins a range for certain, else instruction by instruction, as if it were then.
 * It needs no register for that: what a round adds to each base is known, or it is no such loop.
 */

#include "decode_registers.h"
#include "recorder.h"

/* The number of the base that is register `number`; -1 if there are too many. */
static int base_in(struct loop *loop, unsigned number, uint16_t id)
{
	for (uint32_t at = 0; at < loop->used; at++)
		if (loop->bases[at].number == number)
			return (int)at;
	if (loop->used == LOOP_BASES)
		return -1;
	loop->bases[loop->used] = (struct loop_base){ .number = number, .id = id };
	return (int)loop->used++;
}

static int take_in(struct loop *loop, const struct registers *now, struct cached *at, uint32_t word)
{
	const struct decoded *op = &at->decoded;
	int base;

	if (loop->accesses == LOOP_ACCESSES || now->lost >> op->base & 1)
		return 0;
	base = base_in(loop, op->base, at->base);
	if (base < 0)
		return 0;
	loop->access[loop->accesses++] = (struct loop_access){
		.at = at, .word = word, .base = (uint32_t)base,
		.offset = (uint64_t)(now->added[op->base] + op->offset),
	};
	return 1;
}

/* Whether all that the block does is known from its words and its bases. */
static int is_loop(struct loop *loop, struct code_page *page)
{
	struct registers now = { .lost = 0 };
	const struct cached *last = NULL;

	for (uint32_t word = 0; word < loop->size / 4; word++) {
		struct cached *at = &page->ops[loop->pc / 4 % PAGE_WORDS + word];

		if (!at->key && at->decoded.kind != KIND_PLAIN)
			return 0;
		if (at->key && !take_in(loop, &now, at, word))
			return 0;
		follow_registers(&now, &at->decoded);
		last = at;
	}
	for (uint32_t base = 0; base < loop->used; base++) {
		if (now.lost >> loop->bases[base].number & 1)
			return 0;
		loop->bases[base].step = (uint64_t)now.added[loop->bases[base].number];
	}
	return last && !last->key;
}

static int has_its_words(const struct recorder *r, const struct loop *loop)
{
	const uint32_t *now = r->words + loop->pc / 4 % PAGE_WORDS;
	uint32_t differs = 0;

	for (uint32_t at = 0; at < loop->size / 4; at++)
		differs |= now[at] ^ loop->words[at];
	return !differs;
}

/* Look at the block, if all of it is recorded as fetched. */
static void look_at_loop(const struct recorder *r, struct loop *loop, uint64_t pc, uint32_t size)
{
	const uint64_t first = pc / 4 % PAGE_WORDS;

	loop->size = 0;
	if (size > 4 * LOOP_WORDS || first + size / 4 > PAGE_WORDS)
		return;
	for (uint32_t word = 0; word < size / 4; word++) {
		const struct cached *at = &r->page->ops[first + word];

		if (at->fetched != r->page->stamp || at->decoded.word != r->words[first + word])
			return;
		loop->words[word] = at->decoded.word;
	}
	loop->pc = pc;
	loop->size = size;
	loop->page = r->page;
	loop->stamp = r->page->stamp;
	loop->used = loop->accesses = 0;
	loop->known = (uint32_t)is_loop(loop, r->page);
}

/* The block from `pc` on, which the hooks have come to again, is begun. */
void begin_loop(void *engine, struct recorder *r, uint64_t pc, uint32_t size)
{
	struct loop *loop = &r->loops[pc / 4 % LOOPS];

	if (r->pending || !r->vectors_told || (pc & -(uint64_t)PAGE_BYTES) != r->page_va)
		return;
	if (loop->pc != pc || loop->size != size || loop->page != r->page ||
	    loop->stamp != r->page->stamp || !has_its_words(r, loop))
		look_at_loop(r, loop, pc, size);
	if (!loop->size || !loop->known)
		return;
	for (uint32_t base = 0; base < loop->used; base++)
		loop->bases[base].va = read_any(engine, r, (int)loop->bases[base].id);
	r->loop = loop;
	r->rounds = 0;
	r->reached = pc - 4;
}

/* Whether the round before was carried out to its end, and the same block is begun again. */
int loop_goes_on(struct recorder *r, uint64_t pc, uint32_t size)
{
	const struct loop *loop = r->loop;

	if (loop->pc != pc || loop->size != size || r->reached != pc + size - 4 ||
	    !has_its_words(r, loop))
		return 0;
	r->rounds++;
	r->reached = pc - 4;
	return 1;
}

/* What the accesses of a round do to a range. */
struct growth {
	uint64_t first, next, end, step, count;
};

static int add_growth(const struct recorder *r, const struct loop *loop,
		      const struct loop_access *access, struct growth *growth)
{
	const struct cached *at = access->at;
	const struct stream *range = &r->streams[at->hint];
	const struct loop_base *base = &loop->bases[access->base];
	uint64_t va = base->va + access->offset;

	if (!growth->count)
		*growth = (struct growth){ .first = range->next, .next = range->next, .step = base->step };
	if (range->key != at->key || range->sure != r->generation || growth->next != va ||
	    growth->step != base->step || (va | base->step) & (at->decoded.part - 1u))
		return 0;
	growth->count++;
	growth->next += range->record.stride ? range->record.stride : at->length;
	if (va + at->length > growth->end)
		growth->end = va + at->length;
	return 1;
}

/* Record that many rounds at once; returns 0, with nothing done, unless grow_surely() took each access. */
static int grow_rounds(struct recorder *r, struct loop *loop, uint64_t rounds)
{
	struct growth growth[STREAMS] = { { .count = 0 } };

	for (uint32_t at = 0; at < loop->accesses; at++)
		if (!add_growth(r, loop, &loop->access[at], &growth[loop->access[at].at->hint]))
			return 0;
	for (uint32_t at = 0; at < STREAMS; at++) {
		const struct growth *one = &growth[at];

		if (one->count && (one->next - one->first != one->step ||
				   one->end > r->streams[at].limit ||
				   (r->streams[at].limit - one->end) / one->step < rounds - 1))
			return 0;
	}
	for (uint32_t at = 0; at < STREAMS; at++) {
		struct stream *range = &r->streams[at];

		range->record.count += (uint32_t)(rounds * growth[at].count);
		range->record.length += rounds * growth[at].step;
		range->next += rounds * growth[at].step;
		range->pa_next += rounds * growth[at].step;
	}
	for (uint32_t at = 0; at < loop->used; at++)
		loop->bases[at].va += rounds * loop->bases[at].step;
	r->instructions += rounds * (loop->size / 4);
	return 1;
}

/* One round, up to and with the instruction at `reached`. */
static void replay(void *engine, struct recorder *r, struct loop *loop, uint64_t reached)
{
	const struct loop_access *access = loop->access, *end = access + loop->accesses;
	uint64_t pc = loop->pc;

	for (uint32_t word = 0; pc <= reached && word < loop->size / 4; word++, pc += 4) {
		uint64_t va = 0;
		int is_access = access < end && access->word == word;

		if (is_access) {
			va = loop->bases[access->base].va + access->offset;
			access++;
		}
		record_begun(engine, r, pc, is_access ? &va : NULL);
	}
	for (uint32_t at = 0; at < loop->used; at++)
		loop->bases[at].va += loop->bases[at].step;
}

/* Record what is not yet, if in a loop: from here on each instruction is by itself again. */
void leave_loop(void *engine, struct recorder *r)
{
	struct loop *loop = r->loop;
	uint64_t last, rounds = r->rounds, reached = r->reached;

	if (!loop)
		return;
	r->loop = NULL;
	last = loop->pc + loop->size - 4;
	if (reached == last) {
		rounds++;
		reached = loop->pc - 4;
	}
	while (rounds && !grow_rounds(r, loop, rounds)) {
		replay(engine, r, loop, last);
		rounds--;
	}
	if (reached >= loop->pc)
		replay(engine, r, loop, reached);
}

/*
 * Ranges: accesses that go on where another ended become one record.
 *
 * Several ranges are open at a time, in the order in which they were begun, and that is the order
 * of their records. So an access may join a range only if nothing that was begun after it stands against that
 * (conflict): then the order of records is that of the accesses, wherever an order can matter.
 */

#include "recorder.h"

static void write_record(struct recorder *r, const struct record *record)
{
	if (r->full_at != NO_ADDRESS)
		return;
	if (r->used == r->capacity) {
		r->full_at = record->before;
		r->page_va = NO_PAGE;
		return;
	}
	((struct record *)(uintptr_t)r->records)[r->used++] = *record;
}

static void write_oldest(struct recorder *r)
{
	write_record(r, &r->streams[0].record);
	r->open--;
	for (uint32_t at = 0; at < r->open; at++)
		r->streams[at] = r->streams[at + 1];
	r->streams[r->open].key = NO_KEY;
}

void close_streams(struct recorder *r)
{
	for (uint32_t at = 0; at < r->open; at++) {
		write_record(r, &r->streams[at].record);
		r->streams[at].key = NO_KEY;
	}
	r->open = 0;
}

static struct stream *begin_stream(struct recorder *r, const struct record *record)
{
	struct stream *to;

	if (r->open == STREAMS)
		write_oldest(r);
	to = &r->streams[r->open++];
	to->record = *record;
	to->sure = 0;
	r->generation++;
	return to;
}

static int is_maintenance(unsigned kind)
{
	return kind == KIND_DC || kind == KIND_IC;
}

static int only_reads(unsigned kind)
{
	return kind == KIND_LOAD || kind == KIND_FETCH;
}

/*
 * Whether the order of an access and a range matters: they share a byte and one of them writes.
 * Maintenance, fetches, and accesses of other attributes reach as far as a cache's granule may.
 */
static int conflicts(unsigned kind, unsigned attributes, uint64_t pa, uint64_t length,
		     const struct stream *range)
{
	const struct record *other = &range->record;
	uint64_t granule = 1;

	if (other->kind == KIND_FILL || (only_reads(kind) && only_reads(other->kind)))
		return 0;
	if (is_maintenance(kind) || is_maintenance(other->kind) || kind == KIND_FETCH ||
	    other->kind == KIND_FETCH || attributes != other->attributes)
		granule = MAX_GRANULE;
	return (pa & -granule) < ((range->pa_next + granule - 1) & -granule) &&
	       (other->pa & -granule) < ((pa + length + granule - 1) & -granule);
}

static int may_join(const struct recorder *r, uint32_t number, uint64_t pa, uint64_t length)
{
	const struct record *record = &r->streams[number].record;

	for (uint32_t at = number + 1; at < r->open; at++)
		if (conflicts(record->kind, record->attributes, pa, length, &r->streams[at]))
			return 0;
	/* As many as fit into a page may join without being looked at. */
	return record->count < UINT32_MAX - PAGE_BYTES;
}

/* Whether nothing will stand against what may join a range, as long as none begins or moves on. */
static int is_sure(const struct recorder *r, uint32_t number)
{
	const struct stream *range = &r->streams[number];

	for (uint32_t at = number + 1; at < r->open; at++) {
		struct stream grown = r->streams[at];

		grown.pa_next += grown.limit - grown.next + MAX_GRANULE;
		grown.record.pa &= -(uint64_t)MAX_GRANULE;
		if (conflicts(range->record.kind, range->record.attributes, range->pa_next,
			      range->limit - range->next, &grown))
			return 0;
	}
	return 1;
}

static void join(struct stream *range, uint64_t length)
{
	struct record *record = &range->record;
	uint64_t step = record->stride ? record->stride : length;

	record->count++;
	record->length += step;
	range->next += step;
	range->pa_next += step;
}

/*
 * The usual case: the next access of a range, where its translation is known. `hint` is the number
 * of the range that the instruction was in when it ran last.
 */
int grow_range(struct recorder *r, uint8_t *hint, uint64_t key, uint64_t va, uint64_t length)
{
	uint32_t at = *hint;
	struct stream *range = &r->streams[at];

	if (at >= r->open || range->next != va || range->key != key) {
		for (at = 0;; at++) {
			if (at == r->open)
				return 0;
			range = &r->streams[at];
			if (range->next == va && range->key == key)
				break;
		}
		*hint = (uint8_t)at;
	}
	if (va + length > range->limit || !may_join(r, at, range->pa_next, length))
		return 0;
	join(range, length);
	range->sure = is_sure(r, at) ? r->generation : 0;
	return 1;
}

/* The second of several maintenance instructions says how far apart they are. */
static int sets_stride(const struct stream *range, const struct record *access)
{
	uint64_t stride = access->va - range->record.va;

	return range->record.count == 1 && is_maintenance(access->kind) && stride &&
	       stride != access->length && stride <= MAX_STRIDE &&
	       access->pa - range->record.pa == stride;
}

/* Add to an open range, or begin one; `limit` is the end of what the translation is known for. */
static void record_translated(struct recorder *r, uint64_t key, const struct record *access,
			      uint64_t limit)
{
	struct stream *to;

	for (uint32_t at = 0; at < r->open; at++) {
		to = &r->streams[at];
		if (to->key != key || to->record.attributes != access->attributes ||
		    !may_join(r, at, access->pa, access->length))
			continue;
		if (sets_stride(to, access)) {
			to->record.stride = (uint16_t)(access->va - to->record.va);
			to->next = access->va;
			to->pa_next = access->pa;
		}
		if (to->next != access->va || to->pa_next != access->pa)
			continue;
		to->limit = limit;
		r->generation++;
		join(to, access->length);
		return;
	}
	to = begin_stream(r, access);
	to->key = key;
	to->next = access->va + access->length;
	to->pa_next = access->pa + access->length;
	to->limit = limit;
}

/*
 * A load, store, fetch, or maintenance instruction by address, that no range grows by. One that
 * crosses the end of a page is two.
 */
void record_range(void *engine, struct recorder *r, uint64_t key, const struct record *what)
{
	struct record access = *what;

	while (access.length) {
		uint64_t end = (access.va | (PAGE_BYTES - 1)) + 1, whole = access.length;
		const struct translation *to = translate(engine, r, access.va);

		if (!is_maintenance(what->kind) && whole > end - access.va)
			access.length = end - access.va;
		access.pa = to ? to->pa | (access.va & (PAGE_BYTES - 1)) : NO_ADDRESS;
		access.attributes = to ? to->attributes : 0;
		if (to) {
			int alone = what->kind == KIND_STORE && holds_code(r, to->pa);

			record_translated(r, key, &access, alone ? access.va + access.length : end);
		} else {
			access.flags |= FLAG_NO_PA;
			record_event(r, &access);
		}
		access.va += access.length;
		access.length = whole - access.length;
	}
}

/* What stands in no range, at its place among those begun. */
void record_in_order(struct recorder *r, const struct record *what)
{
	struct stream *to = begin_stream(r, what);

	to->key = NO_KEY;
	to->next = to->limit = NO_ADDRESS;
}

/* What nothing crosses. */
void record_event(struct recorder *r, const struct record *what)
{
	close_streams(r);
	write_record(r, what);
}

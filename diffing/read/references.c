/*
 * What places machine code refers to, function by function: references.py has the encodings and
 * says what is asked for.
 */

#include "native.h"

enum { FIELDS = 5, GO_ON = 4, CALLS = 2, WRITTEN = 10 };

#define WORD 4
#define PAGE_MASK INT64_C(0xFFF)

/* What a word is found to be. */
enum reference_flag {
	REFERS = 1, /* to a place, its target */
	LITERAL = 2, /* data that a literal load loads */
	BY_PAGE = 4, /* an ADRP, or it completes one */
	COMPLETED = 8, /* an ADRP that is completed */
	INSIDE = 16, /* what it refers to is in its own function */
	TAKES = 32, /* or accesses a place, all of which is in it: no branch, no ADRP */
	ENTERED = 64, /* it is branched to, or its address is taken */
	LOADED = 128, /* a literal load would load it, were itself no data */
};

struct form {
	uint32_t mask, value;
};

/* A form with a signed distance in words, of `width` bits from bit `low` on. */
struct relative_form {
	struct form form;
	uint32_t low, width;
};

/* A form that writes the register at bit `shift` if bit `when` is set. */
struct written_form {
	struct form form;
	uint32_t when, shift;
};

struct reference_forms {
	struct relative_form relative[FIELDS];
	struct form adr;
	struct form adrp;
	struct form add;
	struct form access;
	struct form literal;
	struct form branch; /* whatever may leave, by its class */
	struct form goes_on[GO_ON]; /* but does not, or not always */
	struct form calls[CALLS];
	struct written_form written[WRITTEN]; /* beside bits 4:0 */
	uint32_t adr_field;
	uint32_t low_field; /* the immediate of `add` and `access` */
	uint32_t saved; /* the registers that a call preserves, as bits */
	uint32_t reach; /* instructions behind an ADRP that are looked at */
};

/* A function: `count` words at byte `place` of the program, and what is found of each. */
struct text {
	const struct reference_forms *forms;
	const uint32_t *words;
	uint64_t count;
	int64_t place;
	int64_t low_base; /* what the place lacks to be an address, modulo a page */
	uint32_t *masked;
	int64_t *targets;
	uint8_t *flags;
};

const struct shared references_shared[] = {
	SHARED(FIELDS), SHARED(GO_ON), SHARED(CALLS), SHARED(WRITTEN),
	SHARED(REFERS), SHARED(LITERAL), SHARED(BY_PAGE), SHARED(COMPLETED),
	SHARED(INSIDE), SHARED(TAKES), SHARED_SIZE(struct reference_forms), SHARED_END,
};

static int holds(struct form form, uint32_t word)
{
	return (word & form.mask) == form.value;
}

static int64_t signed_field(uint32_t word, uint32_t low, uint32_t width)
{
	return (int64_t)((uint64_t)word << (64 - low - width)) >> (64 - width);
}

static int64_t place_of(const struct text *text, uint64_t at)
{
	return text->place + WORD * (int64_t)at;
}

static int is_inside(const struct text *text, int64_t target)
{
	return target >= text->place && target < place_of(text, text->count);
}

/* Sets `flag` at what literal loads load, but for those that are marked as data themselves. */
static void mark_literals(const struct text *text, uint8_t flag, uint8_t unless)
{
	/* By opc: 32, 64, signed 32 bits of a general register, none; 32, 64, 128 of a vector's. */
	static const uint8_t loaded[2][4] = {{1, 2, 1, 0}, {1, 2, 4, 0}};

	for (uint64_t at = 0; at < text->count; at++) {
		uint32_t word = text->words[at];
		int64_t ahead = signed_field(word, 5, 19);
		uint64_t size;

		if (!holds(text->forms->literal, word) || ahead <= 0 || text->flags[at] & unless)
			continue;
		size = loaded[word >> 26 & 1][word >> 30];
		for (uint64_t to = at + (uint64_t)ahead; size && to < text->count; to++, size--)
			text->flags[to] |= flag;
	}
}

static void refer(const struct text *text, uint64_t at, int64_t target, uint32_t field,
		  uint8_t flags)
{
	text->targets[at] = target;
	text->masked[at] &= ~field;
	text->flags[at] |= REFERS | flags;
}

/* What a word says by itself. */
static void read_word(const struct text *text, uint64_t at)
{
	const struct reference_forms *forms = text->forms;
	uint32_t word = text->words[at];
	int64_t place = place_of(text, at);
	int64_t value = signed_field(word, 5, 19) * 4 + (word >> 29 & 3);
	int branch = holds(forms->branch, word);
	uint64_t first = branch || holds(forms->literal, word) ? 0 : FIELDS;

	for (uint64_t row = first; row < FIELDS; row++) {
		const struct relative_form *one = &forms->relative[row];

		if (holds(one->form, word))
			refer(text, at, place + WORD * signed_field(word, one->low, one->width),
			      ((UINT32_C(1) << one->width) - 1) << one->low,
			      branch ? 0 : TAKES);
	}
	if (holds(forms->adr, word))
		refer(text, at, place + value, forms->adr_field, TAKES);
	if (holds(forms->adrp, word))
		refer(text, at,
		      ((place + text->low_base) & ~PAGE_MASK) - text->low_base +
			      value * (PAGE_MASK + 1),
		      forms->adr_field, BY_PAGE);
}

/* By what the 12 bits of an ADD, or of a load or store, are to be multiplied. */
static int64_t scale_of(const struct reference_forms *forms, uint32_t word)
{
	if (holds(forms->add, word))
		return 1;
	/* Of 128 bits the size is 0, and opc<1> is set. */
	return word >> 26 & word >> 23 & 1 ? 16 : INT64_C(1) << (word >> 30);
}

static int is_any(const struct form *forms, uint32_t count, uint32_t word)
{
	for (uint32_t at = 0; at < count; at++)
		if (holds(forms[at], word))
			return 1;
	return 0;
}

/* As page_register.py has it. */
static int loses(const struct reference_forms *forms, uint32_t word, uint32_t number)
{
	if (holds(forms->branch, word)) {
		if (!is_any(forms->goes_on, GO_ON, word))
			return !(forms->saved >> number & 1 && is_any(forms->calls, CALLS, word));
		return holds(forms->goes_on[0], word) && (word & 31) == number;
	}
	for (uint32_t at = 0; at < WRITTEN; at++)
		if (holds(forms->written[at].form, word) &&
		    word >> forms->written[at].when & 1 &&
		    (word >> forms->written[at].shift & 31) == number)
			return 1;
	return (word & 31) == number;
}

/*
 * Follows the register of an ADRP to the instructions that add the low 12 bits: up to a place that
 * is entered, the register's end or the function's, and no further than it reaches.
 */
static void complete(const struct text *text, uint64_t adrp)
{
	const struct reference_forms *forms = text->forms;
	uint32_t register_number = text->words[adrp] & 31;
	int64_t page = text->targets[adrp];

	for (uint64_t at = adrp + 1; at < text->count && at - adrp <= forms->reach; at++) {
		uint32_t word = text->words[at];

		if (text->flags[at] & ENTERED)
			break;
		if (text->flags[at] & LITERAL)
			continue;
		if ((holds(forms->add, word) || holds(forms->access, word)) &&
		    (word >> 5 & 31) == register_number) {
			int64_t low = word >> 10 & 0xFFF;

			refer(text, at, page + low * scale_of(forms, word), forms->low_field,
			      BY_PAGE | TAKES);
			text->targets[adrp] = text->targets[at];
			text->flags[adrp] |= COMPLETED;
		}
		if (loses(forms, word, register_number))
			break;
	}
}

static void read_function(const struct text *text)
{
	mark_literals(text, LOADED, 0);
	mark_literals(text, LITERAL, LOADED);
	for (uint64_t at = 0; at < text->count; at++)
		if (!(text->flags[at] & LITERAL))
			read_word(text, at);
	for (uint64_t at = 0; at < text->count; at++)
		if (text->flags[at] & REFERS && is_inside(text, text->targets[at]))
			text->flags[(text->targets[at] - text->place) / WORD] |= ENTERED;
	for (uint64_t at = 0; at < text->count; at++)
		if (text->flags[at] & REFERS && holds(text->forms->adrp, text->words[at]))
			complete(text, at);
	for (uint64_t at = 0; at < text->count; at++)
		if (text->flags[at] & REFERS && is_inside(text, text->targets[at]))
			text->flags[at] |= INSIDE;
}

/*
 * Functions at offsets `places` of a program, their words one function after the other. `masked`
 * are the words again, out of which the fields that refer to a place are taken; `flags` are zero.
 */
void references_read(const struct reference_forms *forms, const uint32_t *words,
		     const int64_t *places, const int64_t *lengths, uint64_t count,
		     int64_t low_base, uint32_t *masked, int64_t *targets, uint8_t *flags)
{
	for (uint64_t number = 0; number < count; number++) {
		uint64_t length = (uint64_t)lengths[number];

		read_function(&(struct text){forms, words, length, places[number], low_base, masked,
					     targets, flags});
		words += length;
		masked += length;
		targets += length;
		flags += length;
	}
}

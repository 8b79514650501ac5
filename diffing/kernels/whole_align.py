"""Which word of one function is which of the other: a longest common subsequence, bit-parallel.

After M. Crochemore et al., "A fast and practical bit-vector algorithm for the longest common
subsequence problem" (2001): a row of the table of lengths is a row of bits, one for each word of
the left and 0 where the length grows; the next row takes an addition and three logical operations
for 64 of them. In LLVM's own language, compiled by llvmlite when first used (docs/adr/0002): in
Python it took longer than everything else together.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from relokit.codegen.host_code import compile_ir
from relokit.diffing.kernels.whole_text import Ints

Partners = npt.NDArray[np.int32]

_ROW_BITS = 64
_EMPTY = -1

# The place of ``code`` in a hash table of keys: where it is, or an empty one. The highest bits of
# its product with a random odd number are where to begin, so no kernel can be made to collide.
_SLOT = f"""
define i64 @slot(ptr %keys, i64 %last, i64 %shift, i64 %odd, i64 %code) alwaysinline {{
entry:
  %spread = mul i64 %code, %odd
  %first = lshr i64 %spread, %shift
  br label %probe
probe:
  %at = phi i64 [ %first, %entry ], [ %next, %occupied ]
  %key.at = getelementptr i64, ptr %keys, i64 %at
  %key = load i64, ptr %key.at
  %empty = icmp eq i64 %key, {_EMPTY}
  %same = icmp eq i64 %key, %code
  %stop = or i1 %empty, %same
  br i1 %stop, label %found, label %occupied
occupied:
  %after = add i64 %at, 1
  %next = and i64 %after, %last
  br label %probe
found:
  ret i64 %at
}}
"""

# Numbers the different words of the right; sets, for each of them, a mask of where it is in the
# left; computes all rows; and walks back from the last corner. There, a length that grows in a
# row but not in the one above makes a pair.
_ALIGN = f"""
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define void @align(ptr %left, i64 %n, ptr %right, i64 %m, ptr %partner, i32 %base,
                   ptr %keys, ptr %numbers, i64 %bits, i64 %odd, ptr %masks, ptr %rows) {{
entry:
  %size = shl i64 1, %bits
  %last = sub i64 %size, 1
  %shift = sub i64 64, %bits
  %size.bytes = shl i64 %size, 3
  call void @llvm.memset.p0.i64(ptr %keys, i8 {_EMPTY}, i64 %size.bytes, i1 false)
  %n.up = add i64 %n, {_ROW_BITS - 1}
  %width = lshr i64 %n.up, 6
  %width.bytes = shl i64 %width, 3
  br label %number

number:
  %a = phi i64 [ 0, %entry ], [ %a.next, %numbered ]
  %different = phi i64 [ 0, %entry ], [ %different.next, %numbered ]
  %a.in = icmp ult i64 %a, %m
  br i1 %a.in, label %number.one, label %clear
number.one:
  %a.at = getelementptr i64, ptr %right, i64 %a
  %a.code = load i64, ptr %a.at
  %a.slot = call i64 @slot(ptr %keys, i64 %last, i64 %shift, i64 %odd, i64 %a.code)
  %a.key.at = getelementptr i64, ptr %keys, i64 %a.slot
  %a.key = load i64, ptr %a.key.at
  %a.known = icmp eq i64 %a.key, %a.code
  br i1 %a.known, label %numbered, label %number.new
number.new:
  store i64 %a.code, ptr %a.key.at
  %a.number.at = getelementptr i64, ptr %numbers, i64 %a.slot
  store i64 %different, ptr %a.number.at
  %different.more = add i64 %different, 1
  br label %numbered
numbered:
  %different.next = phi i64 [ %different, %number.one ], [ %different.more, %number.new ]
  %a.next = add i64 %a, 1
  br label %number

clear:
  %masks.bytes = mul i64 %different, %width.bytes
  call void @llvm.memset.p0.i64(ptr %masks, i8 0, i64 %masks.bytes, i1 false)
  call void @llvm.memset.p0.i64(ptr %rows, i8 -1, i64 %width.bytes, i1 false)
  br label %mask

mask:
  %b = phi i64 [ 0, %clear ], [ %b.next, %masked ]
  %b.in = icmp ult i64 %b, %n
  br i1 %b.in, label %mask.one, label %row
mask.one:
  %b.at = getelementptr i64, ptr %left, i64 %b
  %b.code = load i64, ptr %b.at
  %b.slot = call i64 @slot(ptr %keys, i64 %last, i64 %shift, i64 %odd, i64 %b.code)
  %b.key.at = getelementptr i64, ptr %keys, i64 %b.slot
  %b.key = load i64, ptr %b.key.at
  %b.known = icmp eq i64 %b.key, %b.code
  br i1 %b.known, label %mask.set, label %masked
mask.set:
  %b.number.at = getelementptr i64, ptr %numbers, i64 %b.slot
  %b.number = load i64, ptr %b.number.at
  %b.first = mul i64 %b.number, %width
  %b.column = lshr i64 %b, 6
  %b.place = add i64 %b.first, %b.column
  %b.mask.at = getelementptr i64, ptr %masks, i64 %b.place
  %b.mask = load i64, ptr %b.mask.at
  %b.low = and i64 %b, {_ROW_BITS - 1}
  %b.bit = shl i64 1, %b.low
  %b.more = or i64 %b.mask, %b.bit
  store i64 %b.more, ptr %b.mask.at
  br label %masked
masked:
  %b.next = add i64 %b, 1
  br label %mask

row:
  %c = phi i64 [ 0, %mask ], [ %c.next, %row.end ]
  %c.in = icmp ult i64 %c, %m
  br i1 %c.in, label %row.start, label %back
row.start:
  %c.at = getelementptr i64, ptr %right, i64 %c
  %c.code = load i64, ptr %c.at
  %c.slot = call i64 @slot(ptr %keys, i64 %last, i64 %shift, i64 %odd, i64 %c.code)
  %c.number.at = getelementptr i64, ptr %numbers, i64 %c.slot
  %c.number = load i64, ptr %c.number.at
  %c.first = mul i64 %c.number, %width
  %c.mask = getelementptr i64, ptr %masks, i64 %c.first
  %c.above = mul i64 %c, %width
  %above = getelementptr i64, ptr %rows, i64 %c.above
  %below = getelementptr i64, ptr %above, i64 %width
  br label %column
column:
  %d = phi i64 [ 0, %row.start ], [ %d.next, %column ]
  %carry = phi i64 [ 0, %row.start ], [ %carry.next, %column ]
  %d.above.at = getelementptr i64, ptr %above, i64 %d
  %d.above = load i64, ptr %d.above.at
  %d.mask.at = getelementptr i64, ptr %c.mask, i64 %d
  %d.mask = load i64, ptr %d.mask.at
  %grows = and i64 %d.above, %d.mask
  %half = add i64 %d.above, %grows
  %half.over = icmp ult i64 %half, %grows
  %sum = add i64 %half, %carry
  %sum.over = icmp ult i64 %sum, %carry
  %over = or i1 %half.over, %sum.over
  %carry.next = zext i1 %over to i64
  %others = xor i64 %d.above, %grows
  %d.below = or i64 %sum, %others
  %d.below.at = getelementptr i64, ptr %below, i64 %d
  store i64 %d.below, ptr %d.below.at
  %d.next = add i64 %d, 1
  %d.in = icmp ult i64 %d.next, %width
  br i1 %d.in, label %column, label %row.end
row.end:
  %c.next = add i64 %c, 1
  br label %row

back:
  %i = phi i64 [ %n, %row ], [ %i.less, %flat ], [ %i, %higher ], [ %i.less, %pair ]
  %j = phi i64 [ %m, %row ], [ %j, %flat ], [ %j.less, %higher ], [ %j.less, %pair ]
  %i.end = icmp eq i64 %i, 0
  %j.end = icmp eq i64 %j, 0
  %end = or i1 %i.end, %j.end
  br i1 %end, label %return, label %step
step:
  %i.less = sub i64 %i, 1
  %j.less = sub i64 %j, 1
  %i.column = lshr i64 %i.less, 6
  %i.low = and i64 %i.less, {_ROW_BITS - 1}
  %j.first = mul i64 %j, %width
  %here = add i64 %j.first, %i.column
  %here.at = getelementptr i64, ptr %rows, i64 %here
  %here.bits = load i64, ptr %here.at
  %here.shifted = lshr i64 %here.bits, %i.low
  %here.flat = trunc i64 %here.shifted to i1
  br i1 %here.flat, label %flat, label %grown
flat:
  br label %back
grown:
  %there = sub i64 %here, %width
  %there.at = getelementptr i64, ptr %rows, i64 %there
  %there.bits = load i64, ptr %there.at
  %there.shifted = lshr i64 %there.bits, %i.low
  %there.flat = trunc i64 %there.shifted to i1
  br i1 %there.flat, label %pair, label %higher
higher:
  br label %back
pair:
  %j.narrow = trunc i64 %j.less to i32
  %other = add i32 %base, %j.narrow
  %partner.at = getelementptr i32, ptr %partner, i64 %i.less
  store i32 %other, ptr %partner.at
  br label %back
return:
  ret void
}}
"""


class Aligner:
    """Aligns parts of two arrays of codes, which are at least 0, and keeps its working memory.

    ``most_right`` is the longest part of the right, ``most_cells`` the largest product of a part of
    the left, up to the next multiple of 64, and one of the right. Memory is a quarter byte a cell.
    """

    def __init__(self, left: Ints, right: Ints, most_right: int, most_cells: int) -> None:
        self._left, self._right = (np.ascontiguousarray(side, np.int64) for side in (left, right))
        self._keys = np.empty(1 << _table_bits(most_right), np.int64)
        self._numbers = np.empty_like(self._keys)
        self._masks = np.empty(most_cells // _ROW_BITS, np.uint64)
        self._rows = np.empty(most_cells // _ROW_BITS + len(left) // _ROW_BITS + 1, np.uint64)
        self._odd = secrets.randbits(63) | 1
        self._engine = compile_ir(_SLOT, _ALIGN)
        address = self._engine.get_function_address("align")
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self._align = ctypes.CFUNCTYPE(
            None, pointer, size, pointer, size, pointer, ctypes.c_int32,
            pointer, pointer, size, size, pointer, pointer,
        )(address)  # fmt: skip
        self._scratch = tuple(
            int(array.ctypes.data) for array in (self._keys, self._numbers, self._masks, self._rows)
        )
        self._at = int(self._left.ctypes.data), int(self._right.ctypes.data)

    def align(self, first: int, n: int, second: int, m: int, partner: Partners) -> None:
        """Set ``partner`` of the left's ``n`` codes from ``first`` on, where they have one.

        Partners are numbers of the right's ``m`` codes from ``second`` on.
        """
        keys, numbers, masks, rows = self._scratch
        self._align(
            self._at[0] + 8 * first,
            n,
            self._at[1] + 8 * second,
            m,
            partner.ctypes.data + 4 * first,
            second,
            keys,
            numbers,
            _table_bits(m),
            self._odd,
            masks,
            rows,
        )


def cells(left: Ints, right: Ints) -> Ints:
    """What aligning parts of these lengths takes: bits of each row, times rows."""
    return -(-left // _ROW_BITS) * _ROW_BITS * right


def _table_bits(count: int) -> int:
    """A hash table for ``count`` codes is at most half full."""
    return (2 * count).bit_length()


def common_anywhere(left: Sequence[int], right: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of indices of equal codes in any order: what is too large to align is counted so."""
    places: dict[int, list[int]] = {}
    for j in range(len(right) - 1, -1, -1):
        places.setdefault(right[j], []).append(j)
    pairs = []
    for i, code in enumerate(left):
        waiting = places.get(code)
        if waiting:
            pairs.append((i, waiting.pop()))
    return pairs

"""What decides how an access goes through the caches besides its attributes: SCTLR and HCR.

Source: ARM DDI 0487, SCTLR_ELx.{M, C, I} (D7.5.5, D8.2.12.1), HCR_EL2.{VM, DC, CD, ID}
(D24.2), DC IVAC (C5.3).
"""

from __future__ import annotations

from collections.abc import Mapping

from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.system_registers import REGISTERS
from relokit.runtime.arch.redirection import TO_EL1, TO_EL2
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.judge.model.caches.memory_type import MemoryType, memory_type
from relokit.runtime.record.trace import ATTRIBUTE_MMU

SCTLR_C, SCTLR_I = 1 << 2, 1 << 12
HCR_VM, HCR_DC, HCR_TGE, HCR_CD, HCR_ID = 1 << 0, 1 << 12, 1 << 27, 1 << 32, 1 << 33
_SCTLRS = {REGISTERS["SCTLR_EL1"]: 1, REGISTERS["SCTLR_EL2"]: 2}
_HCR = REGISTERS["HCR_EL2"]


class Controls:
    """SCTLR_EL1, SCTLR_EL2 and HCR_EL2, from ``start`` (registers by name) on."""

    def __init__(self, start: Mapping[str, int]) -> None:
        self._sctlr = {el: start.get(f"SCTLR_EL{el}", 0) for el in (1, 2)}
        self._hcr = start.get("HCR_EL2", 0)
        self._data: dict[tuple[int, int], MemoryType] = {}

    def write(self, encoding: int, value: int, el: int) -> None:
        """MSR of ``value`` at ``el`` to the register of ``encoding``, as in the instruction."""
        self._data.clear()
        if el == 2 and self._hcr & HCR_EL2_E2H:
            encoding = TO_EL1.get(encoding, TO_EL2.get(encoding, encoding))
        if encoding in _SCTLRS:
            self._sctlr[_SCTLRS[encoding]] = value
        elif encoding == _HCR:
            self._hcr = value

    def data(self, attributes: int, el: int) -> MemoryType:
        """How a load, a store or maintenance with ``attributes`` of a record goes, at ``el``."""
        found = self._data.get((attributes, el))
        if found is None:
            found = self._data[attributes, el] = self._type(attributes, el, SCTLR_C, HCR_CD)
        return found

    def code(self, attributes: int, el: int) -> MemoryType:
        """How a fetch goes. With the MMU off it is Normal: Write-Through if SCTLR.I is set."""
        if attributes & ATTRIBUTE_MMU or self._second_stage(el):
            return self._type(attributes, el, SCTLR_I, HCR_ID)
        cached = self._sctlr[max(el, 1)] & SCTLR_I
        return MemoryType.THROUGH if cached else MemoryType.AROUND

    def _type(self, attributes: int, el: int, enable: int, disable: int) -> MemoryType:
        second = self._second_stage(el)
        if not attributes & ATTRIBUTE_MMU and second and self._hcr & HCR_DC:
            found = MemoryType.WRITE_BACK
        else:
            found = memory_type(attributes, bool(self._sctlr[max(el, 1)] & enable))
        if second and self._hcr & disable and found.cacheable:
            return MemoryType.AROUND
        return found

    def _second_stage(self, el: int) -> bool:
        return el < 2 and self._hcr & (HCR_VM | HCR_DC) != 0 and not self._hcr & HCR_TGE

    def invalidation_cleans(self, el: int) -> bool:
        """Whether DC IVAC at ``el`` is one that cleans as well: below a second stage it is."""
        return self._second_stage(el)

    def may_allocate(self, attributes: int, el: int) -> bool:
        """Whether lines may come into a cache unasked, when ``el`` accesses with ``attributes``.

        They may if this level's MMU is on, or that of one above (D7.5.1).
        """
        above = el < 2 and self._sctlr[2] & SCTLR_M
        return bool(attributes & ATTRIBUTE_MMU or above or self._second_stage(el))

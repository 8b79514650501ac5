"""Which routines run on a way out: what no CPU comes to is not judged, whatever a file has.

Source: machine_kexec and swsusp_arch_resume in each state of the series; held to what our own code
executes in each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relokit.codegen.base.errors import TargetError
from relokit.codegen.kexec_routines import KexecRoutine
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import KexecPath

if TYPE_CHECKING:
    from relokit.linker.foreign.code import ForeignCode

_IN_PLACE = (KexecPath.IN_PLACE, KexecPath.CRASH)


def routines_run(target: Target, path: KexecPath) -> frozenset[KexecRoutine]:
    """The routines that a machine for ``target`` comes to on ``path``."""
    found = set()
    moves = path not in _IN_PLACE
    if path is KexecPath.HIBERNATE:
        found.add(KexecRoutine.HIBERNATE_EXIT)
    else:
        if moves or not target.has(Feature.SKIP_IN_PLACE):
            found.add(KexecRoutine.RELOCATION)
        if not moves or not target.has(Feature.MMU_ON):
            found.add(KexecRoutine.SOFT_RESTART)
    if target.regime is Regime.NVHE:
        # With VHE and at EL1 nobody is left at EL2 who could be called.
        found.add(KexecRoutine.HYP_STUB)
        kexec_vectors = moves and target.has(Feature.KEXEC_EL2_VECTORS)
        if path is KexecPath.HIBERNATE or kexec_vectors:
            found.add(KexecRoutine.VECTORS)
    return frozenset(found)


def check_code_runs(target: Target, path: KexecPath, code: ForeignCode) -> None:
    """Refuse ``code`` of which nothing runs there; raises TargetError with where it would."""
    if _runs(target, path, code):
        return
    names = ", ".join(part.symbol for part in code.parts)
    raise TargetError(
        f"nothing of it runs on path {path} in regime {target.regime} and state {target.series}: "
        f"it has {names}",
        where=code.where,
        hint=_way(target, path, code),
    )


def _runs(target: Target, path: KexecPath, code: ForeignCode) -> bool:
    return any(code.has(routine, target) for routine in routines_run(target, path))


def _way(target: Target, path: KexecPath, code: ForeignCode) -> str:
    from dataclasses import replace

    for other in (path, *KexecPath):
        if _runs(target, other, code):
            return f"add --path {other}"
        if _runs(replace(target, regime=Regime.NVHE), other, code):
            way = "" if other is path else f" --path {other}"
            return f"add --el {Regime.NVHE}{way}"
    return "that is of another state of the series: say which with --series"

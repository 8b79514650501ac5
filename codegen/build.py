"""The builds relokit knows: which templates, which script, which variables for a Target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from relokit.codegen import facts
from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.version import VERSION
from relokit.codegen.series import Feature
from relokit.codegen.target import WIDE, Target
from relokit.codegen.virt_board import UART_BASE

if TYPE_CHECKING:
    from relokit.codegen.source import Source

KIMAGE_PADDR = 0x4020_0000
"""PA the old kernel is loaded at: 2 MiB into QEMU virt's RAM, text_offset 0."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The templates of one linked program; ``script`` is its ld script."""

    name: str
    templates: tuple[str, ...]
    script: str


DEMO_PAGES = 64
"""4 KiB pages of pattern behind the demo kernel's code, so that there is something to move."""

KERNEL = Recipe(
    "kernel",
    (
        "relocate_kernel.S.j2",
        "machine_kexec.S.j2",
        "cpu_reset.S.j2",
        "hyp_stub.S.j2",
        "trans_pgd.S.j2",
        "hibernate.S.j2",
        "vectors.S.j2",
        "note.S.j2",
    ),
    "kernel.lds.j2",
)
DEMO = Recipe("demo", ("demo.S.j2",), "demo.lds.j2")
PURGATORY = Recipe("purgatory", ("purgatory.S.j2",), "purgatory.lds.j2")
HARNESS = Recipe("harness", ("harness.S.j2",), "harness.lds.j2")
USER_SPACE = Recipe("user_space", ("user_space.S.j2",), "user_space.lds.j2")


def render_recipe(
    recipe: Recipe,
    target: Target,
    *,
    overrides: Path | None = None,
    extra: Mapping[str, object] = MappingProxyType({}),
) -> Source:
    """Render a recipe for ``target``; ``extra`` are variables only this recipe has.

    Raises TemplateError.
    """
    from relokit.codegen.render import render_source

    return render_source(
        recipe.templates, recipe.script, variables(target) | dict(extra), overrides=overrides
    )


def variables(target: Target) -> dict[str, object]:
    """What the templates may ask of a target: features by name, sizes in bytes, constants."""
    from relokit.codegen import user_space

    layout = target.layout
    return {
        "build_note": f"relokit {VERSION} {target.kernel_name}",
        "regime": str(target.regime),
        "page_size": target.page_size,
        "page_mask": MASK64 & ~(target.page_size - 1),
        "ttbr": {"fold": target.pa_bits == WIDE, "offset": target.ttbr1_offset},
        "kimage_vaddr": target.kimage_vaddr,
        "kimage_paddr": KIMAGE_PADDR,
        "control_page_size": facts.KEXEC_CONTROL_PAGE_SIZE,
        "image_flags": _image_flags(target),
        "demo_pages": DEMO_PAGES,
        "uart": UART_BASE,
        "soft_restart_name": (
            "cpu_soft_restart" if target.has(Feature.NO_CPU_RESET_HEADER) else "__cpu_soft_restart"
        ),
        "install_ttbr0_name": (
            "cpu_install_ttbr0" if target.has(Feature.INSTALL_TTBR0) else "cpu_install_idmap"
        ),
        "install_ttbr0": target.has(Feature.INSTALL_TTBR0),
        "copy_el2_vectors": target.has(Feature.COPY_EL2_VECTORS),
        "skip_in_place": target.has(Feature.SKIP_IN_PLACE),
        "dcache_macros": target.has(Feature.DCACHE_MACROS),
        "kimage_argument": target.has(Feature.KIMAGE_ARGUMENT),
        "kexec_el2_vectors": target.has(Feature.KEXEC_EL2_VECTORS),
        "relocate_at_el1": target.has(Feature.RELOCATE_AT_EL1),
        "placed_by_script": target.has(Feature.LD_SCRIPT_PLACEMENT),
        "linear_map_copy": target.has(Feature.LINEAR_MAP_COPY),
        "mmu_on": target.has(Feature.MMU_ON),
        "kimage": layout,
        "hvc": {
            "set_vectors": facts.HVC_SET_VECTORS,
            "soft_restart": facts.HVC_SOFT_RESTART,
            "reset_vectors": facts.HVC_RESET_VECTORS,
            "finalise_el2": facts.HVC_FINALISE_EL2,
            "stub_err": facts.HVC_STUB_ERR,
        },
        "poison": facts.POISON,
        "sctlr_el1_mmu_off": facts.SCTLR_EL1_MMU_OFF,
        "sctlr_el2_mmu_off": facts.SCTLR_EL2_MMU_OFF,
        "hcr_el2_nvhe": facts.HCR_EL2_NVHE,
        "hcr_el2_vhe": facts.HCR_EL2_VHE,
        "cptr_el2_tz": facts.CPTR_EL2_TZ,
        "cptr_el2_tsm": facts.CPTR_EL2_TSM,
        "sctlr_el2_entp2": facts.SCTLR_EL2_ENTP2,
        "smcr_el2_fa64": facts.SMCR_EL2_FA64,
        "mdcr_el2_e2pb": facts.MDCR_EL2_E2PB,
        "mdcr_el2_e2tb": facts.MDCR_EL2_E2TB,
        "spsr_mode_el2h": facts.SPSR_MODE_EL2H,
        "boot_cpu_mode_el2": facts.BOOT_CPU_MODE_EL2,
        "current_el_el1": facts.CURRENT_EL_EL1,
        "psci_system_off": facts.PSCI_SYSTEM_OFF,
        "user_space": user_space.variables(),
    }


def _image_flags(target: Target) -> int:
    """arm64 Image header flags (booting.rst): little-endian, page size, anywhere in memory."""
    page = {4096: 1, 16384: 2, 65536: 3}[target.page_size]
    return page << 1 | 1 << 3

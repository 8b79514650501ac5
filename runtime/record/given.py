"""What the new kernel is given, as RAM has it when it is entered: its image and its device tree."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass

Extent = tuple[int, int]
"""PA of the first byte, and bytes."""


@dataclass(frozen=True, slots=True)
class ImageGiven:
    """The header of the Image at PA ``at``. Sizes and offsets in bytes."""

    at: int
    text_offset: int
    image_size: int
    flags: int


@dataclass(frozen=True, slots=True)
class CpuNode:
    """A CPU of the device tree. ``release`` is the PA of a spin-table's word, ``held`` what is in
    it, if that is in RAM.
    """

    name: str
    method: str | None
    release: int | None = None
    held: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeGiven:
    """The device tree at PA ``at``, of ``size`` bytes by its header.

    ``problem`` says why it is none; all else is empty then. ``reserved`` is what nothing may be
    placed on, ``unmapped`` that part of it which may not be mapped. ``initrd`` is what /chosen
    says, as are ``usable`` and ``core_header`` of a crash kernel, ``seeds`` and those of them that
    are used up, ``kho_tree`` and ``kho_scratch``, a table of the ``scratch`` areas. ``bootargs`` is
    the command line, ``psci`` whether there is firmware to call, ``gicv2`` whether the interrupt
    controller is one without system registers, ``uefi`` whether a UEFI is named, whose memory map
    takes the place of ``memory``.
    """

    at: int
    size: int
    problem: str | None = None
    memory: tuple[Extent, ...] = ()
    reserved: tuple[Extent, ...] = ()
    unmapped: tuple[Extent, ...] = ()
    initrd: Extent | None = None
    chosen: bool = False
    usable: tuple[Extent, ...] = ()
    core_header: Extent | None = None
    seeds: tuple[str, ...] = ()
    spent_seeds: tuple[str, ...] = ()
    kho_tree: Extent | None = None
    kho_scratch: Extent | None = None
    scratch: tuple[Extent, ...] = ()
    cpus: tuple[CpuNode, ...] = ()
    bootargs: str | None = None
    psci: bool = False
    gicv2: bool = False
    uefi: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """``image`` is None if what is entered is no Image, ``tree`` if no device tree is promised.

    ``crash`` is the memory that was set aside for a crash kernel, if one is entered.
    """

    image: ImageGiven | None
    tree: TreeGiven | None
    crash: Extent | None = None

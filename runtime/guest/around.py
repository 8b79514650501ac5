"""What is around a CPU that leaves its kernel, and goes on: other CPUs, tables of devices."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """``size`` bytes from PA ``base`` that a device uses; ``register``, named, says so."""

    name: str
    register: int
    base: int
    size: int


@dataclass(frozen=True, slots=True)
class OtherCpu:
    """CPU ``number`` is switched on, and executes at PA ``at``: None if that cannot be told."""

    number: int
    at: int | None


@dataclass(frozen=True, slots=True)
class HeldMemory:
    """``size`` bytes from PA ``base`` that no kernel may use; ``name`` is whose they are."""

    name: str
    base: int
    size: int


@dataclass(frozen=True, slots=True)
class Around:
    """``tables`` are those of devices that are on, None where nobody has looked; ``cpus`` are the
    other CPUs that are not off, ``count`` how many others there are.

    ``reserved`` is what the old kernel was told to leave alone, ``firmware`` what UEFI goes on
    using and what the next kernel has to find, ``prepared`` what of the loaded image is not as its
    load had left it: each the reason where nobody can tell.
    """

    tables: tuple[DeviceTable, ...] | None
    cpus: tuple[OtherCpu, ...]
    count: int
    reserved: tuple[HeldMemory, ...] | str = ()
    firmware: tuple[HeldMemory, ...] | str = ()
    prepared: tuple[HeldMemory, ...] | str = ()

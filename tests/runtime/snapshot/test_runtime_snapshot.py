"""A snapshot's files: what was written is read again, and what is not as it must be is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zstandard import ZstdCompressor

from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.runtime.snapshot.snapshot import (
    Its,
    Power,
)
from relokit.runtime.snapshot.snapshot_reading import MAX_JSON, read_snapshot
from relokit.runtime.snapshot.snapshot_writing import CHUNK
from support.snapshots import BASE, DEVICES, FILES, LOAD, REGISTERS, SIZE, write


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = read_snapshot(write(tmp_path))
    assert found.banks == ((BASE, SIZE),)
    assert (found.cpu, found.kimage, found.devices) == (0, 0x1234, DEVICES)
    assert (found.tree, found.load) == (0x4800_0000, LOAD)
    assert [one.power for one in found.cpus] == [Power.ON, Power.OFF]
    assert found.left_by.registers == REGISTERS
    ram = bytearray(SIZE)
    for one in found.extents:
        at = one.base - BASE
        ram[at : at + one.size] = found.ram.content[one.offset : one.offset + one.size]
    assert bytes(ram) == (tmp_path / "memory").read_bytes()
    # Two pieces side by side are one extent, and zeros are none.
    assert [(one.base - BASE) // CHUNK for one in found.extents] == [0, 3, 5, 63]
    assert found.ram.size == 4 * CHUNK
    path = tmp_path / "snapshot" / "devices.json"
    value = json.loads(path.read_text())
    for name in ("GITS_CBASER", "GITS_CWRITER", "GITS_CREADR"):
        del value["its"][0][name]
    path.write_text(json.dumps(value))
    older = read_snapshot(tmp_path / "snapshot").devices
    assert older is not None
    assert older.its == (Its(1, (1 << 63, 0)),)
    (tmp_path / "snapshot" / "devices.json").unlink()
    assert read_snapshot(tmp_path / "snapshot").devices is None


def test_packed_ram_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    plain, packed = (
        read_snapshot(write(tmp_path / "a")),
        read_snapshot(write(tmp_path, packed=True)),
    )
    assert (packed.extents, packed.banks) == (plain.extents, plain.banks)
    assert packed.ram.content == plain.ram.content
    files = {one.name: one.stat().st_size for one in (tmp_path / "snapshot").iterdir()}
    assert "ram" not in files
    assert files["ram.zst"] < plain.ram.size // 100


def _packed(data: bytes) -> bytes:
    return bytes(ZstdCompressor().compress(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_packed(bytes(4 * CHUNK + 1)), "more than the 262,144 bytes"),
        # Terabytes of zeros in kilobytes: it ends where the extents do.
        (_packed(bytes(1 << 20)) * 5000, "more than the 262,144 bytes"),
        (_packed(bytes(4 * CHUNK - 1)), "262,143, and not the 262,144 bytes"),
        (_packed(bytes(4 * CHUNK))[:-1], "truncated"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "corrupt zstd data"),
        (b"no zstd at all", "corrupt zstd data"),
    ],
)
def test_packed_ram_that_is_none_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    place = write(tmp_path, packed=True)
    (place / "ram.zst").write_bytes(content)
    with pytest.raises(FormatError, match=message) as told:
        read_snapshot(place)
    assert "ram.zst" in str(told.value)


def test_more_packed_ram_than_the_host_has_is_not_unpacked(tmp_path: Path) -> None:
    place = write(tmp_path, packed=True)
    path = place / "snapshot.json"
    value = json.loads(path.read_text())
    value |= {"banks": [["0x0", hex(1 << 50)]], "extents": [["0x0", hex(1 << 50), "0x0"]]}
    path.write_text(json.dumps(value))
    with pytest.raises(FormatError, match="unpacked, and this host has"):
        read_snapshot(place)
    value["extents"] = [["0x0", "0x1000", "0x1000"]]
    path.write_text(json.dumps(value))
    with pytest.raises(FormatError, match="not right behind the one before it"):
        read_snapshot(place)
    path.write_text(json.dumps(value | {"compression": "lzo"}))
    with pytest.raises(FormatError, match="'compression' is not 'zstd'"):
        read_snapshot(place)


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    place = write(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RelokitError, match="is there already"):
        write(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert place.is_dir()


def without(cpu: dict[str, Any], *names: str) -> None:
    for name in names:
        del cpu["registers"][name]


def named(cpu: dict[str, Any], name: str, value: str) -> None:
    cpu["registers"][name] = value


def same_bytes(extents: list[list[str]]) -> list[list[str]]:
    """The pages up to the second of ``extents``, each of them the first one of the file."""
    (first, *_), last = extents[0], int(extents[1][0], 16)
    pages = range(int(first, 16), last, 4096)
    return [[hex(page), "0x1000", "0x0"] for page in pages] + extents[1:]


Change = Callable[[dict[str, Any]], object]
BAD: tuple[tuple[str, str, Change], ...] = (
    ("snapshot.json", "not of format", lambda one: one.update(format="relokit.snapshot/2")),
    ("snapshot.json", "no 'banks'", lambda one: one.pop("banks")),
    ("snapshot.json", "no bank", lambda one: one["banks"].clear()),
    ("snapshot.json", "no whole pages", lambda one: one["banks"].append(["0x1", "0x1000"])),
    ("snapshot.json", "do not ascend", lambda one: one["banks"].append(["0x0", "0x1000"])),
    ("snapshot.json", "52 bits", lambda one: one["banks"].append(["0xfffffffffffff000"] * 2)),
    ("snapshot.json", "64-bit number", lambda one: one["banks"][0].__setitem__(0, 1 << 30)),
    ("snapshot.json", "in no bank", lambda one: one["extents"][-1].__setitem__(0, "0x80000000")),
    ("snapshot.json", "RAM file of", lambda one: one["extents"][-1].__setitem__(2, "0x100000")),
    ("snapshot.json", "several PAs", lambda one: one.update(extents=same_bytes(one["extents"]))),
    ("snapshot.json", "'sha256'", lambda one: one["kernel"].update(sha256="x")),
    ("snapshot.json", "no file's name", lambda one: one["kernel"].update(name="../x")),
    ("snapshot.json", "true or false", lambda one: one["kernel"].update(included=1)),
    ("registers.json", "lacks X7, PC", lambda one: without(one["cpus"][0], "X7", "PC")),
    ("registers.json", "'cpu' is 2", lambda one: one.update(cpu=2)),
    ("registers.json", "'cpu' is not", lambda one: one.update(cpu=True)),
    ("registers.json", "'power' is none", lambda one: one["cpus"][1].update(power="asleep")),
    ("registers.json", "name that is none", lambda one: named(one["cpus"][1], "\x1b", "0x0")),
    ("registers.json", "64-bit", lambda one: named(one["cpus"][1], "PC", "0x" + "1" * 17)),
    ("devices.json", "GICR_CTLR", lambda one: one["redistributors"][0].pop("GICR_CTLR")),
    ("devices.json", "GITS_CREADR", lambda one: one["its"][0].update(GITS_CREADR=1)),
    ("devices.json", "9 entries", lambda one: one["its"][0].update(GITS_BASER=["0x0"] * 9)),
)  # fmt: skip


@pytest.mark.parametrize(("name", "message", "change"), BAD)
def test_what_is_not_as_it_must_be_is_named(
    tmp_path: Path, name: str, message: str, change: Change
) -> None:
    path = write(tmp_path) / name
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(FormatError, match=message) as told:
        read_snapshot(path.parent)
    assert str(path) in str(told.value)


def test_files_that_are_missing_cut_off_or_someone_elses_are_named(tmp_path: Path) -> None:
    place = write(tmp_path)
    with pytest.raises(FormatError, match="no directory"):
        read_snapshot(tmp_path / "memory")
    ram = place / "ram"
    whole = ram.read_bytes()
    ram.write_bytes(whole[:-1])
    with pytest.raises(FormatError, match=f"RAM file of {len(whole) - 1:,}"):
        read_snapshot(place)
    ram.unlink()
    with pytest.raises(FormatError, match="no such file"):
        read_snapshot(place)
    ram.symlink_to("/dev/zero")
    with pytest.raises(FormatError, match="symbolic link"):
        read_snapshot(place)
    devices = place / "devices.json"
    ram.unlink()
    ram.write_bytes(whole)
    devices.unlink()
    # Not one that was left out.
    devices.symlink_to("nowhere")
    with pytest.raises(FormatError, match="symbolic link"):
        read_snapshot(place)
    devices.unlink()
    registers = place / "registers.json"
    ram.unlink()
    ram.write_bytes(whole)
    for text, message in (
        ("[" * 100_000, "nested deeper"),
        ("[]", "no JSON object"),
        ("{", "cut off"),
        (" " * (MAX_JSON + 1), "more than"),
    ):
        registers.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_snapshot(place)
    os.unlink(registers)
    os.mkfifo(registers)
    with pytest.raises(FormatError, match="FIFO"):
        read_snapshot(place)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fuzz"))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.just("0x1000")),
    lambda one: st.one_of(
        st.lists(one, max_size=3), st.dictionaries(st.text(max_size=9), one, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    name=st.sampled_from(FILES),
    path=st.lists(st.integers(0, 40), max_size=5),
    value=JSON,
)
def test_whatever_is_in_the_files_is_read_or_refused(
    place: Path, name: str, path: list[int], value: object
) -> None:
    file = place / name
    good = file.read_text()
    whole = json.loads(good)
    holder: Any = {"whole": whole}
    key: Any = "whole"
    for number in path:
        inner = holder[key]
        if not isinstance(inner, (dict, list)) or not inner:
            break
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        holder, key = inner, keys[number % len(keys)]
    holder[key] = value
    file.write_text(json.dumps(whole if key != "whole" else value))
    try:
        read_snapshot(place)
    except FormatError:
        pass
    finally:
        file.write_text(good)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    name=st.sampled_from(FILES),
    data=st.data(),
)
def test_bytes_that_are_cut_or_turned_are_read_or_refused(
    place: Path, name: str, data: st.DataObject
) -> None:
    file = place / name
    good = file.read_bytes()
    bad = bytearray(good[: data.draw(st.integers(0, len(good)))])
    if bad:
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(bad)
    try:
        read_snapshot(place)
    except FormatError:
        pass
    finally:
        file.write_bytes(good)

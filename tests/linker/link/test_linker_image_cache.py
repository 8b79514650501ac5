"""Programs from disk: the same as built, in every state, or built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relokit.building import build_image, build_programs, encoder, programs_for
from relokit.codegen.base.errors import TemplateError
from relokit.codegen.base.file_store import FileStore
from relokit.codegen.build import DEMO, KERNEL, PURGATORY
from relokit.codegen.series import BEFORE, COMPLETE
from relokit.codegen.target import PAGE_SIZES, Regime, Target
from relokit.linker.image import Image
from relokit.linker.link import build_key, image_cache
from relokit.linker.link.image_cache import linked_images, without_cache
from relokit.linker.link.program import build_program
from relokit.linker.stored_image import encode_image
from relokit.runtime.kexec.job import Job, KexecPath
from support.whole import whole

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, on, whatever was edited since the tests began."""
    monkeypatch.setenv("RELOKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build_key, "_started", lambda: 1 << 62)
    return tmp_path / "cache"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was built, not read."""
    names: list[str] = []
    build = image_cache._built

    def counted(recipe, *rest):  # type: ignore[no-untyped-def]
        names.append(recipe.name)
        return build(recipe, *rest)

    monkeypatch.setattr(image_cache, "_built", counted)
    return names


RECIPES = (KERNEL, DEMO, PURGATORY)


def images(target: Target | None = None) -> tuple[Image, ...]:
    return linked_images(RECIPES, target or Target(), encoder)


def test_what_was_built_once_is_read(folder: Path, built: list[str]) -> None:
    first = images()
    assert built == ["kernel", "demo", "purgatory"]
    assert len(os.listdir(folder)) == 3
    assert [whole(image) for image in images()] == [whole(image) for image in first]
    assert len(built) == 3
    images(Target(series=14))
    assert len(built) == 6


@pytest.mark.slow
def test_every_state_page_size_and_regime_is_the_same_read_as_built(
    folder: Path, built: list[str]
) -> None:
    for state in range(BEFORE, COMPLETE + 1):
        for number, page in enumerate(PAGE_SIZES.values()):
            for other_number, regime in enumerate(Regime):
                # One in three, of all pairs of the three.
                if (state + number + other_number) % 3:
                    continue
                target = Target(series=state, page_size=page, regime=regime)
                fresh = [build_program(recipe, target, encoder()).image for recipe in RECIPES]
                images(target)
                built.clear()
                for one, other in zip(images(target), fresh, strict=True):
                    assert whole(one) == whole(other), target.name
                    assert one == other
                assert built == []


def test_off_is_off(folder: Path, built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with without_cache():
        images()
    monkeypatch.setenv("RELOKIT_CACHE", "")
    images()
    assert not folder.exists()
    assert len(built) == 6


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RELOKIT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert image_cache._directory() == tmp_path / "xdg/relokit"
    for no_place in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", no_place)
        assert image_cache._directory() == tmp_path / ".cache/relokit"


@pytest.mark.parametrize("where", ["/proc/none", "/dev/null", "\udcff"])
def test_no_place_for_it_is_no_error(
    folder: Path, built: list[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("RELOKIT_CACHE", where)
    monkeypatch.chdir(folder.parent)
    images()
    assert len(built) >= 3


EDIT = st.tuples(st.integers(0, 40_000), st.integers(0, 60), st.binary(max_size=60))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edit=EDIT)
def test_an_altered_file_is_the_right_program_or_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch, edit: tuple[int, int, bytes]
) -> None:
    right = _kernel()
    monkeypatch.setattr(image_cache, "_built", lambda *_: encode_image(right))
    linked_images((KERNEL,), Target(), encoder)
    (path,) = folder.iterdir()
    stored = path.read_bytes()
    at, size, new = edit
    at %= len(stored) + 1
    path.write_bytes(stored[:at] + new + stored[at + size :])
    assert linked_images((KERNEL,), Target(), encoder) == (right,)
    assert path.read_bytes() == stored  # built and kept again, if it was another


_KERNEL: list[Image] = []


def _kernel() -> Image:
    if not _KERNEL:
        _KERNEL.append(build_program(KERNEL, Target(), encoder()).image)
    return _KERNEL[0]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", encode_image(Image("x", (), (), (), 0))[:-1]]
)
def test_a_file_with_the_right_digest_of_nonsense_is_built(
    folder: Path, built: list[str], content: bytes
) -> None:
    (image,) = linked_images((KERNEL,), Target(), encoder)
    (path,) = folder.iterdir()
    store = FileStore(folder, max_files=9, max_size=1 << 20, max_total=1 << 20)
    store.put(path.stem, content)
    assert linked_images((KERNEL,), Target(), encoder) == (image,)
    assert built == ["kernel", "kernel"]


def test_what_was_edited_while_it_was_built_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    template = mine / "note.S.j2"
    template.write_text("\t.section .a\n")

    def edited(*_: object) -> bytes:
        template.write_text("\t.section .b\n")
        return encode_image(_kernel())

    monkeypatch.setattr(image_cache, "_built", edited)
    linked_images((KERNEL,), Target(), encoder, overrides=mine)
    assert not folder.exists()


def test_errors_are_errors_each_time(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "note.S.j2").write_text("{{ nowhere }}")
    for _ in range(2):
        with pytest.raises(TemplateError, match="nowhere"):
            build_image(templates=tmp_path)
    assert not folder.exists()


def test_templates_of_ones_own_are_told_apart(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    values = []
    for number in (1, 2, 1):
        (mine / "note.S.j2").write_text(f'\t.section .note.relokit, "a", %note\n\t.long {number}\n')
        # Jinja goes by the date, and a test may write twice in one step of the clock.
        os.utime(mine / "note.S.j2", (number, number))
        values.append(build_image(templates=mine).sections[-1].data)
    assert values == [b"\1\0\0\0", b"\2\0\0\0", b"\1\0\0\0"]
    assert len(os.listdir(folder)) == 2


# Only what jobs use ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "names"),
    [
        (Job(), ["kernel", "demo"]),
        (Job(size=4096), ["kernel"]),
        (Job(kernel=Path("vmlinuz")), ["kernel"]),
        (Job(kernel=Path("vmlinuz"), path=KexecPath.PURGATORY), ["kernel", "purgatory"]),
        (Job(path=KexecPath.PURGATORY), ["kernel", "demo", "purgatory"]),
        (Job(path=KexecPath.HIBERNATE), ["kernel", "demo"]),
    ],
)
def test_a_job_has_built_what_it_uses(job: Job, names: list[str], built: list[str]) -> None:
    programs = programs_for(Target(), job)
    assert built == names
    assert (programs.demo is not None, programs.purgatory is not None) == (
        "demo" in names,
        "purgatory" in names,
    )


def test_jobs_together_have_built_what_any_of_them_uses(built: list[str]) -> None:
    jobs = Job(size=1), Job(size=1, path=KexecPath.PURGATORY)
    programs = programs_for(Target(), *jobs).decoded()
    assert built == ["kernel", "purgatory"]
    everything = build_programs(Target())
    assert (programs.kernel, programs.purgatory) == (
        everything.kernel,
        everything.purgatory,
    )


# Processes ------------------------------------------------------------------------------------

READS = """
import sys
from relokit import Target
from relokit.building import build_image, encoder
image = build_image(Target())
text = image.read(image.symbol("arm64_relocate_new_kernel"), 400)
print(image.sections[0].data.hex() + " " + str(encoder()._child._process is None))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A relokit of one's own to edit, as ``relokit`` on the import path."""
    package = tmp_path / "path" / "relokit"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "api", package, ignore=ignore)
    for room in ("codegen", "templates", "linker", "runtime"):
        shutil.copytree(ROOT / room, package / room, ignore=ignore)
    return package


def _read(tree: Path, cache: Path) -> tuple[str, bool]:
    """What a process of its own is given, and whether Keystone slept."""
    environment = os.environ | {
        "PYTHONPATH": str(tree.parent),
        "RELOKIT_CACHE": str(cache) if cache.name else "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # One that starts in the same step of the clock as an edit might have begun before it.
    time.sleep(3 * build_key._CLOCK_STEP / 1e9)
    done = subprocess.run(
        [sys.executable, "-c", READS],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, asleep = done.stdout.split()
    return code, asleep == "True"


def test_yesterdays_encoder_is_never_served(tree: Path, tmp_path: Path) -> None:
    """An edit of what Keystone is asked through, and back: each time what that code builds."""
    cache = tmp_path / "cache"
    path = tree / "codegen/gas/instructions/encoder.py"
    text = path.read_text()
    line = "        good.append(word)\n"
    assert text.count(line) == 1
    edited = text.replace(line, '        good.append(word if statement != "ret" else b"\\0" * 4)\n')
    before, asleep = _read(tree, cache)
    assert not asleep
    assert _read(tree, cache) == (before, True)
    path.write_text(edited)
    after, asleep = _read(tree, cache)
    assert (after == before, asleep) == (False, False)
    assert _read(tree, cache) == (after, True)
    assert after == _read(tree, Path())[0]
    path.write_text(text)
    assert _read(tree, cache) == (before, True)


def test_processes_with_one_cold_cache_at_the_same_time(tmp_path: Path) -> None:
    environment = os.environ | {"RELOKIT_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", READS], env=environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = {process.communicate(timeout=120)[0].split()[0] for process in running}
    assert len(outputs) == 1
    (kept,) = os.listdir(tmp_path)
    assert kept.endswith(".relokit")

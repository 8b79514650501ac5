"""One call from a recipe to an Image: errors keep their place, overrides and extras arrive."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.codegen.base.errors import AssemblyError, LinkError, TemplateError
from relokit.codegen.build import DEMO, KERNEL
from relokit.codegen.target import Regime, Target
from relokit.linker.link.program import Program, build_program


def build(folder: Path | None = None, **templates: str) -> Program:
    if folder is not None:
        for name, text in templates.items():
            (folder / f"{name.replace('_lds', '.lds')}.j2").write_text(text)
            if "lds" not in name:
                (folder / f"{name}.j2").rename(folder / f"{name}.S.j2")
    return build_program(KERNEL, Target(), encoder(), overrides=folder)


def test_every_step_is_there() -> None:
    program = build()
    assert [item.name for item in program.objects] == [u.name for u in program.source.units]
    assert program.image.name == "kernel"
    assert program.image.entry == program.image.symbol("arm64_relocate_new_kernel")


def test_the_same_target_gives_the_same_bytes() -> None:
    one, two = build().image, build().image
    assert one == two


def test_a_linked_byte_knows_its_template_line() -> None:
    image = build().image
    line = image.line_at(image.entry)
    assert line is not None
    assert line.file == "relocate_kernel.S.j2"
    assert line.text.split() == ["ldr", "x28,", "[x0,", "#24]"]


def test_a_symbol_is_where_its_pieces_say(tmp_path: Path) -> None:
    """The two asserted groups stay within 4 KiB pages of their own."""
    image = build().image
    for name in ("__relocate_new_kernel", "__idmap_text", "__hibernate_exit_text"):
        start, end = image.symbol(f"{name}_start"), image.symbol(f"{name}_end")
        assert start % 4096 == 0
        assert 0 < end - start <= 4096


def test_an_override_is_what_is_built(tmp_path: Path) -> None:
    image = build(tmp_path, note='\t.section .note.relokit, "a", %note\n\t.long 0x12345678\n').image
    [note] = [section for section in image.sections if section.name == ".note.relokit"]
    assert note.data == b"\x78\x56\x34\x12"


@pytest.mark.parametrize(
    ("text", "error", "where", "message"),
    [
        ("\n\tmov x0, {{ nowhere }}\n", TemplateError, "note.S.j2:2", "'nowhere' is undefined"),
        ("\n\n\tfrobnicate x0\n", AssemblyError, "note.S.j2:3", "frobnicate"),
        ("\tbl nowhere\n", LinkError, "note.S.j2:1", "undefined symbol nowhere"),
        ("\t.globl _machine\n_machine:\n\t.globl machine_kexec\nmachine_kexec:\n", LinkError,
         "", "machine_kexec"),
    ],
)  # fmt: skip
def test_errors_name_the_template_and_its_line(
    tmp_path: Path, text: str, error: type[Exception], where: str, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        build(tmp_path, note=text)
    assert where in str(caught.value)


def test_a_broken_assert_of_the_script_stops_with_its_message(tmp_path: Path) -> None:
    """Relocation code that is too long for its 4 KiB is refused as the kernel's build does it."""
    text = (
        '\t.section .kexec_relocate.text, "ax"\n\t.globl arm64_relocate_new_kernel\n'
        "arm64_relocate_new_kernel:\n\t.space 4100\n"
    )
    with pytest.raises(LinkError, match="the kexec relocation code is bigger than 4 KiB"):
        build(tmp_path, relocate_kernel=text)


def test_another_recipe() -> None:
    image = build_program(DEMO, Target(regime=Regime.EL1), encoder()).image
    assert image.entry == image.symbol("_head") == 0

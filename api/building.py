"""Target to programs: what is built before anything can be exported, compared or run."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from relokit.arguments import path_or_none, target_or_default
from relokit.codegen.base.errors import TemplateError
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.kexec_routines import KexecRoutine
from relokit.codegen.target import Target

if TYPE_CHECKING:
    from relokit.codegen.gas.instructions.encoder import Encoder
    from relokit.codegen.kimage_layouts import KimageLayout
    from relokit.codegen.source import Source
    from relokit.linker.foreign.code import ForeignCode
    from relokit.linker.image import Image
    from relokit.linker.kernel.opened import Files
    from relokit.linker.link.image_cache import Sources
    from relokit.linker.link.program import Program
    from relokit.runtime.kexec.job import Job
    from relokit.runtime.kexec.programs import Programs, StoredPrograms


_ONLY_FOR = {
    KexecRoutine.RELOCATION: "relocate_kernel.S.j2",
    KexecRoutine.VECTORS: "trans_pgd.S.j2",
    KexecRoutine.SOFT_RESTART: "cpu_reset.S.j2",
    KexecRoutine.HYP_STUB: "hyp_stub.S.j2",
}
"""Templates of which a kexec runs this routine and nothing else."""


@lru_cache(maxsize=1)
def encoder() -> Encoder:
    """The process's Keystone; imported where something is assembled."""
    from relokit.codegen.gas.instructions.encoder import Encoder

    return Encoder()


def build(target: Target | None = None, *, templates: Path | None = None) -> Program:
    """Render, assemble and link the old kernel's routines for ``target``."""
    from relokit.codegen.build import KERNEL
    from relokit.linker.link.program import build_program

    return build_program(
        KERNEL, target_or_default(target), encoder(), overrides=template_overrides(templates)
    )


def build_image(target: Target | None = None, *, templates: Path | None = None) -> Image:
    """What :func:`build` links, from the cache if it was built before."""
    from relokit.codegen.build import KERNEL
    from relokit.linker.link.image_cache import linked_images

    overrides = template_overrides(templates)
    (image,) = linked_images((KERNEL,), target_or_default(target), encoder, overrides=overrides)
    return image


def build_programs(target: Target | None = None, *, templates: Path | None = None) -> Programs:
    """All that a machine can need: the old kernel, the demo kernel's Image, the purgatory."""
    from relokit.codegen.build import DEMO, KERNEL, PURGATORY
    from relokit.linker.link.image_cache import linked_images
    from relokit.runtime.kexec.programs import Programs

    overrides = template_overrides(templates)
    recipes = (KERNEL, DEMO, PURGATORY)
    return Programs(
        *linked_images(recipes, target_or_default(target), encoder, overrides=overrides)
    )


def sources_of(job: Job, code: ForeignCode | None = None) -> Sources:
    """What programs for ``job`` are built from; ``code`` is what takes the place of ours.

    Raises TemplateError for templates that replace none.
    """
    from relokit.linker.link.image_cache import Sources

    overrides = template_overrides(job.templates)
    if code is None:
        return Sources(overrides)
    for part in code.parts if overrides is not None else ():
        name = _ONLY_FOR.get(part.routine)
        if overrides is not None and name is not None and (overrides / name).is_file():
            raise TemplateError(
                f"does nothing: what runs is {part.symbol} of {part.file}",
                where=str(overrides / name),
                hint="leave it out of --templates, or leave --code-from out",
            )
    return Sources(overrides, code.replacement)


def opened_code(job: Job, files: Files) -> ForeignCode | None:
    """The code that ``job`` has run in place of ours; None if it is ours that runs."""
    if not job.code_files:
        return None
    from relokit.linker.foreign.doors import open_code

    return open_code(job.code_files, files, encoder, job.include_dir)


def layout_in(kernel: Path, files: Files) -> KimageLayout:
    """struct kimage of a kernel that has BTF; raises FormatError for one that has none."""
    from relokit.linker.foreign.doors import layout_in

    return layout_in(kernel, files)


def programs_for(target: Target, *jobs: Job, sources: Sources | None = None) -> StoredPrograms:
    """What machines for ``target`` need to carry out ``jobs``, which share their templates.

    ``sources`` are those of the jobs; who asks for many targets reads them once.
    """
    from relokit.linker.link.image_cache import stored_images
    from relokit.runtime.kexec.programs import StoredPrograms, recipes_for

    recipes = recipes_for(jobs)
    images = stored_images(recipes, target, encoder, sources or sources_of(jobs[0]))
    return StoredPrograms(
        **{recipe.name: image for recipe, image in zip(recipes, images, strict=True)}
    )


def render(target: Target | None = None, *, templates: Path | None = None) -> Source:
    """The old kernel's routines as GNU as text, and the ld script that places them."""
    from relokit.codegen.build import KERNEL, render_recipe

    return render_recipe(KERNEL, target_or_default(target), overrides=template_overrides(templates))


def template_overrides(templates: Path | None) -> Path | None:
    """``templates`` if it is a directory that replaces something; TemplateError if it is not."""
    templates = path_or_none("templates", templates)
    if templates is None:
        return None
    where = str(templates)
    if not templates.is_dir():
        what = "not a directory" if os.path.exists(templates) else "no such directory"
        raise TemplateError(what, where=where, hint="--templates takes a directory of templates")
    known = [path.relative_to(TEMPLATES) for path in TEMPLATES.rglob("*.j2")]
    if not any((templates / name).is_file() for name in known):
        names = ", ".join(sorted(str(name) for name in known))
        raise TemplateError(
            "replaces no template: none of its files has the name of a built-in one",
            where=where,
            hint=f"name them {names}",
        )
    return templates


def without_cache() -> AbstractContextManager[None]:
    """For as long as the context lasts, everything is built, and nothing kept."""
    from relokit.linker.link.image_cache import without_cache

    return without_cache()

"""A command whose options have one value each: of two the last one would count, in silence."""

from __future__ import annotations

from collections.abc import Iterator

import click


class Command(click.Command):
    """As click's, but an option that is given twice is refused, unless it takes several values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; raises UsageError."""
        seen: dict[str | None, str] = {}
        for flag, name in self._given(args):
            if name in seen:
                raise click.UsageError(f"{flag} is given twice: leave one of them out", ctx)
            seen[name] = flag
        return super().parse_args(ctx, args)

    def _given(self, args: list[str]) -> Iterator[tuple[str, str | None]]:
        """The options with one value that are in ``args``, as they are spelt, and their names."""
        options = {
            flag: one
            for one in self.params
            if isinstance(one, click.Option) and not one.is_flag
            for flag in one.opts
        }
        rest = iter(args)
        for word in rest:
            if word == "--":
                return
            flag, equals, _ = word.partition("=")
            attached = bool(equals)
            if flag not in options and word[:1] == "-" and word[1:2] != "-":
                flag, attached = word[:2], len(word) > 2
            option = options.get(flag)
            if option is None:
                continue
            # What may stand without a value is left to click: it is once there, either way.
            if not attached and not isinstance(option.flag_value, str):
                next(rest, None)
            if not option.multiple:
                yield flag, option.name

"""Where the pictures of each line go: names that no other line can have."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from unified_flux.batch.fields import Line
from unified_flux.compare import Candidate
from unified_flux.errors import InvalidRequest, OutputError
from unified_flux.images import EXTENSION
from unified_flux.journal.scratch import Scratch
from unified_flux.output import PLACEHOLDERS, Target, names_of, slug
from unified_flux.request import ImageRequest
from unified_flux.spool import reason
from unified_flux.text import did_you_mean, safe

DEFAULT_TEMPLATE = "{line}-{prompt}-{job}"
OURS = ("line", "id")
# One of them is in every template: else two lines might have one file.
_TELLING = ("line", "id", "job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A folder and a template for names in it.

    Attributes:
        folder: Where they go.
        template: The name, with placeholders.
        force: Whether files that are there may be overwritten.
        scratch: Keeps the names that ids become.
    """

    folder: Path
    template: str = DEFAULT_TEMPLATE
    force: bool = False
    scratch: Scratch = field(repr=False)

    @classmethod
    def of(cls, asked: str | Path, scratch: Scratch, *, force: bool = False) -> Places:
        """A folder, or a folder with a template, as `--out` says it.

        Raises:
            OutputError: When the template cannot tell lines apart.
        """
        text = os.path.expanduser(str(asked))  # noqa: PTH111 - a path object would lose the slash
        path = Path(text)
        is_folder = text.endswith(("/", os.sep)) or path.is_dir() or "{" not in path.name
        if is_folder:
            return cls(folder=path.absolute(), force=force, scratch=scratch)
        _check_template(path.name)
        folder = path.parent.absolute()
        return cls(folder=folder, template=path.name, force=force, scratch=scratch)

    def make(self) -> None:
        """The folder, made where it is missing, and seen to take files.

        Raises:
            OutputError: When it does not.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {safe(self.folder)}: {reason(error)}") from None
        Target(str(self.folder / "{job}"), self.force).check([])

    def target(self, line: Line) -> Target:
        """Where the pictures of one line go."""
        name = self.template.replace("{line}", str(line.number))
        name = name.replace("{id}", slug(line.id or ""))
        return Target(str(self.folder / name), self.force)

    def is_same(self, destination: str | None, line: Line) -> bool:
        """Whether a picture went there under this template, if perhaps from another line's number."""
        name = re.escape(self.template).replace(re.escape("{id}"), re.escape(slug(line.id or "")))
        name = name.replace(re.escape("{line}"), "[0-9]+")
        path = Path(destination or "")
        return path.parent == self.folder and bool(re.fullmatch(name, path.name))

    def require_name(self, line: Line) -> None:
        """Refuse a line whose id does not make a file name of its own, where it has to.

        Raises:
            InvalidRequest: With the line that has it.
        """
        if "{id}" not in self.template or "{line}" in self.template or "{job}" in self.template:
            return
        name = slug(line.id or "").lower()
        if not name:
            raise InvalidRequest(
                f"its pictures are to be called {self.template}, and it has no id",
                next_step="Give it an id, or put {line} into the template.",
            )
        first, count = self.scratch.see(f"file {name}", line.number)
        if count > 1:
            raise InvalidRequest(
                f'its id makes the file name "{name}", which line {first} has too',
                next_step="Put {line} into the template, or choose another id.",
            )

    def claim(self, line: Line, path: Path) -> None:
        """Refuse to write where another line of this run has written, --force or not.

        Raises:
            OutputError: When one has.
        """
        first, _ = self.scratch.see(f"path {path}".lower(), line.number)
        if first != line.number:
            raise OutputError(
                f"{safe(path)} is the picture of line {first}",
                next_step=f"Choose a template that tells lines apart, such as {DEFAULT_TEMPLATE}.",
            )

    def require_free(self, line: Line, request: ImageRequest, candidate: Candidate) -> None:
        """Refuse, before paying, a place where another file stands.

        Raises:
            OutputError: When one does.
        """
        if self.force or "{job}" in self.template:
            return
        target = self.target(line)
        for names in names_of(request, candidate.translation.card):
            for extension in EXTENSION.values():
                path = target.path(names, extension, names["index"], request.n or 1)
                if os.path.lexists(path):
                    raise OutputError(
                        f"{safe(path)} exists already",
                        next_step="--force overwrites it, or choose another --out.",
                    )


def _check_template(template: str) -> None:
    fields = re.findall(r"{(.*?)}", template)
    known = (*OURS, *PLACEHOLDERS)
    for name in fields:
        if name not in known:
            raise OutputError(
                f"--out knows no {{{safe(name, 40)}}}{did_you_mean(name, known)}; it knows {', '.join(known)}"
            )
    if not set(fields) & set(_TELLING):
        raise OutputError(
            f"the template {safe(template, 80)} gives two lines the same file",
            next_step=f"Put {{line}}, {{id}} or {{job}} into it, such as {DEFAULT_TEMPLATE}.",
        )

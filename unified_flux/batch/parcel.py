"""A line of a batch on its way to a worker, as plain JSON: what is asked, and where its pictures go."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unified_flux.batch.wishes import FOR_EVER
from unified_flux.errors import InvalidRequest
from unified_flux.many import Asked
from unified_flux.output import Target
from unified_flux.record import canonical, rebuilt
from unified_flux.references import open_references, opened
from unified_flux.text import safe


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One line.

    Attributes:
        request: As the journal keeps it: references by SHA-256 or URL.
        sources: The paths of its references, None for one that is a URL.
        destination: Where the pictures go, in a folder that all workers share.
        settings: The batch's: provider, model, and what is allowed.
    """

    line: int
    id: str | None
    request: dict[str, Any]
    sources: list[str | None]
    destination: str
    force: bool
    again: bool
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, line: int, id: str | None, asked: Asked, settings: dict[str, Any]) -> Parcel:
        """A line that was made ready to be asked.

        Raises:
            InvalidRequest: When a reference is neither a file nor a URL: workers could not open it.
        """
        references = open_references(asked.request.references)
        for one in references:
            if one.path is None and one.url is None:
                raise InvalidRequest(
                    f"the reference {safe(one.name, 60)} is given as bytes, which no worker can open",
                    next_step="Put it into a file in a folder that all workers share, or give a URL.",
                )
        return cls(
            line=line,
            id=id,
            request=json.loads(json.dumps(canonical(asked.request, references))),
            sources=[one.path for one in references],
            destination=str(asked.destination),
            force=asked.force,
            again=asked.again,
            settings=settings,
        )

    @property
    def target(self) -> Target:
        """Where the pictures go."""
        return Target(self.destination, self.force)

    def asked(self) -> Asked:
        """The line as it is asked here.

        Raises:
            InvalidRequest: When a reference is not here, or is not what it was.
            OutputError: When the folder of the pictures is not here, or takes no files.
        """
        request = opened(rebuilt(self.request, self.sources))
        wanted = [one.get("sha256") for one in self.request.get("references", ())]
        found = [one.origin.sha256 or None for one in request.references]  # type: ignore[union-attr]
        for source, before, now in zip(self.sources, wanted, found, strict=True):
            if source is not None and before != now:
                raise InvalidRequest(
                    f"{safe(source, 120)} is not the picture that was enqueued",
                    next_step="Put the same file there, or submit the batch again.",
                )
        Target(str(Path(self.destination).parent / "{job}"), self.force).check([])
        return Asked(
            request=request,
            again=self.again,
            destination=self.destination,
            force=self.force,
            same_within=FOR_EVER,
            patient=True,
        )

    def to_json(self) -> dict[str, Any]:
        """What a queue keeps."""
        return asdict(self)

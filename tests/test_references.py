"""References: what is opened, what is refused and with which words, and that bytes stay out of memory."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unified_flux import InvalidRequest, Reference
from unified_flux.references import MAX_BYTES, open_references
from unified_flux.wire import BLOCK, OpenedReference

MakePng = Callable[..., bytes]


def opened(origin: Any) -> OpenedReference:
    return open_references([Reference(origin)])[0]


def content(reference: OpenedReference) -> bytes:
    assert reference.source is not None
    return b"".join(reference.source.blocks())


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def data(make_png: MakePng) -> bytes:
    """A picture that spans several blocks and ends in the middle of one."""
    return make_png(filler=2 * BLOCK + 1234)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "view", "data", "file", "pipe"])
def test_every_kind_of_origin_gives_the_same_facts_and_the_same_bytes_twice(
    kind: str, data: bytes
) -> None:
    """Size, type, pixels and sha256 are known, and the bytes can be sent more than once."""
    Path("den.png").write_bytes(data)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    origin: Any = {
        "path": Path("den.png"),
        "text": "den.png",
        "bytes": data,
        "view": memoryview(data),
        "data": uri(data),
        "file": io.BytesIO(data),
        "pipe": Pipe(data),
    }[kind]
    reference = opened(origin)
    assert (reference.mime, reference.width, reference.height) == ("image/png", 64, 48)
    assert reference.size == len(data)
    assert reference.sha256 == hashlib.sha256(data).hexdigest()
    assert content(reference) == content(reference) == data


def test_blocks_join_up_as_base64(data: bytes) -> None:
    """Every block but the last has the agreed length, so that base64 needs no padding inside."""
    Path("den.png").write_bytes(data)
    for origin in (Path("den.png"), data, uri(data), io.BytesIO(data)):
        source = opened(origin).source
        assert source is not None
        sizes = [len(block) for block in source.blocks()]
        assert set(sizes[:-1]) == {BLOCK}


def test_a_file_object_is_read_from_where_it_stands(data: bytes) -> None:
    """What the caller has read already is not sent."""
    file = io.BytesIO(b"header" + data)
    file.seek(6)
    assert content(opened(file)) == data


def test_a_url_is_handed_on_unopened() -> None:
    """The provider fetches it; here only its shape is judged."""
    reference = opened("https://cdn.example.com/den.png")
    assert (reference.url, reference.source) == ("https://cdn.example.com/den.png", None)


def _cut(data: bytes) -> bytes:
    return data[:-20]


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda png, jpeg: Path("gone.png"), "does not exist"),
        (lambda png, jpeg: Path.cwd(), "is a folder"),
        (lambda png, jpeg: "\0.png", "cannot be read"),
        (lambda png, jpeg: b"just text", "is not a PNG, JPEG, WebP or GIF"),
        (lambda png, jpeg: b"", "is not a PNG"),
        (lambda png, jpeg: png(filler=5000)[:-20], "cut off"),
        (lambda png, jpeg: jpeg[:-10], "cut off"),
        (lambda png, jpeg: png()[:16] + b"\xff\xff\xff\x00\xff\xff\xff\x00" + png()[24:], "pixels"),
        (lambda png, jpeg: "file:///etc/passwd", "only https"),
        (lambda png, jpeg: "http://example.com/a.png", "only https"),
        (lambda png, jpeg: "https://192.168.1.1/a.png", "private"),
        (lambda png, jpeg: "data:image/png,plain", "without base64"),
        (lambda png, jpeg: "data:image/png;base64,%%%%", "broken"),
        (lambda png, jpeg: io.StringIO("text"), "mode 'rb'"),
        (lambda png, jpeg: 7, "is a int"),
    ],
)
def test_an_unusable_reference_says_why(
    prepare: Callable[[MakePng, bytes], Any], says: str, make_png: MakePng, jpeg: bytes
) -> None:
    """Each refusal is one sentence with the cause."""
    with pytest.raises(InvalidRequest) as caught:
        opened(prepare(make_png, jpeg))
    assert says in str(caught.value)
    assert caught.value.exit_code == 3


def test_every_unusable_reference_is_told_at_once() -> None:
    """Two bad references are two problems of one error."""
    with pytest.raises(InvalidRequest) as caught:
        open_references([Reference("a.png"), Reference("b.png")])
    assert len(caught.value.problems) == 2


def test_a_text_file_named_png_is_found_out() -> None:
    """The name says nothing, the first bytes do."""
    Path("fake.png").write_text("hello")
    with pytest.raises(InvalidRequest, match="whatever it is called"):
        opened("fake.png")


def test_a_huge_file_is_refused_by_its_size_without_reading_it() -> None:
    """The size comes from the file system."""
    with Path("huge.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InvalidRequest, match="more than any provider takes"):
        opened("huge.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_not_waited_for() -> None:
    """Only regular files are opened by path."""
    os.mkfifo("pipe.png")
    with pytest.raises(InvalidRequest, match="not a regular file"):
        opened("pipe.png")


def test_a_file_that_changes_after_the_check_is_not_sent(make_png: MakePng) -> None:
    """What was checked is what is sent, or nothing is."""
    path = Path("den.png")
    path.write_bytes(make_png())
    reference = opened(path)
    path.write_bytes(make_png(filler=10))
    with pytest.raises(InvalidRequest, match="has changed"):
        content(reference)


def test_bytes_are_never_copied(data: bytes) -> None:
    """The blocks of a bytes object are views of it."""
    source = opened(data).source
    assert source is not None
    assert all(isinstance(block, memoryview) and block.obj is data for block in source.blocks())

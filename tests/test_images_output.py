"""Pictures out: sniffing, the spool, names, no overwriting, and files that are whole or absent."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from unified_flux import OutputError
from unified_flux.errors import DownloadFailed, OutcomeUnknown
from unified_flux.images import HEAD, is_whole, sniff
from unified_flux.output import Target, slug, write_sidecar
from unified_flux.spool import Spool, write_whole

MakePng = Callable[..., bytes]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}),
     ("WEBP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\0\0MM\0*" + bytes(40)})],
)  # fmt: skip
def test_the_header_tells_what_pillow_tells(kind: str, options: dict[str, object]) -> None:
    """Format and pixels agree with a full decoder for every kind that FLUX providers send."""
    kept = io.BytesIO()
    Image.new("RGB", (123, 77), "orange").save(kept, kind, **options)
    data = kept.getvalue()
    header = sniff(data[:HEAD])
    assert header is not None
    assert (header.format, header.width, header.height) == (kind.lower(), 123, 77)
    assert is_whole(header, data[:HEAD], data[-4096:], len(data))
    if kind != "GIF":
        assert not is_whole(header, data[:HEAD], data[:-12][-4096:], len(data) - 12)


@given(st.binary(max_size=200))
def test_sniffing_never_fails(data: bytes) -> None:
    """Any bytes at all are sniffed without an exception, behind every magic number."""
    magics = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a")
    for magic in magics:
        sniff(magic + data)


def test_the_spool_keeps_bytes_under_their_true_kind(tmp_path: Path, jpeg: bytes) -> None:
    """The suffix follows the bytes, and size, sha256 and head are known."""
    kept = Spool(tmp_path / "spool").take([jpeg[:10], jpeg[10:]])
    assert kept.path.suffix == ".jpg"
    assert kept.read() == jpeg
    assert kept.size == len(jpeg)
    assert kept.path.stat().st_mode & 0o777 == 0o600


def _break_after(blocks: list[bytes], error: BaseException) -> Iterator[bytes]:
    yield from blocks
    raise error


def test_a_download_that_breaks_leaves_nothing_in_the_spool(tmp_path: Path) -> None:
    """Half a picture is no picture."""
    spool = Spool(tmp_path / "spool")
    with pytest.raises(OutcomeUnknown):
        spool.take(_break_after([b"half"], OutcomeUnknown("cut")))
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_full_disk_sends_the_next_fetch_to_a_spare_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jpeg: bytes
) -> None:
    """A paid picture is not lost because the home's disk is full."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    full = OSError(errno.ENOSPC, "No space left on device")
    spool = Spool(tmp_path / "spool")
    with pytest.raises(OutcomeUnknown, match="the disk is full"):
        spool.take(_break_after([b"half"], full))
    assert spool.take([jpeg]).read() == jpeg
    with pytest.raises(DownloadFailed) as caught:
        spool.take(_break_after([b"half"], full))
    assert "UNIFIED_FLUX_HOME" in str(caught.value)


def test_old_pictures_leave_the_spool_and_young_ones_stay(tmp_path: Path, jpeg: bytes) -> None:
    """The spool is purged by age."""
    spool = Spool(tmp_path / "spool")
    old, young = spool.take([jpeg]), spool.take([jpeg])
    os.utime(old.path, (0, 0))
    spool.purge(60, 1e9)
    assert not old.path.exists()
    assert young.path.exists()


def test_purging_touches_nothing_but_what_the_spool_wrote(tmp_path: Path, jpeg: bytes) -> None:
    """A person's own old file in that folder stays, and a linked folder is left alone."""
    spool = Spool(tmp_path / "spool")
    kept = spool.take([jpeg])
    own = tmp_path / "spool" / "thesis.doc"
    own.write_text("mine")
    for path in (own, kept.path):
        os.utime(path, (0, 0))
    (tmp_path / "link").symlink_to(tmp_path / "spool")
    Spool(tmp_path / "link").purge(60, 1e9)
    assert kept.path.exists()
    spool.purge(60, 1e9)
    assert own.exists()
    assert not kept.path.exists()


def test_every_picture_that_meets_a_full_disk_may_try_the_spare_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at once: each is told to fetch again, none that the spare failed it never saw."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full = OSError(errno.ENOSPC, "No space left on device")
    spool = Spool(tmp_path / "spool")

    def broken() -> Iterator[bytes]:
        yield b"half"
        other = Spool.take
        if not tried:
            tried.append(1)
            with pytest.raises(OutcomeUnknown):
                other(spool, _break_after([b"half"], full))
        raise full

    tried: list[int] = []
    with pytest.raises(OutcomeUnknown, match=re.escape(str(tmp_path / "spool"))):
        spool.take(broken())


@pytest.mark.parametrize(
    ("asked", "says"),
    [("", "not standard output"), ("-", "not standard output"), ("x" * 300, "longer than")],
)
def test_a_name_that_is_none_is_refused(asked: str, says: str) -> None:
    """Empty, a dash, and a name that no disk takes."""
    with pytest.raises(OutputError, match=says):
        Target(asked).check([{}])


def test_a_name_made_of_long_pieces_is_cut(tmp_path: Path) -> None:
    """A template cannot make a name that the disk refuses after paying."""
    target = Target("{prompt}{prompt}{prompt}{prompt}.png")
    path = target.path({"prompt": "fox " * 100}, ".png", 1, 1)
    assert len(path.name) < 200


def test_a_sidecar_of_another_picture_is_in_the_way(tmp_path: Path) -> None:
    """It would describe the wrong picture."""
    Path("fox.png.json").touch()
    with pytest.raises(OutputError, match=r"fox\.png\.json exists"):
        Target("fox.png").check([{}])


def test_every_suffix_that_the_model_may_send_is_checked() -> None:
    """A model without a choice of format may send any."""
    Path("fox.jpg").touch()
    with pytest.raises(OutputError, match=r"fox\.jpg exists"):
        Target("fox.png").check([{}], ("png", "jpeg"))
    Target("fox.png").check([{}], ("png",))


def test_saving_writes_the_bytes_untouched_and_overwrites_nothing(
    tmp_path: Path, jpeg: bytes
) -> None:
    """A second save needs force; the provider's bytes are kept to the bit."""
    kept = Spool(tmp_path / "spool").take([jpeg])
    assert kept.save("fox.jpg") == Path("fox.jpg")
    assert Path("fox.jpg").read_bytes() == jpeg
    Path("fox.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already") as caught:
        kept.save("fox.jpg")
    assert str(kept.path) in str(caught.value)
    assert Path("fox.jpg").read_bytes() == b"mine"
    kept.save("fox.jpg", force=True)
    assert Path("fox.jpg").read_bytes() == jpeg
    assert sorted(path.name for path in Path().iterdir()) == ["fox.jpg"]


def test_a_disk_that_fills_up_while_saving_keeps_the_picture_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jpeg: bytes
) -> None:
    """The error names the file in the spool, and no half file is left."""
    kept = Spool(tmp_path / "spool").take([jpeg])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        kept.save("fox.jpg")
    assert f"kept at {kept.path}" in str(caught.value)
    assert list(Path().iterdir()) == []
    assert kept.read() == jpeg


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """A symbolic link under the name counts as a file that exists."""
    Path("fox.jpg").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_whole(Path("fox.jpg"), [b"x"])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("text", "piece"),
    [("a red fox!", "a-red-fox"), ("../../etc/passwd", "etc-passwd"), ("..", ""), ("-rf", "rf"),
     ("CON", "CON-"), ("com1.txt", "com1.txt-"), ("Füchse", "Fuchse"), ("শিয়াল", ""), ("a\0b\nc", "a-b-c")],
)  # fmt: skip
def test_a_slug_is_a_harmless_piece_of_a_name(text: str, piece: str) -> None:
    """Separators, leading dots and dashes, control characters and device names do not survive."""
    assert slug(text) == piece


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=300), st.integers(1, 3))
def test_no_prompt_leads_out_of_the_folder(prompt: str, count: int) -> None:
    """Whatever stands in a placeholder, the file stays in the folder and has a name."""
    target = Target("out/{prompt}-{seed}.png")
    path = target.path({"prompt": prompt, "seed": "../../x"}, ".png", 1, count)
    assert path.parent == Path("out")
    assert 0 < len(path.name) < 200
    assert not path.name.startswith((".", "-"))


def test_names_follow_what_was_asked(tmp_path: Path) -> None:
    """File, folder, template and nothing at all each give a name; several pictures are numbered."""
    Path("out").mkdir()
    values = {"prompt": "a fox", "job": "task_1", "seed": 7, "index": 2}

    def name(asked: str | None, extension: str = ".png", index: int = 2, count: int = 1) -> str:
        return str(Target(asked).path(values, extension, index, count))

    assert name("fox.png") == "fox.png"
    assert name("fox.png", count=3) == "fox-2.png"
    assert name("fox.jpeg", ".jpg") == "fox.jpeg"
    assert name("fox.png", ".jpg") == "fox.jpg"
    assert name("fox", ".jpg") == "fox.jpg"
    assert name("v1.2", ".jpg") == "v1.2.jpg"
    assert name("out") == "out/a-fox-task_1.png"
    assert name("out/") == "out/a-fox-task_1.png"
    assert name(None) == "a-fox-task_1.png"
    assert name("{seed}/{index}.png") == "{seed}/2.png"
    assert name("{prompt}-{seed}.png", count=3) == "a-fox-7.png"
    assert name("{prompt}.png", count=3) == "a-fox-2.png"
    assert name("{index}.png", count=3) == "2.png"


@pytest.mark.parametrize(
    ("asked", "says"),
    [("gone/fox.png", "mkdir -p gone"), ("gone/", "mkdir -p gone"), ("taken.png", "--force"),
     ("file.txt/fox.png", "is not a folder"), ("{nonsense}.png", "{nonsense}")],
)  # fmt: skip
def test_a_place_that_cannot_take_a_picture_is_refused_before_paying(asked: str, says: str) -> None:
    """The next step stands in the error."""
    Path("taken.png").touch()
    Path("file.txt").touch()
    with pytest.raises(OutputError) as caught:
        Target(asked).check([{}])
    assert says in str(caught.value)


def test_a_template_whose_name_is_taken_is_refused_before_paying() -> None:
    """Every placeholder but the job is known beforehand, whatever suffix the picture will have."""
    Path("a-fox.jpg").touch()
    names = [{"prompt": "a fox", "seed": 7}]
    with pytest.raises(OutputError, match="exists already"):
        Target("{prompt}").check(names)
    Target("{prompt}-{seed}").check(names)
    Target("{prompt}-{job}").check(names)


def test_a_folder_that_takes_no_file_is_refused_before_paying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Permissions may say yes where the disk says no: a probe is written."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(OutputError, match="cannot be written to: read-only file system"):
        Target("fox.png").check([{}])


def test_every_numbered_name_is_checked_before_paying() -> None:
    """The second of three names being taken stops all three."""
    Path("fox-2.png").touch()
    with pytest.raises(OutputError, match=r"fox-2\.png"):
        Target("fox.png").check([{}] * 3)
    Target("fox.png", force=True).check([{}] * 3)


def test_a_sidecar_stands_beside_its_picture() -> None:
    """`fox.png` has `fox.png.json`."""
    assert write_sidecar(Path("fox.png"), {"a": 1}) == Path("fox.png.json")


def test_a_picture_appended_to_is_still_whole(make_png: MakePng) -> None:
    """Bytes behind the end do not make a picture broken; a wrong size field does not help a cut one."""
    data = make_png()
    header = sniff(data)
    assert header is not None
    assert is_whole(header, data, data + b"<script>", len(data) + 8)
    webp = b"RIFF" + struct.pack("<I", 1000) + b"WEBPVP8 " + bytes(20)
    found = sniff(webp)
    assert found is not None
    assert not is_whole(found, webp, webp, len(webp))

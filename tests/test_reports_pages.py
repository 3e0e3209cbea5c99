"""Pages made from values: what is foreign stays text, nothing is loaded, what is unknown is said in words."""

from __future__ import annotations

import base64
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from rich.cells import cell_len

from unified_flux.report import Entry, Outcome
from unified_flux.reports.chart import Bar, bars, lines
from unified_flux.reports.costs_page import costs_page
from unified_flux.reports.gallery import Exhibit, gallery
from unified_flux.reports.page import node, page
from unified_flux.reports.thumbnails import MOST_PIXELS, thumbnail
from unified_flux.text import safe

deterministic = settings(derandomize=True, deadline=None, database=None)
MakePng = Callable[..., bytes]

HOSTILE = [
    '<script>alert("1")</script>',
    "</title></style></svg><img src=https://example.com/x onerror=alert(1)>",
    "\" onload='alert(1)' x=\"",
    "<!-- --> ]]> &lt;b&gt; &amp;amp; &#60;",
    "abc \u202egnp.exe\u2066 \x1b[31mred\x1b[0m \x00",
    "🦊 লাল শিয়াল",
    "url(https://example.com/x) @import 'https://example.com/y'",
]


class Reader(HTMLParser):
    """What a browser would find on a page: elements, attributes and texts."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "link", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """All but the words; a chart breaks a text into as many lines as it takes."""
        return [(tag, sorted(attrs)) for tag, attrs in self.elements if tag != "text"]

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)

    def having(self, class_: str) -> list[tuple[str, dict[str, str]]]:
        return [(tag, attrs) for tag, attrs in self.elements if attrs.get("class") == class_]


def entry(field: str, outcome: Outcome, said: object, became: object, reason: str = "") -> Entry:
    return Entry(field=field, outcome=outcome, said=said, became=became, reason=reason or None)


@pytest.fixture
def fox(tmp_path: Path, make_png: MakePng) -> Path:
    """A picture on disk."""
    path = tmp_path / "fox.png"
    path.write_bytes(make_png(320, 200))
    return path


def exhibit(*pictures: Path, **changes: object) -> Exhibit:
    made = Exhibit(
        provider="rivya",
        model="flux-kontext-pro",
        sandbox=False,
        pictures=pictures,
        entries=(entry("aspect_ratio", Outcome.APPROXIMATED, "3:2", "4:3", "takes 4:3"),),
        quoted="4 credits (documented, exact)",
        charged="4 credits (billed)",
        usd=Decimal("0.02"),
        usd_basis="configured",
        seconds=3.42,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def shown(*exhibits: Exhibit, prompt: str = "a red fox") -> Reader:
    return Reader(gallery(prompt, exhibits, made_at="25 November 2026", total="0.02 USD"))


def loads(found: Reader) -> list[str]:
    """Every place that a page would load from or lead to."""
    names = ("src", "href", "srcset", "data", "poster", "action", "xlink:href", "background")
    places = [attrs[name] for _, attrs in found.elements for name in names if name in attrs]
    return places + [attrs["style"] for _, attrs in found.elements if "style" in attrs]


# ---------------------------------------------------------------- foreign text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_wherever_it_comes_from(text: str, tmp_path: Path) -> None:
    """A prompt, names, notes, errors, reasons and file names bring no element and no attribute."""

    def write(word: str) -> Reader:
        told = entry(word, Outcome.CONVERTED, word, [word], word)
        odd = tmp_path / (word.translate({ord("/"): "_", 0: "_"})[:60] + ".png")
        made = exhibit(odd, provider=word, model=word, entries=(told,), quoted=word, charged=word)
        made = replace(made, error=word, notes=(word,), usd=None)
        return Reader(gallery(word, [made, made], made_at=word, total=word))

    found, calm = write(text), write("calm")
    assert found.shape == calm.shape
    assert safe(text) in found.text
    assert not set("\x1b\x00\u202e\u2066") & set(found.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_on_the_cost_page(text: str) -> None:
    """Titles, heads, cells, bars and notes bring no element either."""

    def write(word: str) -> Reader:
        bar = Bar(label=word[:8], value=Decimal(1), said=word[:8], note=word[:8])
        return Reader(costs_page(word, [word], [[word]], [bar], [word]))

    found, calm = write(text), write("calm")
    assert found.shape == calm.shape
    assert safe(text) in found.text


@deterministic
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_the_same_text_on_the_page(body: str, attribute: str) -> None:
    """Whatever is written into an element or an attribute is read back as it was, made harmless."""
    found = Reader(page(body, node("p", body, node("b"), body), node("i", title=attribute)))
    tags = [tag for tag, _ in found.elements]
    assert tags[:4] + tags[-5:] == ["html", "head", "meta", "meta", "body", "main", "p", "b", "i"]
    assert "".join(found.texts).replace("\n", "") == safe(body, 120) + safe(body) * 2
    assert found.elements[-1][1] == {"title": safe(attribute)}


def test_a_long_text_is_cut_and_says_so() -> None:
    """A prompt without end does not make a page without end."""
    found = shown(exhibit(), prompt="fox " * 100_000)
    assert len(found.text) < 10_000
    assert [text[-4:] for text in found.texts if len(text) == 4000] == ["fox…"]


# ---------------------------------------------------------------- a page of one file


def test_a_page_loads_nothing_and_runs_nothing(fox: Path) -> None:
    """No script, no handler, and no address but data: on either page; the policy forbids the rest."""
    for markup in (
        gallery("a red fox", [exhibit(fox)], made_at="now", total="0"),
        costs_page("Costs", ["Provider"], [["rivya"]], [], []),
    ):
        found = Reader(markup)
        assert markup.startswith("<!doctype html>\n<html lang=")
        assert not {"script", "iframe", "object", "embed", "base", "form", "a"} & {
            tag for tag, _ in found.elements
        }
        assert all(place.startswith("data:") for place in loads(found))
        assert not [name for _, attrs in found.elements for name in attrs if name[:2] == "on"]
        assert "url(" not in found.style
        assert "@import" not in found.style
        metas = [attrs for tag, attrs in found.elements if tag == "meta"]
        assert {"charset": "utf-8"} in metas
        assert metas[1]["http-equiv"] == "Content-Security-Policy"
        for rule in ("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"):
            assert rule in metas[1]["content"]
    assert found.count("img") == 0


def test_the_page_names_no_folder_of_the_reader(fox: Path) -> None:
    """A picture's name is shown, the folders that it lies in are not."""
    found = shown(exhibit(fox))
    assert "fox.png" in found.text
    assert str(fox.parent) not in gallery("x", [exhibit(fox)], made_at="", total="")


# ---------------------------------------------------------------- exhibits


def test_a_card_tells_all_that_is_known(fox: Path) -> None:
    """Provider, model, size, format, quote, charge, time and notes; alt text names the prompt."""
    found = shown(exhibit(fox, notes=("asked for 4:3, got 8:5",)))
    for told in ("rivya", "flux-kontext-pro", "320 × 200 PNG", "4 credits (documented, exact)",
                 "4 credits (billed)", "3.4 s", "asked for 4:3, got 8:5", "Total: 0.02 USD"):  # fmt: skip
        assert told in found.text
    (alt,) = [attrs["alt"] for tag, attrs in found.elements if tag == "img"]
    assert alt == "rivya's picture of: a red fox"
    assert found.count("figure") == 1


def test_several_pictures_are_told_apart(fox: Path) -> None:
    """Each picture of one provider says which of them it is."""
    found = shown(exhibit(fox, fox))
    assert found.count("img") == 2
    assert "1 of 2, " in found.text
    assert "2 of 2, " in found.text


def test_no_picture_says_why() -> None:
    """An exhibit without a picture shows its error, and no image."""
    found = shown(exhibit(error="the prompt was refused", seconds=None))
    assert found.count("img") == 0
    assert "No picture. " in found.text
    assert "the prompt was refused" in found.text
    assert "not known" in found.text


def test_a_file_that_is_no_picture_is_said_in_words(tmp_path: Path) -> None:
    """A missing file leaves the card whole, with its name."""
    found = shown(exhibit(tmp_path / "gone.png"))
    assert found.count("img") == 0
    assert "this picture cannot be shown here" in found.text
    assert "gone.png" in found.text


def test_the_sandbox_is_marked(fox: Path) -> None:
    """The badge is there for the sandbox alone, on the card and at the bar."""
    assert [tag for tag, _ in shown(exhibit(fox, sandbox=True)).having("badge")] == ["span"]
    assert "/flux-kontext-pro (sandbox)" in shown(exhibit(fox, sandbox=True)).text
    assert shown(exhibit(fox)).having("badge") == []


def test_an_unknown_cost_has_words_and_no_bar() -> None:
    """What nobody said is neither zero nor a bar; zero is a bar of no length."""
    unknown = shown(exhibit(usd=None, usd_basis=None, charged="cost unknown"))
    assert unknown.having("bar") == []
    assert "no amount in USD" in unknown.text
    assert "0 USD" not in unknown.text.replace("0.02 USD", "")
    nothing = shown(exhibit(usd=Decimal(0), charged="nothing was charged"))
    assert [attrs["width"] for _, attrs in nothing.having("bar")] == ["0.00%"]
    assert "0 USD" in nothing.text


def test_fields_that_end_differently_are_marked_in_words() -> None:
    """A row is marked where providers differ, also where one of them reports nothing."""
    one = (
        entry("seed", Outcome.DROPPED, 7, None, "has no parameter for it"),
        entry("aspect_ratio", Outcome.APPROXIMATED, "3:2", "4:3"),
        entry("translate_prompt", Outcome.NATIVE, True, "true"),
        entry("watermark", Outcome.NATIVE, "x", "x"),
    )
    two = (
        entry("seed", Outcome.NATIVE, 7, 7),
        entry("aspect_ratio", Outcome.APPROXIMATED, "3:2", "16:9"),
        entry("translate_prompt", Outcome.NATIVE, True, 1),
    )
    found = shown(exhibit(entries=one), exhibit(entries=two))
    assert len(found.having("differs")) == 3
    assert found.texts.count("≠ differs") == 3
    assert "3:2 → 4:3" in found.text
    assert "3:2 → 16:9" in found.text
    assert "has no parameter for it" in found.text
    assert "not reported" in found.text
    assert [attrs["tabindex"] for _, attrs in found.having("scroll")] == ["0"]
    assert [attrs["role"] for _, attrs in found.having("scroll")] == ["region"]
    assert [attrs["aria-label"] for _, attrs in found.having("scroll")] == [
        "What became of each field"
    ]


def test_fields_that_end_the_same_are_not_marked() -> None:
    """Two providers that did the same are not told apart."""
    found = shown(exhibit(), exhibit(provider="vtrix"))
    assert found.having("differs") == []
    assert "≠ differs" not in found.texts


def test_a_comparison_of_nobody_says_so() -> None:
    """No exhibit and no field are told in words."""
    assert "No provider was asked." in shown().text
    assert "No field was reported." in shown(exhibit(entries=())).text


# ---------------------------------------------------------------- thumbnails


def decoded(uri: str) -> Image.Image:
    kind, _, data = uri.partition(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert kind == f"data:image/{str(picture.format).lower()}"
    picture.load()
    return picture


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"),
    ("JPEG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("GIF", "P"), ("PNG", "RGBA")])  # fmt: skip
def test_an_opaque_picture_becomes_a_small_jpeg(kind: str, mode: str, tmp_path: Path) -> None:
    """Whatever its format, the copy fits, keeps the shape, and the file stays as it is."""
    path = tmp_path / "picture"
    Image.new("RGBA", (1200, 800), (10, 20, 30, 255)).convert(mode).save(path, kind)
    before = path.read_bytes()
    small = thumbnail(path, 300)
    assert small is not None
    assert (small.width, small.height) == (300, 200)
    assert (small.full_width, small.full_height, small.format) == (1200, 800, kind.lower())
    copy = decoded(small.uri)
    assert (copy.format, copy.size) == ("JPEG", (300, 200))
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_what_is_transparent_stays_so(kind: str, tmp_path: Path) -> None:
    """A picture with holes has them in its copy, and red where it is red."""
    path = tmp_path / "picture.png"
    picture = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 30, 40))
    picture.save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
    small = thumbnail(path)
    assert small is not None
    copy = decoded(small.uri)
    assert copy.format == "PNG"
    assert copy.getpixel((5, 5)) == (255, 0, 0, 255)
    assert copy.getpixel((55, 5))[3] == 0  # type: ignore[index]


def test_an_animation_is_shown_by_its_first_frame(tmp_path: Path) -> None:
    """The first of the frames is the picture."""
    path = tmp_path / "moving.gif"
    first, second = (Image.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    first.save(path, "GIF", save_all=True, append_images=[second])
    small = thumbnail(path)
    assert small is not None
    red, green, blue = decoded(small.uri).convert("RGB").getpixel((20, 20))  # type: ignore[misc]
    assert red > 200
    assert green < 60
    assert blue < 60


def test_a_picture_on_its_side_is_turned(tmp_path: Path) -> None:
    """The EXIF orientation is applied, to the copy and to the size that is told."""
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (100, 99), "white")
    picture.paste("black", (0, 0, 100, 20))
    picture.save(path, "JPEG", exif=exif, quality=95)
    small = thumbnail(path)
    assert small is not None
    assert (small.width, small.height, small.full_width, small.full_height) == (99, 100, 99, 100)
    copy = decoded(small.uri).convert("L")
    assert copy.getpixel((95, 50)) < 60  # type: ignore[operator]
    assert copy.getpixel((5, 50)) > 200  # type: ignore[operator]
    assert "exif" not in copy.info


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_what_is_no_readable_picture_has_no_thumbnail(tmp_path: Path, make_png: MakePng) -> None:
    """Missing, a folder, text, cut off, huge: None each time, without a warning."""
    whole = make_png(300, 200)
    written = {
        "text.png": b"<svg onload=alert(1)>",
        "empty.png": b"",
        "cut.png": whole[: len(whole) // 2],
        "head.jpg": b"\xff\xd8\xff\xe0",
        "bomb.png": bomb(60_000, 60_000),
        "large.png": bomb(10_000, MOST_PIXELS // 10_000 + 1),
        "gif.gif": b"GIF89a\xff\xff\xff\xff\0\0\0",
        "webp.webp": b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 30,
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.png").mkdir()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name in [*written, "folder.png", "gone.png"]:
            assert thumbnail(tmp_path / name) is None, name
    assert said == []


def test_a_huge_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cap holds on what the header says: no decoder is asked."""
    path = tmp_path / "large.png"
    path.write_bytes(bomb(10_000, MOST_PIXELS // 10_000 + 1))
    opened: list[object] = []
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: opened.append(args))
    assert thumbnail(path) is None
    assert opened == []


def test_whatever_a_decoder_raises_is_no_picture(
    fox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault inside the decoder ends in no thumbnail, not in a page without an end."""
    for fault in (ValueError, IndexError, struct.error, SyntaxError, Image.DecompressionBombError):

        def decode(*args: object, fault: type[Exception] = fault, **kwargs: object) -> None:
            raise fault("odd bytes")

        monkeypatch.setattr(Image, "open", decode)
        assert thumbnail(fox) is None


def test_a_pipe_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no plain file is not even opened: it could keep us waiting for ever."""
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    opened: list[object] = []
    monkeypatch.setattr(Path, "open", lambda *args: opened.append(args) or io.BytesIO())
    assert thumbnail(pipe) is None
    assert opened == []


# ---------------------------------------------------------------- bars


def bar(value: str | None, label: str = "rivya", said: str = "", note: str = "") -> Bar:
    amount = None if value is None else Decimal(value)
    return Bar(label=label, value=amount, said=said or f"{value} USD", note=note)


def widths(picture: Element) -> list[str]:
    return [found.get("width", "") for found in picture.iter("rect") if found.get("class") == "bar"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2", "1", "0.5"], ["100.00%", "50.00%", "25.00%"]),
        (["3", "3", "3"], ["100.00%"] * 3),
        (["0.000000001"], ["100.00%"]),
        (["0", "0"], ["0.00%", "0.00%"]),
        (["1000000", "0.000001"], ["100.00%", "0.50%"]),
        (["4", None, "0"], ["100.00%", "0.00%"]),
        (["4", "-1", "NaN", "Infinity", "1e999999"], ["100.00%"]),
        ([], []),
    ],
)
def test_bars_are_as_long_as_their_values(values: list[str | None], expected: list[str]) -> None:
    """The longest is whole, zero has no length, the smallest still shows; no number has no bar."""
    assert widths(bars("Cost", [bar(value) for value in values])) == expected


def test_a_chart_says_everything_in_words() -> None:
    """It is an image with a title and a description that tells every row."""
    drawn = bars("Cost", [bar("2", note="billed"), bar(None, "vtrix", "unknown", "no price")])
    assert drawn.get("role") == "img"
    assert drawn.findtext("title") == "Cost"
    assert drawn.findtext("desc") == "rivya: 2 USD, billed; vtrix: unknown, no price"
    texts = [text.text for text in drawn.iter("text")]
    assert set(texts) == {"rivya", "2 USD", "billed", "vtrix", "unknown", "no price"}
    assert [text.text for text in bars("Cost", []).iter("text")] == ["nothing to show"]


@deterministic
@given(
    st.lists(
        st.builds(
            Bar,
            label=st.text(max_size=90),
            value=st.none() | st.decimals(),
            said=st.text(max_size=90),
            note=st.text(max_size=90),
        ),
        max_size=5,
    )
)
def test_rows_of_a_chart_never_overlap(rows: list[Bar]) -> None:
    """Each line lies below the one before, inside the picture, and no letter is lost at its breaks."""
    drawn = bars("Cost", rows)
    height = int(drawn.get("height", ""))
    below: list[float] = []
    for text in drawn.iter("text"):
        at = float(text.get("y", ""))
        assert at < height
        if text.get("text-anchor") != "end":
            below.append(at)
    assert below == sorted(set(below))
    for class_, field in (("label", "label"), ("said", "said"), ("aside", "note")):
        told = "".join(safe(getattr(row, field), 120) for row in rows)
        written = [text.text or "" for text in drawn.iter("text") if text.get("class") == class_]
        if rows:
            assert "".join("".join(written).split()) == "".join(told.split())
    for rect in drawn.iter("rect"):
        assert 0 <= float(rect.get("y", "")) <= height - float(rect.get("height", ""))


# ---------------------------------------------------------------- a terminal

ROWS = [
    bar("12.48", "rivya", "12.48 USD", "configured"),
    bar("6.24", "vtrix", "6.24 USD"),
    bar(None, "bfl", "unknown", "nobody said it"),
    bar("0", "polyfold", "0 USD"),
    bar("0.0001", "tiny", "0.0001 USD"),
]


def test_a_terminal_shows_bars_in_proportion() -> None:
    """Blocks for what is known, words for what is not, no block for nothing, one for next to nothing."""
    first, second, third, fourth, fifth = lines(ROWS, 72)
    assert first.count("█") == pytest.approx(2 * second.count("█"), abs=1)
    assert first.endswith("12.48 USD (configured)")
    assert third == "bfl       unknown (nobody said it)"
    assert "█" not in fourth
    assert fourth.split() == ["polyfold", "0", "USD"]
    assert fifth.split()[1] in set("▏▎▍▌▋▊▉█")
    assert first.index("12.48") == second.index("6.24") == fourth.index("0 USD")


def test_a_terminal_without_letters_gets_ascii() -> None:
    """Not one character beyond ASCII, bars and cuts included."""
    found = lines([*ROWS, bar("3", "লাল শিয়াল" * 9, "3 €", "…")], 60, ascii_only=True)
    assert all(line.isascii() for line in found)
    assert found[0].count("#") == pytest.approx(2 * found[1].count("#"), abs=1)
    assert "#" not in found[3]
    assert found[4].count("#") == 1
    assert "..." in found[5]


@deterministic
@given(
    st.lists(
        st.builds(
            Bar,
            label=st.text(max_size=90),
            value=st.none() | st.decimals() | st.decimals(min_value=0, max_value=100),
            said=st.text(max_size=90),
            note=st.text(max_size=30),
        ),
        max_size=5,
    ),
    st.integers(0, 120),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(rows: list[Bar], width: int, ascii_only: bool) -> None:
    """Whatever stands in a row and however narrow the terminal, one row is one line that fits."""
    found = lines(rows, width, ascii_only=ascii_only)
    assert len(found) == len(rows)
    for line in found:
        assert cell_len(line) <= width
        assert line == safe(line)


def test_shares_are_exact() -> None:
    """Amounts are compared as decimals: a third of the longest is a third of its blocks."""
    long, short = lines([bar("0.3", "a", "x"), bar("0.1", "b", "x")], 60)
    assert Fraction(short.count("█"), long.count("█")) == pytest.approx(Fraction(1, 3), abs=0.02)


# ---------------------------------------------------------------- the cost page


def columns(found: Reader) -> list[bool]:
    """Which cells are set to the right, in the order of the page."""
    return [attrs.get("class") == "amount" for tag, attrs in found.elements if tag in {"th", "td"}]


def test_columns_of_amounts_are_set_to_the_right() -> None:
    """A column is one of amounts where every cell is one or says that it is unknown."""
    heads = ["Provider", "Jobs", "Amount", "Charged", "Day", "Nothing"]
    rows = [
        ["rivya", "312", "4 credits", "0.02 USD", "2026-11-25", "–"],
        ["vtrix", "7", "1,000.50 USD", "unknown", "2026-11-26", ""],
    ]
    found = Reader(costs_page("Costs", heads, rows, [], []))
    assert columns(found) == [False, True, True, True, False, False] * 3
    rows.append(["bfl", "many", "free", "0 USD", "", "-"])
    found = Reader(costs_page("Costs", heads, rows, [], []))
    assert columns(found) == [False, False, False, True, False, False] * 4


def test_the_cost_page_shows_its_chart_table_and_notes() -> None:
    """All three are there, and a part without content is left out."""
    whole = Reader(costs_page("Costs", ["Provider"], [["rivya"]], [bar("1")], ["At your rate."]))
    assert [whole.count(tag) for tag in ("svg", "table", "li")] == [1, 1, 1]
    assert "At your rate." in whole.text
    bare = Reader(costs_page("Costs", ["Provider"], [], [], []))
    assert [bare.count(tag) for tag in ("svg", "table", "li")] == [0, 0, 0]
    assert "Nothing to list." in bare.text


def test_rows_of_any_length_make_a_table() -> None:
    """Short rows are filled up, long ones widen the table; a head without words is no head."""
    found = Reader(costs_page("Costs", ["A"], [[], ["1", "2", "3"]], [], []))
    assert found.count("tr") == 3
    assert found.count("th") == 1
    assert found.count("td") == 8

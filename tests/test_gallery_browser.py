"""The pages in a real browser: nothing foreign, nothing logged, nothing cut off, readable for everybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from unified_flux.report import Entry, Outcome
from unified_flux.reports.chart import Bar
from unified_flux.reports.costs_page import costs_page
from unified_flux.reports.gallery import Exhibit, gallery

TOOLS = Path(__file__).parent / "browser"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
NEEDED = {
    f"no browser at {CHROMIUM}": CHROMIUM.exists(),
    "no node": shutil.which("node") is not None,
    "npm install --prefix tests/browser was not run": all(
        (TOOLS / "node_modules" / name).is_dir() for name in ("playwright-core", "axe-core")
    ),
}
MISSING = [reason for reason, there in NEEDED.items() if not there]
pytestmark = pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))

HOSTILE = "<script>console.error(1)</script><img src=https://example.com/x> \u202e🦊 লাল শিয়াল"
PLANTED = """<!doctype html><title>planted</title><body style="color: #bbb; background: #fff">
<p>Pale words</p><img src="https://example.com/x.png"><div style="width: 3000px">wide</div>
<svg width="30"><text x="9" y="9">too long</text></svg>
<script>console.error("planted"); undefined.call()</script>"""
Views = list[dict[str, Any]]


def entries(seed: Outcome) -> tuple[Entry, ...]:
    return (
        Entry(field="prompt", outcome=Outcome.NATIVE, said=HOSTILE, became=HOSTILE),
        Entry(field="seed", outcome=seed, said=7, reason="the model has no parameter for it"),
        Entry(field="x" * 90, outcome=Outcome.CONVERTED, said="y" * 200, became="z" * 200),
    )


def exhibit(name: str, *pictures: Path, **changes: Any) -> Exhibit:
    facts: dict[str, Any] = {
        "model": "flux-kontext-pro",
        "sandbox": False,
        "entries": entries(Outcome.NATIVE),
        "quoted": "4 credits (documented, exact)",
        "charged": "4 credits (billed)",
        "usd": Decimal("0.02"),
        "usd_basis": "configured",
        "seconds": 3.4,
    }
    return Exhibit(provider=name, pictures=pictures, **{**facts, **changes})


def write_gallery(folder: Path) -> Path:
    """Four exhibits: one plain with several pictures, one unknown, one of the sandbox, one that failed."""
    pictures = [folder / name for name in ("wide.png", "high.jpg", "holes.webp")]
    Image.new("RGB", (640, 300), "teal").save(pictures[0])
    Image.new("RGB", (300, 640), "orange").save(pictures[1])
    Image.new("RGBA", (200, 200), (200, 30, 30, 90)).save(pictures[2])
    unknown = {"usd": None, "usd_basis": None, "charged": "cost unknown"}
    failed = {"error": HOSTILE, "notes": (HOSTILE, "n" * 300), "usd": Decimal(0), "seconds": None}
    made = [
        exhibit("rivya", *pictures),
        exhibit("vtrix", pictures[1], entries=entries(Outcome.DROPPED), **unknown),
        exhibit("sand", pictures[0], folder / "gone.png", sandbox=True, model="m" * 80),
        exhibit("p" * 70, entries=(), **failed),
    ]
    page = folder / "gallery.html"
    page.write_text(gallery(HOSTILE, made, made_at="25 November 2026", total="0.02 USD"), "utf-8")
    return page


def write_costs(folder: Path) -> Path:
    """A cost page with every kind of bar and a table wider than a phone."""
    chart = [
        Bar(label="rivya", value=Decimal(12), said="12 USD", note="configured"),
        Bar(label="W" * 100, value=Decimal("0.0001"), said="W" * 100, note=HOSTILE),
        Bar(label="bfl", value=None, said="unknown", note="nobody said it"),
    ]
    heads = ["Provider", "Model", "Jobs", "Amount", "In USD", "Basis", "Note"]
    rows = [
        ["rivya", "flux-kontext-pro", "312", "1248 credits", "12 USD", "configured", HOSTILE],
        ["vtrix", "flux_kontext_pro", "3", "unknown", "unknown", "unknown", "w" * 300],
    ]
    page = folder / "costs.html"
    page.write_text(costs_page("Costs", heads, rows, chart, [HOSTILE]), "utf-8")
    return page


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Views]:
    """What the browser saw on each page, in six views; it starts once for all."""
    folder = tmp_path_factory.mktemp("pages")
    planted = folder / "planted.html"
    planted.write_text(PLANTED, "utf-8")
    pages = [write_gallery(folder), write_costs(folder), planted]
    done = subprocess.run(
        ["node", str(TOOLS / "check.mjs"), *map(str, pages)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: Views = json.loads(done.stdout)["views"]
    return {page.stem: [view for view in seen if view["file"] == str(page)] for page in pages}


ours = pytest.mark.parametrize("name", ["gallery", "costs"])


@ours
def test_each_page_is_seen_in_every_width_and_both_schemes(
    name: str, views: dict[str, Views]
) -> None:
    """A phone, a tablet and a desktop, dark and light; the two schemes differ in their ground."""
    assert {(view["width"], view["scheme"]) for view in views[name]} == {
        (width, scheme) for width in (360, 768, 1280) for scheme in ("light", "dark")
    }
    grounds = {(view["scheme"], view["background"]) for view in views[name]}
    assert len(grounds) == 2
    assert len({ground for _, ground in grounds}) == 2


@ours
def test_a_page_asks_for_nothing_and_logs_nothing(name: str, views: dict[str, Views]) -> None:
    """No request leaves the file, and the console stays empty, the page's own policy included."""
    assert [view["foreign"] for view in views[name]] == [[]] * 6
    assert [view["console"] for view in views[name]] == [[]] * 6


@ours
def test_axe_finds_nothing(name: str, views: dict[str, Views]) -> None:
    """No violation of WCAG 2.2 AA nor of what is good practice, and rules did apply."""
    assert [view["violations"] for view in views[name]] == [[]] * 6
    assert all(view["passed"] > 20 for view in views[name])


@ours
def test_a_page_is_never_wider_than_its_window(name: str, views: dict[str, Views]) -> None:
    """Long names and wide tables do not push the page beyond a phone, nor words out of a chart."""
    assert [view["overflow"] for view in views[name]] == [0] * 6
    assert [view["spilled"] for view in views[name]] == [[]] * 6


def test_every_picture_of_the_gallery_is_drawn(views: dict[str, Views]) -> None:
    """The browser decodes each thumbnail, in the size that was made."""
    expected = [[480, 225], [225, 480], [200, 200], [225, 480], [480, 225]]
    assert [view["images"] for view in views["gallery"]] == [expected] * 6


def test_the_check_finds_what_is_planted(views: dict[str, Views]) -> None:
    """A page with a foreign picture, errors, a wide block and pale words fails each of the above."""
    for view in views["planted"]:
        assert view["foreign"] == ["https://example.com/x.png"]
        assert any("planted" in message for message in view["console"])
        assert any("TypeError" in message for message in view["console"])
        assert view["overflow"] > 1000
        assert view["spilled"] == ["too long"]
        assert {"color-contrast", "image-alt"} <= {found["id"] for found in view["violations"]}

"""The picture and the page: any result can be drawn, and the page holds what it should and nothing that runs."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import sparse

from gpucells.errors import InputError, ResultFileError
from gpucells.report import draw_report, page, picture
from gpucells.report.facts import gather_facts
from gpucells.report.outlines import stamp, stamp_side
from gpucells.report.panels import histogram_edges, round_number

ODD = {
    "no cells": {"n_cells": 0},
    "one cell": {"n_cells": 1},
    "all rejected": {"accepted": np.zeros(6, bool), "rejection": ("x",) * 6},
    "no frames": {"n_frames": 0},
    "one frame": {"n_frames": 1},
    "wide": {"shape": (20, 120)},
    "tall": {"shape": (120, 20)},
    "one pixel": {"shape": (1, 1), "footprints": sparse.csr_array(np.ones((6, 1), np.float32))},
    "NaN": {
        "traces": np.full((6, 50), np.nan, np.float32),
        "f0": np.full(6, np.nan, np.float32),
        "quality": {
            "snr": np.full(6, np.nan, np.float32),
            "other": np.array([1, np.inf, 2, 3, -np.inf, 4], np.float32),
        },
        "summary_images": {"mean": np.full((30, 40), np.nan, np.float32)},
    },
    "bare": {"quality": {}, "summary_images": {}, "settings": {}, "frame_rate_hz": None, "pixel_size_um": None},
    "empty footprints": {"footprints": sparse.csr_array((6, 1200), dtype=np.float32)},
    "many measures": {"quality": {f"measure_{k}": np.ones(6, np.float32) for k in range(20)}},
    "constant": {"traces": np.ones((6, 50), np.float32)},
    "model": {"denoised": np.ones((6, 200), np.float32)},
    "odd text": {"settings": {"a$b_{": "$x^", "long": "y" * 500}, "rejection": ("", "$", "${^", "", "", "<b>")},
}


@pytest.fixture(autouse=True)
def small_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the dots: the same drawing in a fraction of the time."""
    monkeypatch.setattr(picture, "DPI", 30)


@pytest.mark.parametrize("name", ODD)
def test_any_result_can_be_drawn(name: str, make_cells, tmp_path: Path) -> None:
    cells = make_cells(**ODD[name])
    draw_report(cells, tmp_path / "r.png", tmp_path / "r.html", title=name)
    with Image.open(tmp_path / "r.png") as image:
        assert image.width == 16 * 30
        assert np.asarray(image.convert("L")).std() > 5, "the picture is blank"
    data = data_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert data["title"] == name
    assert len(data["cells"]["kind"]) == cells.n_cells
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.png"]


def test_truth_is_drawn(make_cells, tmp_path: Path) -> None:
    cells = make_cells()
    true = cells.footprints[[0, 1, 2]]
    draw_report(cells, tmp_path / "r.png", tmp_path / "r.html", truth=true)
    data = data_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert data["cells"]["kind"] == ["accepted", "accepted", "rejected", "false", "false", "rejected"]
    assert len(data["missed"]) == 1
    assert ["0.500", "precision", ""] in data["figures"]
    draw_report(cells, tmp_path / "plain.png")
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "r.png").read_bytes()


def test_the_same_cells_give_the_same_files(make_cells, tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_report(make_cells(), tmp_path / f"{name}.png", tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_places_that_cannot_be_written(make_cells, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a place to go"):
        draw_report(make_cells())
    with pytest.raises(ResultFileError, match="no folder"):
        draw_report(make_cells(), html_path=tmp_path / "no" / "r.html")


def test_a_failed_drawing_keeps_the_old_file(make_cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")
    monkeypatch.setattr(page, "page_data", lambda _: {"x": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        draw_report(make_cells(), html_path=target)
    assert target.read_text() == "old"


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


class Markup(HTMLParser):
    """Counts elements and collects what could reach out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.reaching: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.reaching += [(tag, value or "") for name, value in attrs if name in ("src", "href", "action", "srcset")]


EVIL = (
    "</script ><b>bold</b></script><script>alert(1)</script><img src=x onerror=alert(2)> {{js}} \u2028 &amp; 'q' \"q\""
)


def test_texts_stay_texts(make_cells) -> None:
    plain = Markup(page.make_page(gather_facts(make_cells())))
    cells = make_cells(
        rejection=(EVIL,) * 6,
        settings={EVIL: EVIL},
        quality={EVIL: np.ones(6, np.float32)},
        summary_images={EVIL: np.ones((30, 40), np.float32)},
    )
    text = page.make_page(gather_facts(cells, title=EVIL))
    assert Markup(text).counts == plain.counts
    data = data_of(text)
    assert data["title"] == EVIL
    assert data["cells"]["reason"] == [EVIL] * 6


def test_data_cannot_end_its_element() -> None:
    text = page.as_script_json({EVIL: EVIL})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {EVIL: EVIL}


def test_page_asks_nothing_of_a_network(make_cells) -> None:
    text = page.make_page(gather_facts(make_cells()))
    assert "default-src 'none'" in text
    assert Markup(text).reaching == []
    outside = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[\w/.]*", text))
    assert outside == {"http://www.w3.org/2000/svg"}, "the name of SVG is the only address"
    assert all(image["src"].startswith("data:image/png;base64,") for image in data_of(text)["images"])
    script = text.rsplit("<script>", 1)[1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|XMLHttp|import\(", script
    )


@pytest.mark.parametrize("n_frames", [200, 9000])
def test_traces_come_back_from_their_bytes(make_cells, n_frames: int) -> None:
    cells = make_cells(n_frames=n_frames)
    traces = data_of(page.make_page(gather_facts(cells)))["traces"]
    packed, points = traces["measured"], len(traces["x"])
    steps = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(6, points)
    low, high = np.array(packed["low"])[:, None], np.array(packed["high"])[:, None]
    values = low + steps * (high - low) / 255
    if n_frames <= page.MAX_POINTS:
        assert np.abs(values - cells.traces).max() < (high - low).max() / 255
    np.testing.assert_allclose(values.max(axis=1), cells.traces.max(axis=1), rtol=1e-4)


def test_stamps_lie_where_the_page_looks_for_them(make_cells) -> None:
    cells = make_cells()
    stamps = data_of(page.make_page(gather_facts(cells)))["stamps"]
    side, across = stamps["side"], stamps["across"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(stamps["src"].partition(",")[2]))))
    assert sheet.shape == (2 * side, 3 * side)
    for cell in range(6):
        row, column = divmod(cell, across)
        assert sheet[row * side + side // 2, column * side + side // 2] == 255


def test_page_of_thousands_of_cells_stays_small(make_cells, tmp_path: Path) -> None:
    n_cells, n_frames, shape = 2000, 3000, (256, 256)
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:9, :9]
    disc = np.maximum(1 - np.hypot(rows - 4, columns - 4) / 4.5, 0).astype(np.float32).ravel()
    corner = rng.integers(0, 246, (n_cells, 2))
    indices = (corner[:, :1] + rows.ravel()) * 256 + corner[:, 1:] + columns.ravel()
    footprints = sparse.csr_array(
        (np.tile(disc, n_cells), indices.ravel(), np.arange(0, 81 * n_cells + 1, 81)), shape=(n_cells, 256 * 256)
    )
    noise = rng.normal(size=(50, n_frames)).astype(np.float32)
    cells = make_cells(
        n_cells=n_cells, n_frames=n_frames, shape=shape, footprints=footprints, traces=np.tile(noise, (40, 1))
    )
    draw_report(cells, tmp_path / "r.png", tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 15e6
    assert len(data_of((tmp_path / "r.html").read_text(encoding="utf-8"))["cells"]["kind"]) == n_cells


PROBE = """<script>
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
window.addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
window.addEventListener("load", async () => {
  const found = {};
  await stamps.decode();  // on a busy machine the page is loaded before its sheet of stamps can be drawn
  await new Promise((ready) => setTimeout(ready, 100));
  const canvas = document.getElementById("stamp");
  found.stamp = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.reduce(
    (sum, value, k) => sum + (k % 4 ? 0 : value), 0);
  found.start = document.getElementById("cell-name").textContent;
  const map = document.getElementById("map"), place = map.getScreenCTM(), [x, y] = data.cells.centre[2];
  const at = new DOMPoint(x, y).matrixTransform(place);
  map.dispatchEvent(new MouseEvent("click", { clientX: at.x, clientY: at.y, bubbles: true }));
  found.clicked = document.getElementById("cell-name").textContent;
  const heads = [...document.querySelectorAll("#table th button")];
  heads.find((button) => button.textContent === "SNR").click();
  heads.find((button) => button.textContent === "SNR").click();
  found.sorted = [...document.querySelectorAll("#table tbody tr")].map((row) => Number(row.dataset.cell));
  document.querySelector("#filter-choice button:last-child").click();
  found.rejected = document.querySelectorAll("#table tbody tr").length;
  for (const button of document.querySelectorAll(".choice button")) if (!button.disabled) button.click();
  document.getElementById("next").click();
  found.errors = errors;
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
});
</script>"""
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def visit(text: str, folder: Path) -> dict[str, Any]:
    target = folder / "probe.html"
    target.write_text(text.replace('<script type="application/json"', PROBE + '<script type="application/json"', 1))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    said = ""
    for attempt in range(
        3
    ):  # a browser that is starved of time at its start gives up; a page that is wrong stays wrong
        profile = f"--user-data-dir={folder / f'profile{attempt}'}"
        command = [str(BROWSER), *flags, profile, "--virtual-time-budget=10000", "--dump-dom", target.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        except subprocess.TimeoutExpired as error:
            said = str(error)
            continue
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        if found is not None:
            return json.loads(found[1])
        said = done.stderr[-1000:]
    pytest.fail(f"the page's script stopped, or the browser: {said}")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to open the page in")
def test_page_works_in_a_browser(make_cells, tmp_path: Path) -> None:
    cells = make_cells()
    found = visit(page.make_page(gather_facts(cells)), tmp_path)
    assert found["errors"] == []
    shown = (stamp(cells.footprints, 4, 40, stamp_side(cells.footprints, 40)) * 255).astype(np.uint8)
    assert found["stamp"] == shown.sum()
    assert found["start"].startswith("Cell 4accepted")
    assert found["clicked"].startswith("Cell 2rejected: too small")
    assert found["sorted"] == [0, 1, 2, 3, 4, 5]
    assert found["rejected"] == 2


def test_histogram_edges_show_near_thresholds_only() -> None:
    values = np.linspace(0, 10, 200, dtype=np.float32)
    edges = histogram_edges(values, (None, 20.0))
    assert edges is not None
    assert edges[-1] > 20
    far = histogram_edges(values, (None, 1000.0))
    assert far is not None
    assert far[-1] < 11
    assert histogram_edges(np.full(3, np.nan, np.float32), (1.0, None)) is None
    flat = histogram_edges(np.full(3, 2, np.float32), (None, None))
    assert flat is not None
    assert flat[0] < 2 < flat[-1]


@pytest.mark.parametrize(("value", "expected"), [(7.3, 5), (5, 5), (0.021, 0.02), (999, 500), (0, 1), (-3, 1)])
def test_round_number(value: float, expected: float) -> None:
    assert round_number(value) == pytest.approx(expected)

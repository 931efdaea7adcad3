"""The report as a browser shows it: nothing scrolls sideways, text is readable, links lead on."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from headstart.report import write_report

WIDTHS = (400, 1600)
# Runs in a copy of the page, which itself has no script, and tells the frame around it what it saw.
PROBE = """
<script>
const failed = [];
addEventListener("error", event => failed.push(String(event.message)));
addEventListener("load", () => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const painted = colours => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest("script, title, desc")) continue;
    const style = getComputedStyle(element), behind = [];
    for (let e = element; e; e = e.parentElement) {
      behind.unshift(getComputedStyle(e).backgroundColor);
    }
    const colour = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [luminance(painted(behind)), luminance(painted([...behind, colour]))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), isBold = Number(style.fontWeight) >= 700;
    const needed = size >= 24 || (isBold && size >= 18.66) ? 3 : 4.5;
    if (ratio < needed) faint.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  const stuck = [...document.querySelectorAll("body *")].filter(e =>
    e.scrollWidth > e.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
    && e.tabIndex < 0 && !e.querySelector("a, button, [tabindex='0']"));
  const anchors = [...document.querySelectorAll("a[href^='#']")];
  const seen = {
    width: innerWidth,
    scrollWidth: document.documentElement.scrollWidth,
    background: getComputedStyle(document.body).backgroundColor,
    broken: [...document.images].filter(e => e.complete && !e.naturalWidth).length,
    lost: anchors.filter(e => !document.getElementById(e.hash.slice(1))).map(e => e.hash),
    open: [...document.querySelectorAll(".cell")].filter(e => e.checkVisibility()).map(e => e.id),
    stuck: stuck.map(e => e.outerHTML.slice(0, 80)),
    faint, failed,
  };
  parent.postMessage(JSON.stringify(seen), "*");
});
</script>
"""

# A window of a headless Chromium is at least 500 pixels wide; a frame in it may be narrower.
FRAME = """<!doctype html>
<meta charset="utf-8"><meta name="color-scheme" content="light dark"><body>
<script>
addEventListener("message", event => {
  const told = document.createElement("pre");
  told.id = "seen";
  told.textContent = event.data;
  document.body.append(told);
});
</script>
<iframe src="%s" width="%d" height="1000" style="border: 0"></iframe>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    """The executable of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip("needs chromium or google-chrome on the PATH, and there is none")


@pytest.fixture(scope="module")
def fabricated_run() -> ModuleType:
    """The module that fabricates runs."""
    import fabricated_run

    return fabricated_run


@pytest.fixture(scope="module")
def fabricated_maps(fabricated_run: ModuleType) -> ModuleType:
    """The module that fabricates runs of segmentation, by way of the other one."""
    import fabricated_maps

    return fabricated_maps


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, fabricated_run: ModuleType) -> Path:
    """The report of a run with every proof a run can have, with its pictures."""
    folder = tmp_path_factory.mktemp("runs") / "photos-1"
    return write_report(fabricated_run.fabricate_proven(folder, classes=("ants", "bees", "wasps")))


@pytest.fixture(scope="module")
def page_of_maps(tmp_path_factory: pytest.TempPathFactory, fabricated_maps: ModuleType) -> Path:
    """The report of a segmentation run, with its figures."""
    folder = tmp_path_factory.mktemp("runs") / "fields-1"
    return write_report(fabricated_maps.fabricate_maps(folder))


def browse(
    browser: str, address: str, profile: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    command = [
        browser,
        "--headless",
        "--no-sandbox",  # as root, in a container, Chromium does not start otherwise
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        *options,
        address,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def seen_at(
    browser: str, page: Path, profile: Path, *, width: int, is_dark: bool = False, place: str = ""
) -> dict[str, Any]:
    """What the probe saw in a window of this width, and what the browser's console said."""
    copy = page.with_name("probed.html")
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(FRAME % (copy.name + place, width), encoding="utf-8")
    # Virtual time goes on until then, so that the message of the probe has arrived.
    options = [f"--window-size={width + 100},1100", "--dump-dom", "--virtual-time-budget=3000"]
    if is_dark:
        options.append("--blink-settings=preferredColorScheme=0")
    done = browse(browser, frame.as_uri(), profile, *options)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    seen["console"] = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return seen


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("task", ["photos", "maps"])
def test_the_page_fits_its_window_and_can_be_read(
    browser: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    task: str,
    *,
    width: int,
    is_dark: bool,
) -> None:
    page = request.getfixturevalue("page" if task == "photos" else "page_of_maps")
    seen = seen_at(browser, page, tmp_path / "profile", width=width, is_dark=is_dark)
    assert seen["width"] == width
    assert seen["scrollWidth"] <= width
    assert (seen["background"] == "rgb(255, 255, 255)") is not is_dark
    assert seen["faint"] == []  # WCAG 2.2, 1.4.3: 4.5 to 1, large text 3 to 1
    assert seen["stuck"] == []  # what scrolls can be reached by keyboard
    assert seen["lost"] == []
    assert seen["open"] == []
    assert seen["broken"] == 0
    assert seen["failed"] == []
    assert seen["console"] == []


def test_long_and_hostile_names_do_not_widen_the_page(
    browser: str, fabricated_run: ModuleType, tmp_path: Path
) -> None:
    classes = ("<script>alert(1)</script>", "long_name_" * 12, "日本 & co")
    test = [(f"val/{i}/{j}.jpg", name) for i, name in enumerate(classes) for j in range(9)]
    run = fabricated_run.fabricate(tmp_path / "photos-1", classes=classes, test=test)
    seen = seen_at(browser, write_report(run), tmp_path / "profile", width=400)
    assert seen["scrollWidth"] <= 400
    assert seen["failed"] == []


def test_a_cell_of_the_matrix_opens_its_pictures_and_no_others(
    browser: str, page: Path, tmp_path: Path
) -> None:
    seen = seen_at(browser, page, tmp_path / "profile", width=1600, place="#cell-0-1")
    assert seen["open"] == ["cell-0-1"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_is_drawn(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    drawn = tmp_path / "screen.png"
    size = f"--window-size={width},1000"
    browse(browser, page.as_uri(), tmp_path / "profile", size, f"--screenshot={drawn}")
    with Image.open(drawn) as picture:
        assert picture.size == (width, 1000)
        colours = picture.convert("RGB").getcolors(maxcolors=1_000_000)
    assert colours is not None
    assert len(colours) > 50


def test_the_page_prints(browser: str, page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    browse(browser, page.as_uri(), tmp_path / "profile", f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")

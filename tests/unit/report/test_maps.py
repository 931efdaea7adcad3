"""The report, the card and the summary of a segmentation run; what it has not is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import RunError
from headstart.report import model_card, summary_html, write_report
from headstart.report.cautions import cautions
from headstart.report.chips import read_chips
from headstart.report.record import read_record
from headstart.rundir import RunFolder

MakeMaps = Callable[..., RunFolder]


class Page(HTMLParser):
    """The text of a page, its ids, its addresses, and what is closed in the wrong order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link", "br", "img"}:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "src":
                self.loaded.append(value or "")
            if name == "href" and (value or "").startswith("#"):
                self.anchors.append((value or "")[1:])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing: a shape of a chart."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def page_of(folder: RunFolder) -> Page:
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert page.wrong == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.anchors) <= set(page.ids)
    assert all(address.startswith("data:") for address in page.loaded)
    return page


def told(folder: RunFolder) -> str:
    return "\n".join(caution.message for caution in cautions(read_record(folder)))


def test_the_first_screen_says_what_is_mapped_and_how_well(make_maps: MakeMaps) -> None:
    measures = {
        "miou": {"value": 0.904, "low": 0.86, "high": 0.93, "n": 15},
        "pixel_accuracy": {"value": 0.951, "low": 0.93, "high": 0.97, "n": 15},
    }
    counts = [[600, 0, 0], [0, 300, 0], [0, 0, 100]]
    confusion = {"classes": ["forest", "water", "bare ground"], "counts": counts}
    text = page_of(make_maps(metrics={"metrics": measures, "confusion": confusion})).text
    assert "Maps 3 classes in pictures: forest, water and bare ground." in text
    assert "Mean IoU of 90.4% on 15 unseen pictures (95% interval 86.0–93.0%)." in text
    assert "Of all pixels, 95.1% (95% interval 93.0–97.0%) are right." in text
    # 600 of 1000 pixels are forest: an IoU of 0.6, and of 0 for the two others.
    assert (
        "Always answering “forest”, the most common class, would have a mean IoU of 20.0%" in text
    )
    assert "The median test picture: mean IoU" in text


def test_a_page_has_the_sections_of_its_task_and_no_others(make_maps: MakeMaps) -> None:
    page = page_of(make_maps())
    assert {"result", "data", "ladder", "training", "metrics", "confusion"} <= set(page.ids)
    assert {"maps", "masks", "settings", "model", "use"} <= set(page.ids)
    foreign = {"mistakes", "suspects", "confidence", "labels", "strangers", "explanations"}
    assert not foreign & set(page.ids)


def test_each_shown_picture_has_its_four_figures(make_maps: MakeMaps) -> None:
    page = page_of(make_maps())
    # Three of the median stand on the first screen as well.
    assert len(page.loaded) == 4 * 4 + 3
    for words in ("The worst", "In the middle", "The best", "Errors are red , and blue"):
        assert words in page.text
    assert page.text.index("The worst") < page.text.index("In the middle")


def test_classes_are_tabled_with_iou_and_share_of_pixels(make_maps: MakeMaps) -> None:
    folder = make_maps()
    record, text = read_record(folder), page_of(folder).text
    for name, iou in record.ious.items():
        share = record.pixels[name] / sum(record.pixels.values())
        assert re.search(rf"{name} {100 * iou:.1f}% [\d.]+–[\d.]+%.*{100 * share:.1f}%", text)
    assert "Class IoU Precision Recall F1 Share of pixels" in text


def test_the_confusion_is_in_percent_of_its_rows(make_maps: MakeMaps) -> None:
    counts = [[9_000_000, 1_000_000, 0], [0, 48_210, 0], [0, 0, 812]]
    confusion = {"classes": ["forest", "water", "bare ground"], "counts": counts}
    text = page_of(make_maps(metrics={"confusion": confusion})).text
    assert "forest 90.0% 9 M 10.0% 1 M –" in text
    assert "water – 100% 48.2 k –" in text
    assert "9000000" not in text


def test_curves_of_loss_and_mean_iou_are_drawn(make_maps: MakeMaps) -> None:
    folder = make_maps()
    text = page_of(folder).text
    assert "Validation mean IoU" in text
    assert "mean IoU from" in (folder.figures / "scores.svg").read_text(encoding="utf-8")


def test_the_ladder_is_told_by_the_mean_iou(make_maps: MakeMaps) -> None:
    text = page_of(make_maps()).text
    assert "Mean IoU of each rung against its time" in text
    assert "Single pixels 61.0%" in text
    assert "Colours alone" not in text


def test_pictures_with_a_loss_out_of_line_are_named(make_maps: MakeMaps) -> None:
    losses = [0.1, 0.12, 0.09, 0.11, 0.1, 0.13, 0.08, 0.1, 0.11, 2.0]
    chips = [
        {"id": f"val/{i}.png", "miou": 0.9, "pixel_accuracy": 0.95, "loss": x, "num_pixels": 9000}
        for i, x in enumerate(losses)
    ]
    folder = make_maps(metrics={"chips": chips})
    text = page_of(folder).text
    assert "1 picture has a loss far above that of the others." in text
    assert text.index("val/9.png 2.000") < text.index("val/5.png 0.130")
    assert "1 picture has a loss far above that of the others: val/9.png." in told(folder)


@pytest.mark.parametrize("losses", [[0.1] * 20, [0.1, 9.0], [None] * 9, []])
def test_alike_few_or_no_losses_name_no_outlier(losses: list[float | None]) -> None:
    rows = [{"id": str(i), "loss": loss} for i, loss in enumerate(losses)]
    assert read_chips({"chips": rows}, path=Path("metrics.json")).out_of_line == ()


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"n": 15}, "only 15 pictures"),
        (
            {"metrics": {"miou": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 15}}},
            "The interval of the mean IoU is 20 points wide",
        ),
        (
            {"metrics": {"miou": {"value": 0.3, "low": 0.05, "high": 0.5, "n": 15}}},
            "not clearly better than always answering",
        ),
        (
            {"per_class": {"water": {"iou": 0.31, "n": 9000}, "forest": {"iou": 0.9, "n": 9}}},
            "It maps water (31.0%) badly",
        ),
        (
            {
                "confusion": {
                    "classes": ["forest", "water", "bare ground"],
                    "counts": [[99_990, 0, 0], [0, 10, 0], [0, 0, 0]],
                }
            },
            "1 class covers less than 0.5% of the test pixels",
        ),
        (
            {
                "confusion": {
                    "classes": ["forest", "water", "bare ground"],
                    "counts": [[90, 0, 0], [0, 10, 0], [0, 0, 0]],
                }
            },
            "No test picture has a labelled pixel of bare ground",
        ),
    ],
)
def test_a_weakness_of_the_maps_is_named(
    make_maps: MakeMaps, metrics: dict[str, Any], words: str
) -> None:
    assert words in told(make_maps(metrics=metrics))


def test_a_classifier_of_single_pixels_that_is_as_good_is_named(make_maps: MakeMaps) -> None:
    folder = make_maps()
    metrics = folder.read_json(folder.metrics)
    metrics["rungs"][1]["metrics"]["miou"]["value"] = 0.99
    folder.write_json(folder.metrics, metrics)
    assert "A classifier of single pixels does about as well" in told(folder)


def test_the_card_tells_classes_and_limits(make_maps: MakeMaps) -> None:
    card = model_card(make_maps())
    assert 'pipeline_tag: "image-segmentation"' in card
    assert "| Class | IoU | 95% interval | Share of the labelled pixels |" in card
    assert "a pixel of anything else gets one of them anyway" in card
    assert "- Input: any size, bands R, G, B" in card
    assert "## How far to trust an answer" not in card


def test_a_notebook_shows_the_summary(make_maps: MakeMaps) -> None:
    shown = summary_html(make_maps())
    assert "Maps 3 classes in pictures" in shown
    assert "Mean IoU" in shown
    assert "Pixel accuracy" in shown


def test_figures_that_are_gone_are_said_and_the_page_goes_on(make_maps: MakeMaps) -> None:
    folder = make_maps()
    for path in (folder.figures / "chips").glob("0-*.png"):
        path.unlink()
    (folder.figures / "chips" / "1-truth.png").write_bytes(b"no picture")
    text = page_of(folder).text
    assert "5 figures of this run are no longer in figures/chips" in text
    assert "How to use it" in text


def test_a_run_without_chips_or_figures_has_a_page(make_maps: MakeMaps) -> None:
    page = page_of(make_maps(metrics={"chips": [], "shown": []}))
    assert not {"maps", "masks"} & set(page.ids)
    assert "The median test picture" not in page.text


def test_a_chip_without_a_labelled_pixel_is_no_obstacle(make_maps: MakeMaps) -> None:
    nothing = {"id": "val/x.png", "miou": None, "pixel_accuracy": None, "loss": None}
    folder = make_maps(metrics={"chips": [{**nothing, "num_pixels": 0}]})
    assert "masks" not in page_of(folder).ids


def test_a_class_that_no_figure_is_known_of_is_no_obstacle(make_maps: MakeMaps) -> None:
    nan = float("nan")
    unknown = {"iou": nan, "precision": None, "recall": None, "f1": None, "n": 0}
    folder = make_maps()
    metrics = folder.read_json(folder.metrics)
    metrics["per_class"]["water"] = unknown
    metrics["per_class"]["bare ground"] |= {"iou": 0.8, "iou_low": nan, "iou_high": nan}
    folder.write_json(folder.metrics, metrics)
    text, card = page_of(folder).text, model_card(folder)
    assert "water – – – – 0%" in text
    assert "“water”" not in text
    assert "bare ground 80.0%" in text
    assert "| bare ground | 80.0% | – |" in card
    assert "nan" not in text + card


def test_the_colours_of_the_data_are_those_of_the_legend(make_maps: MakeMaps) -> None:
    own = {"colours": [[0, 0, 0], [128, 0, 0], [0, 128, 0]]}
    page = write_report(make_maps(dataset={"legend": own})).read_text(encoding="utf-8")
    assert "background:#800000" in page
    assert "background:#e69f00" not in page


def test_hostile_names_stay_text(make_maps: MakeMaps) -> None:
    classes = ("<script>alert(1)</script>", "a\"b' onload=x", "long_name_" * 12, "日本 & co")
    folder = make_maps(classes)
    page = page_of(folder)
    for name in classes:
        assert name in page.text
    assert "<script" not in folder.report.read_text(encoding="utf-8")


def test_many_classes_are_told_by_their_worst_pairs_in_pixels(make_maps: MakeMaps) -> None:
    text = page_of(make_maps([f"class {i:02}" for i in range(24)])).text
    assert "The pairs most often confused." in text
    assert "It is The model said Pixels Of that class" in text
    assert "The whole confusion matrix" in text


def test_a_damaged_entry_is_named(make_maps: MakeMaps) -> None:
    folder = make_maps(metrics={"shown": [{"id": "a.png", "why": "best"}]})
    with pytest.raises(RunError, match=r"entry `chips` or `shown`.*number"):
        write_report(folder)

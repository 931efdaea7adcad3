"""What a run proves about itself is on its page, in words, charts and tables; or left out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from headstart.contracts import Measure
from headstart.errors import RunError
from headstart.report import summary_html, write_report
from headstart.report.cautions import cautions
from headstart.report.cells import cells
from headstart.report.evidence_file import read_evidence
from headstart.report.predictions import read_prediction_table
from headstart.report.record import read_record
from headstart.report.summary import best_abstention, sureness
from headstart.rundir import RunFolder

MakeRun = Callable[..., RunFolder]
PROOFS = (
    "verdict",
    "race",
    "rungs",
    "calibration",
    "coverage",
    "ood",
    "learning_curve",
    "leakage",
    "transfer",
    "explanations",
)


class Page(HTMLParser):
    """Headings with their levels, sections, ids, links inside the page, and the text."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.tags: list[str] = []
        self.unnamed: list[str] = []
        self.words: list[str] = []
        self.feed(write_report(folder).read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if (values.get("href") or "").startswith("#"):
            self.anchors.append((values["href"] or "")[1:])
        if tag == "svg" and not (values.get("aria-labelledby") or values.get("aria-label")):
            self.unnamed.append(tag)
        if tag == "img" and "alt" not in values:
            self.unnamed.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def changed(folder: RunFolder, **entries: Any) -> RunFolder:
    """The run with other entries in metrics.json; None removes one."""
    metrics = {**folder.read_json(folder.metrics), **entries}
    folder.write_json(folder.metrics, {k: v for k, v in metrics.items() if v is not None})
    return folder


def told(folder: RunFolder) -> str:
    return "\n".join(caution.message for caution in cautions(read_record(folder)))


def test_the_first_screen_tells_what_how_sure_and_what_to_mind(proven_run: RunFolder) -> None:
    text = Page(proven_run).text
    places = [text.index(words) for words in ("Right on ", "How sure that is", "What to watch out")]
    assert places == sorted(places)
    assert places[-1] < text.index("Each folder holds the pictures")
    assert "In the long run, expect 73.8–87.9% of pictures like these to be right" in text
    assert "taken at its word: on average it is off by 2.1% (95% interval 0.6–3.6%)." in text
    assert "Where it is at least 76.0% sure, which is on 50.0% of the pictures" in text


def test_every_proof_has_its_sentence_and_its_chart(proven_run: RunFolder) -> None:
    text = Page(proven_run).text
    metrics = json.loads(proven_run.metrics.read_text(encoding="utf-8"))
    assert metrics["verdict"] in text
    for part in ("learning_curve", "leakage", "transfer"):
        assert metrics[part]["sentence"] in text
    drawn = {path.stem for path in proven_run.figures.iterdir()}
    assert drawn >= {"ladder", "reliability", "coverage", "learning_curve", "ood", "leakage"}
    assert drawn >= {"transfer", "transfer_curves"}
    for path in proven_run.figures.iterdir():
        assert ET.fromstring(path.read_text(encoding="utf-8")) is not None
    for words in ("not tried: 6 min 50 s predicted", "52.0 s (60.0 s predicted)"):
        assert words in text
    assert "+0.4 points (95% interval −0.5 to +1.3) over linear probe" in text
    assert "temperature of 1.31" in text
    assert "fewer than 5 training pictures within a distance of 0.61" in text
    assert "near-duplicate 0.98" in text


def test_headings_are_in_order_and_every_picture_has_a_name(proven_run: RunFolder) -> None:
    page = Page(proven_run)
    assert page.levels[0] == 1
    assert page.levels.count(1) == 1
    steps = zip(page.levels, page.levels[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert page.unnamed == []
    assert "script" not in page.tags


def test_every_link_inside_the_page_leads_somewhere(proven_run: RunFolder) -> None:
    page = Page(proven_run)
    assert set(page.anchors) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_each_number_of_the_matrix_opens_the_pictures_behind_it(proven_run: RunFolder) -> None:
    page = Page(proven_run)
    counts = json.loads(proven_run.metrics.read_text(encoding="utf-8"))["confusion"]["counts"]
    filled = {
        f"cell-{i}-{j}" for i, row in enumerate(counts) for j, number in enumerate(row) if number
    }
    assert {anchor for anchor in page.anchors if anchor.startswith("cell-")} == filled
    assert filled <= set(page.ids)


def test_mistakes_behind_a_cell_are_the_surest_and_right_answers_the_least_sure(
    proven_run: RunFolder,
) -> None:
    record = read_record(proven_run)
    found = cells(read_prediction_table(record), record.classes)
    counts = record.metrics["confusion"]["counts"]
    assert sum(cell.count for cell in found.values()) == sum(map(sum, counts))
    for cell in found.values():
        sure = [sample.confidence for sample in cell.samples]
        assert sure == sorted(sure, reverse=not cell.is_right)


def test_a_race_is_told_with_gaps_and_with_those_that_took_no_part(proven_run: RunFolder) -> None:
    text = Page(proven_run).text
    assert "2 backbones raced before the ladder" in text
    assert "timm:resnet50 91.0% 88.0–94.0% 0.200 244 81 −3.8 points" in text
    assert "timm:vgg16 – – – – – no The registry does not answer." in text


@pytest.mark.parametrize("part", PROOFS)
def test_a_run_without_a_proof_has_a_page_without_it(proven_run: RunFolder, part: str) -> None:
    page = Page(changed(proven_run, **{part: None}))
    assert set(page.anchors) <= set(page.ids)
    gone = {
        "calibration": "temperature of",
        "coverage": "share of pictures answered",
        "ood": "flagged as a stranger",
        "learning_curve": "Would more labels help?",
        "leakage": "What the test set shares",
        "transfer": "What did the pretrained weights bring?",
        "explanations": "Where it looks",
        "race": "Which backbone?",
        "rungs": "Accuracy of each rung",
        "verdict": "for 40 times the time",
    }
    assert gone[part] not in page.text


def test_an_older_run_has_none_of_the_new_sections(make_run: MakeRun) -> None:
    page = Page(make_run("ants", "bees"))
    for anchor in ("ladder", "suspects", "confidence", "labels", "strangers", "explanations"):
        assert anchor not in page.ids


@pytest.mark.parametrize("missing", ["low", "high"])
def test_a_proof_without_intervals_is_drawn_without(proven_run: RunFolder, missing: str) -> None:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: None if k.endswith(missing) and "value" in value else strip(v)
                for k, v in value.items()
            }
        return [strip(v) for v in value] if isinstance(value, list) else value

    metrics = strip(proven_run.read_json(proven_run.metrics))
    assert "Would more labels help?" in Page(changed(proven_run, **metrics)).text


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("ood", {"k": 5}),
        ("rungs", [{"metrics": {}}, {"metrics": {}}]),
        ("coverage", [{"accuracy": 0.9}]),
        ("explanations", [{"heat": [[0.5]]}]),
        ("leakage", {"leaked": [{"id": "a"}], "num_leaked": 1}),
    ],
)
def test_a_proof_that_cannot_be_read_is_named(
    proven_run: RunFolder, part: str, values: Any
) -> None:
    with pytest.raises(RunError, match=rf"entry `{part}` that the report cannot read"):
        read_evidence({part: values}, path=proven_run.metrics)


def test_figures_that_are_no_numbers_are_left_out(proven_run: RunFolder) -> None:
    nan = float("nan")
    rungs = proven_run.read_json(proven_run.metrics)["rungs"]
    rungs[1]["metrics"]["accuracy"]["value"] = nan
    rungs[2]["metrics"]["accuracy"]["low"] = nan
    rows = [{"coverage": c, "accuracy": nan if c < 0.5 else 0.9} for c in (0.3, 0.6, 1.0)]
    write_report(changed(proven_run, rungs=rungs, coverage=rows))
    for path in proven_run.figures.iterdir():
        assert "nan" not in path.read_text(encoding="utf-8")


def test_suspects_are_shown_with_both_labels(proven_run: RunFolder) -> None:
    text = Page(proven_run).text
    assert "7 labels look wrong to models that had not seen the picture" in text
    assert "labelled ants likely bees (score 0.99) val/ants/005.jpg" in text
    assert "--drop-suspects" in text


def test_no_suspects_is_told_too(proven_run: RunFolder) -> None:
    proven_run.write_text(proven_run.suspects, "id,label,likely label,score\n")
    assert "None: no label stood out" in Page(proven_run).text


def test_a_suspects_file_without_a_column_is_named(proven_run: RunFolder) -> None:
    proven_run.write_text(proven_run.suspects, "id,label\na,b\n")
    with pytest.raises(RunError, match="no column `likely label`"):
        write_report(proven_run)


def test_leaks_are_the_first_thing_to_mind(proven_run: RunFolder) -> None:
    first = cautions(read_record(proven_run))[0]
    assert first.is_serious
    assert "accuracy is 94.8% with them and 94.1% (95% interval 91.1–97.1%) without" in (
        first.message
    )


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"ood": {"threshold": 0.6, "share_flagged": 0.2}}, "20.0% of the test pictures look"),
        (
            {
                "rungs": [
                    {"strategy": "trivial", "metrics": {"accuracy": {"value": 0.95}}},
                    {"strategy": "probe", "kept": True, "metrics": {"accuracy": {"value": 0.95}}},
                ]
            },
            "Colours alone do about as well",
        ),
        (
            {"rungs": [{"strategy": "majority", "kept": True, "metrics": {}}]},
            "No rung of the ladder was clearly better",
        ),
        (
            {"per_class": {"ants": {"precision": 0.9, "recall": 0.4, "f1": 0.5, "n": 50}}},
            "It misses more than half of ants (40.0%)",
        ),
    ],
)
def test_what_the_proofs_warn_of_is_told(
    proven_run: RunFolder, entries: dict[str, Any], words: str
) -> None:
    assert words not in told(proven_run)
    assert words in told(changed(proven_run, **entries))


def test_many_suspects_are_a_caution_and_few_are_none(proven_run: RunFolder) -> None:
    assert "7 labels look wrong" in told(proven_run)
    proven_run.write_text(proven_run.suspects, "id,label,likely label,score\na,ants,bees,0.9\n")
    assert "look wrong" not in told(proven_run)


def test_the_largest_share_that_is_nearly_always_right_is_told(proven_run: RunFolder) -> None:
    rows = [
        {"coverage": c, "accuracy": a, "low": None, "high": None, "min_confidence": 0.5, "n": 9}
        for c, a in [(0.2, 1.0), (0.5, 0.995), (0.8, 0.991), (1.0, 0.9)]
    ]
    point = best_abstention(read_record(changed(proven_run, coverage=rows)))
    assert point is not None
    assert point.coverage == 0.8


def test_a_model_that_gains_nothing_by_abstaining_says_nothing_of_it(
    proven_run: RunFolder,
) -> None:
    rows = [
        {"coverage": c, "accuracy": 0.9, "min_confidence": 0.5, "n": 9} for c in (0.5, 0.8, 1.0)
    ]
    record = read_record(changed(proven_run, coverage=rows))
    assert best_abstention(record) is None
    assert not any("Where it is at least" in sentence for sentence in sureness(record))


def test_a_page_of_a_multilabel_run_takes_all_proofs(make_run: MakeRun) -> None:
    test = [(f"{i}.jpg", ["beach", "beach|people", "", "forest"][i % 4]) for i in range(80)]
    classes = ("beach", "forest", "people")
    folder = make_run(*classes, test=test, is_multilabel=True)
    rungs = [
        {"strategy": name, "metrics": {"macro_f1": {"value": f1}}, "seconds": 1.0, "kept": kept}
        for name, f1, kept in [("majority", 0.2, False), ("probe", 0.7, True)]
    ]
    page = Page(changed(folder, rungs=rungs))
    assert "Macro F1 of each rung against its time" in page.text
    assert not any(anchor.startswith("cell-") for anchor in page.anchors)


def test_a_notebook_shows_the_run_without_script_or_style_sheet(proven_run: RunFolder) -> None:
    fragment = summary_html(proven_run)
    root = ET.fromstring(fragment)
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "style", "img", "link", "svg"}
    text = " ".join("".join(root.itertext()).split())
    assert "Right on 97 of 120 unseen pictures: 80.8% (95% interval 73.8–87.9%)." in text
    assert "3 test pictures also stand in training" in text
    assert proven_run.report.as_posix() in text


def test_hostile_names_stay_text_in_a_notebook(make_run: MakeRun) -> None:
    names = ("<script>alert(1)</script>", 'a"b onload=x')
    fragment = summary_html(make_run(*names))
    assert "script" not in {element.tag for element in ET.fromstring(fragment).iter()}


def test_measures_keep_their_place_in_the_evidence(proven_run: RunFolder) -> None:
    evidence = read_record(proven_run).evidence
    assert [rung.strategy for rung in evidence.rungs if rung.is_kept] == ["probe"]
    assert evidence.rungs[4].gain == Measure(0.004, -0.005, 0.013)
    assert evidence.learning_curve is not None
    assert [n for n, _ in evidence.learning_curve.points] == [24, 49, 98, 195, 244]

"""Can what a fit says of texts be trusted: leaks, wrong labels, intervals.

    python bench/trust_texts.py leaks     [--data trec]
    python bench/trust_texts.py labels    [--data trec] [--share 0.05] [--seeds 3]
    python bench/trust_texts.py intervals [--data trec sst2] [--fits 3] [--draws 500]

`leaks`: texts of train.csv are copied into test.csv in several ways, and `headstart inspect` must
name them, with the text they are a copy of. `others` are the test rows named beside them, of which
so many differ from their partner in more than case and punctuation; they are printed, as only a
reader can tell whether they are one question asked twice.

`labels`: so large a share of the labels of train.csv is exchanged for another class, and a
`headstart fit --strategy probe` writes its suspects.csv. Precision is the share of its rows that
were planted, recall the share of those planted that are in it. The first line is without any: what
is named there are alarms on the labels as they came.

`intervals`: of all rows of a data set as many as `--learn` are learnt from, by a probe, and the
others are the world, on which its accuracy and macro F1 are known. Test sets are drawn from the
world, and it is counted how often their 95% intervals hold the world's figures. Draws go with
putting back, so that the world is as good as endless.

Targets: all planted copies found where only case and punctuation differ; precision and recall at
least 0.5; 93 to 97%.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from coverage import ours
from measuring import arguments, own_cache, print_table
from text_sets import SETS, Rows, text_set

import headstart as hs
from headstart.data.text_near_duplicates import plain

BACKBONE = "minilm"
SIZES = (50, 200, 1000)


def written(folder: Path, train: Rows, test: Rows) -> Path:
    folder.mkdir(parents=True)
    train.write(folder / "train.csv")
    test.write(folder / "test.csv")
    return folder


# --- leaks ------------------------------------------------------------------------------------


def ways_to_copy(texts: list[str], rng: np.random.Generator) -> dict[str, Callable[[str], str]]:
    """Name -> what it makes of a text."""
    words = sorted({word for text in texts for word in text.split()})

    def exchanged(text: str) -> str:
        parts = text.split()
        parts[rng.integers(len(parts))] = words[rng.integers(len(words))]
        return " ".join(parts)

    return {
        "as it is": str,
        "upper case": str.upper,
        "without punctuation": lambda text: "".join(c if c.isalnum() else " " for c in text),
        "with !! at the end": lambda text: text + " !!",
        "a word exchanged (100 letters or more)": exchanged,
    }


def leaks(given: argparse.Namespace) -> None:
    table = []
    for name in given.data:
        train, test = text_set(name, wheels=given.wheels, most=given.most)
        rng = np.random.default_rng(0)
        ways = ways_to_copy(train.texts, rng)
        planted, origins, of_way = Rows([], []), [], []
        for way, change in ways.items():
            least = 100 if "letters" in way else 0
            fit = [i for i, text in enumerate(train.texts) if len(plain(text)) > least]
            for i in rng.permutation(fit)[: given.planted]:
                planted.texts.append(change(train.texts[i]))
                planted.labels.append(train.labels[i])
                origins.append(plain(train.texts[i]))
                of_way.append(way)
        both = Rows(test.texts + planted.texts, test.labels + planted.labels)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            found = hs.inspect(written(Path(folder) / name, train, both))
        text_of = {sample.id: sample.text or "" for sample in found.dataset}
        partner_of = {leak.id: leak.partner for leak in found.leaks}
        ids = [f"test.csv#{len(test) + 1 + k}" for k in range(len(planted))]
        for way in ways:
            places = [k for k, each in enumerate(of_way) if each == way]
            hits = [ids[k] in partner_of for k in places]
            same = [
                ids[k] in partner_of and plain(text_of[partner_of[ids[k]]]) == origins[k]
                for k in places
            ]
            shares = [f"{statistics.mean(each):.3f}" if each else "-" for each in (hits, same)]
            table.append([f"{name}: {way}", len(places), *shares])
        others = [id_ for id_ in partner_of if id_ not in set(ids)]
        unlike = [i for i in others if plain(text_of[i]) != plain(text_of[partner_of[i]])]
        print(f"{name}: {len(others)} others of {len(test)} test rows named, {len(unlike)} unlike:")
        for id_ in unlike[:20]:
            print(f"  {text_of[id_][:90]} | {text_of[partner_of[id_]][:90]}")
    print_table(["planted", "n", "found", "with their original"], table)


# --- wrong labels -----------------------------------------------------------------------------


def flipped(rows: Rows, share: float, seed: int) -> tuple[Rows, set[int]]:
    """The rows with so large a share of other labels, and their places."""
    rng = np.random.default_rng(seed)
    classes = sorted(set(rows.labels))
    places = rng.choice(len(rows), round(share * len(rows)), replace=False)
    labels = list(rows.labels)
    for i in places:
        others = [label for label in classes if label != labels[i]]
        labels[i] = others[rng.integers(len(others))]
    return Rows(rows.texts, labels), set(places.tolist())


def labels(given: argparse.Namespace) -> None:
    table = []
    with own_cache(BACKBONE):
        for name in given.data:
            train, test = text_set(name, wheels=given.wheels, most=given.most)
            measured = []
            for seed in [None, *range(given.seeds)]:
                rows, planted = (
                    (train, set()) if seed is None else flipped(train, given.share, seed)
                )
                named = suspects_of(rows, test)
                hits = len(named & planted)
                cells = [len(planted), len(named), hits]
                if seed is None:
                    table.append([f"{name}, as it came", *cells, "-", "-"])
                    continue
                measured.append((hits / max(1, len(named)), hits / max(1, len(planted))))
                table.append([f"{name}, seed {seed}", *cells, *(f"{v:.3f}" for v in measured[-1])])
                print(*table[-1], flush=True)
            means = [f"{statistics.mean(each):.3f}" for each in zip(*measured, strict=True)]
            table.append([f"{name}, mean", "", "", "", *means])
    print_table(["labels", "planted", "named", "hits", "precision", "recall"], table)


def suspects_of(train: Rows, test: Rows) -> set[int]:
    """Places in train of what a fit names."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = written(Path(folder) / "data", train, test)
        run = hs.fit(data, backbone=BACKBONE, strategy="probe", output=Path(folder) / "run")
        with (run.path / "suspects.csv").open(encoding="utf-8", newline="") as file:
            ids = [row["id"] for row in csv.DictReader(file)]
    return {int(i.rpartition("#")[2]) - 1 for i in ids if i.startswith("train.csv#")}


# --- intervals --------------------------------------------------------------------------------


def intervals(given: argparse.Namespace) -> None:
    table = []
    with own_cache(BACKBONE):
        for name in given.data:
            train, test = text_set(name, wheels=given.wheels, most=given.most)
            whole = Rows(train.texts + test.texts, train.labels + test.labels)
            held = {n: np.zeros(2) for n in SIZES}
            told = []
            for seed in range(given.fits):
                truth, answers, num_classes = world(whole, num_learnt=given.learn, seed=seed)
                of_world = figures(truth, answers, num_classes)
                told.append(of_world)
                rng = np.random.default_rng(seed)
                for n in SIZES:
                    for _ in range(given.draws):
                        drawn = rng.integers(len(truth), size=n)
                        args = (truth[drawn], answers[drawn], np.arange(n))
                        ends = ours(*args, num_classes=num_classes)
                        held[n] += [
                            low <= value <= high
                            for value, (low, high) in zip(of_world, ends, strict=True)
                        ]
            worlds = ", ".join(f"{accuracy:.3f} and {f1:.3f}" for accuracy, f1 in told)
            print(f"{name}: accuracy and macro F1 of the worlds {worlds}", flush=True)
            for n in SIZES:
                shares = 100 * held[n] / (given.fits * given.draws)
                table.append([name, n, *(f"{share:.1f}" for share in shares)])
    print_table(["data", "n", "accuracy", "macro F1"], table)


def world(rows: Rows, *, num_learnt: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth and answers of the rows that a probe has not learnt from, as indices of classes."""
    order = np.random.default_rng(seed).permutation(len(rows))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder) / "rows.csv"
        rows.at(order[:num_learnt]).write(data)
        run = hs.fit(data, backbone=BACKBONE, strategy="probe", output=Path(folder) / "run")
        model = hs.load(run.path)
        others = rows.at(order[num_learnt:])
        answers = model.predict_texts(others.texts).labels
        place = {label: i for i, label in enumerate(model.classes)}
    truth = np.array([place[label] for label in others.labels])
    return truth, np.array([place[label] for label in answers]), len(place)


def figures(truth: np.ndarray, answers: np.ndarray, num_classes: int) -> tuple[float, float]:
    """Accuracy, and macro F1."""
    counts = np.bincount(truth * num_classes + answers, minlength=num_classes**2)
    joint = counts.reshape(num_classes, num_classes)
    f1 = 2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))
    return float((truth == answers).mean()), float(f1.mean())


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--wheels", type=Path, help="a folder; what is not in it is downloaded")
    parser.add_argument("--most", type=int, default=0, help="rows of train and test; 0: all")
    verbs = parser.add_subparsers(required=True)
    for verb, of in ((leaks, ["trec"]), (labels, ["trec"]), (intervals, ["trec", "sst2"])):
        each = verbs.add_parser(verb.__name__)
        each.set_defaults(measure=verb)
        each.add_argument("--data", nargs="+", choices=SETS, default=of)
        if verb is leaks:
            each.add_argument("--planted", type=int, default=100, help="copies of each way")
        elif verb is labels:
            each.add_argument("--share", type=float, default=0.05)
            each.add_argument("--seeds", type=int, default=3)
        else:
            each.add_argument("--learn", type=int, default=1000, help="rows to learn from")
            each.add_argument("--fits", type=int, default=3)
            each.add_argument("--draws", type=int, default=500, help="test sets of each size")
    given = parser.parse_args()
    given.measure(given)


if __name__ == "__main__":
    main()

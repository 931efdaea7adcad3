"""The embedding pass over texts against two loops of bare transformers, with the same weights.

    python bench/text_pass.py [--data trec sst2] [--backbone minilm] [--rounds 2]

Every way reads each text once and gives its mean-pooled vector; times include tokenising, and not
the loading of the weights. The ways take turns, and the best round of each counts.

- `headstart`: `text_batches` and `FrozenTwin` in bfloat16, as a fit reads texts.
- `sorted, bf16`: tokens by the fast tokenizer, texts sorted by length, batches of 32, 64 and 128
  padded to their longest, `AutoModel` in bfloat16 with its own attention; the best of the three.
- `naive`: the file's order, batches of 32 padded to the longest text of all, float32.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import arguments, print_table
from torch import Tensor

from headstart.backbones import load_text_backbone
from headstart.backbones.model_files import find_files
from headstart.backbones.text_catalog import text_catalog
from headstart.compute import FrozenTwin
from headstart.contracts import ComputeFormat, Sample
from headstart.data.text_batches import text_batches
from headstart.data.tokenising import Tokeniser
from headstart.progress import Progress

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SORTED_SIZES = (32, 64, 128)
NAIVE_SIZE = 32


def texts_of(name: str) -> list[str]:
    path = SHARED / name / "train.csv"
    if not path.is_file():
        raise SystemExit(f"There is no table `{path}`.")
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def pooled(model: torch.nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    weights = mask.unsqueeze(2).float()
    return (states * weights).sum(1) / weights.sum(1)


def bare(model: torch.nn.Module, tokenizer, texts: list[str], size: int, *, longest: int) -> Tensor:  # type: ignore[no-untyped-def]
    """Sorted by length where `longest` is 0, else in order and padded to it."""
    rows = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    order = np.arange(len(rows))
    if not longest:
        order = np.argsort([-len(row) for row in rows], kind="stable")
    out = torch.empty(len(rows), model.config.hidden_size)
    for first in range(0, len(order), size):
        places = order[first : first + size]
        length = longest or max(len(rows[i]) for i in places)
        ids = torch.zeros(len(places), length, dtype=torch.int64)
        mask = torch.zeros(len(places), length, dtype=torch.int64)
        for place, i in enumerate(places):
            ids[place, : len(rows[i])] = torch.tensor(rows[i])
            mask[place, : len(rows[i])] = 1
        out[torch.from_numpy(places)] = pooled(model, ids, mask)
    return out


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["trec", "sst2"], metavar="NAME")
    parser.add_argument("--backbone", default="minilm")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most", type=int, default=0, help="texts of each; 0: all")
    parser.add_argument("--naive-most", type=int, default=1000, help="texts of the naive loop")
    options = parser.parse_args()

    from transformers import AutoModel, AutoTokenizer

    row = text_catalog()[options.backbone]
    files = find_files(row.reference, sha256=row.sha256, progress=Progress())
    backbone = load_text_backbone(options.backbone)
    tokeniser = Tokeniser(backbone.contract)
    example = torch.ones(1, 8, dtype=torch.int64)
    twin = FrozenTwin(backbone.module, ComputeFormat("bfloat16"), example=example)
    tokenizer = AutoTokenizer.from_pretrained(files.folder)
    whole = AutoModel.from_pretrained(files.folder, dtype=torch.float32).eval()
    half = AutoModel.from_pretrained(files.folder, dtype=torch.bfloat16).eval()

    table = []
    for name in options.data:
        texts = texts_of(name)
        texts = texts[: options.most or len(texts)]
        few = texts[: options.naive_most]
        longest = max(tokeniser.lengths(texts))
        samples = [Sample(str(i), SHARED, text=text) for i, text in enumerate(texts)]

        def ours(samples: list[Sample] = samples) -> Tensor:
            out = torch.empty(len(samples), backbone.spec.num_features)
            for batch in text_batches(samples, tokeniser):
                assert batch.inputs is not None
                out[torch.tensor([int(i) for i in batch.ids])] = twin(batch.inputs)
            return out

        def naive(few: list[str] = few, longest: int = longest) -> Tensor:
            return bare(whole, tokenizer, few, NAIVE_SIZE, longest=longest)

        ways: dict[str, Callable[[], Tensor]] = {"headstart": ours, "naive": naive}
        for size in SORTED_SIZES:
            ways[f"sorted, bf16, {size}"] = lambda size=size, texts=texts: bare(
                half, tokenizer, texts, size, longest=0
            )
        best = dict.fromkeys(ways, float("inf"))
        found: dict[str, Tensor] = {}
        for _ in range(options.rounds):
            for way, call in ways.items():
                started = time.perf_counter()
                found[way] = call()
                best[way] = min(best[way], time.perf_counter() - started)
        rates = {way: len(found[way]) / best[way] for way in ways}
        for way, vectors in found.items():
            same = torch.cosine_similarity(vectors, found["headstart"][: len(vectors)]).min()
            ratio = f"{rates['headstart'] / rates[way]:.2f}"
            table.append(
                [f"{name}: {way}", len(vectors), f"{rates[way]:.0f}", ratio, f"{same:.4f}"]
            )
    columns = ["pass", "texts", "texts/s", "headstart over it", "least cosine with it"]
    print_table(columns, table)


if __name__ == "__main__":
    with torch.inference_mode():
        main()

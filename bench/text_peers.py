"""Texts classified as a careful user would with transformers' Trainer, or with SetFit, in a time.

    python bench/text_peers.py trainer|setfit '{"data": FOLDER, "weights": FOLDER, ...}'

A process of its own for `against_trainer.py`, which says what it is told. It knows nothing of
Headstart. It ends, with its answers to the test texts, when the seconds that it is given are over;
those in which it tries what is quickest on this machine are not counted. Its last line is JSON.

- `trainer`: AutoModelForSequenceClassification, AdamW, a rate of 1e-4 that rises over the first
  tenth of the time and falls to zero with it, batches of 32 of alike lengths, each padded to its
  longest, texts cut at 256 tokens; float32, or bfloat16 where a step is quicker in it. A rate of
  1e-4 is high for a large model and right for one as small as MiniLM.
- `setfit`: SetFitModel with its defaults (pairs in batches of 16, a rate of 2e-5, logistic
  regression on the vectors), with as many steps as the time has room for.
"""

from __future__ import annotations

import copy
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_TOKENS = 256  # what MiniLM was trained with, and its own setting
BATCH_SIZE = 32
LR = 1e-4
WARM_UP = 0.1  # of the time, as SetFit's default is of the steps
_NUM_TRIED = 6  # batches, to find out what a step takes; the first is not counted
_NUM_TIMED_TEXTS = 256  # to find out what reading takes
_SPARE = 1.05  # times what reading should take, so that the time is kept


class Clock:
    """How much of the time is over, not counting what was tried."""

    def __init__(self, *, started: float, seconds: float) -> None:
        self.started = started
        self.seconds = seconds
        self.reserved = 0.0

    @property
    def spent(self) -> float:
        return time.time() - self.started

    @property
    def left(self) -> float:
        """Seconds for training."""
        return self.seconds - self.reserved - self.spent

    def not_counted(self, call: Callable[[], Any]) -> Any:
        before = time.time()
        result = call()
        self.started += time.time() - before
        return result

    def reserve(self, read: Callable[[list[str]], object], texts: list[str], num: int) -> None:
        """Keep the time that it takes to read `num` texts as long as these, sorted by length."""
        by_length, size = sorted(texts, key=len), 2 * BATCH_SIZE
        apart = max(1, len(texts) // _NUM_TIMED_TEXTS)  # whole batches, each of alike lengths
        starts = range(apart // 2 * size, len(texts), apart * size)
        some = [text for start in starts for text in by_length[start : start + size]]
        read(some[:BATCH_SIZE])  # what is done once, and not for each text
        before = time.time()
        read(some)
        self.reserved += _SPARE * (time.time() - before) * num / len(some)


def computes_bfloat16() -> bool:
    """Whether this processor has such arithmetic; without, a step would take minutes."""
    import torch

    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(256, 256, dtype=dtype)
        seconds.append(seconds_of(lambda matrix=matrix: matrix @ matrix))
    return seconds[1] < 4 * seconds[0]


def read(path: Path) -> tuple[list[str], list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def seconds_of(step: Callable[[], object]) -> float:
    """The median of a few, after one that is not counted."""
    times = []
    for _ in range(_NUM_TRIED):
        before = time.time()
        step()
        times.append(time.time() - before)
    return statistics.median(times[1:])


# --- transformers' Trainer --------------------------------------------------------------------


def trainer(told: dict[str, Any], clock: Clock) -> dict[str, Any]:
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    set_seed(told["seed"])
    texts, labels = read(Path(told["data"]) / "train.csv")
    asked, _ = read(Path(told["data"]) / "test.csv")
    classes = sorted(set(labels))
    tokenizer = AutoTokenizer.from_pretrained(told["weights"])
    model = AutoModelForSequenceClassification.from_pretrained(
        told["weights"], num_labels=len(classes), dtype=torch.float32
    )

    def rows(texts: list[str]) -> list[dict[str, Any]]:
        cut = tokenizer(texts, truncation=True, max_length=told.get("max_tokens", MAX_TOKENS))
        return [
            {"input_ids": ids, "attention_mask": mask}
            for ids, mask in zip(cut["input_ids"], cut["attention_mask"], strict=True)
        ]

    learnt = [
        {**row, "labels": classes.index(label)}
        for row, label in zip(rows(texts), labels, strict=True)
    ]
    collate = DataCollatorWithPadding(tokenizer)
    batch = collate(learnt[:BATCH_SIZE])

    def quicker_in_bfloat16() -> bool:
        tried = copy.deepcopy(model).train()

        def step(*, is_half: bool) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                loss = tried(**batch).loss
            loss.backward()
            tried.zero_grad()

        whole, half = (
            seconds_of(lambda is_half=is_half: step(is_half=is_half)) for is_half in (False, True)
        )
        return half < whole

    is_half = computes_bfloat16() and clock.not_counted(quicker_in_bfloat16)

    class InTime(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            control.should_training_stop = control.should_training_stop or clock.left <= 0
            return control

    class Timed(Trainer):
        """Its rate goes by the time instead of by a number of steps that is not known yet."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            began, whole = clock.spent, clock.left

            def rate(step: int) -> float:
                share = (clock.spent - began) / max(whole, 1e-9)
                return max(0.0, min((share + 1e-3) / WARM_UP, (1 - share) / (1 - WARM_UP)))

            optimizer = optimizer or self.optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
            return self.lr_scheduler

        def _get_eval_sampler(self, eval_dataset: Any) -> Any:
            # Grouped by length as in training, answers would come in another order.
            return torch.utils.data.SequentialSampler(eval_dataset)

    with tempfile.TemporaryDirectory() as folder:
        made = Timed(
            model,
            TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=BATCH_SIZE,
                per_device_eval_batch_size=2 * BATCH_SIZE,
                learning_rate=LR,
                weight_decay=0.01,
                num_train_epochs=10_000,  # the clock ends it
                bf16=is_half,
                use_cpu=True,
                train_sampling_strategy="group_by_length",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                seed=told["seed"],
            ),
            train_dataset=learnt,
            data_collator=collate,
            callbacks=[InTime()],
        )

        def answers(texts: list[str]) -> list[str]:
            """Longest first, so that batches are of alike lengths."""
            order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
            logits = made.predict(rows([texts[i] for i in order])).predictions
            found = dict(zip(order, logits.argmax(axis=1).tolist(), strict=True))
            return [classes[found[i]] for i in range(len(texts))]

        clock.reserve(answers, asked, len(asked))
        made.train()
        found = answers(asked)
    return {
        "answers": found,
        "num_steps": made.state.global_step,
        "epochs": round(made.state.global_step * BATCH_SIZE / len(texts), 2),
        "format": "bfloat16" if is_half else "float32",
    }


# --- SetFit -----------------------------------------------------------------------------------


def setfit(told: dict[str, Any], clock: Clock) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from sentence_transformers.sentence_transformer import losses
    from setfit import SetFitModel, Trainer, TrainingArguments
    from setfit.sampler import ContrastiveDataset
    from transformers import TrainerCallback, set_seed

    set_seed(told["seed"])
    texts, labels = read(Path(told["data"]) / "train.csv")
    asked, _ = read(Path(told["data"]) / "test.csv")
    model = SetFitModel.from_pretrained(told["weights"], device="cpu")
    # The defaults, which this says in full.
    size, lr = 16, 2e-5

    def seconds_a_step() -> float:
        body = copy.deepcopy(model.model_body).train()
        loss = losses.CosineSimilarityLoss(body)
        optimizer = torch.optim.AdamW(body.parameters(), lr=lr)
        places = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()
        wanted = iter(places * (1 + 2 * size * _NUM_TRIED // len(places)))

        def step() -> None:
            sides = [
                body.tokenize([texts[next(wanted)] for _ in range(size)]) for _ in ("left", "right")
            ]
            loss(sides, torch.randint(2, (size,)).float()).backward()
            torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return seconds_of(step)

    def seconds_to_pair() -> float:
        before = time.time()
        ContrastiveDataset(texts, labels, multilabel=False, max_pairs=2)
        return time.time() - before

    step_s, pairing_s = clock.not_counted(lambda: (seconds_a_step(), seconds_to_pair()))
    clock.reserve(model.model_body.encode, texts, len(texts) + len(asked))
    num_steps = max(1, int((clock.left - pairing_s) / step_s))
    began = time.time()
    done = 0

    class InTime(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            nonlocal done
            done = state.global_step
            control.should_training_stop = control.should_training_stop or clock.left <= 0
            return control

    with tempfile.TemporaryDirectory() as folder:
        made = Trainer(
            model,
            TrainingArguments(
                output_dir=folder,
                batch_size=size,
                body_learning_rate=lr,
                max_steps=num_steps,
                seed=told["seed"],
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                show_progress_bar=False,
            ),
            train_dataset=Dataset.from_dict({"text": texts, "label": labels}),
            callbacks=[InTime()],
        )
        made.train()
        found = [str(label) for label in model.predict(asked, show_progress_bar=False)]
    return {
        "answers": found,
        "num_steps": done,
        "num_planned": num_steps,
        "seconds_training": round(time.time() - began, 1),
        "format": "float32",
    }


PEERS = {"trainer": trainer, "setfit": setfit}


def main() -> None:
    started = time.time()
    told = json.loads(sys.argv[2])
    clock = Clock(started=told.get("started", started), seconds=told["seconds"])
    result = PEERS[sys.argv[1]](told, clock)
    print("\n" + json.dumps({**result, "seconds": clock.spent}), flush=True)


if __name__ == "__main__":
    main()

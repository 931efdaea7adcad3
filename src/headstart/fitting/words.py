"""Words alone as a model to keep: TF-IDF with logistic regression, put into an attempt. Wiring."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.backbones.term_scores import WeighedTerms, terms_backbone
from headstart.compute import MeasuredFormat
from headstart.contracts import Backbone, ComputeFormat, Initialised, Sample, TermsContract
from headstart.data.numbering import numbered
from headstart.errors import InterruptedFit
from headstart.fitting.baselines import fit_words
from headstart.fitting.embedding import Embedder
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import refuse_one_class, samples_for_table
from headstart.fitting.settle import Choices
from headstart.fitting.situation import Situation
from headstart.protocols import LabelTask
from headstart.report.wording import TERM_WORDS
from headstart.strategies.heads import LinearHead
from headstart.strategies.terms import least_texts
from headstart.strategies.tfidf import TfidfModel
from headstart.trust.unknown_words import KnownWords, UnknownWords, left_out_shares

# Texts that the threshold of strangers is set by: as many as for other models.
_MOST_JUDGED = 5000


def begin_words(where: Situation[LabelTask], choices: Choices) -> LabelAttempt:
    """An attempt that has learnt nothing yet.

    Args:
        where: The fit.
        choices: Made so far; those of the attempt are added to them.
    """
    nothing = WeighedTerms((), np.zeros(0, np.float32), torch.zeros(_num_classes(where), 0))
    backbone = terms_backbone({"words": nothing}, num_classes=_num_classes(where), num_texts=0)
    exact = MeasuredFormat(ComputeFormat(), math.inf, "sums of some ten numbers need no other")
    return LabelAttempt("tfidf", where, embedder=Embedder(backbone, exact), choices=choices)


def learn_words(attempt: LabelAttempt) -> dict[str, Tensor]:
    """Learn from the words of the training texts.

    Args:
        attempt: Just begun; its model is made, its facts are told.

    Returns:
        sample id -> (num_classes + 1,), what `take_words` gives.

    Raises:
        DataError: Only one class is left.
        InterruptedFit: The user asked to stop; a resumed fit learns anew.
    """
    started = time.monotonic()
    samples = samples_for_table(attempt)
    refuse_one_class(samples, attempt.classes)
    features = take_words(attempt, fit_words(attempt, samples), samples)
    attempt.seconds = time.monotonic() - started
    attempt.where.progress.note(_told(attempt.facts))
    if attempt.where.stop.is_set:
        raise InterruptedFit
    return features


def take_words(
    attempt: LabelAttempt, fitted: tuple[TfidfModel, Initialised], samples: Sequence[Sample]
) -> dict[str, Tensor]:
    """Put a fitted model into an attempt, with all that is told about it.

    Args:
        attempt: Just begun.
        fitted: What `fit_words` gave for it.
        samples: That it was fitted to.

    Returns:
        sample id -> (num_classes + 1,) of all samples: their scores without the bias, and the share
        of their words that is unknown.
    """
    where, (model, found) = attempt.where, fitted
    head = attempt.model.head
    assert isinstance(head, LinearHead)
    backbone = _backbone_of(model)
    num_classes = len(model.bias)
    head.load(torch.eye(num_classes, num_classes + 1), model.bias)
    attempt.backbone = backbone
    attempt.embedder = replace(attempt.embedder, backbone=backbone)
    attempt.model = attempt.task.build(backbone, head).to(where.device)
    attempt.strategy.prepare(attempt.model)
    attempt.facts = {**found.facts, "num_samples": len(samples)}
    attempt.out_of_fold = found.out_of_fold
    attempt.renew_predictor()
    attempt.predictor.strangers = _strangers(attempt, model, samples)
    wanted = where.data.samples("train", "validation", "test")
    with where.progress.bar("weighing words", total=len(wanted), unit="texts") as advance:
        return attempt.predictor.features(wanted, advance=advance)


def _told(facts: Mapping[str, Any]) -> str:
    """What was learnt, in a sentence."""
    terms = " and ".join(f"{num:,} {TERM_WORDS[kind]}" for kind, num in facts["terms"].items())
    folds = facts["num_folds"]
    looked_at = facts.get("num_folds_looked_at", folds)
    why = f"cross-validation in {folds} folds" if folds else "default, as texts are few"
    if looked_at < folds:
        why = f"{looked_at} of {folds} folds of cross-validation, as texts are many"
    return f"Learned from {terms}; C is {facts['C']:g}, by {why}."


def _num_classes(where: Situation[LabelTask]) -> int:
    return len(where.data.dataset.classes)


def _backbone_of(model: TfidfModel) -> Backbone[TermsContract]:
    """The words of a model, each with its worth and its weights, in the place of a backbone."""
    weights = torch.split(model.weight, [len(terms.names) for terms in model.terms], dim=1)
    kinds: dict[str, WeighedTerms] = {
        terms.kind: WeighedTerms(terms.names, terms.idf, weight)
        for terms, weight in zip(model.terms, weights, strict=True)
    }
    return terms_backbone(kinds, num_classes=len(model.bias), num_texts=model.terms[0].n)


def _strangers(attempt: LabelAttempt, model: TfidfModel, samples: Sequence[Sample]) -> UnknownWords:
    """How much of a familiar text may be unknown: judged on whole groups of the training texts."""
    groups_of = attempt.where.data.split.groups
    groups = numbered([groups_of[sample.id] for sample in samples])
    sizes = np.bincount(groups)
    order = np.random.default_rng(attempt.settings.seed).permutation(len(sizes))
    is_chosen = np.zeros(len(sizes), bool)
    is_chosen[order[: 1 + np.searchsorted(np.cumsum(sizes[order]), _MOST_JUDGED)]] = True
    chosen = np.flatnonzero(is_chosen[groups])
    terms = model.terms[0]
    known = KnownWords(
        dict(zip(terms.names, terms.num_texts.tolist(), strict=True)),
        terms.n,
        least_texts(terms.n),
    )
    texts = [samples[place].text or "" for place in chosen.tolist()]
    return UnknownWords.of(left_out_shares(texts, groups[chosen], known))

"""TF-IDF with logistic regression: of texts what has to be beaten, and a model one can keep.

What a language model is worth is what it adds to this. C is chosen by cross-validation, in which
the vocabulary and its weights are learnt anew from the texts that a fold may see.

Source: Wang and Manning, "Baselines and bigrams" (ACL 2012), for pairs of words as a baseline that
is hard to beat. Measured in bench/tfidf.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.contracts import Backbone, FeatureTable, Initialised, ParameterGroup
from headstart.data.folds import folds
from headstart.errors import DataError
from headstart.model import Model
from headstart.strategies import StrategySettings
from headstart.strategies.freezing import freeze
from headstart.strategies.heads import linear_head
from headstart.strategies.linear_fit import (
    LabelledFeatures,
    label_features,
    simplest_of_the_best,
    solve,
)
from headstart.strategies.linear_losses import LinearLoss, Sigmoid, Softmax
from headstart.strategies.sparse_design import SparseFeatures, sparse_features
from headstart.strategies.terms import (
    Counts,
    Terms,
    answer_with,
    beside,
    count_terms,
    learn_terms,
)

# Ascending, a factor of 4 apart, until a step lowers log loss by less than a hundredth; 64 was
# taken on TREC (5,452 questions), 16 on SST-2 (6,920 sentences), with pieces of words 4.
_CS = (1.0, 4.0, 16.0, 64.0, 256.0)
_LEAST_STEP = 0.99
# The C of texts too few for cross-validation.
_UNCHOSEN_C = 16.0
_NUM_FOLDS = 5
# Of `linear_solver.minimise`. While C is chosen, a tolerance ten times smaller takes half as long
# again and moves log loss by no more than 0.002 (TREC, SST-2).
_SEARCH_TOLERANCE, _FINAL_TOLERANCE = 1e-4, 1e-6
# Pieces of words are tried where the texts have no more characters than this in all: they cost
# ten times what words do, and long texts have words enough.
_MOST_CHARACTERS = 3_000_000
# From so many texts on one fold says which C is taken, and whether pieces are worth the others.
_ENOUGH_FOR_A_LOOK = 1000


class Tfidf:
    """Words alone: what stands in the place of a backbone has learnt already and gives scores.

    It learns from texts, which no strategy sees; see `fitting.words`.
    """

    name = "tfidf"
    needs_features = False

    def __init__(self, settings: StrategySettings) -> None:
        self.settings = settings

    def new_head(self, backbone: Backbone[Any]) -> nn.Module:
        """What passes the scores of the classes on, and adds a bias."""
        num_features, num_classes = backbone.spec.num_features, self.settings.num_classes
        head = linear_head(num_features, num_classes, dropout=0.0, hidden=0)
        head.load(torch.eye(num_classes, num_features), torch.zeros(num_classes))
        return head

    def initialise(self, model: Model, table: FeatureTable | None) -> Initialised:
        """Nothing is left to set."""
        return Initialised()

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """Nothing is left to learn."""
        freeze(model)
        return []

    def train_mode(self, model: Model) -> None:
        model.eval()

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        return "fitted"

    def finish(self, model: Model) -> None:
        """The model is kept as it is."""


@dataclass(frozen=True, eq=False)
class TfidfModel:
    """A linear classifier of texts.

    Attributes:
        terms: Of one kind or of two, whose TF-IDF stand side by side.
        weight: (num_classes, num_terms) float32.
        bias: (num_classes,) float32.
    """

    terms: tuple[Terms, ...]
    weight: Tensor
    bias: Tensor

    def logits(self, texts: Sequence[str]) -> Tensor:
        """(n, num_classes) float32."""
        if not texts:
            return self.bias.new_zeros(0, len(self.bias))
        features = beside([terms.read(texts) for terms in self.terms])
        return torch.from_numpy(np.asarray(features @ self.weight.T.numpy())) + self.bias


def fit_tfidf(
    texts: Sequence[str],
    targets: Tensor,
    *,
    num_classes: int,
    groups: NDArray[np.int64] | None = None,
    class_weights: Tensor | None = None,
    seed: int = 0,
) -> tuple[TfidfModel, Initialised]:
    """A logistic regression on TF-IDF, its C and its kinds of terms chosen by cross-validation.

    Args:
        texts: n of them; may be empty strings.
        targets: (n,) int64 class indices, or (n, num_classes) float 0/1 for multi-label.
        num_classes: At least 2, or 1 for multi-label.
        groups: (n,) texts with one number share a fold; None: each is alone.
        class_weights: (num_classes,) how much a sample of each class counts; for multi-label, how
            much a positive counts beside a negative.
        seed: Of the folds.

    Returns:
        The model, and what was found on the way: `facts` has `C`, `terms` (kinds and how many),
        `setting` (both, in words), `num_folds`, `num_folds_looked_at` (that chose),
        `cross_validation`; `out_of_fold` the (n, num_classes) logits of fits that had not seen the
        text, None where there are too few to hold any out.

    Raises:
        DataError: There is no text, or targets do not go with the texts.
        ConfigError: A class weight is not positive.
        MissingExtraError: The packages of the extra `text` are not installed.

    Example:
        >>> texts = ["good", "very good", "bad", "so bad"]
        >>> model, found = fit_tfidf(texts, torch.tensor([1, 1, 0, 0]), num_classes=2)
        >>> model.logits(["a good one", "a bad one"]).argmax(dim=1).tolist()
        [1, 0]
    """
    if not len(texts) or len(texts) != len(targets):
        raise DataError(
            f"{len(texts)} texts and {len(targets)} targets do not go together. At least one text "
            "is needed, and a target for each."
        )
    blank = torch.zeros(len(texts), 0)
    data = label_features(blank, targets, num_classes=num_classes, class_weights=class_weights)
    words = count_terms(texts, "words", seed=seed)
    held_out = _hold_out(data, groups, seed=seed)
    if held_out is None:
        model = _fit([words], data, c=_UNCHOSEN_C, tolerance=_FINAL_TOLERANCE)
        return model, Initialised({"C": _UNCHOSEN_C, "terms": _told(model), "num_folds": 0})
    best = _choose_c([words], data, held_out, cs=_CS)
    tried = [best]
    if sum(map(len, texts)) <= _MOST_CHARACTERS:
        counts = [words, count_terms(texts, "pieces", seed=seed)]
        first = _Part(counts, data, held_out == 0)
        if len(texts) < _ENOUGH_FOR_A_LOOK or _is_promising(first, data, best):
            cs = _CS[: _CS.index(best.c) + 1][-2:]  # with more terms the best C is no larger
            tried.append(_choose_c(counts, data, held_out, cs=cs, first=first))
            if _is_better(tried[-1].losses, best.losses):
                best = tried[-1]
    model = _fit(best.counts, data, c=best.c, tolerance=_FINAL_TOLERANCE)
    facts = {
        "C": best.c,
        "setting": _setting(best.counts, best.c),
        "terms": _told(model),
        "num_folds": int(held_out.max()) + 1,
        "num_folds_looked_at": _num_looked_at(held_out),
        "cross_validation": [row for each in tried for row in each.rows],
    }
    return model, Initialised(facts, best.logits)


# --- choosing -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The best C for some kinds of terms.

    Attributes:
        c: The smallest C within a standard error of the best.
        counts: Of each kind.
        logits: (n, num_classes) out of fold at `c`.
        losses: (n,) log losses of these.
        rows: What was tried, as JSON.
    """

    c: float
    counts: list[Counts]
    logits: Tensor
    losses: Tensor
    rows: list[dict[str, Any]]


def _hold_out(
    data: LabelledFeatures, groups: NDArray[np.int64] | None, *, seed: int
) -> Tensor | None:
    """(n,) int64 folds; None where there are too few groups to hold any out."""
    groups = np.arange(len(data.targets)) if groups is None else groups
    num_folds = min(_NUM_FOLDS, len(np.unique(groups)) // 2)
    if num_folds < 2:
        return None
    targets = data.targets.numpy()
    return torch.from_numpy(folds(targets, groups, num_folds=num_folds, seed=seed))


def _num_looked_at(held_out: Tensor) -> int:
    """How many folds say which C is taken."""
    return 1 if len(held_out) >= _ENOUGH_FOR_A_LOOK else int(held_out.max()) + 1


def _choose_c(
    counts: list[Counts],
    data: LabelledFeatures,
    held_out: Tensor,
    *,
    cs: Sequence[float],
    first: _Part | None = None,
) -> _Chosen:
    """The best C: by the first fold where it has texts enough, else by all.

    Args:
        counts: Of each kind.
        data: Of all texts.
        held_out: (n,) folds.
        cs: To try, ascending.
        first: The first fold, where it is at hand.
    """
    parts = [first or _Part(counts, data, held_out == 0)]
    parts += [_Part(counts, data, held_out == fold) for fold in range(1, int(held_out.max()) + 1)]
    looked = parts[: _num_looked_at(held_out)]
    judged = _rows(data, torch.cat([part.places for part in looked]))
    answers: list[list[Tensor]] = []
    losses: list[Tensor] = []
    for c in cs:
        answers.append([part.answer(c) for part in looked])
        losses.append(judged.losses(torch.cat(answers[-1])))
        if len(losses) > 1 and losses[-1].mean() > _LEAST_STEP * losses[-2].mean():
            break
    place = simplest_of_the_best(torch.stack(losses))
    logits = torch.zeros(len(data.targets), answers[0][0].shape[1])
    found = answers[place] + [part.answer(cs[place]) for part in parts[len(looked) :]]
    for part, answer in zip(parts, found, strict=True):
        logits[part.places] = answer
    rows = [
        {
            "setting": _setting(counts, c),
            "n": len(judged.targets),
            "log_loss": float(loss.mean()),
            "accuracy": judged.accuracy(torch.cat(answer)),
        }
        for c, loss, answer in zip(cs, losses, answers, strict=False)
    ]
    return _Chosen(cs[place], counts, logits, data.losses(logits), rows)


def _is_promising(part: _Part, data: LabelledFeatures, best: _Chosen) -> bool:
    """Whether more kinds of terms are better on the first fold, beyond the noise."""
    asked = _rows(data, part.places)
    return _is_better(asked.losses(part.answer(best.c)), asked.losses(best.logits[part.places]))


def _is_better(losses: Tensor, others: Tensor) -> bool:
    """Whether the first are lower on the same texts, by more than a standard error."""
    gain = others - losses
    if len(gain) < 2:
        return False
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


class _Part:
    """One fold: what is learnt from the other texts, and asked of these.

    Args:
        counts: Of each kind, of all texts.
        data: Of all texts.
        is_held_out: (n,) bool.
    """

    def __init__(self, counts: Sequence[Counts], data: LabelledFeatures, is_held_out: Tensor):
        self.places = is_held_out.nonzero()[:, 0]
        seen = (~is_held_out).nonzero()[:, 0]
        learnt = [learn_terms(each.of(seen.numpy())) for each in counts]
        self.features = sparse_features(beside([rows for _, rows in learnt]))
        self.asked = beside(
            [
                answer_with(terms, each.of(self.places.numpy()))
                for (terms, _), each in zip(learnt, counts, strict=True)
            ]
        )
        self.data = _rows(data, seen)
        self._answers: dict[float, Tensor] = {}
        self._last: Tensor | None = None  # coefficients, from which the next search begins

    def answer(self, c: float) -> Tensor:
        """(m, num_classes) logits of the texts of this fold; what was asked once is kept."""
        if c not in self._answers:
            self._last = _solve(
                self.features, self.data, c=c, tolerance=_SEARCH_TOLERANCE, start=self._last
            )
            weight, bias = _layer(self._last, self.data)
            logits = torch.from_numpy(np.asarray(self.asked @ weight.T.numpy())) + bias
            self._answers[c] = logits
        return self._answers[c]


def _fit(
    counts: Sequence[Counts], data: LabelledFeatures, *, c: float, tolerance: float
) -> TfidfModel:
    learnt = [learn_terms(each) for each in counts]
    features = sparse_features(beside([rows for _, rows in learnt]))
    weight, bias = _layer(_solve(features, data, c=c, tolerance=tolerance), data)
    return TfidfModel(tuple(terms for terms, _ in learnt), weight, bias)


def _solve(
    features: SparseFeatures,
    data: LabelledFeatures,
    *,
    c: float,
    tolerance: float,
    start: Tensor | None = None,
) -> Tensor:
    """(num_terms + 1, K, 1) coefficients, the biases last; `start`: as many, to begin with."""
    is_apart = data.is_multilabel or data.has_one_output
    loss: LinearLoss = Sigmoid() if is_apart else Softmax()
    seen = torch.ones(len(data.targets), 1)
    found = solve(features, data, loss, seen=seen, cs=[c], tolerance=tolerance, start=start)
    return found.coefficients


def _layer(coefficients: Tensor, data: LabelledFeatures) -> tuple[Tensor, Tensor]:
    """(num_classes, num_terms) weights and (num_classes,) biases."""
    wide = data.widen(coefficients[:, :, 0])  # (num_terms + 1, num_classes)
    return wide[:-1].T.contiguous(), wide[-1]


def _rows(data: LabelledFeatures, places: Tensor) -> LabelledFeatures:
    """Those of some of the texts."""
    return LabelledFeatures(
        data.features[places], data.targets[places], data.coded[places], data.weights[places]
    )


def _setting(counts: Sequence[Counts], c: float) -> str:
    """Such as `words and pieces, C = 4`."""
    return f"{' and '.join(each.kind for each in counts)}, C = {c:g}"


def _told(model: TfidfModel) -> dict[str, int]:
    return {terms.kind: len(terms.names) for terms in model.terms}

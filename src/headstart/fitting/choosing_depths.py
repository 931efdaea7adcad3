"""The probe on features of several depths: of pictures all, of texts those that suit best. Wiring.

What a pass gives is the features of all depths and poolings; a few hundred cached rows say which of
them a probe of texts should see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones.text_depths import with_places
from headstart.backbones.text_features import Place, TextFeatures
from headstart.compute import FrozenTwin
from headstart.contracts import FeatureTable, Sample
from headstart.fitting.embedding import Embedder
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import feature_table, refuse_one_class, samples_for_table
from headstart.fitting.settle import Choice
from headstart.predictor import EmbedOnly, example_input
from headstart.strategies.linear_fit import label_features
from headstart.strategies.probe import fit_linear_probe, hold_out_folds

# So many texts say which places suit: the choice is between few, and costs as much as a fit to each
# of them. Below the least, what it says is noise.
_MOST_TEXTS, _LEAST_TEXTS = 600, 100
_STREAM = 6  # of draws by the seed of a run; see `data.seeding`
# What the run calls the choice.
_NAME = "depths"


@dataclass(frozen=True, eq=False)
class _Judged:
    """Places of a text's features, and how well a probe of them does on texts it has not seen.

    Attributes:
        places: See `TextFeatures`.
        losses: (n,) log losses.
        accuracy: Share of right answers.
    """

    places: tuple[Place, ...]
    losses: Tensor
    accuracy: float


def at_depths(
    probe: LabelAttempt, depths: Mapping[str, Tensor]
) -> tuple[LabelAttempt, dict[str, Tensor]]:
    """The probe on features of several depths, settled and not learnt yet; and these features.

    Args:
        probe: On those of the last layer.
        depths: sample id -> (sum of the widths,) of all depths, from the pass of its embedder.

    Raises:
        DataError: Only one class is left.
    """
    embedder, table, choices = probe.embedder.at_depths(), dict(depths), probe.choices.branch()
    module = embedder.backbone.module
    if isinstance(module, TextFeatures):
        places, choice = _choose(probe, depths, module.places)
        choices.add(choice)
        width = embedder.backbone.spec.num_features
        columns = _columns(module.places, places, width=width)
        table = {id_: row[columns] for id_, row in depths.items()}
        embedder = _at_places(probe, places)
    return LabelAttempt("probe", probe.where, embedder=embedder, choices=choices), table


def _choose(
    probe: LabelAttempt, depths: Mapping[str, Tensor], given: Sequence[Place]
) -> tuple[tuple[Place, ...], Choice]:
    """The usual places, unless others are better out of fold by more than a standard error.

    What is then measured out of fold on the same texts is a little flattered by this choice among
    three; validation texts that came with the data, and the test, take no part in it.
    """
    usual, *others = _candidates(given)
    samples = [sample for sample in samples_for_table(probe) if sample.id in depths]
    refuse_one_class(samples, probe.classes)
    table = feature_table(probe, [depths], _some(samples, seed=probe.settings.seed))
    n, num_groups = len(table.targets), len(torch.unique(table.groups))
    if num_groups < _LEAST_TEXTS or hold_out_folds(table, probe.settings) is None:
        why = f"{num_groups} independent texts are too few to choose by"
        return usual, Choice(_NAME, _told(usual), why)
    judged = [_judge(probe, table, given, places) for places in (usual, *others)]
    best = judged[0]
    for each in judged[1:]:
        gain, error = _mean_and_error(best.losses - each.losses, table.groups)
        if gain > error:
            best = each
    tried = tuple(
        {
            "value": _told(each.places),
            "log_loss": float(each.losses.mean()),
            "accuracy": each.accuracy,
        }
        for each in judged
    )
    rivals = ", ".join(f"{row['value']} {row['log_loss']:.3f}" for row in tried)
    why = f"log loss out of fold on {n} texts: {rivals}"
    return best.places, Choice(_NAME, _told(best.places), why, tried)


def _some(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """At most so many, drawn: tables often come in the order of their classes."""
    drawn = np.random.default_rng([_STREAM, seed]).permutation(len(samples))[:_MOST_TEXTS]
    return [samples[place] for place in sorted(drawn)]


def _mean_and_error(values: Tensor, groups: Tensor) -> tuple[float, float]:
    """The mean of values (n,) and its standard error, where those of a group are one draw."""
    names, places = torch.unique(groups, return_inverse=True)
    mean = values.mean()
    sums = values.new_zeros(len(names)).index_add(0, places, values - mean)
    return float(mean), float(sums.square().sum().sqrt() / len(values))


def _candidates(given: Sequence[Place]) -> list[tuple[Place, ...]]:
    """Each pooling at all depths, and the last layer alone; the averages of tokens first.

    All end with the last layer as its weights were made to be pooled, whose size is kept.
    """
    last = given[-1]
    kinds = sorted({pooling for _, pooling in given}, key=lambda pooling: pooling != "mean")
    by_kind = [[place for place in given if place[1] == kind] for kind in kinds]
    found = [tuple(some if some[-1] == last else [*some, last]) for some in by_kind]
    return [*found, (last,)]


def _judge(
    probe: LabelAttempt, table: FeatureTable, given: Sequence[Place], places: tuple[Place, ...]
) -> _Judged:
    features = table.features[:, _columns(given, places, width=table.features.shape[1])]
    _, found = fit_linear_probe(replace(table, features=features), probe.settings)
    logits = found.out_of_fold
    assert logits is not None  # as there are so many
    data = label_features(
        features,
        table.targets,
        num_classes=table.num_classes,
        class_weights=probe.settings.class_weights,
    )
    return _Judged(places, data.losses(logits), data.accuracy(logits))


def _columns(given: Sequence[Place], places: Sequence[Place], *, width: int) -> Tensor:
    """Where the features of some places are among those of all, which are of one width each."""
    each = width // len(given)
    starts = [list(given).index(place) * each for place in places]
    return torch.cat([torch.arange(start, start + each) for start in starts])


def _at_places(probe: LabelAttempt, places: Sequence[Place]) -> Embedder:
    """The embedder of a backbone that gives the features of these places alone."""
    embedder, where = probe.embedder, probe.where
    if len(places) == 1:
        return replace(embedder, deep=None)
    backbone = with_places(embedder.backbone, places)
    headless = where.task.build(backbone, nn.Identity()).to(where.device)
    example = example_input(backbone.contract, where.device)
    twin = FrozenTwin(EmbedOnly(headless), embedder.inference.compute_format, example=example)
    return Embedder(backbone, embedder.inference, None, twin)


def _told(places: Sequence[Place]) -> str:
    """Such as `mean of blocks 3, 5, 6`."""
    kinds = dict.fromkeys(pooling for _, pooling in places)
    blocks = {
        kind: ", ".join(str(depth) for depth, pooling in places if pooling == kind)
        for kind in kinds
    }
    return "; ".join(f"{kind} of blocks {blocks[kind]}" for kind in kinds)

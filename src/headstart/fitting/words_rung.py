"""The rung of words alone: judged like the others, and kept where it is about as good. Wiring.

No backbone has to read them. Where the budget left texts unread, words are learnt from these, too,
and a run that keeps words alone is measured on its whole test set.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from headstart.contracts import Sample
from headstart.fitting.baselines import OfTexts
from headstart.fitting.judging import Judge, Judged, is_better, standard_error
from headstart.fitting.label_attempt import LabelAttempt
from headstart.fitting.learning import TAIL_S, samples_for_table
from headstart.fitting.settle import Choice, Choices
from headstart.fitting.words import begin_words, take_words

# Of the time that is left, what learning from unread texts may take: heads on features, which have
# not been tried yet, need some, too.
_UNREAD_SHARE = 0.5


class WordsRung:
    """Words alone on one ladder.

    Args:
        baseline: Fits them.
        probe: Whose features are what words are compared with.
        samples: That the probe learns from; they have been read.
        choices: Made before any strategy was settled.
        judge: Of the ladder.
        until: `time.monotonic()` by which the whole fit must be over.

    Attributes:
        learnt: What words were learnt from: the samples, or unread ones, too.
        kept: The attempt that is kept, and the scores by words that it goes by, sample id ->
            (num_classes + 1,); None where words are not kept.
    """

    def __init__(
        self,
        baseline: OfTexts,
        probe: LabelAttempt,
        samples: Sequence[Sample],
        *,
        choices: Choices,
        judge: Judge,
        until: float,
    ) -> None:
        self.baseline = baseline
        self.where = probe.where
        self.samples = samples
        self.choices = choices
        self.judge = judge
        self.until = until
        self.learns_from_all = probe.learns_from_all
        self.learnt = samples
        self.kept: tuple[LabelAttempt, dict[str, Tensor]] | None = None

    def learn_unread(self, answers: Tensor, *, seconds: float) -> Tensor:
        """Learn from texts that the budget left unread, too, where it holds that.

        Args:
            answers: (n, num_classes) logits of the samples, out of fold, of a fit to these alone.
            seconds: That this fit took.

        Returns:
            (n, num_classes) logits of the same samples, out of fold.
        """
        where = replace(self.where, data=self.where.data.with_unread())
        is_all_read = len(where.data.left_out) == len(self.where.data.left_out)
        if is_all_read or self.where.stop.is_set:  # stopped, it goes on to what can be kept soon
            return answers
        attempt = begin_words(where, self.choices.branch(is_held=True))
        everything = samples_for_table(attempt)
        predicted_s = seconds * len(everything) / len(self.samples)
        left_s = self.until - time.monotonic() - TAIL_S
        before = self.baseline.fitted
        found = None
        if predicted_s <= _UNREAD_SHARE * left_s:
            found = self.baseline.out_of_fold(attempt, everything)
        if found is None:
            self.baseline.fitted = before
            return answers
        self.where, self.learnt = where, everything
        row_of = {sample.id: row for row, sample in enumerate(everything)}
        return found[[row_of[sample.id] for sample in self.samples]]

    @property
    def told_unread(self) -> str:
        """What they learnt from beside the texts that the backbone read; empty where nothing."""
        if len(self.learnt) == len(self.samples):
            return ""
        splits = "training and validation" if self.learns_from_all else "training"
        return (
            f"Words were learnt from {len(self.learnt):,} {splits} texts; of these the budget let "
            f"the backbone read {len(self.samples):,}."
        )

    def keep_if_best(self, trivial: Judged, best: Judged) -> tuple[Judged, str]:
        """Words alone where they are about as good as the best rung above them; else that one.

        What was tried above them costs more, so it has to show that it is worth it. With few texts
        it cannot do so beyond the noise, however much better it is: words are left where they are
        more than a standard error worse, by the rule that contrastive tuning is kept by.

        Args:
            trivial: Words alone, as they were judged.
            best: Of the rungs above them.

        Returns:
            What is to be beaten from here on, and what to say of words in the verdict.
        """
        assert self.baseline.fitted is not None  # it gave the answers that were judged
        comparison = self.judge.compare(trivial, best)
        gain, tried = comparison.metrics["accuracy"], self.choices.value("backbone")
        error = standard_error(gain)
        told = (
            f"right on {100 * gain.value_a:.1f}% out of fold, and the best rung on the features of "
            f"{tried} on {100 * gain.value_b:.1f}%, a difference of {100 * gain.value:+.1f} points "
            f"(95% {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
        if is_better(comparison):
            return best, ""
        if gain.value > error:
            so_much = f"more than a standard error ({100 * error:.1f})"
            return best, f"Words alone (TF-IDF) were not kept: {told}, which is {so_much}."
        attempt = begin_words(self.where, self.choices.branch(is_held=True))
        self.kept = attempt, take_words(attempt, self.baseline.fitted, self.learnt)
        so_much = f"no more than a standard error ({100 * error:.1f})"
        is_what = "less" if gain.high < 0 else so_much
        why = "words alone were kept; what was tried above them is " + str(tried)
        attempt.choices.add(Choice("language model", "none", why))
        verdict = f"Words alone (TF-IDF) were kept: {told}, which is {is_what}. {self.told_unread}"
        return trivial, verdict.rstrip()

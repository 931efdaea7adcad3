"""Numbers, names and durations as a reader wants them; knows neither runs nor HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.contracts import Measure


@dataclass(frozen=True)
class MetricWords:
    """How a metric is called and read.

    Attributes:
        title: Its name in a table.
        meaning: One sentence, with the direction that is better.
        is_share: Whether it is a share of 1, shown in percent and drawn on a bar.
    """

    title: str
    meaning: str
    is_share: bool = True


METRIC_WORDS = {
    "accuracy": MetricWords("Accuracy", "Share of samples that are right."),
    "balanced_accuracy": MetricWords(
        "Balanced accuracy", "Share right within each class, averaged: rare classes count alike."
    ),
    "macro_f1": MetricWords(
        "Macro F1", "Balance of precision and recall, averaged over the classes."
    ),
    "micro_f1": MetricWords("Micro F1", "Balance of precision and recall over all decisions."),
    "map": MetricWords("Mean average precision", "How well each class ranks, averaged."),
    "miou": MetricWords(
        "Mean IoU",
        "Overlap of answer and truth over what either covers, averaged over the classes.",
    ),
    "pixel_accuracy": MetricWords("Pixel accuracy", "Share of pixels that are right."),
    "boundary_f1": MetricWords(
        "Boundary F1", "How well the borders of the answer follow those of the truth."
    ),
    "log_loss": MetricWords(
        "Log loss", "How surprised the model was by the truth; lower is better.", is_share=False
    ),
    "ece": MetricWords(
        "Calibration error",
        "How far stated confidence and actual share of right answers lie apart; lower is better.",
    ),
}


def metric_words(name: str) -> MetricWords:
    """The words for a metric; a metric without any is called by its own name, as a plain number.

    Example:
        >>> metric_words("my_score").title
        'My score'
    """
    known = METRIC_WORDS.get(name)
    if known is not None:
        return known
    return MetricWords(name.replace("_", " ").capitalize(), "", is_share=False)


def percent(value: float) -> str:
    """A share of 1 in percent with one decimal.

    Never rounded to a certainty that it is not.

    Example:
        >>> percent(0.9477), percent(1.0), percent(0.99996)
        ('94.8%', '100%', '>99.9%')
    """
    if value in (0.0, 1.0):
        return f"{100 * value:.0f}%"
    if 0.9995 <= value < 1.0:
        return ">99.9%"
    if 0.0 < value < 0.0005:
        return "<0.1%"
    return f"{100 * value:.1f}%"


def figure(value: float, *, is_share: bool) -> str:
    """A metric's value: in percent for a share, else with three decimals."""
    return percent(value) if is_share else f"{value:.3f}"


def interval(measure: Measure, *, is_share: bool) -> str:
    """The 95% interval of a measure; empty when it has none.

    Example:
        >>> interval(Measure(0.948, 0.902, 0.98), is_share=True)
        '90.2–98.0%'
    """
    if measure.low is None or measure.high is None:
        return ""
    low = figure(measure.low, is_share=is_share)
    high = figure(measure.high, is_share=is_share)
    if low[0] not in "<>":
        low = low.removesuffix("%")
    return f"{low}–{high}"


def told(measure: Measure, *, is_share: bool) -> str:
    """A value with its interval, as a sentence has it.

    Example:
        >>> told(Measure(0.948, 0.902, 0.98), is_share=True)
        '94.8% (95% interval 90.2–98.0%)'
    """
    bounds = interval(measure, is_share=is_share)
    value = figure(measure.value, is_share=is_share)
    return f"{value} (95% interval {bounds})" if bounds else value


def points(measure: Measure, *, is_share: bool = True) -> str:
    """A difference of two values, signed, with its interval; of shares in percentage points.

    Example:
        >>> points(Measure(0.004, -0.005, 0.013)), points(Measure(-0.1))
        ('+0.4 points (95% interval −0.5 to +1.3)', '−10.0 points')
    """
    unit = " points" if is_share else ""

    def signed(value: float) -> str:
        text = f"{100 * value:+.1f}" if is_share else f"{value:+.3f}"
        return text.replace("-", "−")

    value = signed(measure.value) + unit
    if measure.low is None or measure.high is None:
        return value
    return f"{value} (95% interval {signed(measure.low)} to {signed(measure.high)})"


def count(number: int, noun: str, *, plural: str = "") -> str:
    """A number with its noun.

    Example:
        >>> count(1, "picture"), count(2625, "text")
        ('1 picture', '2,625 texts')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def names(items: Sequence[str], *, limit: int = 6) -> str:
    """A list in words, cut after `limit` names.

    Example:
        >>> names(["ants", "bees", "wasps"]), names(["a", "b", "c", "d"], limit=2)
        ('ants, bees and wasps', 'a, b and 2 more')
    """
    if len(items) > limit:
        return f"{', '.join(items[:limit])} and {len(items) - limit:,} more"
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def rounded(number: int) -> str:
    """A count that nobody reads digit by digit, to three figures.

    Example:
        >>> rounded(812), rounded(48_210), rounded(1_048_576)
        ('812', '48.2 k', '1.05 M')
    """
    if number < 1000:
        return f"{number:,}"
    for unit in ("k", "M"):
        number_of_unit = number / (1e3 if unit == "k" else 1e6)
        if number_of_unit < 999.5:
            return f"{number_of_unit:.3g} {unit}"
    return f"{number / 1e9:,.3g} G"


RUNG_WORDS = {
    "majority": "Most common class",
    "trivial": "Colours alone",
    "knn": "Nearest neighbours",
    "probe": "Linear probe",
    "depths": "Probe at several depths",
    "head": "New head",
    "gradual": "Gradual unfreezing",
    "full": "Full fine-tuning",
    "lora": "Low-rank adapters",
    "scratch": "From scratch",
    "as-is": "As it comes",
    "tfidf": "Words alone",
}


# Where the model answers for pixels or texts, these rungs are other models.
OTHER_RUNG_WORDS = {
    "pixel": {
        "trivial": "Single pixels",
        "probe": "Features, pixel by pixel",
        "head": "New decoder",
    },
    "text": {"trivial": "Words alone"},
}


# What a model of words counts, by `TermsContract.sizes`.
TERM_WORDS = {"words": "words and pairs of neighbours", "pieces": "pieces of words"}
# Stands in commands for what a user would ask about.
ANY_TEXT = "any text"
# What becomes of texts that are longer than the model's input, by `TextContract.long`.
LONG_WORDS = {
    "cut": "the beginning is read",
    "head-tail": "the beginning and the end are read",
    "windows": "all parts are read, and their features averaged",
}


def rung_words(strategy: str, *, counted: str = "picture") -> str:
    """What a rung of the ladder is called for a reader; an unknown one by its own name.

    Args:
        strategy: Of the rung.
        counted: What it answers for: `picture`, `pixel` or `text`.

    Example:
        >>> rung_words("trivial"), rung_words("trivial", counted="text"), rung_words("probe")
        ('Colours alone', 'Words alone', 'Linear probe')
    """
    own = OTHER_RUNG_WORDS.get(counted, {})
    return own.get(strategy) or RUNG_WORDS.get(strategy, strategy)


def duration(seconds: float) -> str:
    """A duration.

    Example:
        >>> duration(9.14), duration(200), duration(3900)
        ('9.1 s', '3 min 20 s', '1 h 5 min')
    """
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(num_bytes: float) -> str:
    """A file size in decimal units.

    Example:
        >>> size(900), size(1_250_000)
        ('900 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"


def shortened(text: str, *, limit: int) -> str:
    """A text cut in the middle to at most `limit` characters, so that both its ends tell it apart.

    Example:
        >>> shortened("yellow_bellied_flycatcher", limit=13)
        'yellow…atcher'
    """
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[: limit - 1 - half]}…{text[-half:]}" if half else "…"

"""Whether a named language model was trained on the languages that some texts are in."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.backbones.auto import texts_at_hand
from headstart.backbones.text_catalog import PACKAGED_TEXT_DEFAULT, row_of_repository, text_catalog
from headstart.config import ANY_BACKBONE
from headstart.contracts import Finding
from headstart.data.languages import Languages, named

# Fewer texts in other languages may be names, quotations or errors of what tells languages.
_LEAST_SHARE = 0.05


def languages_of(reference: str) -> str:
    """`english` or `many` of a model by its name or repository; `auto` stands for one of English.

    Empty where that is not known.
    """
    if reference == "auto":
        reference = PACKAGED_TEXT_DEFAULT
    repository = reference.removeprefix("hf:").removeprefix("//").partition("@")[0]
    row = text_catalog().get(reference.removeprefix("hf:")) or row_of_repository(repository)
    return "" if row is None else row.languages


def models_of_many(*, beside: str = "") -> list[str]:
    """Names of the models that were trained on many languages.

    Args:
        beside: A model by its name or repository; none knows more than one that is of many itself.
    """
    if beside and languages_of(beside) == "many":
        return []
    return [row.name for row in text_catalog().values() if row.languages == "many"]


def language_findings(found: Languages, references: Sequence[str]) -> tuple[Finding, ...]:
    """That many texts are in a language which models of English were not trained on.

    Args:
        found: Of the texts.
        references: The backbone, as the user gave it, or several that race: where one of them may
            know more than English, the race finds out.
    """
    share = found.share_not_english
    if not found.num_told or share < _LEAST_SHARE:
        return ()
    if ANY_BACKBONE in references:
        others_named = [name for name in references if name != ANY_BACKBONE]
        references = list(dict.fromkeys((*others_named, *texts_at_hand())))
    if {languages_of(reference) for reference in references} != {"english"}:
        return ()
    model = f"{', '.join(f'`{name}`' for name in references)} are models of"
    if len(references) == 1:
        [one] = references
        model = "auto stands for models of" if one == "auto" else f"`{one}` is a model of"
    others = models_of_many()
    kind = "script than Latin" if found.are_scripts else "language than English"
    listed = f" ({named(found.others)})" if found.others else ""
    finding = Finding(
        "other-language",
        "warning",
        f"{share:.0%} of the texts that can be told are in another {kind}{listed}, and {model} "
        "English.",
        f"Take a model of many languages: --backbone {others[0]}, or of more parameters "
        f"{', '.join(others[1:])}.",
    )
    return (finding,)

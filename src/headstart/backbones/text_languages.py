"""Whether a named language model was trained on the languages that some texts are in."""

from __future__ import annotations

from headstart.backbones.text_catalog import PACKAGED_TEXT_DEFAULT, row_of_repository, text_catalog
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


def language_findings(found: Languages, reference: str) -> tuple[Finding, ...]:
    """That many texts are in a language which a model of English was not trained on.

    Args:
        found: Of the texts.
        reference: The backbone, as the user gave it.
    """
    share = found.share_not_english
    if not found.num_told or share < _LEAST_SHARE or languages_of(reference) != "english":
        return ()
    model = "auto stands for models of" if reference == "auto" else f"`{reference}` is a model of"
    others = [row.name for row in text_catalog().values() if row.languages == "many"]
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

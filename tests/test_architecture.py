"""What the architecture promises beyond import-linter's contracts."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "torchvision", "timm", "sklearn", "pyarrow", "lightning_fabric", "PIL", "rasterio"),
    *("transformers", "tokenizers"),
)


def _imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import headstart",
        "import headstart.cli",
        "import headstart.api",
        "import headstart; headstart.fit; headstart.load; headstart.inspect",
    ],
)
def test_importing_headstart_imports_nothing_heavy(statement: str) -> None:
    assert _imported_by(statement) == set()


def test_data_formats_import_no_rasterio_before_a_raster_is_read() -> None:
    assert _imported_by("import headstart.data, headstart.data.units") <= {"PIL", "pyarrow"}


def test_language_models_are_listed_without_transformers() -> None:
    statement = (
        "from headstart.backbones import SOURCES, text_catalog\n"
        "import headstart.data.tokenising, headstart.data.text_batches\n"
        "assert SOURCES['hf']().search('minilm')"
    )
    assert not _imported_by(statement) & {"transformers", "tokenizers"}


def test_the_report_imports_no_torch() -> None:
    assert "torch" not in _imported_by("import headstart.report")


def test_every_public_name_exists() -> None:
    import headstart

    for name in headstart.__all__:
        assert getattr(headstart, name) is not None
    with pytest.raises(AttributeError, match="no `nonsense`"):
        headstart.nonsense  # type: ignore[attr-defined]

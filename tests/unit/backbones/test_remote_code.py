"""Code that a published model brings: read, agreed to, imported, kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.backbones import build_backbone, load_text_backbone
from headstart.backbones.remote_code import (
    RemoteCode,
    agree,
    import_class,
    is_agreed,
    read_code,
    require_agreement,
)
from headstart.contracts import Backbone, BackboneSpec
from headstart.data.tokenising import Tokeniser, as_ids
from headstart.errors import WeightsError
from headstart.progress import Progress

pytest.importorskip("transformers", reason="needs the extra `text`")

from own_code import CODE, write_own
from tiny_language_models import write_model


def features(backbone: Backbone[Any], text: str = "the beast and 1930s films") -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = backbone.module(as_ids(Tokeniser(backbone.contract).rows([text])))
    return found


def code_of(text: str, *, origin: str = "here") -> RemoteCode:
    return RemoteCode(origin, {"AutoModel": "modeling_x.X"}, {"modeling_x.py": text})


# --- a model of a folder or a hub -------------------------------------------------------------


def test_a_model_with_code_of_its_own_is_built_by_that_code(
    tmp_path: Path, own_cache: Path
) -> None:
    plain = load_text_backbone(str(write_model("bert", tmp_path / "bert")))
    own = load_text_backbone(str(write_own(tmp_path / "own")), trust_remote_code=True)
    torch.testing.assert_close(features(own), 3.0 * features(plain))
    assert own.spec.arguments["code"]["files"] == CODE
    assert (own.spec.arguments["num_blocks"], len(own.layer_groups)) == (4, 5)


def test_a_run_needs_the_folder_no_more(tmp_path: Path, own_cache: Path) -> None:
    folder = write_own(tmp_path / "own")
    loaded = load_text_backbone(str(folder), trust_remote_code=True)
    spec = BackboneSpec.from_json(json.loads(json.dumps(loaded.spec.to_json())))
    for path in folder.iterdir():
        path.unlink()
    module = build_backbone(spec).eval()
    module.load_state_dict(loaded.module.state_dict())
    again = Backbone(spec, loaded.contract, module, layer_groups=())
    torch.testing.assert_close(features(again), features(loaded))


def test_code_of_a_hub_is_fetched_with_all_that_it_imports(
    hub: Any, tmp_path: Path, own_cache: Path
) -> None:
    for path in write_own(tmp_path / "own").iterdir():
        hub.add("org/own", path.name, path.read_bytes())
    hub.add("org/own", "unrelated.py", b"raise SystemExit('nobody asked for this')")
    own = load_text_backbone("hf:org/own", trust_remote_code=True)
    assert own.spec.arguments["code"]["origin"] == "hf://org/own"
    assert sorted(own.spec.arguments["code"]["files"]) == sorted(CODE)
    assert not any("unrelated" in request for request in hub.requests)
    hub.fault = "broken"
    again = load_text_backbone("hf:org/own", trust_remote_code=True)
    assert torch.equal(features(again), features(own))


def test_code_of_another_repository_is_fetched_from_there(
    hub: Any, tmp_path: Path, own_cache: Path
) -> None:
    folder = write_own(tmp_path / "own", repository="org/code")
    for name, text in CODE.items():
        hub.add("org/code", name, text.encode())
    own = load_text_backbone(str(folder), trust_remote_code=True)
    assert own.spec.arguments["code"]["origin"] == "hf://org/code"


def test_trust_in_code_that_there_is_none_of_changes_nothing(
    tmp_path: Path, own_cache: Path
) -> None:
    folder = str(write_model("bert", tmp_path / "bert"))
    plain, trusted = load_text_backbone(folder), load_text_backbone(folder, trust_remote_code=True)
    assert torch.equal(features(plain), features(trusted))
    assert plain.spec == trusted.spec
    assert not (own_cache / "trusted_code.json").exists()


def test_an_agreement_of_before_does_not_speak_for_a_new_fit(
    tmp_path: Path, own_cache: Path
) -> None:
    folder = str(write_own(tmp_path / "own"))
    load_text_backbone(folder, trust_remote_code=True)
    with pytest.raises(WeightsError, match="not run unless you say so") as error:
        load_text_backbone(folder)
    assert "--trust-remote-code" in str(error.value)
    assert "configuration_own.py, modeling_own.py" in str(error.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import a_package_of_nobody", "No module named 'a_package_of_nobody'"),
        ("raise RuntimeError('out of order')", "fails: RuntimeError: out of order"),
        ("def (", "is no Python"),
    ],
)
def test_code_that_fails_is_named_with_its_trouble(
    tmp_path: Path, own_cache: Path, line: str, expected: str
) -> None:
    folder = write_own(tmp_path / "own")
    (folder / "sounds_own.py").write_text(line)
    with pytest.raises(WeightsError, match=expected) as error:
        load_text_backbone(str(folder), trust_remote_code=True)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("self.loudness = loudness", "self.loudness = self.nobody_knows", "nobody_knows"),
        ("super().forward(**inputs)", "super().go_forward(**inputs)", "go_forward"),
        (
            "config_class = OwnConfig",
            "config_class = OwnConfig\n    def post_init(self): pass",
            "all_tied",
        ),
        ("super().__init__(config, **values)", "raise TypeError('no such shape')", "no such shape"),
    ],
)
def test_whatever_code_raises_is_told_as_its_failure(
    tmp_path: Path, own_cache: Path, old: str, new: str, expected: str
) -> None:
    folder = write_own(tmp_path / "own")
    [path] = [path for path in folder.glob("*.py") if old in path.read_text()]
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(WeightsError, match=expected) as error:
        load_text_backbone(str(folder), trust_remote_code=True)
    assert "config.json" not in str(error.value)


def test_code_that_has_changed_is_not_what_was_agreed_to(tmp_path: Path, own_cache: Path) -> None:
    folder = write_own(tmp_path / "own")
    load_text_backbone(str(folder), trust_remote_code=True)
    assert load_text_backbone(str(folder), trust_remote_code="as-agreed").spec.arguments["code"]
    (folder / "sounds_own.py").write_text("raise RuntimeError('this must not run')")
    with pytest.raises(WeightsError, match="is not what this fit began with") as error:
        load_text_backbone(str(folder), trust_remote_code="as-agreed")
    assert "It was not run" in str(error.value)
    [shown] = [word for word in str(error.value).split("`") if "code" in word and "/" in word][-1:]
    assert "must not run" in (Path(shown) / "sounds_own.py").read_text()


def test_a_file_of_code_that_is_missing_is_named(tmp_path: Path, own_cache: Path) -> None:
    folder = write_own(tmp_path / "own")
    (folder / "sounds_own.py").unlink()
    with pytest.raises(WeightsError, match=r"file of code `sounds_own\.py`"):
        load_text_backbone(str(folder), trust_remote_code=True)


# --- agreement --------------------------------------------------------------------------------


def test_nothing_runs_that_nobody_agreed_to(tmp_path: Path, own_cache: Path) -> None:
    trap = tmp_path / "trap"
    code = code_of(f"from pathlib import Path\nPath({str(trap)!r}).touch()\nclass X: pass")
    with pytest.raises(WeightsError, match="Nobody has agreed") as error:
        import_class(code, "AutoModel")
    assert not trap.exists()
    [told] = [part for part in str(error.value).split("`") if str(own_cache) in part]
    assert (Path(told) / "modeling_x.py").read_text().startswith("from pathlib")
    agree(code)
    assert import_class(code, "AutoModel").__name__ == "X"
    assert trap.exists()


def test_an_agreement_is_to_these_files_alone(own_cache: Path) -> None:
    code = code_of("class X: pass")
    agree(code)
    assert is_agreed(code)
    assert is_agreed(code_of("class X: pass", origin="elsewhere"))
    assert not is_agreed(code_of("class X: pass  # changed"))
    require_agreement(code)


def test_what_lies_in_the_cache_is_not_run_in_place_of_what_was_agreed_to(own_cache: Path) -> None:
    code = code_of("class X: version = 1")
    agree(code)
    (code.write() / "modeling_x.py").write_text("class X: version = 2")
    assert import_class(code, "AutoModel").version == 1


def test_a_damaged_list_of_agreements_agrees_to_nothing(own_cache: Path) -> None:
    code = code_of("class X: pass")
    agree(code)
    (own_cache / "trusted_code.json").write_text("{")
    with pytest.raises(WeightsError, match=r"trusted_code\.json` is damaged"):
        import_class(code, "AutoModel")


# --- what config.json may name ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"AutoModelForCausalLM": "modeling_x.X"}, "no model without a head"),
        ({"AutoModel": "org/a--m.X", "AutoConfig": "org/b--c.C"}, "several repositories"),
        ({"AutoModel": "../../etc/passwd.X"}, "no name of a module"),
    ],
)
def test_classes_that_cannot_be_had_are_refused(named: dict[str, str], expected: str) -> None:
    def read(repository: str, name: str) -> str:
        raise AssertionError("nothing is to be read")

    with pytest.raises(WeightsError, match=expected):
        read_code({"auto_map": named}, origin="here", read=read)


def test_the_files_of_a_run_cannot_lead_out_of_their_folder() -> None:
    values = {**code_of("").to_json(), "files": {"../../startup.py": "print('here')"}}
    with pytest.raises(WeightsError, match="no name of a module"):
        RemoteCode.from_json(values)


def test_files_are_found_by_what_imports_them() -> None:
    files = {
        "modeling_x.py": "from .a import b\nfrom . import c, d\nimport os\nfrom torch import nn",
        "a.py": "def late():\n    from .e import f",
        **dict.fromkeys(("c.py", "d.py", "e.py"), ""),
    }
    asked = []

    def read(repository: str, name: str) -> str:
        asked.append((repository, name))
        return files[name]

    named = {"AutoModel": "org/code--modeling_x.X"}
    code = read_code({"auto_map": named}, origin="here", read=read)
    assert dict(code.files) == dict(sorted(files.items()))
    assert {repository for repository, _ in asked} == {"org/code"}
    assert len(asked) == len(files)


def test_progress_of_a_load_with_code_warns_of_no_code_left_out(
    tmp_path: Path, own_cache: Path, recorded: Progress, recorder: Any
) -> None:
    load_text_backbone(str(write_own(tmp_path / "own")), trust_remote_code=True, progress=recorded)
    assert "which is not run" not in recorder.text

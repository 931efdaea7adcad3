"""`lora`: low-rank changes of linear layers learn, and the head; all else is frozen.

A few hundredths of the parameters learn, so that gradients and the optimizer need little memory.
After training they are added to the weights they change: the model that is saved is as large and as
quick as it was, and needs no package to be read.

Source: Hu et al., "LoRA: Low-rank adaptation of large language models" (ICLR 2022,
arXiv:2106.09685); all linear layers, as Dettmers et al., "QLoRA" (NeurIPS 2023), section 4, found
necessary to match full fine-tuning.
"""

from __future__ import annotations

import inspect
import re
import sys

from torch import Tensor, nn
from torch.nn.utils import parametrize

from headstart.contracts import ParameterGroup
from headstart.errors import ConfigError, MissingExtraError
from headstart.model import Model
from headstart.strategies.freezing import freeze_backbone, frozen_stay_in_eval, head_groups
from headstart.strategies.full import Full

# The rank of each change, and what it is multiplied by over that: as in the paper, whose figure 2
# finds little difference between 4 and 64.
_RANK, _ALPHA = 8, 16
_NAME = "default"


class Lora(Full):
    """Learns low-rank changes of all linear layers of the backbone, and the head from the probe."""

    name = "lora"

    def prepare(self, model: Model) -> list[ParameterGroup]:
        """The changes and the head, at one rate.

        Raises:
            ConfigError: The backbone has no linear layer.
            MissingExtraError: peft is not installed.
        """
        if not _changes(model.backbone):
            _add_changes(model)
        freeze_backbone(model)
        changes = _changes(model.backbone)
        for parameter in changes:
            parameter.requires_grad_(True)
        return [*head_groups(model), ParameterGroup("lora", changes, weight_decay_scale=0.0)]

    def train_mode(self, model: Model) -> None:
        """Frozen layers are as in evaluation; nothing normalises by batches in a transformer."""
        frozen_stay_in_eval(model)

    def on_epoch(self, model: Model, epoch: int, *, num_epochs: int) -> str:
        """The same in all epochs."""
        return "lora"

    def finish(self, model: Model) -> None:
        """The changes become a part of the weights; no trace of them is left."""
        from peft.tuners.lora import LoraLayer

        for name, layer in list(model.backbone.named_modules()):
            if isinstance(layer, LoraLayer):
                layer.merge(safe_merge=True)
                owner, _, own_name = name.rpartition(".")
                setattr(model.backbone.get_submodule(owner), own_name, layer.get_base_layer())
            elif parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _add_changes(model: Model) -> None:
    """Put one beside each linear layer, in place."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("--strategy lora", extra="text") from None
    kinds = _kinds()
    found = {n: type(m) for n, m in model.backbone.named_modules() if type(m) in kinds}
    if not found:
        raise ConfigError(
            "--strategy lora changes linear layers, and the backbone has none: it is no "
            "transformer. Choose one, or another strategy, such as full."
        )
    unasked = {name for name in found if _is_read(model.backbone, name)}
    config = LoraConfig(
        r=_RANK,
        lora_alpha=_ALPHA,
        target_modules=[name for name in found if name not in unasked],
        fan_in_fan_out=nn.Linear not in found.values(),
    )
    device = next(model.parameters()).device
    inject_adapter_in_model(config, model.backbone, adapter_name=_NAME)
    for name in sorted(unasked):
        layer = model.backbone.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        parametrize.register_parametrization(layer, "weight", _LowRank(layer.weight))
    model.to(device)


def _is_read(backbone: nn.Module, name: str) -> bool:
    """Whether the owner of a layer takes its weight and multiplies by it itself.

    What peft puts around such a layer is never asked. In timm BEiT, EVA and Swin v2 do so with
    query, key and value.
    """
    owner, _, own_name = name.rpartition(".")
    try:
        source = inspect.getsource(type(backbone.get_submodule(owner)).forward)
    except (OSError, TypeError):  # no file has it
        return False
    own = rf"self\.{re.escape(own_name)}\.weight\b(?!\.)"  # its dtype alone is no use of it
    return re.search(rf"(weight=|linear\(\w+, ){own}", source) is not None


class _LowRank(nn.Module):
    """A weight with its change, whoever reads it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        num_out, num_in = weight.shape
        self.lora_A = nn.Parameter(weight.new_empty(_RANK, num_in))
        self.lora_B = nn.Parameter(weight.new_zeros(num_out, _RANK))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)  # as peft's

    def forward(self, weight: Tensor) -> Tensor:
        """weight (num_out, num_in) -> the same, changed."""
        return weight + _ALPHA / _RANK * (self.lora_B @ self.lora_A)


def _changes(backbone: nn.Module) -> list[nn.Parameter]:
    """The parameters of all changes, in a stable order."""
    return [p for name, p in backbone.named_parameters() if ".lora_" in name]


def _kinds() -> tuple[type[nn.Module], ...]:
    """Linear layers, and those of GPT-2, which keeps its weights turned over."""
    conv1d = sys.modules.get("transformers.pytorch_utils")
    return (nn.Linear,) if conv1d is None else (nn.Linear, conv1d.Conv1D)

"""How the arithmetic is done: device, precision, memory layout, and a frozen twin for inference.

The best format differs from model to model, machine to machine, and between training and inference
(bench/formats.py), so it is measured on the real model for a fraction of a second, never assumed.
Knows modules and tensors, nothing of tasks, data or runs.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from headstart.atomic import replacing
from headstart.cache import cache_folder
from headstart.contracts import ComputeFormat
from headstart.errors import ConfigError

Mode = Literal["inference", "training"]

# The shortest of a few rounds of a small batch ranks the formats; the first only warms up. Where
# even the next ones differ much, something else is running, and more are taken (bench/formats.py).
_PROBE_BATCH = 4
# Of texts as many as have about so many tokens, but no more than make a batch of training.
_PROBE_TOKENS, _MOST_TEXTS = 512, 32
_PROBE_ROUNDS = 4
_MOST_ROUNDS = 12
_STEADY = 1.3
# A product of matrices of so many rows and columns tells whether bfloat16 is worth measuring: where
# it takes more than so many times the time of float32, measuring it on a model takes minutes. On
# two cores without AVX-512 it took 30 times, and a whole layer of convolutions 20 times.
_PRODUCT_SIZE = 128
_MUCH_SLOWER = 4
# Of as many parameters a step of the optimizer is timed: too many for a processor's caches.
_TIMED_PARAMETERS = 8_000_000
# On CPU batches of 8 and 16 are the fastest and alike (bench/formats.py), and 8 needs less memory.
# A GPU wants more at once.
_BATCH_SIZE = {"cpu": 8}
_GPU_BATCH_SIZE = 64


@dataclass(frozen=True)
class MeasuredFormat:
    """A format that was chosen by its speed.

    Attributes:
        compute_format: The fastest one.
        samples_per_s: What it reached.
        reason: In words.
    """

    compute_format: ComputeFormat
    samples_per_s: float
    reason: str


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ConfigError: It does not exist here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"`{name}` is no device. Use auto, cpu, cuda, cuda:N or mps for --device."
        ) from None
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= count:
        raise ConfigError(
            f"`--device {name}` is not there: this machine has {count} of the kind "
            f"`{device.type}`. Use --device auto."
        )
    return device


@functools.cache
def computes_bfloat16() -> bool:
    """Whether this processor has arithmetic in bfloat16, which many laptops have not.

    By the time of a small product in one thread, so that what else runs does not count.
    """

    def product_s(dtype: torch.dtype) -> float:
        matrix = torch.ones(_PRODUCT_SIZE, _PRODUCT_SIZE, dtype=dtype)
        return _timed(lambda: matrix @ matrix, matrix.device, float("inf"))[0]

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return product_s(torch.bfloat16) <= _MUCH_SLOWER * product_s(torch.float32)
    finally:
        torch.set_num_threads(num_threads)


def has_arithmetic(compute_format: ComputeFormat, device: torch.device) -> bool:
    """Whether a device computes in a format by itself, and not number by number."""
    is_half_on_cpu = device.type == "cpu" and compute_format.dtype == "bfloat16"
    return not is_half_on_cpu or computes_bfloat16()


def batch_size_for(device: torch.device) -> int:
    """Pictures a batch for inference."""
    return _BATCH_SIZE.get(device.type, _GPU_BATCH_SIZE)


def describe_device(device: torch.device) -> str:
    """A name for people, such as `cpu (2 threads)` or `cuda:0 (NVIDIA T4)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)


def candidate_formats(
    device: torch.device, *, mode: Mode, precision: str = "auto", has_layouts: bool = True
) -> list[ComputeFormat]:
    """The formats worth measuring on a device, the likely best first.

    Args:
        device: Where the module is.
        mode: Inference or training.
        precision: `auto`, or the only dtype to consider.
        has_layouts: Whether inputs are pictures, (B, C, H, W), which can be laid out in two ways.
    """
    if precision != "auto":
        dtypes = [precision]
    elif device.type == "cuda":
        # float16 has more mantissa than bfloat16, but training in it needs loss scaling; only GPUs
        # without fast bfloat16 (before compute capability 8.0) want it.
        fast_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        dtypes = ["bfloat16" if fast_bfloat16 else "float16", "float32"]
    elif device.type == "cpu":
        dtypes = ["bfloat16", "float32"] if computes_bfloat16() else ["float32"]
    else:
        dtypes = ["float32"]
    if mode == "training" and device.type != "cuda" and "float16" in dtypes:
        raise ConfigError(
            "--precision float16 needs loss scaling, which is only there on CUDA. "
            "Use bfloat16 or float32."
        )
    return [
        ComputeFormat(dtype, channels_last)  # type: ignore[arg-type]
        for dtype in dtypes
        for channels_last in ((True, False) if has_layouts else (False,))
    ]


def choose_format(
    module: nn.Module,
    example: Tensor,
    *,
    mode: Mode,
    precision: str = "auto",
    name: str,
) -> MeasuredFormat:
    """The fastest format of a module on its device, by a short measurement of the real thing.

    The result is kept in the cache under the module's name, the machine and the torch version, so
    that a second fit does not measure again and runs repeat exactly.

    Args:
        module: On its device, float32.
        example: One input on the same device: (1, bands, height, width) of pictures, or token ids
            (1, length) or (1, parts, length) of texts.
        mode: Inference under `FrozenTwin`, or forward and backward under autocast.
        precision: `auto`, or the only dtype to consider.
        name: What identifies the architecture.
    """
    candidates = candidate_formats(
        example.device, mode=mode, precision=precision, has_layouts=example.ndim == 4
    )
    device = describe_device(example.device)
    machine = (platform.machine(), platform.processor(), device, torch.__version__)
    num_samples = _PROBE_BATCH
    if example.dtype == torch.int64:
        num_samples = max(1, min(_MOST_TEXTS, _PROBE_TOKENS // example.numel()))
    key = (2, name, mode, precision, tuple(example.shape), machine, num_samples)
    path = cache_folder("speed") / (hashlib.sha256(repr(key).encode()).hexdigest()[:24] + ".json")
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        reason = values["reason"] + ", measured earlier"
        return MeasuredFormat(ComputeFormat(**values["format"]), values["samples_per_s"], reason)
    rates: dict[ComputeFormat, float] = {}
    are_steady = True
    probe = _inference_rate if mode == "inference" else _training_rate
    batch = example.expand(num_samples, *example.shape[1:]).contiguous()
    for candidate in candidates:
        best_rate = max(rates.values(), default=0.0)
        rates[candidate], is_steady = probe(module, batch, candidate, best_rate)
        are_steady = are_steady and is_steady
    best = max(rates, key=lambda candidate: rates[candidate])
    others = ", ".join(f"{c} {r:.0f}" for c, r in rates.items() if c != best)
    reason = f"{rates[best]:.0f} samples a second in {mode}"
    reason += f"; {others}" if others else ""
    if not has_arithmetic(best, example.device):
        reason += "; this processor has no arithmetic in it, and is many times faster in float32"
    if not are_steady:  # something else was running: good enough for now, not to be remembered
        return MeasuredFormat(best, rates[best], reason + "; the machine was busy")
    values = {"format": asdict(best), "samples_per_s": rates[best], "reason": reason}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values) + "\n", encoding="utf-8")
    return MeasuredFormat(best, rates[best], reason)


def _timed(step: Callable[[], object], device: torch.device, best_s: float) -> tuple[float, bool]:
    """Seconds of the quickest call of `step`, and whether the next one took about as long.

    Gives up early, as steady, on what is far behind the best.
    """
    times: list[float] = []
    while len(times) < _PROBE_ROUNDS or (
        len(times) < _MOST_ROUNDS and sorted(times)[1] > _STEADY * min(times)
    ):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
        if len(times) == 2 and min(times) > _MUCH_SLOWER * best_s:
            return min(times), True
    return min(times), sorted(times)[1] <= _STEADY * min(times)


def _inference_rate(
    module: nn.Module, batch: Tensor, candidate: ComputeFormat, best: float
) -> tuple[float, bool]:
    twin = FrozenTwin(module, candidate, example=batch[:1], is_checked=False)
    best_s = len(batch) / best if best else float("inf")
    seconds, is_steady = _timed(lambda: twin(batch), batch.device, best_s)
    return len(batch) / seconds, is_steady


def _training_rate(
    module: nn.Module, batch: Tensor, candidate: ComputeFormat, best: float
) -> tuple[float, bool]:
    copied = copy.deepcopy(module).train()
    for parameter in copied.parameters():
        parameter.requires_grad_(True)
    if candidate.channels_last:
        copied = copied.to(memory_format=torch.channels_last)
    inputs = as_layout(_as_numbers(batch), candidate)

    def step() -> None:
        dtype = getattr(torch, candidate.dtype)
        enabled = candidate.dtype != "float32"
        with torch.autocast(batch.device.type, dtype=dtype, enabled=enabled):
            outputs = copied(inputs)
        outputs.float().square().mean().backward()

    best_s = len(batch) / best if best else float("inf")
    seconds, is_steady = _timed(step, batch.device, best_s)
    return len(batch) / seconds, is_steady


def optimizer_seconds(num_parameters: int, device: torch.device) -> float:
    """What a step of AdamW costs beside forward and backward, with the clipping of gradients.

    It goes through memory, and takes time in proportion to the parameters, whatever the batch: of a
    language model on short texts a fifth of a step.

    Args:
        num_parameters: That learn.
        device: Where.
    """
    some = min(num_parameters, _TIMED_PARAMETERS)
    weights = torch.zeros(some, device=device, requires_grad=True)
    weights.grad = torch.ones_like(weights)
    optimizer = torch.optim.AdamW([weights], lr=1e-3, fused=True if device.type == "cpu" else None)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_([weights], 1.0)
        optimizer.step()

    seconds, _ = _timed(step, device, float("inf"))
    return seconds * num_parameters / max(some, 1)


def _as_numbers(inputs: Tensor) -> Tensor:
    """Pictures of bytes as float32; token ids, which are names and no numbers, as they are."""
    return inputs if inputs.dtype == torch.int64 else inputs.float()


def as_layout(images: Tensor, compute_format: ComputeFormat) -> Tensor:
    """Images (B, C, H, W) in the memory layout of a format; other tensors as they are."""
    if compute_format.channels_last and images.ndim == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images


class FrozenTwin:
    """A copy of a module for inference only: norms folded into convolutions, cast, laid out.

    Folding a batch norm in eval mode into the convolution before it leaves the function the same
    and saves a pass over the activations: 1.2 to 1.7 times the throughput of Lite0 on CPU
    (bench/formats.py). The copy never trains, so the module itself stays as it was.

    Args:
        module: images (B, C, H, W) of any dtype, or token ids (B, length) int64 -> anything
            (B, ...). It must cast by itself, as only it knows what may be lost before it has
            normalised; ids are never cast.
        compute_format: Precision and layout of the copy.
        example: One input, to find which norm follows which convolution.
        is_checked: Compare the folded copy with the original on the example, and fold nothing if
            they differ (a convolution whose output is also used elsewhere).
    """

    def __init__(
        self,
        module: nn.Module,
        compute_format: ComputeFormat,
        *,
        example: Tensor,
        is_checked: bool = True,
    ) -> None:
        copied = copy.deepcopy(module).eval().requires_grad_(False)
        self.num_folded = 0
        if any(isinstance(child, nn.BatchNorm2d) for child in copied.modules()):
            self.num_folded, is_same = fold_norms(
                copied, _as_numbers(example), is_checked=is_checked
            )
            if not is_same:
                copied = copy.deepcopy(module).eval().requires_grad_(False)
                self.num_folded = 0
        copied = copied.to(dtype=getattr(torch, compute_format.dtype))
        # Also back from channels-last, in which training may have left the module.
        is_last = compute_format.channels_last
        layout = torch.channels_last if is_last else torch.contiguous_format
        self.module = copied.to(memory_format=layout)
        self.compute_format = compute_format

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Tensor:
        """The module's output for images (B, C, H, W) or ids (B, length), as float32."""
        output: Tensor = self.module(as_layout(inputs, self.compute_format))
        return output.float()


def fold_norms(module: nn.Module, example: Tensor, *, is_checked: bool) -> tuple[int, bool]:
    """Fold each batch norm in eval mode into the convolution right before it, in place.

    Which norm follows which convolution is seen in one forward pass: the norm's input is the very
    tensor that the convolution gave.

    Returns:
        How many were folded, and whether the module still gives the same for the example (True
        without looking, if it is not to be checked). If it does not, it must not be used.

    Source: Jacob et al. 2018, Quantization and Training of Neural Networks, section 3.2.
    """
    convolutions: dict[int, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    hooks = []

    def watch(name: str, child: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                convolutions[id(output)] = (name, output)  # kept alive, so that ids stay unique
            elif id(inputs[0]) in convolutions:
                pairs.append((convolutions[id(inputs[0])][0], name))

        hooks.append(child.register_forward_hook(hook))

    for name, child in module.named_modules():
        if isinstance(child, nn.Conv2d | nn.BatchNorm2d):
            watch(name, child)
    try:
        with torch.no_grad():
            before = module(example)
    finally:
        for handle in hooks:
            handle.remove()
    norms = [norm for _, norm in pairs]
    if len(set(norms)) < len(norms) or len({conv for conv, _ in pairs}) < len(pairs):
        return 0, True  # a layer that is used twice cannot be folded
    for conv_name, norm_name in pairs:
        _fold(module, conv_name, norm_name)
    if not is_checked or not pairs:
        return len(pairs), True
    with torch.no_grad():
        after = module(example)
    largest = float(before.abs().max())
    return len(pairs), torch.allclose(before, after, rtol=1e-3, atol=1e-3 * largest)


def _fold(module: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.running_mean is None or norm.running_var is None:
        return  # it normalises by the batch, also in eval mode
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.weight, conv.bias = weight, bias
    activation = getattr(norm, "act", None)  # timm keeps the activation inside its norm layers
    module.set_submodule(norm_name, activation if activation is not None else nn.Identity())


def module_fingerprint(module: nn.Module) -> str:
    """sha256 over all parameters and buffers, in order: what identifies weights without a file."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def environment(device: torch.device) -> dict[str, str | int]:
    """Versions and machine, for the run."""
    from importlib.metadata import version

    names: Sequence[str] = ("torch", "torchvision", "timm")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "platform": platform.platform(terse=True),
        "device": describe_device(device),
        "cores": torch.get_num_threads(),
    }

"""Rates of the formats: precision, memory layout, folded norms, batch size.

    python bench/formats.py [--backbone NAME] [--repeats N]

Pictures a second through one backbone on random input, the best of some rounds in which all
variants take turns. Two tables: inference, with and without batch norms folded into convolutions;
and training (forward and backward). Ratios are over float32 without channels-last and without
folding, of the same batch size. The last line of each tells what Headstart's own short probe takes.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable

import torch
from measuring import BACKBONE, arguments, own_cache, print_table
from torch import Tensor, nn

from headstart.backbones import load_backbone
from headstart.compute import (
    FrozenTwin,
    as_layout,
    candidate_formats,
    choose_device,
    choose_format,
)
from headstart.contracts import ComputeFormat, InputContract
from headstart.model import Normalise
from headstart.predictor import example_input

BATCH_SIZES = (4, 8, 16, 32)


def plain_twin(module: nn.Module, chosen: ComputeFormat) -> Callable[[Tensor], Tensor]:
    """The module in a format, its norms as they are."""
    copied = copy.deepcopy(module).eval().to(dtype=getattr(torch, chosen.dtype))
    if chosen.channels_last:
        copied = copied.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return copied(as_layout(images, chosen)).float()

    return run


def training_step(module: nn.Module, chosen: ComputeFormat) -> Callable[[Tensor], None]:
    copied = copy.deepcopy(module).requires_grad_(True).train()
    if chosen.channels_last:
        copied = copied.to(memory_format=torch.channels_last)

    def run(images: Tensor) -> None:
        dtype = getattr(torch, chosen.dtype)
        inputs = as_layout(images.float(), chosen)
        with torch.autocast(images.device.type, dtype, enabled=chosen.dtype != "float32"):
            outputs = copied(inputs)
        outputs.float().square().mean().backward()

    return run


def best_rates(
    variants: dict[str, Callable[[Tensor], object]], example: Tensor, *, repeats: int
) -> dict[tuple[str, int], float]:
    """(variant, batch size) -> pictures a second."""
    rates: dict[tuple[str, int], float] = {}
    for batch_size in BATCH_SIZES:
        images = example.expand(batch_size, *example.shape[1:]).contiguous()
        for _ in range(repeats + 1):  # the first round warms up
            for name, run in variants.items():
                started = time.perf_counter()
                run(images)
                if example.is_cuda:
                    torch.cuda.synchronize()
                rate = batch_size / (time.perf_counter() - started)
                rates[name, batch_size] = max(rate, rates.get((name, batch_size), 0.0))
    return rates


def show(title: str, rates: dict[tuple[str, int], float], *, reference: str) -> None:
    names = dict.fromkeys(name for name, _ in rates)
    rows = []
    for name in names:
        cells = [
            f"{rates[name, size]:.0f} ({rates[name, size] / rates[reference, size]:.2f})"
            for size in BATCH_SIZES
        ]
        rows.append([name, *cells])
    print_table([title, *(f"batch {size}" for size in BATCH_SIZES)], rows)
    best_name, best_size = max(rates, key=lambda key: rates[key])
    print(f"fastest: {best_name}, batch {best_size}")


def with_normalisation(module: nn.Module, contract: InputContract) -> nn.Module:
    return nn.Sequential(Normalise(contract), module)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = choose_device(given.device)
    backbone = load_backbone(given.backbone)
    module = with_normalisation(backbone.module, backbone.contract).to(device)
    example = example_input(backbone.contract, device)
    plain = str(ComputeFormat())
    inference: dict[str, Callable[[Tensor], object]] = {}
    for chosen in candidate_formats(device, mode="inference"):
        inference[str(chosen)] = plain_twin(module, chosen)
        inference[f"{chosen}, folded"] = FrozenTwin(module, chosen, example=example)
    training = {
        str(chosen): training_step(module, chosen)
        for chosen in candidate_formats(device, mode="training")
    }
    print(f"{backbone.spec.reference}, {device}, {os.cpu_count()} cores: pictures/s (ratio)\n")
    show("inference", best_rates(inference, example, repeats=given.repeats), reference=plain)
    with own_cache():
        started = time.perf_counter()
        found = choose_format(module, example, mode="inference", name="bench").compute_format
        print(f"the probe: {found}, found in {time.perf_counter() - started:.1f} s\n")
        show("training", best_rates(training, example, repeats=given.repeats), reference=plain)
        started = time.perf_counter()
        found = choose_format(module, example, mode="training", name="bench").compute_format
        print(f"the probe: {found}, found in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()

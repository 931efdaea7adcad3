"""Where the linear solver goes from a gradient, against the curvature worked out in full."""

from __future__ import annotations

import pytest
import torch

from headstart.strategies.linear_losses import LinearLoss, Sigmoid, Softmax, SquaredHinge
from headstart.strategies.linear_steering import Steering


def test_of_equal_answers_the_curvature_is_inverted_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.linalg.qr(torch.randn(12, 12, generator=generator))[0][:, :4] * 3.0
    targets, weights = torch.eye(3).repeat(4, 1)[:, :, None], torch.ones(12, 1, 1)
    cs, loss = torch.tensor([0.5]), Softmax()
    gram = torch.cat([features.square().sum(dim=0), torch.ones(1)])
    response = torch.full((12, 3, 1), 1 / 3)
    steering = Steering.of(gram, cs, loss, response=response, targets=targets, weights=weights)
    wanted = torch.randn(5, 3, 1, generator=generator)
    wanted[-1] = 0.0  # no bias: its column would have to be orthogonal to the others
    wanted -= wanted.mean(dim=1, keepdim=True)  # what raises all alike is taken to bend a little

    def objective(flat: torch.Tensor) -> torch.Tensor:
        coefficients = flat.view(4, 3)
        each = torch.nn.functional.cross_entropy(
            features @ coefficients, targets[:, :, 0].argmax(dim=1), reduction="sum"
        )
        return 0.5 * each + 0.5 * coefficients.square().sum()

    exact = torch.autograd.functional.hessian(objective, torch.zeros(12))
    gradient = torch.zeros(5, 3, 1)
    gradient[:-1, :, 0] = (exact @ wanted[:-1, :, 0].flatten()).view(4, 3)
    torch.testing.assert_close(steering.apply(gradient), wanted)


@pytest.mark.parametrize("loss", [Softmax(), Sigmoid(), SquaredHinge()])
def test_the_curvature_of_a_loss_is_the_mean_second_derivative(loss: LinearLoss) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 3, 2, generator=generator)
    targets = torch.eye(3)[torch.arange(20) % 3][:, :, None]
    weights = 0.5 + torch.rand(20, 1, 2, generator=generator)
    response = loss.respond(logits)
    found = loss.curvature(response, targets, weights)
    for output in range(3):
        turn = torch.zeros_like(logits)
        turn[:, output] = 1.0
        expected = (loss.bend(response, targets, turn) * weights).sum(dim=1).mean(dim=0)
        got = found[:, output, output] if found.ndim == 3 else found[output]
        torch.testing.assert_close(got, expected)


def test_answers_that_are_all_decided_do_not_lead_to_steps_without_end() -> None:
    response = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, :, None]
    steering = Steering.of(
        torch.tensor([4.0, 2.0]),
        torch.tensor([10.0]),
        Softmax(),
        response=response,
        targets=response,
        weights=torch.ones(2, 1, 1),
    )
    step = steering.apply(torch.tensor([[1.0, -1.0], [1.0, -1.0]])[:, :, None])
    assert torch.isfinite(step).all()
    assert step.abs().max() < 1e5

"""Two ranks train as one device does: the same losses, the same weights; what cannot be so is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from techniques.backends import BACKENDS
from techniques.parallel import PARALLELS, cannot_spread
from techniques.parallel.batch_norm import synchronize_batch_norms
from techniques.parallel.ranks import Ranks
from tests.support.two_ranks import CASES

LOSSES, WEIGHTS = 1e-5, 2e-4
"""What rounding makes of losses of about 1 over a few steps in fp32, and of weights under Adam."""

TRAINED = [name for name, case in CASES.items() if not case.refused]
REFUSED = [name for name, case in CASES.items() if case.refused]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what two ranks found of all cases."""
    out: Path = tmp_path_factory.mktemp("ranks") / "found.json"
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*words, "-m", "tests.support.two_ranks", str(out)],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    content: dict[str, dict[str, Any]] = json.loads(out.read_text())
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_two_ranks_have_the_losses_and_the_weights_of_one_device(found, name):
    entry = found[name]
    assert "refused" not in entry
    assert max(entry["losses"]) <= LOSSES, entry["losses"]
    assert entry["weights"] <= WEIGHTS


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_result_is_refused_in_words(found, name):
    assert CASES[name].refused in found[name].get("refused", "")


@pytest.fixture
def alone():
    """Give a process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_over_ranks_is_that_of_pytorch(alone, affine, momentum):
    own = nn.BatchNorm2d(3, affine=affine, momentum=momentum)
    reference = nn.BatchNorm2d(3, affine=affine, momentum=momentum)
    synchronize_batch_norms(own, 1)
    for scale in (1.0, 3.0):
        batch = scale * torch.randn(4, 3, 5, 5) + 7
        inputs = [batch.clone().requires_grad_() for _ in range(2)]
        outputs = [model(each) for model, each in zip((own, reference), inputs, strict=True)]
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
        for each in outputs:
            (each * torch.arange(5.0)).sin().sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-3, atol=1e-5)
    for one, other in zip(own.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(own.eval()(batch), reference.eval()(batch))


def test_a_process_that_has_joined_no_others_is_alone():
    ranks = Ranks.here(torch.device("cpu"))
    assert (ranks.rank, ranks.size, ranks.first) == (0, 1, True)
    assert ranks.mean([2.0, 3.0]) == ranks.from_first([2.0, 3.0]) == [2.0, 3.0]
    assert ranks.gathered(4.0) == [4.0] and ranks.agree(7) == 7


def test_each_rank_takes_its_share_of_a_batch():
    assert [Ranks(rank, 3, "gloo").share(12) for rank in range(3)] == [
        slice(0, 4),
        slice(4, 8),
        slice(8, 12),
    ]


def test_gpus_talk_by_nccl_and_cpus_by_gloo():
    assert Ranks.here(torch.device("cuda")).backend == "nccl"
    assert Ranks.here(torch.device("cpu")).backend == "gloo"


@pytest.mark.parametrize(
    ("backend", "parallel", "devices", "reason"),
    [
        ("cpu-eager", "none", 1, None),
        ("cpu-eager", "ddp", 2, None),
        ("cuda-eager", "tp", 4, None),
        ("cpu-eager", "none", 2, "devices=2 requires parallel = \"ddp\" or another way, got 'none'"),
        ("cpu-xla", "fsdp", 2, "cpu-xla does not train on several devices by fsdp"),
    ],
)
def test_a_backend_says_in_which_ways_its_devices_train(backend, parallel, devices, reason):
    assert cannot_spread(BACKENDS.get(backend), PARALLELS.parse(parallel), devices) == reason


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs (NCCL)"
)
@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_gpus_train_over_nccl(tmp_path, parallel):
    from bench.execution.ranks import run_in_ranks
    from tests.support.several_devices import by_metric, several

    request = several(tmp_path, "mlp", parallel, "step", device="cuda", fork_safe=False)
    request.settings["backend"] = "cuda-eager"
    result = run_in_ranks(request, 2, tmp_path)
    assert (result.state, result.reason) == ("ok", "")
    assert "nccl" in by_metric(result.measurements)["ranks"].method

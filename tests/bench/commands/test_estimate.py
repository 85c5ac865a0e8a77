"""`bench estimate`: what it prints, the files that it leaves, and one line for what it refuses."""

from __future__ import annotations

import json

import pytest

MODEL = """
import torch

def net():
    def block():
        return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
    return torch.nn.Sequential(block(), block(), torch.nn.Linear(64, 10))

def words():
    return torch.nn.Sequential(torch.nn.Embedding(100, 32), torch.nn.Linear(32, 100))

class Branch(torch.nn.Module):
    def forward(self, inputs):
        return inputs if inputs.sum() > 0 else -inputs

def branch():
    return torch.nn.Sequential(torch.nn.Linear(8, 8), Branch())
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    return f"{tmp_path}/mine.py"


def test_a_module_on_the_meta_device_is_projected_with_all_files(command, mine, tmp_path):
    table, plot = tmp_path / "estimate.json", tmp_path / "estimate.png"
    done = command(
        *("estimate", f"{mine}:net", "--input", "1,64", "--batch", "64", "--samples", "1M"),
        *("--devices", "1,2,8", "--json", table, "--plot", plot),
    )
    assert done.returncode == 0, done.stderr
    for title in ("Training step", "Memory of one device", "Time and cost", "Serving", "Over device counts"):
        assert title in done.stdout
    assert "loss: the mean of the outputs" in done.stdout
    found = json.loads(table.read_text())
    assert found["parameters"] == 2 * (64 * 64 + 64) + 64 * 10 + 10
    assert found["flops"]["forward"] == 64 * 2 * (2 * 64 * 64 + 64 * 10)
    assert [own["devices"] for own in found["counts"]] == [1, 2, 8]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_model_of_texts_takes_tokens_and_an_images_one_does_not(command, mine):
    done = command("estimate", f"{mine}:words", "--input", "1,16", "--tokens", "1B")
    assert done.returncode == 0, done.stderr
    assert "compute-optimal tokens" in done.stdout
    done = command("estimate", f"{mine}:net", "--input", "1,64", "--tokens", "1B")
    assert done.returncode == 2
    assert "this model takes samples: give --samples" in done.stderr


def test_prices_of_a_matrix_become_money(command, mine, tmp_path):
    (tmp_path / "priced.toml").write_text(
        '[train]\nworkload = "digits"\noptimizer = "sgd"\n[prices]\nname = "mine"\ncurrency = "EUR"\n'
        "machine_per_hour = 2.0\nenergy_per_kwh = 0.3\n[estimate]\nwatts = 100\n"
    )
    done = command(
        *("estimate", f"{mine}:net", "--input", "1,64", "--samples", "1B", "--batch", "1024"),
        *("--matrix", tmp_path / "priced.toml"),
    )
    assert done.returncode == 0, done.stderr
    assert "EUR" in done.stdout and "mine: machine time and estimated energy" in done.stdout


def test_a_registered_workload_is_projected_as_its_rows_are(command):
    done = command("estimate", "digits", "--precision", "fp32", "--batch", "32", "--optimizer", "sgd")
    assert done.returncode == 0, done.stderr
    assert "Training step: batch 32, fp32, sgd" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "fp8"), "--precision must be one of fp32, bf16, fp16, mixed, got 'fp8'"),
        (("--device", "h10"), "no device 'h10'"),
        (("--devices", "one"), "--devices must be numbers"),
        (("--plot", "a.png"), "--plot requires --devices"),
        (("--plot", "a.pdf", "--devices", "1,2"), "--plot must end with .png or .svg"),
        (("--parallel", "fsdp=3"), "--batch 1 must be a multiple of the 3 replicas"),
        (("--optimizer", "none"), "--optimizer none"),
        (("--tokens", "1B", "--samples", "1M"), "give one of them"),
        (("--sequence", "8"), "--sequence is for a config.json"),
    ],
)
def test_a_mistake_is_one_line(command, mine, words, message):
    done = command("estimate", f"{mine}:net", "--input", "1,64", *words)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_module_without_a_shape_asks_for_it_and_one_that_looks_at_values_says_so(command, mine):
    done = command("estimate", f"{mine}:net")
    assert done.returncode == 2 and "the shape of its input is required" in done.stderr
    done = command("estimate", f"{mine}:branch", "--input", "1,8")
    assert done.returncode == 2 and "cannot run on shapes alone" in done.stderr

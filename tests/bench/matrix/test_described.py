"""What a matrix file may hold is read off its models."""

from __future__ import annotations

from bench.matrix.described import Key, keys
from bench.matrix.file import Budget, MatrixFile


def test_every_key_of_every_section_is_there_with_its_default_and_bounds() -> None:
    found = {f"{key.section}.{key.name}": key for key in keys()}
    assert {key.section for key in found.values()} == {
        *("", "train", "infer", "cross", "budget", "prices", "estimate", "server", "peaks"),
        *("train.tuning", "limits", "evaluate", "generation", "generation.requests"),
    }
    assert {f"budget.{name}" for name in Budget.model_fields} <= found.keys()
    assert ".about" in found and ".train" not in found
    assert set(MatrixFile.model_fields) == {
        key.section.partition(".")[0] or key.name for key in found.values()
    }
    assert found["train.workload"].default == "required"
    assert found["train.tuning"].type == "text, table, as [train.tuning], or a list of these"
    assert found["train.tuning.trials"].bounds == "≥ 2, ≤ 1,000"
    assert found["budget.target_interval"] == Key("budget", "target_interval", "number", "0.05", "> 0, ≤ 1")
    assert found["budget.max_launches"].bounds == "1, 3, 6, 10, 20 or more"
    assert found["cross.train"] == Key("cross", "train", "table, as [train]", "required", "")
    assert found["budget.allocator"].type == '"keep" or "system"'

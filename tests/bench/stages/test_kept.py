"""A lowered artifact remembers which layers its format left in full precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import StageError
from bench.stages.kept import KEPT, kept_measurements, layers_to_keep, read_kept, save_kept
from techniques.compression import parse_recipe
from techniques.registry import CannotApply

BATCH = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def chosen(recipe: str, model: nn.Module | None = None) -> tuple[str, ...]:
    return layers_to_keep(model or net(), parse_recipe(recipe).format, lambda: [BATCH])


def test_layers_are_kept_by_name_by_sensitivity_or_not_at_all():
    assert chosen("none") == chosen("int8-static") == ()
    assert chosen("int8-static:keep=2") == ("2",)
    assert chosen("int4-weight:mixed=1") == ()
    assert chosen("int4-weight:mixed=0.12") == ("2",)  # both are 0.131 off, the first alone 0.096
    with pytest.raises(CannotApply, match="raise the bound"):
        chosen("int4-weight:mixed=0.000001")
    assert chosen("int4-weight:keep=0 2,mixed=0.000001") == ("0", "2")


def test_an_onnx_file_has_no_names_of_layers():
    given = net()
    given.onnx_file = "given.onnx"
    with pytest.raises(CannotApply, match="which an ONNX file lacks"):
        chosen("int8-static:keep=2", given)
    assert chosen("int8-static", given) == ()


def test_the_choice_leaves_the_model_as_it_is():
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    chosen("int4-weight:mixed=0.12", model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_names_rest_in_the_artifact_and_in_the_record(tmp_path):
    assert read_kept(tmp_path) == ()
    save_kept(tmp_path, ())
    assert not (tmp_path / KEPT).exists()
    save_kept(tmp_path, ("2",))
    assert read_kept(tmp_path) == ("2",)
    (entry,) = kept_measurements(net(), ("2",), parse_recipe("int8-static:keep=2").format)
    assert (entry.metric, entry.value, entry.n, entry.method) == ("kept_layers", 1, 2, "2")
    assert kept_measurements(net(), (), parse_recipe("int8-static").format) == []


@pytest.mark.parametrize("content", ["{}", "[1]"])
def test_a_damaged_list_is_told(tmp_path, content):
    (tmp_path / KEPT).write_text(content)
    with pytest.raises(StageError, match=r"kept_layers\.json is damaged"):
        read_kept(tmp_path)

"""Technique names: how they are written, and what a typo gets."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.registry import Obstacle, Registry, Row, TechniqueError, load_reference, nearest


def test_settings_not_written_have_their_defaults():
    expected = {"lr": 0.002, "eps": 1e-8, "weight_decay": 0.0, "variant": "auto"}
    assert OPTIMIZERS.parse("adam:lr=0.002").settings == expected


@pytest.mark.parametrize("text", ["prune-mean", "prune-mean:1", "prune-mean:1.0", " prune-mean:ratio=1 "])
def test_equal_techniques_have_one_spelling(text):
    assert COMPRESSIONS.parse(text).text == "prune-mean:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adma", "unknown optimizer 'adma'; did you mean 'adam'?"),
        ("adam:lrr=1", "unknown setting 'lrr'; did you mean 'lr'?"),
        ("adam:variant=fast", "'fast' must be one of auto, loop, foreach, fused"),
        ("adam:lr=fast", "'fast' must be a number"),
        ("sgd:0.1", "'0.1' must be key=value"),
        ("sgd:lr=-1", "lr: '-1' is out of its range (0, inf)"),
        ("adam:lr=0.1,lr=0.2", "lr is given twice"),
        ("adam:lr=nan", "lr: 'nan' must be a finite number"),
    ],
)
def test_a_typo_gets_one_line_with_what_would_be_right(text, message):
    with pytest.raises(TechniqueError, match=r"^[^\n]+$") as caught:
        OPTIMIZERS.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "range_"),
    [
        ("prune-channels:1", "[0, 1)"),
        ("prune-magnitude:1.0", "[0, 1)"),
        ("prune-mean:-0.5", "[0, inf)"),
        ("student:0", "(0, 1]"),
        ("distill:0.5,temperature=0", "(0, inf)"),
        ("distill:0.5,alpha=1.1", "[0, 1]"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_anything_runs(text, range_):
    with pytest.raises(TechniqueError, match="is out of its range") as caught:
        COMPRESSIONS.parse(text)
    assert str(caught.value).endswith(range_)


def test_the_ends_of_a_range_are_in_it_where_its_brackets_say_so():
    for text in ("prune-channels:0", "student:1", "distill:1,alpha=0"):
        COMPRESSIONS.parse(text)


def test_a_recipe_keeps_its_order_and_its_format_last():
    recipe = parse_recipe("prune-magnitude:0.7+finetune+int8-static")
    assert [step.text for step in recipe.steps] == ["prune-magnitude:0.7", "finetune"]
    assert recipe.format is not None and recipe.format.name == "int8-static"
    assert recipe.text == "prune-magnitude:0.7+finetune+int8-static"


@pytest.mark.parametrize("text", ["int8-static+finetune", "int8-static+int8-dynamic", "none+finetune"])
def test_a_format_before_the_end_and_none_in_a_chain_are_refused(text):
    with pytest.raises(TechniqueError):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "prune-magnitude:0.5+student:0.5",
            "student trains a new model on the labels alone, so prune-magnitude",
        ),
        ("student:0.5+student:0.25", "so student before it would be lost"),
        ("prune-magnitude:0.5+low-rank:0.5", "low-rank after prune-magnitude would fill the zeros"),
        ("prune-2-4+prune-channels:0.5", "would move weights out of their groups of four"),
        ("prune-2-4+prune-heads:0.5", "would move weights out of their groups of four"),
        ("share-weights:4+finetune", "finetune after share-weights would train each weight to a value of"),
        ("share-weights:4+prune-random:0.5", "would train each weight"),
        ("gptq:4+lora:8", "lora after gptq would train each weight to a value of its own"),
        ("qat:4+gptq:4", "gptq after qat would choose each rounding again"),
        ("share-weights:4+sign-round:4", "would move weights that share a value apart"),
        ("gptq:4+smooth-quant+int4-weight", "smooth-quant after gptq would scale each input's weights off"),
        ("qat:8+smooth-quant+int8-static", "smooth-quant after qat would scale"),
    ],
)
def test_a_step_that_would_undo_an_earlier_one_is_refused_with_the_reason(text, why):
    with pytest.raises(TechniqueError, match=why) as caught:
        parse_recipe(text)
    assert "\n" not in str(caught.value) and text in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "prune-magnitude:0.5+finetune",  # trains what is left
        "prune-channels:0.5+prune-magnitude:0.5",
        "prune-magnitude:0.5+prune-channels:0.5",
        "low-rank:0.5+prune-magnitude:0.5",
        "prune-magnitude:0.5+share-weights:4+int8-weight",
        "prune-2-4+prune-global:0.75",
        "prune-magnitude:0.5+distill:0.5",  # the pruned model teaches
        "distill:0.5+prune-magnitude:0.5+int8-static",
        "prune-2-4+lora:8+gptq:4+int4-weight",
        "smooth-quant:0.5+gptq:4+int4-weight",
        "prune-magnitude:0.5+qat:8,activations=int8+int8-dynamic",
    ],
)
def test_steps_that_go_together_are_read(text):
    assert parse_recipe(text).text == text


@pytest.mark.parametrize("name", [row.name for row in COMPRESSIONS.rows().values() if row.kind == "step"])
def test_a_step_says_what_speed_to_expect_and_has_a_control_of_its_settings(name):
    step = COMPRESSIONS.default(name)
    control = step.row.control_of(step.settings)
    assert step.row.speed
    if control:
        steps = parse_recipe(control).steps
        shared = step.settings.keys() & steps[-1].settings.keys()
        assert all(steps[-1].settings[key] == step.settings[key] for key in shared)
        assert name not in [each.name for each in steps]
        trains = [each.row.budget for each in steps if each.row.budget != "none"]
        assert trains == [step.row.budget] * (step.row.budget != "none")
    else:
        assert name in ("finetune", "student", "student-depth", "smooth-quant", "round-to-nearest")


def test_a_plug_ins_control_of_an_unknown_setting_is_refused():
    with pytest.raises(TechniqueError, match=r"control 'prune-random:\{shar\}' names an unknown setting"):
        COMPRESSIONS.add("mine", "x:y", about="x", control="prune-random:{shar}")


def test_eager_has_no_int8_static_kernel_and_says_what_has():
    reason = BACKENDS.get("cpu-eager").cannot_lower("int8-static", "fp32")
    assert reason is not None and "no kernel" in reason and "onnxruntime" in reason


def test_onnxruntime_does_not_train():
    assert "does not support training" in (BACKENDS.get("onnxruntime").cannot_train("fp32") or "")


def test_a_missing_package_is_a_reason_that_says_how_to_get_it():
    row = Row("x", "x:y", "about", needs=("a_module_nobody_has",), install="pip install it")
    assert row.unavailable() == "requires the package a_module_nobody_has: pip install it"


def _no_gpu() -> Obstacle:
    return Obstacle("needs a GPU; none was found", hardware="a GPU")


def _no_compiler() -> str:
    return "needs a compiler"


def test_missing_hardware_is_told_before_a_missing_package_that_would_not_help():
    row = Row("x", "x:y", "about", needs=("a_module_nobody_has",), install="pip install it")
    without_gpu = replace(row, check=f"{__name__}:_no_gpu").obstacle()
    assert without_gpu == Obstacle("needs a GPU; none was found", hardware="a GPU")
    without_package = replace(row, check=f"{__name__}:_no_compiler").obstacle()
    assert without_package == Obstacle("requires the package a_module_nobody_has", "pip install it")


def test_a_check_may_give_its_reason_as_text_alone():
    row = Row("x", "x:y", "about", check=f"{__name__}:_no_compiler")
    assert row.obstacle() == Obstacle("needs a compiler")
    assert row.unavailable() == "needs a compiler"


def test_a_name_can_be_taken_only_once():
    registry = Registry("optimizer", Row, entry_points="bench.none")
    registry.add("mine", "m:f", about="first")
    with pytest.raises(TechniqueError, match="is already registered: first"):
        registry.add("mine", "m:g", about="second")


def test_an_implementation_can_live_in_a_file(tmp_path: Path):
    (tmp_path / "mine.py").write_text("def build():\n    return 'built'\n")
    assert load_reference(f"{tmp_path}/mine.py:build")() == "built"
    with pytest.raises(TechniqueError, match="did you mean 'build'"):
        load_reference(f"{tmp_path}/mine.py:biuld")


@pytest.mark.parametrize("words", ["--help", "list", "list backends", "run --help", "machine"])
def test_help_list_and_machine_import_neither_torch_nor_pandas(words):
    code = (
        "import sys; sys.argv[1:] = " + repr(words.split()) + "\n"
        "from bench.__main__ import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'pandas', 'scipy', 'sqlalchemy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_is_known_is_told_in_one_line_however_much_it_is():
    told = nearest("zzz", [f"a{number:03}" for number in range(100)])
    assert told.startswith("; known: a000, a001") and told.endswith("and 88 more")

"""Matrix files and filters: what they span, and what a mistake in one gets."""

from __future__ import annotations

import pytest

from bench.errors import MatrixError
from bench.matrix.reading import read_matrix
from bench.matrix.shipped import SHIPPED
from bench.workloads import WORKLOADS
from techniques.optimizers import OPTIMIZERS
from tests.support.matrix_files import QUICK, written


@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.toml")))
def test_every_shipped_matrix_can_be_read(name):
    assert read_matrix(name).cells


def test_quick_crosses_three_optimizers_four_compressions_and_three_backends():
    cells = read_matrix("quick").cells
    assert len({cell.optimizer for cell in cells}) == 3
    assert len({cell.compression for cell in cells}) >= 4
    assert len({cell.backend for cell in cells}) == 3


def test_a_star_takes_all_that_is_registered_at_default_settings():
    cells = read_matrix("full").cells
    assert set(OPTIMIZERS.rows()) - {"none"} <= {cell.optimizer for cell in cells}
    assert {cell.workload for cell in cells} == {
        name for name, row in WORKLOADS.rows().items() if row.complete
    }


def test_tuned_stands_for_each_workloads_own_optimizer_and_a_given_model_has_none(tmp_path):
    text = QUICK.replace('optimizer = ["sgd", "adam", "rmsprop"]', 'optimizer = "tuned"')
    cells = read_matrix(written(tmp_path, text), workloads=["digits", "exported:model.pt2"]).cells
    found = {cell.workload: cell.optimizer for cell in cells}
    assert found == {"digits": WORKLOADS.get("digits").optimizer, "exported:model.pt2": "none"}


def test_two_spellings_of_one_technique_make_one_cell(tmp_path):
    text = QUICK.replace('"prune-mean:1"', '"prune-mean:1.0", "prune-mean", "prune-mean:1"')
    assert len(read_matrix(written(tmp_path, text)).cells) == len(read_matrix("quick").cells)


def test_the_order_of_steps_makes_two_cells_of_which_one_may_be_refused(tmp_path):
    steps = ("prune-channels:0.5", "prune-magnitude:0.5")
    both = f'"{"+".join(steps)}", "{"+".join(steps[::-1])}"'
    cells = read_matrix(written(tmp_path, QUICK.replace('"prune-mean:1"', both))).cells
    assert {"+".join(steps), "+".join(steps[::-1])} <= {cell.compression for cell in cells}
    text = QUICK.replace('"prune-mean:1"', '"low-rank:0.5+prune-magnitude:0.5"')
    assert read_matrix(written(tmp_path, text)).cells
    text = QUICK.replace('"prune-mean:1"', '"prune-magnitude:0.5+low-rank:0.5"')
    with pytest.raises(
        MatrixError, match=r"mine\.toml: .* low-rank after prune-magnitude would fill the zeros"
    ):
        read_matrix(written(tmp_path, text))


def test_the_batch_size_of_training_is_the_workloads_own_unless_given(tmp_path):
    assert {cell.train_batch_size for cell in read_matrix("quick").cells} == {128}
    text = QUICK.replace("[train]", "[train]\nbatch_size = 64")
    assert {cell.train_batch_size for cell in read_matrix(written(tmp_path, text)).cells} == {64}


def test_exclude_rules_drop_the_cells_that_meet_every_axis_of_a_rule(tmp_path):
    rule = '[[exclude]]\nbackend = "onnx*"\ncompression = ["int8-*", "prune-mean:1.0"]\n'
    cells = read_matrix(written(tmp_path, QUICK + rule)).cells
    onnx = {cell.compression for cell in cells if cell.backend == "onnxruntime"}
    assert onnx == {"none", "finetune"}
    assert len(cells) == 45 - 9


def test_a_filter_keeps_cells_by_patterns_and_alternatives():
    cells = read_matrix("quick", "optimizer=adam|sgd,backend=onnx*,compression=prune-mean:1.0").cells
    assert {(cell.optimizer, cell.compression, cell.backend) for cell in cells} == {
        ("adam", "prune-mean:1", "onnxruntime"),
        ("sgd", "prune-mean:1", "onnxruntime"),
    }


def test_a_filter_may_name_a_technique_with_several_settings(tmp_path):
    text = QUICK.replace('"sgd"', '"adam:lr=0.01,eps=1e-7"')
    cells = read_matrix(
        written(tmp_path, text), "optimizer=adam:lr=0.01,eps=1e-7|rmsprop,backend=onnx*"
    ).cells
    assert {cell.optimizer for cell in cells} == {"adam:lr=0.01,eps=1e-07", "rmsprop"}
    assert {cell.backend for cell in cells} == {"onnxruntime"}


def test_a_filter_may_name_what_takes_a_workloads_place():
    assert {cell.workload for cell in read_matrix("quick", "workload=digits").cells} == {"digits"}
    substitutes = {"fashion-mnist-simplecnn": "digits"}
    replaced = read_matrix("quick", "workload=fashion*,optimizer=adam", substitutes)
    assert {(cell.workload, cell.optimizer) for cell in replaced.cells} == {("digits", "adam")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[budget]",
            "[budget]\nsample_s = inf",
            "budget.sample_s: must be less than or equal to 3600",
        ),
        ("[budget]", "[budget]\nmemory_gib = nan", "budget.memory_gib"),
        ("[budget]", f"deep = {'[' * 5000}\n[budget]", "nested too deeply"),
        ("[budget]", f"[budget]\nmax_launches = {'9' * 4401}", "4300 digits"),
        ("[budget]", f"# {'x' * 2**20}\n[budget]", "larger than 1,048,576 bytes"),
        ("[budget]", "[peaks.cpu]\nbytes_per_s = inf\n[budget]", "peaks.cpu.bytes_per_s"),
        ("[budget]", "[prices]\nname = 'a'\nenergy_per_kwh = inf\n[budget]", "prices.energy_per_kwh"),
        (
            "[train]",
            f"[train]\nseed = {list(range(2000))}\nbatch_size = {list(range(1, 2000))}",
            "cells, the maximum is 1,000,000",
        ),
        ("[budget]", "[[exclude]]\n[budget]", "exclude rule 1 must name an axis"),
        (
            "[budget]",
            "[exclude]\nbackend = 'cpu-eager'\n[budget]",
            "must be a list of tables, each [[exclude]]",
        ),
        ("[train]", "[[train]]", "train: must be a table, [train]"),
        ('"sgd"', '"sgd:lr=0.1,lr=0.2"', "lr is given twice"),
        ("[train]", "[train]\nseed = 99999999999999", "must be an integer from 0 to"),
        ('"adam"', '"adma"', "[train] optimizer: unknown optimizer 'adma'; did you mean 'adam'?"),
        ("optimizer =", "optimiser =", "unknown key 'train.optimiser'; did you mean 'optimizer'?"),
        ("max_launches", "max_lunches", "unknown key 'budget.max_lunches'; did you mean 'max_launches'?"),
        ("[budget]", "[buget]", "unknown key 'buget'; did you mean 'budget'?"),
        (
            "max_launches = 6",
            "max_launches = 7",
            "must be 1, 3, 6, 10, 20 or more, got 7",
        ),
        ("max_launches = 6", "max_launches = true", "valid integer, got True"),
        (
            "[train]",
            "[train]\nseed = [0.5]",
            "train.seed.0: must be a string, an integer or a list",
        ),
        (
            '"sgd"',
            '"sgd:lr=-1"',
            "optimizer 'sgd:lr=-1': lr: '-1' is out of its range (0, inf)",
        ),
        ('"prune-mean:1"', '"prune-mean:much"', "ratio: 'much' must be a number"),
        ('"int8-static"]', '"int8-statik"]', "did you mean 'int8-static'?"),
        ("[budget]", '[[exclude]]\nbackend = "onxruntime"\n[budget]', "did you mean 'onnxruntime'?"),
        ("[budget]", '[[exclude]]\nbakend = "onnxruntime"\n[budget]', "unknown axis 'bakend'"),
        ("[infer]", "[infer]\nbatch_size = 0", "must be an integer from 1 to 1,000,000, got 0"),
        ("[infer]", '[infer]\nprecision = "fp23"', "unknown precision 'fp23'"),
        ("[infer]", "[infer", "line"),
        ("[budget]", '[prices]\ncurrency = "EUR"\n[budget]', "'prices.name' is missing"),
        ("[budget]", "[server]\np99 = 3\n[budget]", "unknown key 'server.p99'; did you mean 'p99_ms'?"),
        ("[budget]", "[generation]\ncache = ['int8']\n[budget]", "unknown key 'generation.cache'; did you"),
        ("[budget]", "[estimate]\nwatts = 0\n[budget]", "estimate.watts: must be greater than 0"),
        ("[budget]", '[budget]\nallocator = "keap"', "budget.allocator: must be 'keep' or 'system'"),
        ('workload = "fashion-mnist-simplecnn"', "", "'train.workload' is missing"),
    ],
)
def test_a_mistake_in_a_matrix_gets_one_line_that_says_where(tmp_path, old, new, message):
    with pytest.raises(MatrixError, match=r"^[^\n]+$") as caught:
        read_matrix(written(tmp_path, QUICK.replace(old, new, 1)))
    assert "mine.toml" in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    ("filter_text", "message"),
    [
        ("optimizer=adma", "did you mean 'adam'?"),
        ("optimizer=lion", "no cell has optimizer='lion'; this matrix has adam, rmsprop, sgd"),
        ("optimzer=adam", "did you mean 'optimizer'?"),
        ("adam", "'adam' must have the form axis=value"),
        ("optimizer=", "'optimizer' has no value"),
        ("infer.optimizer=adam", "unknown axis 'infer.optimizer'"),
        ("optimizer=adam,optimizer=sgd", "optimizer is given twice; write optimizer=one|other"),
        ("optimizer=adam,backend=cpu-eager,seed=3", "seed"),
    ],
)
def test_a_mistake_in_a_filter_gets_one_line(filter_text, message):
    with pytest.raises(MatrixError, match=r"^[^\n]+$") as caught:
        read_matrix("quick", filter_text)
    assert message in str(caught.value)


def test_a_file_that_is_no_text_and_a_folder_get_one_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'[train]\nworkload = "caf\xe9"\n')
    with pytest.raises(MatrixError, match=r"mine.toml: line 2 is not UTF-8 text"):
        read_matrix(str(path))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(MatrixError, match="must be a matrix file, got a folder"):
        read_matrix(str(tmp_path / "folder.toml"))


def test_an_unknown_matrix_gets_the_nearest_name():
    with pytest.raises(MatrixError, match="did you mean 'quick'"):
        read_matrix("quik")
    with pytest.raises(MatrixError, match="no such matrix file"):
        read_matrix("nowhere.toml")


def test_peaks_are_read_by_device_and_number_format(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(TEXT_OF_PEAKS)
    peak = read_matrix(str(path)).peaks["cuda"]
    assert peak.operations_per_s == {"bf16": 9e14} and peak.bytes_per_s == 3e12


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("bf16 = 9e14", "bf17 = 9e14"), "did you mean 'bf16'"),
        (("peaks.cuda", "peaks.cudo"), "peaks.cudo"),
        (("3e12", "-3e12"), "greater than 0"),
    ],
)
def test_a_mistake_in_peaks_is_one_line(tmp_path, wrong, said):
    path = tmp_path / "own.toml"
    path.write_text(TEXT_OF_PEAKS.replace(*wrong))
    with pytest.raises(MatrixError, match=said):
        read_matrix(str(path))


TEXT_OF_PEAKS = """
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = "none"
backend = "cpu-eager"
[peaks.cuda]
bytes_per_s = 3e12
operations_per_s = { bf16 = 9e14 }
"""

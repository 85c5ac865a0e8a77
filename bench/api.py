"""`bench.measure`: a live module, on every backend that runs here, in one call."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.execution.platform import require_linux
from bench.files import replace_file
from bench.identity.loaded import digest_of
from techniques.settings import quote

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

PROGRAMS = "programs"


def measure(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    *,
    compressions: Sequence[str] = ("none", "int8-dynamic", "int8-static"),
    backends: Sequence[str] = ("auto",),
    batch_sizes: Sequence[int] = (1,),
    max_launches: int = 6,
    budget_s: float | None = 60.0,
    scores: bool = True,
    outputs: str = "",
    targets: torch.Tensor | None = None,
    results: str | Path = "results",
    store: str | None = None,
) -> pd.DataFrame:
    """Measure a model's inference; return the report's table, one row for each cell.

    `inputs` has shape (samples, ...): batches are taken from it in turn. The model is handed over as a
    program of torch.export, in evaluation mode; its first dimension is the batch. The run is kept in the
    folder `results` as any other, and its records in the store of the URL `store`, by default of the
    environment variable `BENCH_STORE`, else in a file of the folder. Lowering, evaluation and launches end
    within `budget_s` seconds, or with the stage that runs then: the uncompressed model on each backend comes
    first, and what has no room is `skipped` with that reason; None sets no limit.

    `outputs` says what the model returns where its shape does not tell:
    "scores:1" (of classes, on that axis), "probability", "logit", "labels" or "values". Quality is the share
    of answers that stay, of values the cosine to the model's own; `scores=False` is short for "values".
    With `targets`, a class number, label, or 0 and 1, for each answer of each sample, shape (samples, ...),
    the column `accuracy` is the share of right answers of each cell. `attrs["run"]` of the table is the id of
    the run. Raises BenchError where the model cannot be exported, where `outputs` is none of these, where
    targets are not one for each sample, and on any system but Linux.
    """
    require_linux()
    from bench.results.store import Store, address_of
    from bench.workloads.given import declared
    from bench.workloads.output_kinds import parse_kind
    from reports.frames import inference_table
    from reports.frames.view import read

    try:
        parse_kind(outputs or "values")
    except ValueError as error:
        raise BenchError(str(error)) from None
    folder, url = Path(results), address_of(store)
    program = save_program(model, inputs, folder / PROGRAMS, batch_sizes)
    matrix = program.with_suffix(".toml")
    kind = declared(scores, outputs)
    workload = "exported:" + quote(str(program.resolve()), "=") + (f",outputs={kind}" if kind else "")
    if targets is not None:
        workload += ",targets=" + quote(str(_save_targets(targets, inputs, program).resolve()), "=")
    matrix.write_text(_matrix(workload, compressions, backends, batch_sizes, max_launches, budget_s))
    # Trusted: written a moment ago, from a live module.
    run_id = run_matrix(matrix, folder, url, trusted=(program,))
    with closing(Store.open(folder, url, create=False)) as opened:
        table = inference_table(read(opened, run_id))
    table.attrs["run"] = run_id
    return table


def run_matrix(matrix: Path, results: Path, store_url: str = "", trusted: Sequence[Path] = ()) -> str:
    """Run a matrix file, or resume its run; return the run's id. No report is written."""
    from bench.execution.options import RunOptions
    from bench.execution.preparation import prepare
    from bench.execution.session import execute

    options = RunOptions(str(matrix), results, trusted=tuple(trusted), store=store_url)
    return execute(prepare(options), lambda run_id: None).run_id


def save_program(
    model: torch.nn.Module, inputs: torch.Tensor, folder: Path, batch_sizes: Sequence[int] = ()
) -> Path:
    """Export a model and keep the program in `folder`, under a name that its content gives.

    Raises BenchError where the model's code fixes its batch at another size than all of `batch_sizes`.
    """
    import torch

    from bench.workloads.given import exported_batch

    inputs = inputs.detach()
    batch = inputs if len(inputs) > 1 else torch.cat([inputs, inputs])  # of one sample the 1 would be fixed
    exported = _export(model, batch)
    fixed = exported_batch(exported)
    if fixed is not None and batch_sizes and fixed not in batch_sizes:
        raise BenchError(f"the model takes batches of {fixed} only: pass batch_sizes=[{fixed}]")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{type(model).__name__.lower()}-{_digest(exported, batch)[:12]}.pt2"
    if not _is_harmless(path):
        _save(exported, path)
    return path


def _save_targets(targets: torch.Tensor, inputs: torch.Tensor, program: Path) -> Path:
    """Keep the targets of a program's inputs next to it; returns the file, named by its content.

    Raises BenchError where they are not one for each sample.
    """
    import torch

    targets = torch.as_tensor(targets).detach().cpu()
    if targets.dim() == 0 or len(targets) != len(inputs):
        count = len(targets) if targets.dim() else 1
        raise BenchError(f"targets must be one for each of the {len(inputs):,} inputs, got {count:,}")
    if len(targets) == 1:
        targets = torch.cat([targets, targets])  # as the inputs of the program
    path = program.with_name(f"{program.stem}-targets-{digest_of([('targets', targets)])[:12]}.npy")
    if not path.is_file():
        replace_file(path, _as_npy(targets.numpy()))
    return path


def _as_npy(array: np.ndarray) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _save(exported: torch.export.ExportedProgram, path: Path) -> None:
    import torch

    part = path.with_name(f"new-{os.getpid()}.pt2")
    try:
        torch.export.save(exported, part)
        part.replace(path)
    except OSError:
        raise
    except Exception as error:  # of an operator that no file can hold, as torch.cond's
        raise _not_exported(error) from error
    finally:
        part.unlink(missing_ok=True)


def _not_exported(error: Exception) -> BenchError:
    lines = str(error).strip().splitlines() or ["no message"]
    return BenchError(f"the model cannot be exported by torch.export: {lines[0]}")


def _is_harmless(path: Path) -> bool:
    """Say whether a program is there that can be kept: artifacts may have been made from it."""
    from bench.errors import StageError
    from bench.workloads.exported_file import check_file

    try:
        check_file(path)
    except StageError:
        return False  # nothing of that name, or what somebody else may have put there
    return True


def _export(model: torch.nn.Module, batch: torch.Tensor) -> torch.export.ExportedProgram:
    """Export a model in evaluation mode; the user's own is left as it is, the modes of its modules too."""
    import torch

    from bench.instruments.copies import copy_of
    from bench.instruments.flops import as_eager

    model = getattr(model, "_orig_mod", model)  # of torch.compile
    tensors = [*model.parameters(), *model.buffers()]
    try:
        # The copy has the same tensors, which exporting only reads.
        copied = copy_of(model, {id(tensor): tensor for tensor in tensors}).eval()
        with torch.random.fork_rng(devices=[]), as_eager():
            return torch.export.export(
                copied, (batch,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False
            )
    except Exception as error:  # whatever tracing or copying raises
        raise _not_exported(error) from error


def _digest(program: torch.export.ExportedProgram, inputs: torch.Tensor) -> str:
    """Name a program by graph, weights, constants and inputs: its archive differs each time."""
    texts = [str(program.graph_signature), str(program.range_constraints), *_graphs(program.graph_module)]
    tensors = [*program.state_dict.items(), *program.constants.items(), ("inputs", inputs)]
    return digest_of([*((f"text {number}", text) for number, text in enumerate(texts)), *tensors])


def _graphs(whole: torch.fx.GraphModule) -> Iterator[str]:
    """Yield what a graph and those below it say: what stands under no_grad or in a loop has its own."""
    import torch

    for name, module in whole.named_modules():
        if isinstance(module, torch.fx.GraphModule):
            yield from (name, module.code)
            yield from (str(node.meta.get("val", "")) for node in module.graph.nodes)


def _matrix(
    workload: str,
    compressions: Sequence[str],
    backends: Sequence[str],
    batch_sizes: Sequence[int],
    max_launches: int,
    budget_s: float | None,
) -> str:
    infer = {"compression": compressions, "backend": backends, "batch_size": batch_sizes}
    lines = [f"{name} = {json.dumps(list(values))}" for name, values in infer.items()]
    return "\n".join(
        [
            *("[train]", f"workload = {json.dumps(workload)}", 'optimizer = "none"'),
            *("[infer]", *lines),
            *("[budget]", f"max_launches = {max_launches}"),
            *([] if budget_s is None else [f"budget_s = {budget_s}"]),
        ]
    )

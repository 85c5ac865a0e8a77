"""The figure of a profile: bytes of live tensors over the calls of a trace."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from reports.plots.figure import PALETTE, Plot, format_axis, render


def draw_timeline(cell: str, memory: Sequence[tuple[float, int]], calls: int) -> Plot:
    """Draw the memory of a cell's calls under the profiler."""
    return render(
        f"memory-timeline-{cell}",
        f"Memory over {calls} calls: {cell}",
        "Bytes of tensors allocated since the trace began, without the weights.",
        lambda: _figure(memory),
    )


def _figure(memory: Sequence[tuple[float, int]]) -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.step(
        [1e3 * second for second, _ in memory], [size for _, size in memory], where="post", color=PALETTE[0]
    )
    axes.set_xlabel("milliseconds under the profiler, which slows calls down")
    format_axis(axes, "y", "peak_tensor_bytes")
    axes.set_ylabel("tensors alive")
    return figure

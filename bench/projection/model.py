"""A subject as fake tensors: its traces in training and in inference, and how its weights are laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.errors import BenchError
from bench.instruments.tensors import identities, storage_bytes, tensors_in, walk_tensors
from bench.projection.fake import as_fake, checkpointed, fused_attention, repeated_blocks, taken_for_real
from bench.projection.footprint import LARGE, SMALL, Footprint
from bench.projection.parallel import Blocks
from bench.projection.subject import Subject
from bench.projection.trace import Trace, trace_inference, trace_step
from techniques.precisions import PRECISIONS

MIXED = "mixed"
"""Weights and activations in bf16, the optimizer's copy of the weights and its state in fp32."""

PROJECTED_PRECISIONS = ("fp32", "bf16", "fp16", MIXED)

_MAX_CAUSE = 200


@dataclass(frozen=True)
class Decoding:
    """One more token of each text after others: what it takes, and the cache of one text.

    `caches` are the bytes of each of its tensors and the heads that it has keys or values of, 1 where it has
    none apart.
    """

    footprint: Footprint
    caches: tuple[tuple[int, int], ...]

    @property
    def cache_bytes(self) -> int:
        """Return the bytes of one text's cache, undivided."""
        return sum(size for size, _ in self.caches)

    def cache_of_device(self, devices: int) -> float:
        """Return the bytes of one text's cache on the fullest of the devices that share each layer.

        A head is whole: where there are fewer heads than devices, some hold the same ones (Pope et al. 2022,
        section 3.3).
        """
        return sum(size * -(-heads // devices) / heads for size, heads in self.caches)


class ProjectedModel:
    """A model on fake tensors in a precision.

    `on_gpu`: attention with dropout is one operator too, and no convolution holds copies in another order.
    """

    def __init__(self, subject: Subject, precision: str, *, on_gpu: bool) -> None:
        self.subject = subject
        self._on_gpu = on_gpu
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        number = "bf16" if precision == MIXED else precision
        self.dtype: torch.dtype = getattr(torch, PRECISIONS[number].dtype)
        model = subject.build()
        with self._among_fakes():
            self.model = as_fake(model, self.dtype)
        self._blocks = repeated_blocks(self.model)
        self._output_bytes = 0

    def training(self, *, checkpointing: bool) -> Footprint:
        """Trace a training step. Raises BenchError where the model cannot run on shapes alone."""
        outputs: list[int] = []

        def watch(_: nn.Module, __: Any, output: Any) -> None:
            first = next(iter(tensors_in([output])), None)
            outputs.append(0 if first is None else first.numel() * first.element_size())

        def trace(batch: int) -> Trace:
            inputs, targets = self._batch(batch)
            handle = self._blocks[0].register_forward_hook(watch) if self._blocks else None
            try:
                with checkpointed(self._blocks) if checkpointing else nullcontext():
                    return trace_step(
                        self.model,
                        [inputs, targets],
                        lambda: self.subject.loss(self.model, inputs, targets),
                        reorders=not self._on_gpu,
                    )
            finally:
                if handle is not None:
                    handle.remove()

        if checkpointing and not self._blocks:
            raise BenchError(f"--checkpointing: {self.subject.title} has no repeated blocks to checkpoint")
        footprint = self._footprint(trace)
        self._output_bytes = abs(outputs[-1] - outputs[0]) // (LARGE - SMALL) if outputs else 0
        return footprint

    def forward(self) -> Footprint:
        """Trace a call without gradients."""

        def trace(batch: int) -> Trace:
            inputs, _ = self._batch(batch)
            return self._inference([inputs], lambda: self.subject.forward(self.model, inputs))

        return self._footprint(trace)

    def prefill(self, prompt: int) -> Footprint:
        """Trace the reading of prompts, up to their first token, with a cache."""
        generate = self.subject.generate
        assert generate is not None, "only models that generate are asked"

        def trace(batch: int) -> Trace:
            tokens = torch.zeros(batch, prompt, dtype=torch.long)
            return self._inference([tokens], lambda: generate(self.model, tokens, None))

        return self._footprint(trace)

    def decoding(self, length: int) -> Decoding:
        """Trace one more token of each text after `length` of them, with their cache."""
        generate = self.subject.generate
        assert generate is not None, "only models that generate are asked"
        caches: list[list[tuple[int, int]]] = []

        def trace(batch: int) -> Trace:
            tokens = torch.zeros(batch, 1, dtype=torch.long)
            with torch.no_grad():
                self.model.eval()
                cache = generate(self.model, torch.zeros(batch, length, dtype=torch.long), None)[1]
            caches.append(_cached(cache))
            kept = [cache]
            del cache
            # The iterator must not hold what the cache replaces.
            given = (tensor for entry in (tokens, *kept) for tensor in walk_tensors(entry))
            return self._inference(given, lambda: generate(self.model, tokens, kept.pop()))

        footprint = self._footprint(trace)
        grown = zip(*caches, strict=True)
        return Decoding(
            footprint,
            tuple(((large - small) // (LARGE - SMALL), heads) for (small, heads), (large, _) in grown),
        )

    def blocks(self) -> Blocks:
        """Return how the weights lie: in repeated blocks and beside them. Outputs are those of a training."""
        sizes = [_weight_bytes(block) for block in self._blocks]
        whole = _weight_bytes(self.model)
        return Blocks(len(sizes), sum(sizes), max(sizes, default=0), whole - sum(sizes), self._output_bytes)

    def _batch(self, samples: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        inputs, targets = self.subject.batch(samples)
        return (inputs.to(self.dtype) if inputs.is_floating_point() else inputs), targets

    def _inference(self, inputs: Iterable[Any], call: Callable[[], Any]) -> Trace:
        return trace_inference(self.model, inputs, call, reorders=not self._on_gpu)[0]

    def _footprint(self, trace: Callable[[int], Trace]) -> Footprint:
        with self._among_fakes():
            try:
                return Footprint(trace)
            except BenchError:
                raise
            except Exception as error:  # whatever a model raises on tensors without values
                cause = next(iter(str(error).strip().splitlines()), "")[:_MAX_CAUSE]
                raise BenchError(
                    f"{self.subject.title}: cannot run on shapes alone: {type(error).__name__}: {cause}"
                ) from error

    @contextmanager
    def _among_fakes(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(taken_for_real())
            stack.enter_context(self._mode)
            if self._on_gpu:
                stack.enter_context(fused_attention())
            yield


def _weight_bytes(module: nn.Module) -> int:
    return storage_bytes([*module.parameters(), *module.buffers()])


def _cached(cache: Any) -> list[tuple[int, int]]:
    """Return the bytes and the heads of each tensor (texts, heads, time, channels) of a cache."""
    found, seen = [], set[int]()
    for tensor in walk_tensors(cache):
        if not identities(tensor) <= seen:
            seen |= identities(tensor)
            found.append((storage_bytes([tensor]), tensor.shape[1] if tensor.dim() == 4 else 1))
    return found

"""What serving a model takes: prompts, tokens one at a time, the cache of keys and values, memory, time."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import BenchError
from bench.projection.amounts import Range
from bench.projection.devices import Device
from bench.projection.footprint import Footprint, largest
from bench.projection.model import Decoding, ProjectedModel
from bench.projection.subject import active_parameters, parameters


@dataclass(frozen=True)
class ServingQuestion:
    """How a model is served: texts or samples at once, tokens of a prompt, tokens to make.

    Without `prompt` or `new_tokens`, half of the tokens that a text has.
    """

    batch: int = 1
    prompt: int | None = None
    new_tokens: int | None = None


@dataclass(frozen=True)
class ServingMemory:
    """Bytes on one device while serving; `working` is all but weights and cache."""

    weights: int
    cache: int
    working: int

    @property
    def total(self) -> int:
        """Return all bytes."""
        return self.weights + self.cache + self.working


@dataclass(frozen=True)
class Serving:
    """One batch that is served. `first_s` is until all of it is read: the answer, or each text's first token.

    `token_s` is for each further token of all texts, with a full cache; `tokens_per_s` counts those of all
    texts. These, the cache and `decode_flops`, those of one more token of all texts, are None where nothing
    is generated. `devices` share each layer.
    """

    batch: int
    prompt: int | None
    new_tokens: int | None
    devices: int
    prefill_flops: int
    decode_flops: int | None
    cache_bytes_per_token: float | None
    memory: ServingMemory
    total_bytes: int
    fits: bool
    largest_batch: int
    first_s: Range
    token_s: Range | None
    tokens_per_s: Range | None


def serving(
    model: ProjectedModel, device: Device, precision: str, devices: int, question: ServingQuestion
) -> Serving:
    """Project inference in a precision on `devices` that share each layer (tensor parallelism).

    Raises BenchError where prompt and new tokens are more than the model has positions for.
    """
    if model.subject.generate is None or model.subject.tokens is None:
        return _answering(model, device, precision, devices, question)
    return _generating(model, device, precision, devices, question)


def _answering(
    model: ProjectedModel, device: Device, precision: str, devices: int, question: ServingQuestion
) -> Serving:
    footprint = model.forward()

    def memory(batch: int) -> ServingMemory:
        peak = footprint.peak(batch)
        return ServingMemory(peak.weights // devices, 0, (peak.total - peak.weights) // devices)

    batch = question.batch
    own = memory(batch)
    flops = footprint.flops(batch)[0]
    return Serving(
        batch,
        None,
        None,
        devices,
        flops,
        None,
        None,
        own,
        own.total,
        own.total <= device.memory_bytes,
        largest(lambda size: memory(size).total <= device.memory_bytes),
        _reading(device, precision, flops / devices, own.weights),
        None,
        None,
    )


def _generating(
    model: ProjectedModel, device: Device, precision: str, devices: int, question: ServingQuestion
) -> Serving:
    prompt, new_tokens = _lengths(model, question)
    prefill, decoding = model.prefill(prompt), model.decoding(prompt + new_tokens - 1)

    def memory(batch: int) -> ServingMemory:
        return _memory(prefill, decoding, batch, devices)

    batch = question.batch
    own = memory(batch)
    read, more = prefill.flops(batch)[0], decoding.footprint.flops(batch)[0]
    token_s = _token(model, device, precision, more / devices, own, batch)
    return Serving(
        batch,
        prompt,
        new_tokens,
        devices,
        read,
        more,
        decoding.cache_bytes / (prompt + new_tokens - 1),
        own,
        own.total,
        own.total <= device.memory_bytes,
        largest(lambda size: memory(size).total <= device.memory_bytes),
        _reading(device, precision, read / devices, own.weights),
        token_s,
        Range(batch / token_s.high, batch / token_s.low),
    )


def _lengths(model: ProjectedModel, question: ServingQuestion) -> tuple[int, int]:
    tokens, most = model.subject.tokens or 2, model.subject.positions
    prompt = question.prompt or max(1, tokens // 2)
    new_tokens = question.new_tokens or max(1, tokens - tokens // 2)
    if most is not None and prompt + new_tokens > most:
        raise BenchError(
            f"--prompt {prompt} and --new-tokens {new_tokens} are more than the model's {most} positions"
        )
    return prompt, new_tokens


def _memory(prefill: Footprint, decoding: Decoding, batch: int, devices: int) -> ServingMemory:
    """Return the most of both: while the prompt is read, and while the last token is made."""
    cache = batch * decoding.cache_bytes
    reading, making = prefill.peak(batch), decoding.footprint.peak(batch)
    most = max(reading.total, making.total)
    working = max(0, most - making.weights - cache)
    return ServingMemory(making.weights // devices, cache // devices, working // devices)


def _reading(device: Device, precision: str, operations: float, weights: int) -> Range:
    """Return the time of a pass over many tokens: that of its operations, or of reading the weights once."""
    peak, _ = device.peak(precision)
    used, moved = device.prefill, device.decoding
    return Range(
        max(operations / peak / used.high, weights / device.bytes_per_s / moved.high),
        max(operations / peak / used.low, weights / device.bytes_per_s / moved.low),
    )


def _token(
    model: ProjectedModel,
    device: Device,
    precision: str,
    operations: float,
    memory: ServingMemory,
    batch: int,
) -> Range:
    """Return the time of one more token: its operations, or reading the cache and the weights it meets."""
    peak, _ = device.peak(precision)
    whole = parameters(model.model)
    # Each text of a batch may go to other experts.
    met = min(whole, batch * active_parameters(model.model, model.subject.experts)) / max(1, whole)
    moved_s = (memory.weights * met + memory.cache) / device.bytes_per_s
    computed_s = operations / peak
    used, read = device.prefill, device.decoding
    return Range(
        max(computed_s / used.high, moved_s / read.high), max(computed_s / used.low, moved_s / read.low)
    )

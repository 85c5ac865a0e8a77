"""What serving a model takes: prompts, tokens one at a time, the cache of keys and values, memory, time."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.errors import BenchError
from bench.instruments.traffic import looked_up
from bench.projection.amounts import Range
from bench.projection.cost import Charges, Cost, cost_of
from bench.projection.devices import Device
from bench.projection.footprint import Footprint, Peak, largest
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
    """Bytes on one device while serving.

    `working` is all tensors but weights and cache, `fragmentation` what an allocator holds beside them.
    """

    weights: int
    cache: int
    working: int
    fragmentation: int

    @property
    def total(self) -> int:
        """Return all bytes."""
        return self.weights + self.cache + self.working + self.fragmentation


@dataclass(frozen=True)
class Serving:
    """One batch that is served. `first_s` is until all of it is read: the answer, or each text's first token.

    `token_s` is for each further token of all texts, with a full cache; `tokens_per_s` counts those of all
    texts. These, the cache and `decode_flops`, those of one more token of all texts, are None where nothing
    is generated. `devices` share each layer. `batch_s` is from the first prompt to the last token, `cost`
    that of these devices meanwhile; None where neither watts nor prices are known.
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
    batch_s: Range
    cost: Cost | None


@dataclass(frozen=True)
class Server:
    """What serves: a model in a precision, on `devices` that share each layer (tensor parallelism)."""

    model: ProjectedModel
    device: Device
    precision: str
    devices: int = 1
    charges: Charges = field(default_factory=Charges)

    def serve(self, question: ServingQuestion) -> Serving:
        """Project inference.

        Raises BenchError where prompt and new tokens are more than the model has positions for.
        """
        subject = self.model.subject
        generates = subject.generate is not None and subject.tokens is not None
        return self._generate(question) if generates else self._answer(question.batch)

    def _answer(self, batch: int) -> Serving:
        footprint = self.model.forward()

        def memory(size: int) -> ServingMemory:
            peak = footprint.peak(size, fragmentation=self.device.caches)
            return _divided(peak, peak.weights, 0.0, 0, self.devices)

        own, flops = memory(batch), footprint.flops(batch)[0]
        first_s = self._reading_s(flops, own)
        return Serving(
            batch=batch,
            prompt=None,
            new_tokens=None,
            devices=self.devices,
            prefill_flops=flops,
            decode_flops=None,
            cache_bytes_per_token=None,
            memory=own,
            total_bytes=own.total,
            fits=self._fits(own),
            largest_batch=largest(lambda size: self._fits(memory(size))),
            first_s=first_s,
            token_s=None,
            tokens_per_s=None,
            batch_s=first_s,
            cost=cost_of(first_s, self.devices, self.charges),
        )

    def _generate(self, question: ServingQuestion) -> Serving:
        prompt, new_tokens = _lengths(self.model, question)
        prefill, decoding = self.model.prefill(prompt), self.model.decoding(prompt + new_tokens - 1)

        def memory(size: int) -> ServingMemory:
            return self._memory(prefill, decoding, size)

        batch = question.batch
        own, read, more = memory(batch), prefill.flops(batch)[0], decoding.footprint.flops(batch)[0]
        first_s, token_s = self._reading_s(read, own), self._token_s(more, own, batch)
        batch_s = first_s.plus(token_s.times(new_tokens - 1))
        return Serving(
            batch=batch,
            prompt=prompt,
            new_tokens=new_tokens,
            devices=self.devices,
            prefill_flops=read,
            decode_flops=more,
            cache_bytes_per_token=decoding.cache_bytes / (prompt + new_tokens - 1),
            memory=own,
            total_bytes=own.total,
            fits=self._fits(own),
            largest_batch=largest(lambda size: self._fits(memory(size))),
            first_s=first_s,
            token_s=token_s,
            tokens_per_s=Range(batch / token_s.high, batch / token_s.low),
            batch_s=batch_s,
            cost=cost_of(batch_s, self.devices, self.charges),
        )

    def _fits(self, memory: ServingMemory) -> bool:
        return memory.total <= self.device.memory_bytes

    def _memory(self, prefill: Footprint, decoding: Decoding, batch: int) -> ServingMemory:
        """Return the most of both: while the prompt is read, and while the last token is made."""
        reading, making = (
            footprint.peak(batch, fragmentation=self.device.caches)
            for footprint in (prefill, decoding.footprint)
        )
        most = max((reading, making), key=lambda peak: peak.total + peak.fragmentation)
        own = batch * decoding.cache_of_device(self.devices)
        return _divided(most, making.weights, own, batch * decoding.cache_bytes, self.devices)

    def _reading_s(self, operations: int, memory: ServingMemory) -> Range:
        """Return the time of a pass over many tokens: its operations, or reading the weights once."""
        return self._longer(operations, memory.weights * self._multiplied())

    def _token_s(self, operations: int, memory: ServingMemory, batch: int) -> Range:
        """Return the time of one more token: its operations, or reading cache and weights that it meets."""
        return self._longer(operations, memory.weights * self._multiplied(batch) + memory.cache)

    def _longer(self, operations: int, moved: float) -> Range:
        peak, _ = self.device.peak(self.precision)
        computed_s, moved_s = operations / self.devices / peak, moved / self.device.bytes_per_s
        used, read = self.device.prefill, self.device.decoding
        return Range(
            max(computed_s / used.high, moved_s / read.high), max(computed_s / used.low, moved_s / read.low)
        )

    def _multiplied(self, batch: int | None = None) -> float:
        """Return the share of the weights that a pass reads: no table that is only looked up.

        Of experts a batch of single tokens meets those that its texts go to, each maybe others; without
        `batch` all are met.
        """
        model = self.model.model
        whole, tables = parameters(model), sum(table.numel() for table in looked_up(model))
        met = whole - tables
        if batch is not None:
            met = min(met, batch * (active_parameters(model, self.model.subject.experts) - tables))
        return met / max(1, whole)


def _lengths(model: ProjectedModel, question: ServingQuestion) -> tuple[int, int]:
    tokens, most = model.subject.tokens or 2, model.subject.positions
    prompt = question.prompt or max(1, tokens // 2)
    new_tokens = question.new_tokens or max(1, tokens - tokens // 2)
    if most is not None and prompt + new_tokens > most:
        raise BenchError(
            f"--prompt {prompt} and --new-tokens {new_tokens} are more than the model's {most} positions"
        )
    return prompt, new_tokens


def _divided(peak: Peak, weights: int, own_cache: float, cache: int, devices: int) -> ServingMemory:
    """Return the memory of one of the devices, which has its own part of the cache."""
    working = max(0, peak.total - weights - cache)
    return ServingMemory(
        weights // devices, round(own_cache), working // devices, peak.fragmentation // devices
    )

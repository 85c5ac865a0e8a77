"""The rules of `bench why`, by evidence made up for one cause at a time, and for mixtures of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.analysis.roofline import RooflinePoint
from bench.diagnosis.cause import FASTER
from bench.diagnosis.evidence import MAX_CALL_S, Evidence, Operator, Served
from bench.diagnosis.faster import FOR_FASTER
from bench.diagnosis.not_faster import FOR_NOT_FASTER
from bench.diagnosis.why import explain
from techniques.backends.operator_kinds import Kind

MS = 1e-3
MODERN = frozenset({"AVX2", "AVX-512", "VNNI"})
PEAKS = {"fp32": 1e11, "int8": 4e11}
MEMORY = RooflinePoint(1e9, 0.5, "memory", 0.8, 0.01, 0.01)
COMPUTE = RooflinePoint(8e10, 50.0, "compute", 0.8, 0.8, 0.8)


def operators(**seconds: tuple[Kind, float]) -> tuple[Operator, ...]:
    """Return operators by name: kind and milliseconds."""
    return tuple(Operator(name, kind, value * MS) for name, (kind, value) in seconds.items())


PLAIN = Served(
    latency_s=10 * MS,
    operators=operators(addmm=("full", 8.0), softmax=("other", 1.0)),
    operations=1e9,
    bytes_moved=1e6,
    parameters=1000,
    nonzero=1000,
    busy_cpus=2.0,
)


def served(latency_ms: float, **changed: Any) -> Served:
    return replace(PLAIN, latency_s=latency_ms * MS, **changed)


def evidence(own: Served, plain: Served | None = PLAIN, **changed: Any) -> Evidence:
    """Return evidence of an int8 cell whose interval is narrow, with what else is known of it."""
    speedup = plain.latency_s / own.latency_s if plain and plain.latency_s and own.latency_s else None
    known: dict[str, Any] = {
        **{"compression": "int8-dynamic", "backend": "onnxruntime", "format": "int8-dynamic"},
        **{"speedup": speedup, "low": speedup and 0.99 * speedup, "high": speedup and 1.01 * speedup},
        **{"launches": 6, "threads": 2, "features": MODERN, "peaks": PEAKS},
    }
    return Evidence(own=own, plain=plain, **{**known, **changed})


ZEROS = served(10, nonzero=500.0)
PRUNED = {"compression": "prune-magnitude:0.5", "format": None}
STUDENT = {"compression": "prune-channels:0.5", "format": None}
CONVERTING = served(
    14,
    operators=operators(
        _int_mm=("low", 3.0), amax=("other", 5.0), div=("other", 3.0), softmax=("other", 1.0)
    ),
)
FALLEN_BACK = served(
    10.5, operators=(Operator("Conv", "full", 8.0 * MS, 3, "/conv1, /conv2"), *operators(QGemm=("low", 0.5)))
)
SLOW = served(12, operators=operators(_int_mm=("low", 10.0), softmax=("other", 1.0)))
TINY = {"operators": operators(addmm=("full", 0.005), relu=("other", 0.003)), "latency_s": 0.05 * MS}
MOSTLY_OTHER = {"operators": operators(addmm=("full", 2.0), softmax=("other", 7.5)), "latency_s": 10 * MS}
WEIGHTS = {"compression": "int8-weight", "format": "int8-weight", "precision": "bf16"}
SPARSE = {
    "compression": "prune-magnitude:0.9+int8-static",
    "format": "int8-static",
    "backend": "openvino:sparse_weights=0.8",
}
FAST = served(4, operators=operators(QGemm=("low", 2.0), softmax=("other", 1.0)))
BOUND = replace(PLAIN, point=MEMORY)

COMPILED = ("_qlinear_pointwise_tensor", "cpp_fused_quantize_per_tensor_0", "mkldnn__convolution_pointwise")

PLANTED: dict[str, tuple[Evidence, str]] = {
    "masked zeros that share the timing of none": (
        evidence(ZEROS, same_timing=True, **PRUNED),
        "dense kernels on zeros",
    ),
    "masked zeros with a timing of their own": (evidence(ZEROS, **PRUNED), "dense kernels on zeros"),
    "zeros in a model that is bound by memory": (
        evidence(replace(ZEROS, point=MEMORY), BOUND, **PRUNED),
        "dense kernels on zeros",
    ),
    "training on without a change of structure": (
        evidence(PLAIN, same_timing=True, compression="finetune", format=None),
        "same structure",
    ),
    "conversions around every product": (evidence(CONVERTING), "conversions"),
    "conversions by name, without a profile of none": (
        evidence(
            served(14, operators=operators(QGemm=("low", 3.0), QuantizeLinear=("conversion", 8.0))),
            replace(PLAIN, operators=()),
        ),
        "conversions",
    ),
    "conversions inside of generated code": (
        evidence(
            served(14, operators=operators(qlinear=("low", 3.0)), rest="generated"),
            replace(PLAIN, rest="generated"),
        ),
        "conversions",
    ),
    "compiled code of which only names are known": (
        evidence(
            served(14, operators=operators(empty=("call", 0.1)), rest="generated", kernels=COMPILED),
            replace(PLAIN, operators=operators(empty=("call", 0.1)), rest="generated"),
            backend="cpu-inductor",
        ),
        "compiled code",
    ),
    "zeros that a sparse kernel should leave out, in layers that it does not take": (
        evidence(replace(SLOW, nonzero=100.0, kernels=("FullyConnected int8",)), **SPARSE),
        "dense kernels on zeros",
    ),
    "sparse weights that are unpacked for nothing": (
        evidence(replace(SLOW, nonzero=100.0, kernels=("FullyConnected sparse int8",)), **SPARSE),
        "unpacking of sparse weights",
    ),
    "sparse weights that pay": (
        evidence(replace(FAST, nonzero=100.0, kernels=("FullyConnected sparse int8",)), **SPARSE),
        "fast kernels",
    ),
    "layouts that change around pruned channels": (
        evidence(
            served(
                10, operators=operators(Conv=("full", 4.0), ReorderInput=("conversion", 5.0)), operations=5e8
            ),
            **STUDENT,
        ),
        "conversions",
    ),
    "a layer that fell back": (evidence(FALLEN_BACK), "full-precision layers"),
    "attention that stays in floats": (
        evidence(served(10, operators=operators(MatMul=("full", 7.0), QGemm=("low", 1.0)))),
        "full-precision layers",
    ),
    "a dequantizing kernel": (evidence(SLOW, **WEIGHTS), "dequantizing kernel"),
    "a dequantizing kernel where arithmetic binds": (
        evidence(replace(SLOW, point=COMPUTE), batch_size=64, **WEIGHTS),
        "dequantizing kernel",
    ),
    "no VNNI": (evidence(SLOW, features=frozenset({"AVX2"})), "missing instructions"),
    "VNNI that a variable turns off": (
        evidence(SLOW, features=frozenset({"AVX2"}), limits="ONEDNN_MAX_CPU_ISA=AVX2"),
        "missing instructions",
    ),
    "a machine whose measured int8 peak is no higher": (
        evidence(SLOW, peaks={"fp32": 1e11, "int8": 1.1e11}),
        "missing instructions",
    ),
    "slow kernels on a machine that could": (evidence(SLOW), "slow kernels"),
    "tiny shapes": (
        evidence(
            served(0.05, operators=operators(QGemm=("low", 0.004), relu=("other", 0.003))),
            replace(PLAIN, **TINY),
        ),
        "small shapes",
    ),
    "tiny shapes with fewer channels": (
        evidence(replace(PLAIN, **TINY, operations=5e8), replace(PLAIN, **TINY), **STUDENT),
        "small shapes",
    ),
    "operators that no format takes": (
        evidence(
            served(9.5, operators=operators(QGemm=("low", 1.0), softmax=("other", 7.5))),
            replace(PLAIN, **MOSTLY_OTHER),
        ),
        "other operators",
    ),
    "fewer operations, as many bytes": (
        evidence(served(9.8, operations=5e8, point=MEMORY), BOUND, **STUDENT),
        "bound by memory",
    ),
    "one busy CPU beside two": (
        evidence(served(9.5, operations=5e8, busy_cpus=1.0, operators=()), **STUDENT),
        "threads",
    ),
    "one launch": (evidence(served(9.5), low=None, high=None, launches=1), "interval"),
    "an interval on both sides": (evidence(served(9.5), low=0.8, high=1.3, launches=3), "interval"),
    "fewer operations": (evidence(served(5, operations=4e8), **STUDENT), "fewer operations"),
    "int8 products that are faster": (evidence(FAST), "fast kernels"),
    "fewer bytes where memory binds": (
        evidence(
            served(4, operators=(), bytes_moved=2.7e5, point=MEMORY), replace(BOUND, operators=()), **WEIGHTS
        ),
        "fewer bytes",
    ),
    "fewer operators that are not products": (
        evidence(
            served(4, operators=operators(addmm=("full", 3.0), softmax=("other", 0.5))),
            replace(PLAIN, **MOSTLY_OTHER),
            **{**STUDENT, "compression": "without-attention"},
        ),
        "less besides products",
    ),
    # Mixtures: what takes more of the time comes first.
    "more in conversions than in layers that fell back": (
        evidence(
            served(14, operators=operators(amax=("other", 8.0), Conv=("full", 3.0), _int_mm=("low", 1.0)))
        ),
        "conversions",
    ),
    "more in layers that fell back than in conversions": (
        evidence(
            served(
                12, operators=operators(Conv=("full", 7.5), Cast=("conversion", 3.0), _int_mm=("low", 0.5))
            )
        ),
        "full-precision layers",
    ),
    "conversions on tiny shapes": (
        evidence(
            served(
                0.2,
                operators=operators(
                    QGemm=("low", 0.004), amax=("other", 0.03), QuantizeLinear=("conversion", 0.04)
                ),
            ),
            replace(PLAIN, **TINY),
        ),
        "conversions",
    ),
}


UNTAKEN = "zeros that a sparse kernel should leave out, in layers that it does not take"


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_cause_is_the_first_one_named(name: str) -> None:
    planted, expected = PLANTED[name]
    answer = explain(planted)
    assert answer.causes and answer.causes[0].name == expected, [c.name for c in answer.causes]
    assert answer.sentence == answer.causes[0].sentence
    shares = [cause.share for cause in answer.causes]
    assert shares == sorted(shares, reverse=True)


def test_every_rule_has_a_planted_case() -> None:
    expected = {name for _, name in PLANTED.values()}
    for rule in (*FOR_NOT_FASTER, *FOR_FASTER):
        found = {cause.name for planted, _ in PLANTED.values() if (cause := rule(planted))}
        assert found and found <= expected, rule.__name__


@pytest.mark.parametrize(
    ("speedup", "low", "high", "launches", "verdict"),
    [
        (0.8, 0.7, 0.9, 6, "not faster"),
        (1.05, 1.02, 1.08, 6, "not faster"),
        (1.05, 0.9, 1.2, 6, "can't tell"),
        (1.3, 0.9, 1.9, 3, "can't tell"),
        (1.3, 1.2, 1.4, 6, "faster"),
        (1.3, None, None, 1, "can't tell"),
        (0.3, None, None, 1, "not faster"),
        (3.0, None, None, 1, "faster"),
    ],
)
def test_the_verdict_follows_the_interval(speedup, low, high, launches, verdict):
    answer = explain(evidence(served(10), speedup=speedup, low=low, high=high, launches=launches))
    assert answer.verdict == verdict
    assert ("launches do not tell" in answer.sentence or "1 launch" in answer.sentence) == (
        verdict == "can't tell"
    )


def test_sentences_have_their_numbers_and_names() -> None:
    said = {name: explain(planted).sentence for name, (planted, _) in PLANTED.items()}
    assert "50 % of the weights are zero" in said["masked zeros with a timing of their own"]
    assert "(amax, div)" in said["conversions around every product"]
    fell_back = said["a layer that fell back"]
    assert "93 % of the time" in fell_back and "stay in fp32 (Conv)" in fell_back
    assert "int8-dynamic takes products with constant matrices" in fell_back
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in said["VNNI that a variable turns off"]
    assert "at batch 64 arithmetic binds" in said["a dequantizing kernel where arithmetic binds"]
    assert "0.400×" in said["fewer operations"]
    assert "90 % of the weights are zero" in said[UNTAKEN] and "64 divides" in said[UNTAKEN]
    assert "keep weights without their zeros, take 0.297×" in said["sparse weights that pay"]
    compiled = said["compiled code of which only names are known"]
    assert "1.40× the time of none's: 1 kernel in it convert" in compiled
    assert "products stay in fp32 (mkldnn__convolution_pointwise)" in compiled
    layers = explain(PLANTED["a layer that fell back"][0]).causes[0].evidence
    assert layers == "3 of 4 products; layers /conv1, /conv2"


def test_what_cannot_be_compared_says_so() -> None:
    assert explain(evidence(PLAIN, compression="none", format=None)).sentence.startswith(
        "this is the uncompressed"
    )
    alone = explain(evidence(FAST, None))
    assert alone.verdict == "unknown" and "no timing of none on onnxruntime, fp32, batch 1" in alone.sentence
    failed = explain(evidence(FAST, None, problem="INVALID: no int8-static kernel ran: Conv, Gemm"))
    assert (failed.verdict, failed.sentence) == ("unknown", "INVALID: no int8-static kernel ran: Conv, Gemm")
    disturbed = explain(evidence(CONVERTING, problem="INVALID: timing: all 3 launches were disturbed"))
    assert disturbed.verdict == "unknown" and disturbed.causes[0].name == "conversions"
    assert "were disturbed; the record suggests: 67 % of the time goes into conv" in disturbed.sentence


def test_without_evidence_no_cause_is_made_up() -> None:
    bare = Served(latency_s=10 * MS)
    answer = explain(evidence(replace(bare, latency_s=20 * MS), bare, features=None, peaks={}))
    assert answer.verdict == "not faster" and not answer.causes
    assert "no profile of operators" in answer.sentence
    closed = replace(bare, latency_s=20 * MS, unprofiled="its profiler is not in its Python package")
    sentence = explain(evidence(closed, bare, features=None, peaks={})).sentence
    assert sentence.endswith("no profile of operators (its profiler is not in its Python package)")


def test_shares_of_a_profile_that_took_longer_than_a_call_add_up_to_one() -> None:
    inflated = served(5, operators=operators(addmm=("full", 8.0), softmax=("other", 8.0)))
    assert inflated.share("full") == pytest.approx(0.5) and inflated.share("call") == pytest.approx(0.0)
    kinds: tuple[Kind, ...] = ("low", "full", "conversion", "call", "generated", "other")
    tiny = replace(PLAIN, **TINY)
    assert sum(tiny.share(kind) for kind in kinds) == pytest.approx(1.0)
    assert FASTER == 1.1


def test_shares_are_of_the_profile_however_busy_the_machine_was_when_the_latency_was_timed() -> None:
    calm, busy = served(9.04), served(30.0)
    for kind, share in (("full", 8 / 9.04), ("other", 1 / 9.04), ("call", 0.04 / 9.04)):
        assert calm.share(kind) == pytest.approx(share) == pytest.approx(busy.share(kind))
        assert busy.seconds(kind) == pytest.approx(share * 30 * MS)


def test_calling_a_kernel_explains_only_so_much_of_the_time() -> None:
    assert PLAIN.share("call") == pytest.approx(2 * MAX_CALL_S / (9 * MS + 2 * MAX_CALL_S))
    assert replace(PLAIN, rest="generated").seconds("generated") == pytest.approx(1 * MS)

"""What a CPU computes with is told from its flags; limits below it are heeded where libraries heed them."""

from __future__ import annotations

import pytest

from techniques.backends import cpu_features as probed
from techniques.backends.cpu_features import CpuFeatures, cpu_features, int8_saturates

AVX2 = "fma avx2"
SKYLAKE = f"{AVX2} avx512f avx512bw avx512dq avx512vl"
CASCADE_LAKE = f"{SKYLAKE} avx512_vnni"
ALDER_LAKE = f"{AVX2} avx_vnni"
SAPPHIRE_RAPIDS = f"{CASCADE_LAKE} avx512_bf16 avx512_fp16 avx_vnni amx_tile amx_int8 amx_bf16"
ALL = ("AVX2", "AVX-512", "VNNI", "AMX int8", "AMX bf16", "bf16", "fp16")


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """Return a function that gives the machine an x86 CPU with these flags, and no limits below it."""
    monkeypatch.setattr(probed, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in (probed.PYTORCH_LIMIT, *probed.ONEDNN_LIMITS):
        monkeypatch.delenv(name, raising=False)
    return lambda flags: (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")


@pytest.mark.parametrize(
    ("flags", "features", "saturates"),
    [
        ("sse4_2", (), True),
        (AVX2, ("AVX2",), True),
        (SKYLAKE, ("AVX2", "AVX-512"), True),
        (CASCADE_LAKE, ("AVX2", "AVX-512", "VNNI"), False),
        (ALDER_LAKE, ("AVX2", "VNNI"), False),
        (SAPPHIRE_RAPIDS, ALL, False),
    ],
)
def test_features_are_told_from_flags(cpu, flags, features, saturates):
    cpu(flags)
    assert cpu_features().cpu == cpu_features().onednn == features
    assert cpu_features().limits == {}
    reason = "int8 products saturate on this CPU: no VNNI" if saturates else ""
    assert int8_saturates() == int8_saturates(within_onednn=True) == reason


def test_a_limit_below_the_cpu_holds_the_library_that_heeds_it(cpu, monkeypatch):
    cpu(SAPPHIRE_RAPIDS)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limits = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert cpu_features() == CpuFeatures(ALL, ("AVX2",), ("AVX2",), limits)
    assert int8_saturates() == ""  # other runtimes know no limit
    assert int8_saturates(within_onednn=True) == (
        "int8 products saturate on this CPU: no VNNI (ONEDNN_MAX_CPU_ISA=AVX2)"
    )


def test_a_limit_that_the_cpu_is_not_above_is_none(cpu, monkeypatch):
    cpu(AVX2)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert cpu_features() == CpuFeatures(("AVX2",), ("AVX2",), ("AVX2",), {})


@pytest.mark.parametrize(
    ("isa", "features"),
    [
        ("avx512_core", ("AVX2", "AVX-512")),
        ("AVX512_CORE_VNNI", ("AVX2", "AVX-512", "VNNI")),
        ("AVX2_VNNI", ("AVX2", "VNNI")),
        ("AVX512_CORE_BF16", ("AVX2", "AVX-512", "VNNI", "bf16")),
        ("AVX512_CORE_AMX", ALL),
        ("ALL", ALL),
        ("nonsense", ALL),
    ],
)
def test_each_level_of_onednn_allows_what_its_guide_says(cpu, monkeypatch, isa, features):
    cpu(SAPPHIRE_RAPIDS)
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "SSE41")  # the older name gives way to the newer one
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert cpu_features().onednn == features


def test_a_cpu_that_is_not_x86_does_not_saturate(cpu, monkeypatch):
    cpu("")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert int8_saturates() == int8_saturates(within_onednn=True) == ""

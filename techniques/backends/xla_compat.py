"""JAX and torchax, started for one platform; torchax mended where it does not fit PyTorch."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch

from techniques.registry import CannotApply

_OVERLOAD = re.compile(r"\btorch\.ops\.aten\.(\w+)\.(\w+)")

_placeholders: list[torch.library.Library] = []


def start(platform: str, threads: int) -> jax.Device:
    """Return JAX's first device of that platform (`cpu`, `tpu`).

    XLA's CPU client makes as many threads as `NPROC` says, else as there are CPUs in the affinity mask; it
    reads both once, as it starts. There a call is computed where it is made: the thread that it would else be
    handed to takes its CPU from the one that waits, 7 % of a call's time and 3 % of CPU pressure.
    """
    os.environ["NPROC"] = str(threads)
    jax.config.update("jax_platforms", platform)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # Else the files and lines of the code that was traced go into the lowered file.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    return jax.devices(platform)[0]


def environment() -> Any:
    """Return torchax's environment, in which PyTorch's operators are JAX's; two of torchax 0.0.13 replaced.

    Its batch normalization does not update the running statistics, and its `aten.conv2d`, which only programs
    of `torch.export` call, wants arguments that those leave out.
    """
    env = import_torchax().default_env()
    env.override_op_definition(torch.nn.functional.batch_norm, _batch_norm)
    env.override_op_definition(torch.ops.aten.conv2d.default, torch.conv2d)
    return env


@contextmanager
def tracing(env: Any, precision: str) -> Iterator[None]:
    """Trace PyTorch's code as JAX's; raises CannotApply where torchax cannot.

    In fp32 products are asked for in full: by default a TPU multiplies fp32 numbers as bf16.
    """
    products = jax.default_matmul_precision("highest" if precision == "fp32" else "default")
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its operators are not torchax's
    try:
        with warnings.catch_warnings(), products, torch.no_grad(), env, torch.device("jax"):
            # 64-bit integers are 32-bit in JAX, and each cast says so.
            warnings.filterwarnings("ignore", message=".*requested dtype.*int64", category=UserWarning)
            yield
    # Whatever an operator of torchax was not made for comes up as an error of any kind.
    except Exception as error:
        lines = str(error).strip().splitlines() or ["no message"]
        raise CannotApply(f"torchax cannot trace this: {type(error).__name__}: {lines[0]}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


def call(env: Any, model: torch.nn.Module, tensors: dict[str, Any], batch: jax.Array) -> Any:
    """Call a model with these tensors of torchax, by name, in place of its own; for code that is traced."""
    outputs: Any = torch.func.functional_call(model, tensors, (env.j2t_iso(batch),))
    return outputs


def to_device(tensor: torch.Tensor, device: jax.Device) -> jax.Array:
    """Copy a tensor to the device; 64-bit integers become 32-bit, as JAX has by default.

    Raises OverflowError where one of them does not fit.
    """
    host = tensor.detach().cpu().contiguous()
    if host.dtype == torch.int64:
        host = host.to(torch.int32)
        if not torch.equal(host, tensor.detach().cpu()):
            raise OverflowError("an integer does not fit 32 bits")
    if host.dtype == torch.bfloat16:
        array = host.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    else:
        array = host.numpy()
    # Copied here, since on the CPU JAX would go on reading the tensor's own memory.
    return jax.device_put(array.copy(), device)


def to_torch(array: jax.Array) -> torch.Tensor:
    """Wait for an array; return it as a tensor on the CPU, bf16 as float32."""
    wide = array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array
    return torch.from_numpy(np.array(wide))


def import_torchax() -> Any:
    """Return torchax, with placeholders for the operators that it names and this PyTorch does not have.

    torchax 0.0.13 lists overloads with named dimensions, which PyTorch 2.13 dropped; looking one up raises
    AttributeError, and torchax does not import. A placeholder takes no arguments: no call resolves to it.
    """
    if not _placeholders:
        library = torch.library.Library("aten", "FRAGMENT")
        _placeholders.append(library)  # its operators are gone when it is
        for operator, overload in sorted(missing_overloads()):
            library.define(f"{operator}.{overload}() -> ()")
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torchax = importlib.import_module("torchax")
    torch.backends.mha.set_fastpath_enabled(fastpath)  # torchax turns it off for PyTorch too
    return torchax


def missing_overloads() -> set[tuple[str, str]]:
    """Return operators with their overloads that torchax's source names and PyTorch does not have.

    Raises ModuleNotFoundError where torchax is not installed.
    """
    spec = importlib.util.find_spec("torchax")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("requires the package torchax")
    sources = (path.read_text() for path in Path(spec.origin).parent.rglob("*.py"))
    named = {found for source in sources for found in _OVERLOAD.findall(source)}
    aten = torch.ops.aten
    return {pair for pair in named if not hasattr(getattr(aten, pair[0], None), pair[1])}


def _batch_norm(
    images: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """`torch.nn.functional.batch_norm` on torchax's tensors (batch, channels, ...); statistics in fp32."""
    x = images.jax().astype(jnp.float32)
    over = (0, *range(2, x.ndim))
    if training:
        mean, var = x.mean(over), x.var(over)
        if running_mean is not None:
            values = x.size // x.shape[1]
            running_mean.apply_jax_(_towards(mean, momentum))
            running_var.apply_jax_(_towards(var * (values / (values - 1)), momentum))
    else:
        mean, var = running_mean.jax(), running_var.jax()
    shape = (1, -1, *(1 for _ in over[1:]))
    scale = jax.lax.rsqrt(var.astype(jnp.float32) + eps)
    scale = scale if weight is None else scale * weight.jax()
    outputs = (x - mean.reshape(shape)) * scale.reshape(shape)
    outputs = outputs if bias is None else outputs + bias.jax().reshape(shape)
    return images.apply_jax(lambda given: outputs.astype(given.dtype))


def _towards(new: jax.Array, momentum: float) -> Callable[[jax.Array], jax.Array]:
    return lambda old: (old + momentum * (new - old)).astype(old.dtype)

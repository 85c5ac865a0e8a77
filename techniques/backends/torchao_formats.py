"""Number formats in PyTorch, by torchao and by PyTorch's own weight-only kernels; weights without pickle."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from techniques.backends.cpu_features import int8_saturates
from techniques.layers import covers
from techniques.numbers import refuse_complex
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply, TechniqueError
from techniques.weights import load_state, save_state

GROUP = 32
_LARGEST = 127
_INLINED = 8

Chosen = Callable[[torch.nn.Module], bool]
"""Whether a module is to be quantized, if its format takes it."""


def _every(module: torch.nn.Module) -> bool:
    return True


def quantize(model: torch.nn.Module, format_: str, kept: Iterable[str] = ()) -> torch.nn.Module:
    """Give the linear layers of a model, in its device and precision, weights of that format.

    Layers in modules that are `kept`, by name, keep their numbers, as do those whose sizes the format's
    kernel does not take, and all other modules. Weights that are computed from others become plain, and
    layers that share one weight share the new one.
    Raises CannotApply where no layer takes the format, or where `check_kernel` does.
    """
    if format_ not in _FORMATS:
        raise TechniqueError(f"PyTorch has no kernel for {format_}")
    refuse_complex(model, format_)
    weight = next(model.parameters(), None)
    if weight is not None:
        check_kernel(format_, weight.device, weight.dtype)
        make_plain(model)
        shared = _sharing(model)
        names = tuple(kept)
        left = {id(module) for name, module in model.named_modules() if covers(names, name)}
        _FORMATS[format_](model, lambda module: id(module) not in left)
        _share_again(shared)
    if not any(hasattr(parameter, "__tensor_flatten__") for parameter in model.parameters()):
        raise CannotApply(f"the model has no layer that {format_} applies to: {_TAKEN[format_]}")
    return model


def _sharing(model: torch.nn.Module) -> list[list[torch.nn.Module]]:
    """Return the layers that share one weight, those of each weight together."""
    layers: dict[int, list[torch.nn.Module]] = {}
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            layers.setdefault(id(module.weight), []).append(module)
    return [group for group in layers.values() if len(group) > 1]


def _share_again(shared: list[list[torch.nn.Module]]) -> None:
    for first, *others in shared:
        for other in others:
            if type(other.weight) is type(first.weight):
                other.weight = first.weight


def check_kernel(format_: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise CannotApply where a device has no kernel for a format with activations of that type."""
    if device.type == "cuda":
        own, wanted = torch.cuda.get_device_capability(), _CAPABILITIES.get(format_, (0, 0))
        if own < wanted:
            found, required = (".".join(map(str, version)) for version in (own, wanted))
            raise CannotApply(
                f"{format_} requires a GPU of compute capability {required}; this one has {found}"
            )
    kernel, only = _ONLY.get((device.type, format_), ("", dtype))
    if dtype != only and (device.type == "cuda" or platform.machine().lower() in ("x86_64", "amd64")):
        names = (str(entry).removeprefix("torch.") for entry in (only, dtype))
        raise CannotApply(
            "PyTorch's {} for {} takes activations in {}, not in {}".format(kernel, format_, *names)
        )


def quantize_dynamic(model: torch.nn.Module, chosen: Chosen = _every) -> torch.nn.Module:
    """Give linear layers int8 weights, per channel, and activations scaled per token at run time.

    Both take 7 bits where products on the CPU would saturate.
    """
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    # On CUDA torchao (0.18) computes products of other sizes than cuBLAS takes on the CPU, in int32.
    multiple = 8 if next(model.parameters()).is_cuda else 1
    config = Int8DynamicActivationInt8WeightConfig(reduce_range=multiple == 1 and _saturates_on_cpu())
    quantize_(model, config, lambda module, name: chosen(module) and _takes(module, multiple, multiple))
    return model


def _saturates_on_cpu() -> bool:
    # PyTorch (2.13) hands int8 products to oneDNN where the CPU has AVX-512 VNNI, without asking whether
    # oneDNN is held below it. Elsewhere it multiplies in a loop of its own, exactly.
    return torch.cpu._is_vnni_supported() and bool(int8_saturates(within_onednn=True))


def quantize_float8(model: torch.nn.Module, chosen: Chosen = _every) -> torch.nn.Module:
    """Give linear layers e4m3 weights, and activations scaled per tensor at run time; on a GPU."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, quantize_

    # Of other sizes torchao leaves a layer as it is, and says so.
    config = Float8DynamicActivationFloat8WeightConfig(set_inductor_config=False)
    quantize_(model, config, lambda module, name: chosen(module) and _takes(module, 1, 1))
    return model


def pack_int8(model: torch.nn.Module, chosen: Chosen = _every) -> torch.nn.Module:
    """Give linear layers int8 weights with a scale for each output, and float activations."""
    return _pack(model, PackedWeight.int8, lambda module: chosen(module) and _takes_int8(module))


def pack_int4(model: torch.nn.Module, chosen: Chosen = _every) -> torch.nn.Module:
    """Give linear layers int4 weights with a scale for each `GROUP` inputs, and float activations."""

    def takes(module: torch.nn.Module) -> bool:
        return chosen(module) and _takes(module, GROUP, 16)

    if not next(model.parameters()).is_cuda:
        return _pack(model, PackedWeight.int4, takes)
    from torchao.quantization import Int4WeightOnlyConfig, quantize_

    config = Int4WeightOnlyConfig(GROUP, set_inductor_config=False, int4_packing_format="tile_packed_to_4d")
    quantize_(model, config, lambda module, name: takes(module))
    return model


def pack_two_of_four(model: torch.nn.Module, chosen: Chosen = _every) -> torch.nn.Module:
    """Give linear layers the two largest of each four weights, stored without the others; on a GPU.

    Of weights that `prune-2-4` left these are all. Source: PyTorch's `to_sparse_semi_structured`.
    """
    from torch.sparse import to_sparse_semi_structured

    # Sizes that both of PyTorch's libraries take, cuSPARSELt and CUTLASS.
    return _pack(
        model,
        lambda weight: to_sparse_semi_structured(two_of_four(weight)),
        lambda module: chosen(module) and _takes(module, 64, 32),
    )


def two_of_four(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight (outputs, inputs) with zeros in place of the two smallest of each four neighbours."""
    groups = weight.reshape(-1, 4)
    largest = groups.abs().topk(2, dim=1).indices
    return torch.zeros_like(groups).scatter(1, largest, groups.gather(1, largest)).view_as(weight)


def _pack(
    model: torch.nn.Module,
    pack: Callable[[torch.Tensor], torch.Tensor],
    takes: Callable[[torch.nn.Module], bool],
) -> torch.nn.Module:
    for module in model.modules():
        if takes(module):
            packed = pack(cast(torch.nn.Linear, module).weight.detach())
            module.weight = torch.nn.Parameter(packed, requires_grad=False)
    return model


def _takes(module: torch.nn.Module, inputs: int, outputs: int) -> bool:
    # The kernels read rows in whole vectors, some without a check that the sizes are multiples of theirs.
    # PyTorch's attention reads the weight of its output layer without calling the layer.
    if type(module).__name__ == "NonDynamicallyQuantizableLinear" or not isinstance(module, torch.nn.Linear):
        return False
    return module.in_features % inputs == module.out_features % outputs == 0


def _takes_int8(module: torch.nn.Module) -> bool:
    # Inductor writes tensors of up to 8 constants into its code, where its own lowering of the kernel fails
    # on finding no buffer of scales (PyTorch 2.13).
    return _takes(module, 16, 1) and cast(torch.nn.Linear, module).out_features > _INLINED


_FORMATS: Mapping[str, Callable[[torch.nn.Module, Chosen], torch.nn.Module]] = {
    "int8-dynamic": quantize_dynamic,
    "int8-weight": pack_int8,
    "int4-weight": pack_int4,
    "fp8": quantize_float8,
    "sparse-2-4": pack_two_of_four,
}
_TAKEN = {
    "int8-dynamic": "linear layers, on a GPU of sizes that 8 divides",
    "int8-weight": f"linear layers with inputs that 16 divides and more than {_INLINED} outputs",
    "int4-weight": f"linear layers with inputs that {GROUP} divides and outputs that 16 divides",
    "fp8": "linear layers with inputs and outputs that 16 divides",
    "sparse-2-4": "linear layers with inputs that 64 divides and outputs that 32 divides",
}
_CAPABILITIES = {"int4-weight": (8, 0), "fp8": (8, 9), "sparse-2-4": (8, 0)}
# Where there is a kernel for one type of activations alone. On x86 the others run in a loop that is not
# vectorized, 7 to 180 times slower than bf16 (PyTorch 2.13, int8mm_kernel.cpp and int4mm_kernel.cpp); on
# CUDA, int8-weight turns the others into fp32 and back (int8mm.cu).
_ONLY = {
    ("cpu", "int8-weight"): ("vectorized kernel", torch.bfloat16),
    ("cpu", "int4-weight"): ("vectorized kernel", torch.bfloat16),
    ("cuda", "int8-weight"): ("kernel", torch.float32),
    ("cuda", "int4-weight"): ("kernel", torch.bfloat16),
}


class PackedWeight(torch.Tensor):
    """A weight (outputs, inputs) of a linear layer as int8 or packed int4, multiplied as it is.

    By `aten::_weight_int8pack_mm`, with a scale for each output, or `aten::_weight_int4pack_mm_for_cpu`, with
    a scale and an offset for each `GROUP` inputs. torchao's tensors (0.18) turn int8 weights into floats
    ahead of each product in eager PyTorch. Activations are of the scales' type, and are not quantized.
    """

    numbers: torch.Tensor
    scales: torch.Tensor

    @staticmethod
    def __new__(cls: type[PackedWeight], numbers: torch.Tensor, scales: torch.Tensor) -> PackedWeight:
        outputs, stored = numbers.shape
        inputs = stored if numbers.dtype == torch.int8 else 2 * stored
        shape, device = (outputs, inputs), numbers.device
        made: PackedWeight = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=scales.dtype, device=device
        )
        made.numbers, made.scales = numbers, scales
        return made

    @classmethod
    def int8(cls, weight: torch.Tensor) -> PackedWeight:
        """Round a float weight to int8, symmetrically for each output."""
        largest = weight.float().abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).eps)
        scales = (largest / _LARGEST).to(weight.dtype)
        numbers = (weight.float() / scales.float()[:, None]).round().clamp(-_LARGEST, _LARGEST)
        return cls(numbers.to(torch.int8), scales)

    @classmethod
    def int4(cls, weight: torch.Tensor) -> PackedWeight:
        """Round a float weight to 16 steps between the least and the largest of each `GROUP` inputs."""
        from torchao.quantization.utils import groupwise_affine_quantize_tensor

        numbers, scales = groupwise_affine_quantize_tensor(weight, 4, GROUP, weight.dtype)
        # The second argument has no meaning on the CPU.
        return cls(torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers.to(torch.int32), 2), scales)

    def linear(self, batch: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Return what a linear layer of this weight gives for a batch (..., inputs)."""
        rows = batch.reshape(-1, batch.shape[-1]).contiguous()
        if self.numbers.dtype == torch.int8:
            product = torch._weight_int8pack_mm(rows, self.numbers, self.scales)
        else:
            product = torch._weight_int4pack_mm_for_cpu(rows, self.numbers, GROUP, self.scales)
        output = product.view(*batch.shape[:-1], self.shape[0])
        return output if bias is None else output + bias

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scales"], None

    @staticmethod
    def __tensor_unflatten__(
        inner: Mapping[str, torch.Tensor], meta: None, size: object, stride: object
    ) -> PackedWeight:
        return PackedWeight(inner["numbers"], inner["scales"])

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.linear:
            return _linear(*args, **(kwargs or {}))
        # Results are no weights: the default would make them some.
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        aten = torch.ops.aten
        if func in (aten.detach.default, aten.clone.default):
            return cls(func(args[0].numbers), func(args[0].scales))
        raise NotImplementedError(f"{func} of a {cls.__name__}")


def _linear(batch: torch.Tensor, weight: PackedWeight, bias: torch.Tensor | None = None) -> torch.Tensor:
    return weight.linear(batch, bias)


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a model's state, each tensor subclass as the plain tensors inside it; see `save_state`."""
    save_state(plain_tensors(model), path)


def fill_weights(model: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Fill a model of the same structure, quantized the same way, with what `save_weights` wrote."""
    stored = load_state(path)
    with torch.no_grad():
        for name, tensor in plain_tensors(model).items():
            if isinstance(tensor, torch.Tensor):
                tensor.copy_(stored[name])
    for name, module in model.named_modules():
        extra = f"{name}.{_EXTRA_STATE_KEY_SUFFIX}".removeprefix(".")
        if extra in stored:
            module.set_extra_state(stored[extra])
    return model


def plain_tensors(model: torch.nn.Module) -> dict[str, Any]:
    """Return a model's state by name, subclasses of tensors taken apart down to plain ones."""
    plain: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        _take_apart(name, tensor, plain)
    return plain


def _take_apart(name: str, tensor: Any, plain: dict[str, Any]) -> None:
    if not hasattr(tensor, "__tensor_flatten__"):
        plain[name] = tensor
        return
    inner_names, _ = tensor.__tensor_flatten__()
    for inner in inner_names:
        _take_apart(f"{name}/{inner}", getattr(tensor, inner), plain)

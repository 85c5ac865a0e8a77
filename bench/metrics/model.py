"""Metrics of a model, its artifact, and the quality of that on its backend."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    # A model and its artifact
    Metric("parameters", "parameters", "count", "lower", "exact", "any",
           "number of weights and biases"),
    Metric("nonzero_parameters", "non-zero parameters", "count", "lower", "seeded", "any",
           "number of weights and biases that are not zero"),
    Metric("dense_flops", "FLOPs dense", "FLOPs", "lower", "exact", "lower",
           "logical multiply-adds × 2 of one batch, including zero weights", operations=True),
    Metric("effective_flops", "FLOPs effective", "FLOPs", "lower", "seeded", "lower",
           "logical multiply-adds × 2 of one batch, without zero weights", operations=True),
    Metric("least_bytes_moved", "least bytes moved", "bytes", "lower", "exact", "any",
           "an estimate: weights, inputs and outputs of one call, each once; caches that spill move more"),
    Metric("flops_complete", "FLOPs complete", "yes/no", "higher", "exact", "any",
           "whether every operator that computes has a formula"),
    Metric("fvcore_flops", "FLOPs by fvcore", "FLOPs", "lower", "exact", "any",
           "an independent count: fvcore's multiply-adds × 2"),
    Metric("lowering_s", "lowering time", "s", "lower", "sampled", "lower",
           "time of export, calibration, quantization and compilation into the runtime's own file"),
    Metric("artifact_bytes", "size on disk", "bytes", "lower", "seeded", "lower",
           "size of the files that the runtime loads"),
    Metric("artifact_compressed_bytes", "size compressed", "bytes", "lower", "seeded", "lower",
           "size of the same files compressed by zstd (level 3): what a download takes"),
    Metric("kept_layers", "layers kept", "count", "neither", "seeded", "lower",
           "linear and convolution layers that keep or mixed leave in full precision, by name"),
    Metric("structure", "structure parts", "count", "neither", "seeded", "any",
           "modules, operators and shapes that time depends on; models with the same ones share a timing"),
    # Quality of an artifact on its backend
    Metric("valid", "valid", "yes/no", "higher", "seeded", "any",
           "whether outputs are within the format's tolerance; INVALID ones are never ranked"),
    Metric("relative_error", "relative error", "ratio", "lower", "seeded", "evaluate",
           "largest difference from the eager outputs of the same model, over their largest magnitude"),
    Metric("absolute_error", "largest error", "", "lower", "seeded", "evaluate",
           "largest difference from the eager outputs of the same model"),
    Metric("cosine", "cosine", "ratio", "higher", "seeded", "evaluate",
           "cosine similarity of all unmasked outputs, as one vector, to the model's eager outputs"),
    Metric("further_error", "error of a further output", "ratio", "lower", "seeded", "evaluate",
           "largest difference of a further output, relative to its largest magnitude"),
    Metric("further_agreement", "agreement of a further output", "share", "higher", "seeded", "evaluate",
           "share of the labels of a further output that equal those of the same model in eager fp32"),
    Metric("outputs_left_out", "outputs left out", "count", "neither", "exact", "train",
           "outputs that are not compared: not tensors, or without a row for each sample"),
    Metric("reference_bits", "bits of the reference", "count", "neither", "exact", "train",
           "bits of the floating-point type of the reference outputs"),
    Metric("top1_agreement", "agreement with its model", "share", "higher", "seeded", "evaluate",
           "share of test samples with the same answer as the same model in eager fp32"),
    Metric("reference_agreement", "agreement with uncompressed", "share", "higher", "seeded", "evaluate",
           "share of test samples with the same answer as the uncompressed model in eager fp32"),
    Metric("class_recall", "recall of one class", "share", "higher", "seeded", "evaluate",
           "share of the test samples of one class that are classified correctly"),
    Metric("answers_lost", "answers lost", "share", "lower", "seeded", "evaluate",
           "share of test samples that the uncompressed eager model gets right and this one wrong"),
    Metric("answers_won", "answers won", "share", "higher", "seeded", "evaluate",
           "share of test samples that the uncompressed eager model gets wrong and this one right"),
)
# fmt: on

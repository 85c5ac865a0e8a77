"""Metrics of any timed call: what of the device it uses, how sure its time is, memory and energy."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    # What the device can do at most
    Metric("ceiling_operations_per_s", "peak operation rate", "operations/s", "higher", "sampled", "ceilings",
           "the best rate of matrix products in one number format"),
    Metric("ceiling_bytes_per_s", "peak memory bandwidth", "bytes/s", "higher", "sampled", "ceilings",
           "rate of a copy larger than every cache, bytes read plus bytes written"),
    Metric("achieved_operations_per_s", "operations per second", "operations/s", "higher", "sampled", "any",
           "logical operations of a call over its median time"),
    Metric("utilization", "% of peak (MFU)", "share", "higher", "sampled", "any",
           "model FLOP utilization: share of the peak operation rate in that format; of a training step the "
           "forward and backward pass count, and neither recomputation nor the optimizer's own products"),
    Metric("hardware_utilization", "% of peak with recomputation (HFU)", "share", "higher", "sampled", "any",
           "hardware FLOP utilization: the same of all operations, with recomputation and the optimizer's"),
    Metric("operations_per_byte", "operations per byte (estimate)", "ratio", "neither", "exact", "any",
           "logical operations over the least bytes moved"),
    # How sure a timing is
    Metric("fastest_s", "fastest", "s", "lower", "sampled", "any",
           "the shortest sample of a launch"),
    Metric("within_variation", "variation within launches", "share", "lower", "sampled", "any",
           "robust standard deviation of a launch's samples over their median"),
    Metric("effective_samples", "effective samples", "count", "higher", "sampled", "any",
           "number of independent samples with as much information as those of a launch"),
    Metric("reference_s", "reference product", "s", "neither", "sampled", "any",
           "median time of a small matrix product next to the timed pass: how fast the machine was then"),
    Metric("timed_cpu_over_wall", "CPU time over wall time", "ratio", "neither", "sampled", "any",
           "CPU seconds of all threads over the seconds of the timed pass"),
    Metric("samples_drift", "drift within launches", "ratio", "neither", "sampled", "any",
           "median of the last third of a launch's samples over that of its first third"),
    Metric("page_faults", "page faults per call", "count", "lower", "sampled", "any",
           "page faults of one call; many make it slower and less steady"),
    # Memory and energy
    Metric("peak_tensor_bytes", "peak tensor memory", "bytes", "lower", "exact", "any",
           "most bytes of tensors alive at once"),
    Metric("peak_weights_bytes", "weights at the peak", "bytes", "lower", "exact", "step",
           "weights and buffers, part of the peak tensor memory of a training step"),
    Metric("peak_gradients_bytes", "gradients at the peak", "bytes", "lower", "exact", "step",
           "gradients of weights, part of that peak"),
    Metric("peak_optimizer_bytes", "optimizer state at the peak", "bytes", "lower", "exact", "step",
           "the optimizer's tensors and counters and an average of weights, part of that peak"),
    Metric("peak_activations_bytes", "activations at the peak", "bytes", "lower", "exact", "step",
           "the rest of that peak: activations, their gradients, inputs, temporaries"),
    Metric("peak_rss_bytes", "peak resident memory", "bytes", "lower", "sampled", "any",
           "high-water mark of the process's resident set"),
    Metric("rss_growth_bytes", "resident growth", "bytes", "lower", "sampled", "any",
           "peak resident memory minus resident memory before the model was loaded"),
    Metric("device_s", "time on the device", "s", "lower", "sampled", "any",
           "seconds of a call on an accelerator by its own events, with other calls queued; the rest of the "
           "latency is waiting, and where both are equal the host sets the pace"),
    Metric("runtime_s", "latency in the runtime", "s", "lower", "sampled", "infer",
           "seconds of a call by the runtime's own clock; the latency also includes the call from Python"),
    Metric("gpu_allocated_peak_bytes", "GPU allocated peak", "bytes", "lower", "sampled", "any",
           "most bytes of tensors that the device's allocator gave out"),
    Metric("gpu_reserved_peak_bytes", "GPU reserved peak", "bytes", "lower", "sampled", "any",
           "most bytes that the device's allocator reserved"),
    Metric("gpu_process_bytes", "GPU process memory", "bytes", "lower", "sampled", "any",
           "memory of the process, by NVML"),
    Metric("gpu_power_w", "GPU power", "W", "lower", "sampled", "any",
           "mean power of the board, by NVML"),
    Metric("gpu_utilization", "GPU utilization", "share", "neither", "sampled", "any",
           "share of time that a kernel ran, by NVML"),
    Metric("gpu_clocks_held", "GPU clocks lowered", "share", "neither", "sampled", "any",
           "share of samples under load in which NVML reports a reason for lower clocks, which is named"),
    Metric("gpu_power_limited", "GPU at its power limit", "share", "neither", "sampled", "any",
           "share of the timed pass in which the board's power limit lowered its clocks, by NVML"),
    Metric("gpu_throttled", "GPU throttled", "share", "lower", "sampled", "any",
           "share of the timed pass in which heat or the board lowered its clocks, by NVML"),
    Metric("energy_j", "energy", "J", "lower", "sampled", "any",
           "energy of one call by a hardware counter, averaged over calls of a second or more together"),
)
# fmt: on

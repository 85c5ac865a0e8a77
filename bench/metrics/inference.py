"""Metrics of inference: of batches, behind a server, and of generation."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    # Inference
    Metric("latency_s", "latency", "s", "lower", "sampled", "infer",
           "median time of one batch, single stream"),
    Metric("latency_p90_s", "latency p90", "s", "lower", "sampled", "infer",
           "90th percentile of the time of one batch"),
    Metric("latency_p99_s", "latency p99", "s", "lower", "sampled", "infer",
           "99th percentile of the time of one batch"),
    Metric("throughput", "throughput", "samples/s", "higher", "sampled", "infer",
           "samples over the time of all timed batches"),
    Metric("copied_inputs", "input copied", "yes/no", "neither", "exact", "infer",
           "whether each timed call copies its input first, because the model writes to it"),
    Metric("load_s", "load time", "s", "lower", "sampled", "infer",
           "time to load the artifact into its runtime"),
    Metric("first_call_s", "first call", "s", "lower", "sampled", "any",
           "time of the first batch after loading; for a training step, compilation included"),
    Metric("warm_up_s", "warm-up", "s", "lower", "sampled", "any",
           "time from the first call until calls no longer got faster"),
    Metric("kernels", "kernels", "count", "neither", "sampled", "infer",
           "kinds of kernels that ran, as the runtime reports them, with their number formats"),
    Metric("format_kernels", "kernels in that format", "count", "neither", "sampled", "infer",
           "kinds of kernels that ran in the requested format or precision, as the runtime reports them"),
    Metric("operator_s", "time in an operator", "s", "neither", "sampled", "infer",
           "seconds of a call in one operator itself, by the runtime's own profiler"),
    Metric("operator_calls", "runs of an operator", "count", "neither", "sampled", "infer",
           "how often a call runs one operator, by the runtime's own profiler"),
    # A server, on request
    Metric("server_rate_per_s", "rate within the bound", "batches/s", "higher", "sampled", "serve",
           "the highest rate of Poisson arrivals of which 99 % are answered within the bound"),
    Metric("server_p99_s", "p99 at that rate", "s", "lower", "sampled", "serve",
           "99th percentile of the time from arrival to answer, waiting included"),
    Metric("server_bound_s", "bound on the p99", "s", "neither", "exact", "serve",
           "the bound on the p99 that the matrix sets"),
    # Generation by a language model
    Metric("ttft_s", "time to first token", "s", "lower", "sampled", "generate",
           "median time from the prompts to the first token of each, at that many concurrent texts"),
    Metric("inter_token_s", "inter-token latency", "s", "lower", "sampled", "generate",
           "median time from one token to the next, without the prompt's pass"),
    Metric("inter_token_p99_s", "inter-token latency p99", "s", "lower", "sampled", "generate",
           "99th percentile of the time from one token to the next"),
    Metric("tokens_per_s", "tokens per second", "tokens/s", "higher", "sampled", "generate",
           "new tokens of all concurrent texts over the whole time, prompt passes included"),
    Metric("cache_bytes_per_token", "cache per token", "bytes", "lower", "exact", "generate",
           "size of the key-value cache for each token of a text, prompt and continuation"),
    Metric("cache_kl", "divergence by the cache", "nats", "lower", "seeded", "generate",
           "mean Kullback-Leibler divergence of the next token, from the model's own cache to this format's"),
    Metric("cache_agreement", "agreement with its own cache", "share", "higher", "seeded", "generate",
           "share of tokens with the same likeliest one as with the model's own cache, after the same text"),
)
# fmt: on

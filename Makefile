PYTHON ?= python3
MATRIX ?= quick
VENV := .venv

.PHONY: bench test test-slow test-clusters test-postgresql test-s3 test-docs test-capped test-busy coverage lint docs clean

# The optional packages that a shipped matrix needs, by the names of their extras; a matrix of your own: EXTRAS=...
EXTRAS_article := runtimes,tensorflow
EXTRAS_backends := runtimes,tensorflow,workloads
EXTRAS_compression := attribution,fairness,lora,runtimes,workloads
EXTRAS_frameworks := jax,keras,tensorflow
EXTRAS_full := generation,jax,keras,lora,optimizers,runtimes,tensorflow,workloads
EXTRAS_generation := generation,workloads
EXTRAS_long := workloads
EXTRAS_optimizers := optimizers
EXTRAS_requests := generation,workloads
EXTRAS_serve := runtimes,tensorflow
EXTRAS_standard := runtimes,workloads
EXTRAS_targets := workloads
EXTRAS_workloads := workloads
EXTRAS ?= $(EXTRAS_$(MATRIX))

bench: $(VENV)/.installed$(if $(EXTRAS),-$(EXTRAS))
	$(VENV)/bin/python -m bench run --matrix $(MATRIX) $(if $(SHARD),--shard $(SHARD))

# Most tests keep one core busy, so two are run at a time, a file's in one process; threads that wait, sleep. The
# order is random; `--randomly-seed=last` repeats the one before. A process that dies fails its test and ends the run:
# one started in its place may wait for ever.
PYTEST := OMP_WAIT_POLICY=passive $(VENV)/bin/python -m pytest
TWO := --numprocesses 2 --dist loadfile --max-worker-restart 0
test: $(VENV)/.installed-dev
	$(PYTEST) $(TWO) tests

# What `make test-docs` runs, and `make test-slow` leaves to it.
LONG := tests/docs tests/bench/testing tests/bench/test_devices_run.py \
	tests/bench/execution/test_lost_ranks.py tests/bench/commands/test_compress.py \
	tests/bench/costs/test_probed.py \
	tests/bench/interchange/test_taken_away.py tests/techniques/test_inductor_decoder.py \
	tests/techniques/test_frameworks.py tests/techniques/test_static_settings.py \
	tests/bench/regression/test_real_changes.py tests/bench/regression/ab/test_kept.py \
	tests/bench/regression/ab/test_libraries.py tests/performance/test_scores.py

# Whole runs and runtimes that take half a minute each: `make test` is without them.
test-slow: $(VENV)/.installed-dev
	$(PYTEST) $(TWO) -m slow $(addprefix --ignore ,$(LONG)) --ignore tests/bench/execution/engines tests

# Whole runs on clusters of two nodes, of Ray and of Slurm where it is installed (`slurm-wlm`, as root).
test-clusters: $(VENV)/.installed-dev
	$(PYTEST) -m slow tests/bench/execution/engines

# A store on a server: PostgreSQL's own, where it is installed (`postgresql`), and started by the tests.
test-postgresql: $(VENV)/.installed-dev
	$(PYTEST) -m "slow or not slow" tests/bench/results/test_places.py tests/bench/results/test_shared_store.py \
		tests/bench/commands/test_shared_store.py tests/bench/execution/test_two_runners.py

# Artifacts in a bucket, at a server that speaks S3's protocol. In an environment of its own: botocore wants
# python-dateutil below 3. A test that lacks something is skipped, so what it needs is imported first.
S3 := .cache/venv-s3
test-s3: $(S3)/.installed
	$(S3)/bin/python -c "import flask_cors, moto.server, s3fs, submitit"
	OMP_WAIT_POLICY=passive $(S3)/bin/python -m pytest -m "slow or not slow" -k s3 \
		tests/bench/results/test_exchange.py tests/bench/execution/engines/test_clusters.py

$(S3)/.installed: pyproject.toml
	$(PYTHON) -m venv $(S3)
	$(S3)/bin/python -m pip install --quiet --editable '.[remote,slurm]' 'moto[s3]' flask flask-cors s3fs \
		pytest pytest-benchmark pytest-timeout pytest-xdist
	touch $@

# What the documentation's pages measure, each command and snippet for real, the tests of a user's that the pytest
# plug-in measures, whole searches and exports: a minute or two each.
test-docs: $(VENV)/.installed-dev
	$(PYTEST) $(TWO) -m slow $(LONG)

# What runs PyTorch's kernels, as on a CPU that has AVX2 and nothing above it.
KERNELS := tests/bench/models/test_kinds_of_models.py tests/techniques/test_backends.py tests/techniques/test_kernels.py \
	tests/techniques/test_served_kinds.py tests/techniques/test_weight_formats.py \
	tests/truth/test_flops_of_formats.py
test-capped: $(VENV)/.installed-dev
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) $(TWO) $(KERNELS)

# What reads clocks and counters, beside a process that keeps a core busy; counts of FLOPs read neither.
COUNTS := --ignore-glob 'tests/truth/*flop*' --ignore-glob 'tests/truth/*onnx*'
test-busy: $(VENV)/.installed-dev
	$(VENV)/bin/python -c "while True: pass" & busy=$$!; trap "kill $$busy" EXIT; \
		$(PYTEST) $(COUNTS) tests/bench/selftest tests/performance tests/truth

# The default tests, and which lines and branches of the packages they run, workers included. Takes longer.
coverage: $(VENV)/.installed-dev
	$(PYTEST) $(TWO) --cov --cov-report=term --cov-report=html:.cache/coverage tests

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell

# The site, into `site/`. Reference pages are written from the code first.
docs: $(VENV)/.installed-docs
	$(VENV)/bin/python -m docs.reference
	$(VENV)/bin/zensical build --strict

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

# With extras, as `.installed-dev` or `.installed-runtimes,workloads`.
$(VENV)/.installed-%: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[$*]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .cache .coverage* site docs/pages/reference docs/pages/project docs/pages/examples .mypy_cache .pytest_cache .ruff_cache

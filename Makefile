# make demo and make test are all that a fresh machine needs.
PY := .venv/bin/python
BENCH_MODES := raw,hybridnet-vxlan,calico-bgp,flannel-vxlan
BENCH_OUT := runs/bench
BENCH_KERNEL := auto
BENCH_SIZE := --quick
SIZES := 10,50,200,1000
ROUTERS := 4,8,16,32,64

.DEFAULT_GOAL := demo
.PHONY: setup demo test lint bench bench-bringup bench-bgp clean

setup:
	@scripts/setup

demo: setup
	$(PY) run_topology.py demo

lint: setup
	$(PY) -m ruff check .
	$(PY) -m mypy

test: lint
	@$(PY) -m pytest

bench: setup
	rm -rf $(BENCH_OUT)
	$(PY) run_topology.py bench $(BENCH_SIZE) --kernel $(BENCH_KERNEL) --modes $(BENCH_MODES) --report $(BENCH_OUT)
	@[ -z "$$GITHUB_STEP_SUMMARY" ] || cat $(BENCH_OUT)/summary.md >>"$$GITHUB_STEP_SUMMARY"

bench-bringup: setup
	$(PY) -m bench.bringup --sizes $(SIZES)

bench-bgp: setup
	$(PY) -m bench.convergence --sizes $(ROUTERS) --rounds 3

clean:
	rm -rf .venv build dist *.egg-info runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

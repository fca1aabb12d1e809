# make train    (or make text) pretrain a small GPT on the standard library's source: environment, shards, training
# make audio    pretrain a small wav2vec 2.0 on spoken prompts
# make image    pretrain a masked autoencoder on digits
# make tabular  fit a small network to computed tables and classify real ones: seven minutes on two cores
# make test     lint, types and every test this machine can run
# make quick    the tests that take no real processes (90 s)
# make soak     what takes longer
#
# make train STEPS=600                 go on to 600 steps
# make train ARGS="engine.zero=3"      any key of configs/quickstart.yaml

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= $(or $(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.polytrain-installed
CORPUS := shards/quickstart/corpus.json
NPROC ?= 2
# Threads of one rank; torchrun would say 1, loudly.
export OMP_NUM_THREADS ?= $(shell n=$$(( $$(nproc) / $(NPROC) )); echo $$(( n > 0 ? n : 1 )))

.PHONY: train text image audio tabular test quick soak lint types format install clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -10

train: $(INSTALLED) $(CORPUS)
	$(BIN)/torchrun --standalone --nproc-per-node $(NPROC) -m train configs/quickstart.yaml \
		$(if $(STEPS),train.steps=$(STEPS)) $(ARGS)

text: train

tabular: $(INSTALLED)
	$(BIN)/torchrun --standalone --nproc-per-node $(NPROC) -m train configs/tabular/pfn.yaml \
		$(if $(STEPS),train.steps=$(STEPS)) $(ARGS)

$(CORPUS): | $(INSTALLED)
	$(BIN)/polytrain pack text stdlib shards/quickstart --vocab-size 4096 --shard-mb 2

audio: $(INSTALLED) shards/asterisk/corpus.json
	$(BIN)/torchrun --standalone --nproc-per-node $(NPROC) -m train configs/audio/wav2vec2_asterisk.yaml \
		$(if $(STEPS),train.steps=$(STEPS)) $(ARGS)

# The shortest clips have no room for a masked span.
shards/asterisk/corpus.json: | $(INSTALLED)
	$(BIN)/polytrain pack dataset asterisk shards/asterisk min_seconds=0.3 validation=0.1

image: $(INSTALLED) shards/mnist/corpus.json
	$(BIN)/torchrun --standalone --nproc-per-node $(NPROC) -m train configs/image/mae_mnist.yaml \
		$(if $(STEPS),train.steps=$(STEPS)) $(ARGS)

shards/mnist/corpus.json: | $(INSTALLED)
	$(BIN)/polytrain pack dataset mnist-5k shards/mnist validation=0.2

test: $(INSTALLED) lint types
	$(BIN)/python -m pytest -m "not soak"

quick: $(INSTALLED)
	$(BIN)/python -m pytest -m "not processes and not soak" -q -n $(NPROC) --dist loadfile

soak: $(INSTALLED)
	$(BIN)/python -m pytest -m soak

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

# Upgrading pip first matters: older ones search this set of packages for many minutes.
$(INSTALLED): setup.py pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "polytrain needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { $(PYTHON) -m pip install virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[text,image,audio,tabular,dev]'
	$(BIN)/python -m train.engines.deepspeed
	@touch $@

clean:
	rm -rf runs shards build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

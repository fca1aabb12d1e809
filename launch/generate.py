"""`polytrain generate`: continue prompts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from configs.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or one that `polytrain import` made")
    parser.add_argument("prompts", nargs="+", metavar="PROMPT", help="text to continue; empty starts a new document")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to write at most (128)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token (0.8)")
    parser.add_argument("--top-k", type=int, help="draw from the k likeliest tokens")
    parser.add_argument("--top-p", type=float, help="draw from the likeliest tokens up to this total probability")
    parser.add_argument("--min-p", type=float, help="draw from tokens with this share of the likeliest's probability")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    parser.add_argument("--step", type=int, help="the checkpoint of a run to use; default: the newest")
    parser.add_argument("--json", action="store_true", help="print a list of objects with prompt and text")
    parser.epilog = (
        'examples:\n  polytrain generate runs/quickstart "def " --tokens 64 --temperature 0.5\n'
        '  polytrain generate runs/quickstart "def " "class " --json'
    )


def run(arguments: argparse.Namespace) -> None:
    """Print each prompt with its continuation."""
    if arguments.tokens < 1:
        raise ConfigError(f"--tokens {arguments.tokens}: expected at least 1.")
    if arguments.temperature < 0:
        raise ConfigError(f"--temperature {arguments.temperature}: expected 0 or more.")
    if arguments.top_k is not None and arguments.top_k < 1:
        raise ConfigError(f"--top-k {arguments.top_k}: expected at least 1.")
    for flag, share in {"--top-p": arguments.top_p, "--min-p": arguments.min_p}.items():
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f"{flag} {share}: expected more than 0 and at most 1.")
    from model.generate import Sampling
    from train.inference import writer_of

    model = writer_of(arguments.run, arguments.step)
    sampling = Sampling(arguments.temperature, arguments.top_k, arguments.top_p, arguments.min_p)
    prompts = arguments.prompts
    texts = model.continue_texts(prompts, arguments.tokens, sampling, arguments.seed)
    if arguments.json:
        pairs = zip(prompts, texts, strict=True)
        print(json.dumps([{"prompt": prompt, "text": text} for prompt, text in pairs], indent=2))
        return
    for prompt, text in zip(prompts, texts, strict=True):
        print(prompt + text)

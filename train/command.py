"""`python -m train RECIPE [key=value ...]`: the boundary where errors become messages.

    python -m train configs/quickstart.yaml
    torchrun --standalone --nproc-per-node 2 -m train configs/quickstart.yaml train.steps=100
    srun --ntasks-per-node 8 python -m train configs/quickstart.yaml
    polytrain train configs/quickstart.yaml

are the same command. Exit codes: 0 done, 1 a defect of ours, 2 something for the user to change
(one message on stderr), 75 stopped where it was asked to and saved (try again), 76 a step did not end
(`train.watchdog`), 130 interrupted before training.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from configs.errors import ConfigError, UserError
from train.interruption import EXIT_TRY_AGAIN, Interrupted
from train.launchers import adopt

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

# How long another rank leaves to rank 0 to meet the same error and say it. The launcher cuts the wait short.
_SECONDS_FOR_RANK_0 = 30.0

_EXAMPLES = """\
examples:
  polytrain train configs/quickstart.yaml
  polytrain train configs/quickstart.yaml train.steps=1000 run=runs/longer
  torchrun --standalone --nproc-per-node 2 -m train configs/quickstart.yaml engine.zero=3

Running the same command again resumes from the newest checkpoint of the run folder.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`, for this module and for `polytrain train`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add_recipe_arguments(parser)


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe, overrides, --debug."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, such as configs/quickstart.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="override a key of the recipe")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of user errors too")


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed arguments say."""
    from train.recipe import load_recipe

    adopt()  # from here on RANK says which process speaks for all
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    from train.run import run as train
    from train.world import World

    train(recipe, World.from_environment())


def guarded(action: Callable[[], None], *, debug: bool) -> int:
    """Run a command; turn a user's error into one message and an exit code."""
    try:
        _require_own_packages()
        action()
        sys.stdout.flush()
    except UserError as error:
        if debug:
            raise
        # An error that every rank meets alike is said once, by rank 0.
        if os.environ.get("RANK", "0") == "0" or not error.is_everywhere:
            print(f"polytrain: error: {error}", file=sys.stderr, flush=True)
        else:
            # A launcher ends all ranks as soon as one has failed: whoever left first would silence rank 0.
            time.sleep(_SECONDS_FOR_RANK_0)
        return EXIT_USER_ERROR
    except Interrupted as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(f"polytrain: {stopped}", file=sys.stderr, flush=True)
        return EXIT_TRY_AGAIN
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        # The reader of our output (head, less) has left; nobody is there to be told.
        _forget_output()
    except OSError as error:
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _forget_output()
        where = error.filename or "the output, or a file that was being written"
        print(f"polytrain: error: {where}: {error.strerror}; make room, and give the same command.", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


def interrupted() -> int:
    """Say that Ctrl-C ended the command; its exit code."""
    what = "what is complete: the newest checkpoint, whole shards"
    print(f"polytrain: interrupted; the same command goes on from {what}.", file=sys.stderr)
    return EXIT_INTERRUPTED


def _forget_output() -> None:
    """What is printed and could not be written must not be tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(code: int) -> NoReturn:
    """End the process without tearing the interpreter down.

    DeepSpeed keeps process groups alive after they are destroyed. When a gloo thread drops its last
    tensor while the interpreter goes down, the process aborts, and a finished run counts as failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of `python -m train`."""
    parser = argparse.ArgumentParser(prog="python -m train", description="Train as a recipe says, or resume.")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    return guarded(lambda: run(arguments), debug=arguments.debug)


def _require_own_packages() -> None:
    """Check that no other package or folder called data, model or configs hides ours.

    Raises:
        ConfigError: naming the intruder.
    """
    home = Path(__file__).parents[1]
    for name in ("configs", "data", "model"):
        found = importlib.util.find_spec(name)
        origin = Path(found.origin) if found is not None and found.origin else None
        if origin is None or origin.parents[1] != home:
            where = origin or (list(found.submodule_search_locations or []) if found else "nowhere")
            raise ConfigError(
                f"the package '{name}' of polytrain is hidden by another one: {where}. "
                "Start from another folder, or remove that one from PYTHONPATH."
            )

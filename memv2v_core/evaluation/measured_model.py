"""The built-in model that an evaluation measures, and its options on the command line."""

import argparse
from dataclasses import replace

import torch

from ..builtin.bundle import Bundle, builtin_names, load_bundle
from ..vocabulary import Task


def measured_bundle(
    key: str,
    device: torch.device,
    num_steps: int | None = None,
    refresh_every: int | None = None,
) -> Bundle:
    """The built-in model `key`, with other settings of its sampler where they are given.

    Raises: ValueError for numbers below 1.
    """
    for name, value in (("num_steps", num_steps), ("refresh_every", refresh_every)):
        if value is not None and value < 1:
            raise ValueError(f"{name} got {value}, wanted at least 1; leave it out for the model's")
    bundle = load_bundle(key, device)
    info = replace(
        bundle.info,
        num_steps=num_steps or bundle.info.num_steps,
        refresh_every=refresh_every or bundle.info.refresh_every,
    )
    return replace(bundle, info=info)


def recipe_of(bundle: Bundle) -> tuple[str, torch.device, int, int]:
    """The arguments of `measured_bundle` that make the same model in another process."""
    return bundle.key, bundle.device, bundle.info.num_steps, bundle.info.refresh_every


def add_model_options(parser: argparse.ArgumentParser, task: Task, default: str) -> None:
    """--builtin, --steps, --refresh-every and --device."""
    parser.add_argument("--builtin", choices=builtin_names(task), default=default)
    parser.add_argument("--steps", type=int, help="denoising steps; the model's if not given")
    parser.add_argument(
        "--refresh-every",
        type=int,
        help="calls between two refreshes of clean tokens, 1 for every call; the model's if not "
        "given",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def bundle_of(options: argparse.Namespace) -> Bundle:
    """The model of parsed options."""
    return measured_bundle(
        options.builtin, torch.device(options.device), options.steps, options.refresh_every
    )

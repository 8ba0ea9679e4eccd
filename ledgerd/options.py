"""Options that several commands share, and those of the stand-in, which are many."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import click

PORT = click.IntRange(0, 65_535)
SPEED = click.FloatRange(0, 100_000, min_open=True)
SEED = click.IntRange(0)
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file. Default: ./config.toml, then /etc/ledgerd/config.toml.",
)

realm_option = click.option("--realm", help="Default: the first configured realm that has prices.")
league_option = click.option("--league", help="Default: the realm's league with the most priced currencies.")
json_option = click.option("--json", "as_json", is_flag=True, help="The Ledger API's answer as it is.")


class _SimOption(click.Option):
    """One of `SimOptions`, which knows its default; asked only when it is needed, for the stand-in is long to load."""

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:  # noqa: ANN401  as in click
        from ledgerd.sim.server import SimOptions  # noqa: PLC0415  the stand-in is long to load

        return next(option.default for option in fields(SimOptions) if option.name == self.name)


sim_option = partial(click.option, cls=_SimOption, show_default=True)

_SIM_OPTIONS = (
    click.option("--port", type=PORT, default=8011, show_default=True, help="0 takes any free port."),
    sim_option("--seed", type=SEED, help="Another seed is another market."),
    sim_option("--speed", type=SPEED, help="Market seconds a real second."),
    sim_option("--history-hours", type=int, help="Hours before the start that can be had."),
    sim_option("--publish-delay", "publish_delay_s", type=float, help="Seconds after the hour."),
    sim_option("--gap-rate", type=float, help="Share of hours that never exist."),
    sim_option("--late-rate", type=float, help="Share of hours published late."),
    sim_option("--fault-rate", type=float, help="Share of answers with a fault."),
    click.option(
        "--faults", default="", help="Faults to draw from, comma-separated; empty: all that are safe at random."
    ),
    sim_option(
        "--replay", "replay_dir", type=FOLDER, help="Serve recorded hours, recorded pages of the river, or both."
    ),
    sim_option("--ledger", "ledger_path", type=FILE, help="Keep the list of answers in this file."),
    sim_option(
        "--edge",
        type=click.Choice(["clock", "manual"]),
        help="What publishes the next hour: the clock, or POST /_sim/edge.",
    ),
    sim_option("--river/--no-river", help="Serve the river of public stashes and its OAuth, too."),
    sim_option("--river-seed", type=SEED, help="Another seed is other stashes; default: as --seed."),
    sim_option("--river-rate", type=float, help="Stash changes a second on pc."),
    sim_option("--river-stashes", type=int, help="Stashes that live on pc."),
    sim_option("--hostile-share", type=float, help="Share of sellers who are not honest."),
    sim_option("--mods-before", type=int, help="Unix seconds up to which mods are strings; default: as upstream."),
    sim_option("--limits", type=click.Choice(["sliding", "bucketed"]), help="How the river's rate limits count."),
    sim_option("--foreign-rate", type=float, help="Requests a second others send from the same address."),
    sim_option("--client-id", help="The OAuth client that gets tokens."),
    sim_option("--client-secret", help="Its secret."),
    sim_option(
        "--river-ledger", "river_ledger_path", type=FILE, help="Keep the list of the river's answers in this file."
    ),
)


def sim_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` every option of the stand-in."""
    for option in reversed(_SIM_OPTIONS):
        command = option(command)
    return command

"""The commands: what a person types, what they read back, and the exit code."""

import os
import shlex
import sys
from collections.abc import Coroutine
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from ledgerd import __version__
from ledgerd.errors import Fatal, LedgerdError, UsageError
from ledgerd.options import (
    FOLDER,
    PORT,
    SEED,
    SPEED,
    config_option,
    json_option,
    league_option,
    realm_option,
    sim_options,
)

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
HELP_COLUMNS_MAX = 100
NOTICE = "This product isn't affiliated with or endorsed by Grinding Gear Games in any way."


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_COLUMNS_MAX},
    epilog=NOTICE,
)
@click.version_option(__version__, prog_name="ledgerd")
def cli() -> None:
    """ledgerd, the market ledger of Wraeclast: Path of Exile's official APIs as a priced, queryable ledger."""


@cli.command()
@config_option
def run(config_path: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C. SIGHUP reloads the configuration."""
    from ledgerd.app import serve
    from ledgerd.config.load import default_path, load

    path = (config_path or default_path()).absolute()  # a reload reads this very file, whatever else has come since
    _run(serve(lambda: load(path, os.environ)))


@cli.command()
@click.option(
    "--port", type=PORT, default=8010, show_default=True, help="Where the Ledger API is served; 0 takes any free port."
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/demo"),
    show_default=True,
    help="Kept from one demo to the next; never one of a live ledger.",
)
@click.option(
    "--speed", type=SPEED, default=60.0, show_default=True, help="Market seconds a real second; 60: an hour a minute."
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Another seed is another market.")
def demo(port: int, data_dir: Path, speed: float, seed: int) -> None:
    """Run the whole daemon against a stand-in for GGG: no account, no network."""
    from ledgerd.demo import run_demo

    _run(run_demo(port=port, data_dir=data_dir, speed=speed, seed=seed))


@cli.command("check-config")
@config_option
@click.option("--template", is_flag=True, help="Print the documented default instead, to begin a file with.")
def check_config(config_path: Path | None, *, template: bool) -> None:
    """Read the configuration, say everything that is wrong with it, and exit 78 if anything is."""
    from ledgerd.config.load import load
    from ledgerd.offline import template_text
    from ledgerd.store.engines import make_engine

    if template:
        click.echo(template_text(), nl=False)
        return
    loaded = load(config_path, os.environ)
    make_engine(loaded.config)
    for note in loaded.notes:
        click.echo(f"note: {note}")
    click.echo(f"{loaded.path}: good")


@cli.command()
@config_option
@click.option("--status", "wants_status", is_flag=True, help="List the migrations and whether they are applied.")
@click.option("--dry-run", is_flag=True, help="Print the statements --apply would run.")
@click.option("--apply", "wants_apply", is_flag=True, help="Bring the database up to this version's schema.")
def migrate(config_path: Path | None, wants_status: bool, dry_run: bool, wants_apply: bool) -> None:
    """Look at the database's schema or bring it up to date. `ledgerd run` does so by itself."""
    from ledgerd import offline

    if wants_apply and (wants_status or dry_run):
        raise UsageError("--apply goes alone; --status and --dry-run go together.", "Try: ledgerd migrate --apply")
    _run(offline.migrate(_config(config_path), status=wants_status, dry_run=dry_run, apply=wants_apply))


@cli.command()
@config_option
@click.option("--from", "data_dir", type=FOLDER, help="The data directory to move from; default: the configured one.")
@click.option("--dry-run", is_flag=True, help="List what would be moved and what the server holds; change nothing.")
def move(config_path: Path | None, data_dir: Path | None, dry_run: bool) -> None:
    """Move the embedded database into the configured server. Ctrl-C stops it; the same again goes on."""
    from ledgerd.move import command

    _run(command.move(_config(config_path), data_dir=data_dir, dry_run=dry_run))


@cli.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The whole of /status as JSON.")
def status(config_path: Path | None, as_json: bool) -> None:
    """Say how the running daemon is. Exits 1 if none runs, or if it is not well."""
    from ledgerd import offline

    sys.exit(_run(offline.status(_config(config_path), as_json=as_json)))


@cli.command()
@config_option
@click.argument("query")
@click.option(
    "--format",
    "fmt",
    default="PrettyCompact",
    show_default=True,
    help="One of ClickHouse's, such as CSV, JSONEachRow, Parquet.",
)
def sql(config_path: Path | None, query: str, fmt: str) -> None:
    """Run one read-only QUERY ("-" reads it from standard input), or several, each ended by ; and a line break."""
    from ledgerd import offline

    query = sys.stdin.buffer.read().decode() if query == "-" else query
    _run(offline.sql(_config(config_path), query, fmt))


@cli.command()
@config_option
@click.option("--realm", required=True, help="pc, xbox, sony or poe2.")
@click.option(
    "--source",
    "kind",
    type=click.Choice(["exchange", "river"]),
    default="exchange",
    show_default=True,
    help="The hourly currency exchange, or the river of public stashes.",
)
@click.option("--league", help="Dry run: show this league only; what is kept is as configured.")
@click.option(
    "--once", is_flag=True, help="One page, then stop. Needed: following a source is what `ledgerd run` does."
)
@click.option("--dry-run", is_flag=True, help="Fetch and show the page, keep nothing.")
@click.option("--cursor", help="Dry run: the id to ask for; default: where the daemon or the configuration stands.")
def harvest(config_path: Path | None, *, once: bool, dry_run: bool, cursor: str | None, **which: Any) -> None:  # noqa: ANN401  realm, kind, league
    """Fetch one page of a source by hand, to see what upstream says and what the cursor would do."""
    from ledgerd import one_page

    if not once:
        raise UsageError("harvest fetches one page: add --once.", "To follow the source: ledgerd run")
    looking = f"ledgerd harvest --realm {which['realm']} --source {which['kind']} --once --dry-run"
    if cursor and not dry_run:
        raise UsageError(
            "--cursor goes with --dry-run: a kept page continues the chain.",
            f"Try: {looking} --cursor {shlex.quote(cursor)}",
        )
    if which["league"] and not dry_run:
        raise UsageError(
            "--league goes with --dry-run: a kept page moves the cursor, and its other leagues would be lost for good.",
            f"Try: {looking} --league {shlex.quote(which['league'])}",
        )
    config = _config(config_path, harvesting=True)
    _run(one_page.harvest(config, dry_run=dry_run, cursor=cursor, **which))


@cli.group()
def etl() -> None:
    """Look at the ETL steps, run what is due, or make what is refined anew."""


@etl.command("status")
@config_option
def etl_status(config_path: Path | None) -> None:
    """List how far each step is for each league, how long it last took, and what is wrong with it."""
    from ledgerd import refine

    _run(refine.status(_config(config_path)))


@etl.command("run")
@config_option
@click.option("--step", help="This step of the exchange alone; what it reads must be up to date.")
@click.option("--lane", help="Of public stashes this league alone; it goes ahead, and the others follow by themselves.")
def etl_run(config_path: Path | None, step: str | None, lane: str | None) -> None:
    """Refine every committed batch that waits, then stop. The running daemon does so by itself."""
    from ledgerd import refine

    if step and lane:
        raise UsageError("--step is for the exchange, --lane for public stashes.", "Give one: ledgerd etl run --help")
    _run(refine.run(_config(config_path), step=step, lane=lane))


@etl.command("rebuild")
@config_option
@click.option(
    "--from",
    "source",
    type=click.Choice(["bronze", "silver"]),
    required=True,
    help="bronze: silver and gold are made anew; silver: gold alone.",
)
@click.option("--since", help="Exchange only: batches fetched at this time or later; a time, -24h or -30d.")
@click.option("--yes", "is_sure", is_flag=True, help="Even if bronze no longer has all that public stashes were.")
def etl_rebuild(config_path: Path | None, source: Any, since: str | None, is_sure: bool) -> None:  # noqa: ANN401  one of the choices
    """Make what was refined anew, with the daemon stopped. Killed, it goes on at the next start or `etl run`."""
    from ledgerd import refine

    _run(refine.rebuild(_config(config_path), source=source, since=since, is_sure=is_sure))


@cli.command()
@config_option
@click.argument("name")
@realm_option
@league_option
@json_option
def price(config_path: Path | None, name: str, **asked: Any) -> None:  # noqa: ANN401  realm, league, as_json
    """Say what a currency or an item is worth, and what that rests on.

    NAME: a currency's name, trade tag, alias or id; an item's key; or words such as "6l tabula".
    """
    from ledgerd.ask.price import price as answer

    _run(answer(_config(config_path), name, **asked))


@cli.command()
@config_option
@click.argument("words", nargs=-1, required=True, metavar="AMOUNT FROM [to] [TO]")
@realm_option
@league_option
@json_option
def convert(config_path: Path | None, words: tuple[str, ...], **asked: Any) -> None:  # noqa: ANN401  as price
    """Say what an amount of one currency is worth in another: 3 divine chaos, or 3/2 divine orb to chaos orb.

    TO is chaos unless it is given.
    """
    from ledgerd.ask.convert import convert as answer

    _run(answer(_config(config_path), words, **asked))


@cli.command()
@config_option
@click.option("--movers", "wants_movers", is_flag=True, help="What rose and what fell, instead of what leads.")
@click.option(
    "--by", type=click.Choice(["turnover", "listings", "price"]), help="What leads; default: turnover in 24 h."
)
@click.option(
    "--kind", type=click.Choice(["currency", "item", "all"]), default="all", show_default=True, help="Of these only."
)
@click.option(
    "--span", type=click.Choice(["1h", "24h", "7d"]), default="24h", show_default=True, help="Changes since then."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Rows; of movers, each way.")
@realm_option
@league_option
@json_option
def top(config_path: Path | None, *, wants_movers: bool, by: str | None, **asked: Any) -> None:  # noqa: ANN401  kind to as_json
    """List what leads a league, or what moved.

    Prices and turnover (of 24 h) are in chaos; "sure" is the probability that a price is within 15 % of the truth; the
    bars are an item's prices by half days. A name or key of the list is what `ledgerd price` takes.
    """
    from ledgerd.ask import top as asking

    if wants_movers and by:
        raise UsageError("Movers are ranked by their change, not by anything else.", "Try: ledgerd top --movers")
    config = _config(config_path)
    _run(asking.movers(config, **asked) if wants_movers else asking.top(config, by=by or "turnover", **asked))


@cli.command()
@config_option
@click.argument("what", type=click.Choice(["currency", "items"]))
@click.option("--out", required=True, help='The file, which is there whole or not at all; "-" is stdout.')
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["parquet", "csv", "arrow", "ndjson", "json"]),
    help="Default: what the file's name ends in.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@realm_option
@league_option
@click.option("--fields", help="These fields alone, commas between them.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), help="Only prices at least that sure.")
def export(config_path: Path | None, what: str, **asked: Any) -> None:  # noqa: ANN401  out to min_confidence
    """Write a league's prices to a file."""
    from ledgerd.ask.export import export as write

    _run(write(_config(config_path), what, **asked))


@cli.command()
@sim_options
def sim(faults: str, **options: Any) -> None:  # noqa: ANN401  passed on to SimOptions, which checks them
    """Serve GGG's exchange and river on loopback: a seeded market with known true values, or what was recorded."""
    from ledgerd.demo import run_sim

    chosen = tuple(name.strip() for name in faults.split(",") if name.strip())
    _run(run_sim(faults=chosen, **options))


def _config(path: Path | None, *, harvesting: bool = False) -> Any:  # noqa: ANN401  Config, loaded late
    """The configuration of a command that may need the engine, checked as far as that."""
    from ledgerd.config.load import load
    from ledgerd.store.engines import make_engine

    config = load(path, os.environ, harvesting=harvesting).config
    make_engine(config)
    return config


def _run(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  whatever the command returns
    import uvloop

    return uvloop.run(work)


def main() -> NoReturn:
    """``ledgerd``."""
    _command(cli)


def poe_migrate() -> NoReturn:
    """``poe-migrate``, the name older deployments use for ``ledgerd migrate``."""
    _command(migrate)


def market_harvester() -> NoReturn:
    """``market_harvester``, the name older deployments use for ``ledgerd harvest``."""
    _command(harvest)


def _command(command: click.Command) -> NoReturn:
    """Run ``command``; every error is a sentence on stderr and an exit code of ``errors``."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter or a bar shows the rest
    try:
        sys.exit(command.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(UsageError.exit_code)
    except LedgerdError as error:
        _fail(str(error), error.exit_code if isinstance(error, Fatal) else EXIT_FAILED)
    except UnicodeError:
        _fail("What was typed or piped in is not UTF-8. See: ledgerd --help", UsageError.exit_code)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _fail(f"The system refused{where}: {error.strerror or error}. Look at disk and permissions: df -h", EXIT_FAILED)


def _fail(sentence: str, code: int) -> NoReturn:
    """Say what went wrong and end; what was still to be written to a full or closed stdout is dropped."""
    click.echo(f"ledgerd: {sentence}", err=True)
    with suppress(OSError):
        sys.stdout.flush()
        sys.exit(code)
    os._exit(code)

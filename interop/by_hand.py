"""What is run by hand from this suite, as ``python -m``: its exit status, and one line where it ends early."""

import click

__all__ = ["run_by_hand"]


def run_by_hand(command: click.Command, *failures: type[Exception]) -> int:
    """
    Run a command with the words of the command line.

    Args:
        command: It returns its exit status, or None for 0.
        failures: Errors that are told in a line; all others are faults of ours, and are raised.
    """
    try:
        return int(command(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
    except failures as error:
        click.echo(f"failed: {error}", err=True)
    return 1

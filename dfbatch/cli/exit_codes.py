"""Exit codes, and the rule that an error is one sentence on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from enum import IntEnum
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from dfbatch.errors import DfbatchError, InvalidInput, UnknownId


class ExitCode(IntEnum):
    """What a script may rely on."""

    ALL_SUCCEEDED = 0
    SOME_FAILED = 1
    USAGE = 2
    COULD_NOT_RUN = 3
    INTERRUPTED = 130


class OneSentenceErrors(TyperGroup):
    """A group whose commands end in one sentence instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its errors become exit codes."""
        try:
            return super().invoke(ctx)
        except (InvalidInput, UnknownId) as error:
            _fail(str(error), ExitCode.USAGE)
        except DfbatchError as error:
            _fail(str(error), ExitCode.COULD_NOT_RUN)
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            _fail(f"{error.strerror or error}{where}.", ExitCode.COULD_NOT_RUN)
        except KeyboardInterrupt:
            _fail("Interrupted.", ExitCode.INTERRUPTED)


def _fail(sentence: str, code: ExitCode) -> NoReturn:
    if os.environ.get("DFBATCH_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exc(file=sys.stderr)
    typer.echo(f"dfbatch: {sentence}", err=True)
    raise typer.Exit(code)

"""Every command: parse, call one public function, print, exit. Nothing heavy is imported before a command runs.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 internal fault, 2 bad input, 3 a finding,
130 interrupted.
"""

from invaudit.cli.app import main

__all__ = ["main"]

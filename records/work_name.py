"""The names that users have for kinds of work. Apart, since every start of the command line reads it."""

from typing import Literal

WorkName = Literal["io", "cpu", "cpu-no-gil", "none", "sleep", "spin", "crunch"]

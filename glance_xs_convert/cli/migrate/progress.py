# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Showing the progress of a migration on standard error."""

from collections.abc import Iterator
import contextlib
import shutil
import threading
import time
from typing import TextIO

from glance_xs_convert.cli import safe_output
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import runner
from glance_xs_convert import text

_INTERVAL = 0.25
#: How often there are lines of images under way, in seconds.
_LINE_INTERVAL = 30.0
_BAR_WIDTH = 24
_NAME_WIDTH = 28


class Silence(runner.Watch):
    """Shows nothing."""

    def interrupted(self) -> None:
        """No further images will begin; may be called by a signal handler."""

    def refresh(self) -> None:
        """Update what is shown; called several times a second."""

    def close(self) -> None:
        """Remove what is left on the screen at the end."""


class Lines(Silence):
    """Writes a line whenever an image begins or ends.

    :param stream: stream to write to
    :param total: number of images
    :param size: total size of their archives, in bytes
    """

    def __init__(self, stream: TextIO, total: int, size: int) -> None:
        self._stream = stream
        self._total = total
        self._size = size
        self._over = 0
        self._size_over = 0
        self._begun_at = self._told_at = time.monotonic()
        self._lock = threading.Lock()
        #: Set without the lock, which the thread that gets a signal may hold.
        self._is_ending = False
        #: The least time left since no further images begin, in seconds.
        self._least_left: float | None = None
        #: For each image under way: its name, size, stage and fraction.
        self._under_way: dict[
            str, tuple[str, int, str, float | None]] = {}

    def started(self, row: inventory.Row) -> None:
        with self._lock:
            self._under_way[row.id] = (_name(row), row.size or 0, '', None)
            self._write_started(row)

    def advanced(self, row: inventory.Row, stage: str,
                 fraction: float | None) -> None:
        with self._lock:
            if row.id in self._under_way:
                name, size, _, _ = self._under_way[row.id]
                self._under_way[row.id] = name, size, stage, fraction

    def ended(self, outcome: runner.Outcome) -> None:
        with self._lock:
            self._under_way.pop(outcome.row.id, None)
            self._over += 1
            self._size_over += outcome.row.size or 0
            self._write(_over(outcome))

    def said(self, sentence: str) -> None:
        with self._lock:
            self._write(sentence)

    def interrupted(self) -> None:
        self._is_ending = True

    def refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._told_at > _LINE_INTERVAL:
                self._told_at = time.monotonic()
                for name, _, stage, fraction in self._under_way.values():
                    self._write(f'{name}: {_stage(stage, fraction)}')
                self._write(self._overall())

    def _write(self, line: str) -> None:
        print(safe_output.line(line), file=self._stream, flush=True)

    def _write_started(self, row: inventory.Row) -> None:
        self._write(f'{_name(row)}: begun ({row.id})')

    def _overall(self) -> str:
        line = f'{self._over} of {text.count(self._totals()[0], "image")}'
        left = self._seconds_left()
        return line if left is None else f'{line}, {text.duration(left)} left'

    def _fraction(self) -> float:
        """Return the overall progress, by the archives' bytes."""
        total, total_size = self._totals()
        if not total_size:
            return self._over / max(total, 1)
        size = self._size_over + sum(
            size * (fraction or 0)
            for _, size, _, fraction in self._under_way.values())
        return min(size / total_size, 1.0)

    def _totals(self) -> tuple[int, int]:
        """Return how many images will have been begun, and their size."""
        if not self._is_ending:
            return self._total, self._size
        return self._over + len(self._under_way), self._size_over + sum(
            size for _, size, _, _ in self._under_way.values())

    def _seconds_left(self) -> float | None:
        fraction = self._fraction()
        if not self._over or not fraction:
            return None
        gone = time.monotonic() - self._begun_at
        left = gone * (1 - fraction) / fraction
        if self._is_ending:
            if self._least_left is not None:
                left = min(left, self._least_left)
            self._least_left = left
        return left


class Screen(Lines):
    """A line for each image under way, and a bar for all of them."""

    def __init__(self, stream: TextIO, total: int, size: int) -> None:
        super().__init__(stream, total, size)
        self._drawn = 0

    def _write_started(self, row: inventory.Row) -> None:
        pass

    def _write(self, line: str) -> None:
        self._erase()
        super()._write(line)

    def refresh(self) -> None:
        with self._lock:
            self._erase()
            width = shutil.get_terminal_size().columns - 1
            lines = [f'{name:{_NAME_WIDTH}} {_stage(stage, fraction)}'
                     for name, _, stage, fraction
                     in self._under_way.values()]
            filled = round(_BAR_WIDTH * self._fraction())
            lines.append('█' * filled + '░' * (_BAR_WIDTH - filled)
                         + ' ' + self._overall())
            for line in lines:
                self._write(line[:width])
            self._drawn = len(lines)

    def close(self) -> None:
        with self._lock:
            self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f'\x1b[{self._drawn}A\x1b[J')
            self._stream.flush()
            self._drawn = 0


@contextlib.contextmanager
def shown(stream: TextIO, quiet: bool, total: int, size: int,
          ) -> Iterator[Silence]:
    """Yield the observer of the progress, until the context is left."""
    watch = (Silence() if quiet
             else (Screen if stream.isatty() else Lines)(stream, total, size))
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(_INTERVAL):
            watch.refresh()

    thread = threading.Thread(target=work, name='progress', daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
        watch.close()


def _name(row: inventory.Row) -> str:
    name = text.printable(row.name) or row.id
    return name if len(name) <= _NAME_WIDTH else name[:_NAME_WIDTH - 1] + '…'


def _stage(stage: str, fraction: float | None) -> str:
    if fraction is None or '%' in stage:
        return stage
    return f'{stage}: {fraction:.0%}'


def _over(outcome: runner.Outcome) -> str:
    row = outcome.row
    line = f'{_name(row)}: {row.state} after {text.duration(outcome.seconds)}'
    if row.state == inventory.DONE:
        line += f', new ID {row.new_id}'
    if row.reason:
        line += f': {row.reason}'
    return '; '.join((line, *outcome.notes))

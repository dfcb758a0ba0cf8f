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

"""Showing the progress of a conversion on standard error."""

from collections.abc import Iterator
import contextlib
import threading
import time
from typing import TextIO

from glance_xs_convert import conversion_progress
from glance_xs_convert import text

#: The time before the bar appears, in seconds.
_PATIENCE = 0.5
_BAR_INTERVAL = 0.1
_LINE_INTERVAL = 5.0


@contextlib.contextmanager
def shown(reached: conversion_progress.Progress, stream: TextIO,
          wanted: bool | None,
          ) -> Iterator[None]:
    """Show the progress until the context is left.

    On a terminal this is a bar, which disappears at the end; elsewhere it is a
    line every few seconds.

    :param wanted: whether to show it; None to show it on a terminal only
    """
    terminal = stream.isatty()
    if wanted is False or not (wanted or terminal):
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(
        target=_bar if terminal else _lines, args=(reached, stream, stop),
        name='progress', daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bar(reached: conversion_progress.Progress, stream: TextIO,
         stop: threading.Event,
         ) -> None:
    if stop.wait(_PATIENCE):
        return
    import tqdm  # Not before it is needed: it takes a while.

    tqdm.tqdm.monitor_interval = 0
    with tqdm.tqdm(
            total=reached.source_size, initial=reached.source_read,
            unit='B', unit_scale=True, unit_divisor=1024, file=stream,
            dynamic_ncols=True, leave=False) as bar:
        while True:
            bar.set_postfix_str(reached.layer or '', refresh=False)
            bar.update(reached.source_read - bar.n)
            if stop.wait(_BAR_INTERVAL):
                return


def _lines(reached: conversion_progress.Progress, stream: TextIO,
           stop: threading.Event,
           ) -> None:
    begun_at = time.monotonic()
    while not stop.wait(_LINE_INTERVAL):
        print(_line(reached, time.monotonic() - begun_at), file=stream,
              flush=True)


def _line(reached: conversion_progress.Progress, gone: float) -> str:
    """Return the progress on a line.

    :param gone: time since the conversion began, in seconds
    """
    parts = []
    fraction = reached.fraction
    if fraction is not None:
        parts.append(f'{fraction:.0%}')
    if fraction:
        left = gone * (1 - fraction) / fraction
        parts.append(f'{text.duration(left)} left')
    parts.append(f'{text.size(reached.source_read)} read')
    if reached.layer is not None:
        parts.append(f'layer {reached.layers} ({reached.layer})')
    return ', '.join(parts)

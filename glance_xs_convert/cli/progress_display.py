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
from typing import TextIO

from glance_xs_convert import progress
from glance_xs_convert import text

#: The time before the bar appears, in seconds.
_PATIENCE = 0.5
_BAR_INTERVAL = 0.1
_LINE_INTERVAL = 5.0


@contextlib.contextmanager
def shown(progress: progress.Progress, stream: TextIO, wanted: bool | None,
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
        target=_bar if terminal else _lines, args=(progress, stream, stop),
        name='progress', daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bar(progress: progress.Progress, stream: TextIO, stop: threading.Event,
         ) -> None:
    if stop.wait(_PATIENCE):
        return
    import tqdm  # Not before it is needed: it takes a while.

    tqdm.tqdm.monitor_interval = 0
    with tqdm.tqdm(
            total=progress.source_size, initial=progress.source_read,
            unit='B', unit_scale=True, unit_divisor=1024, file=stream,
            dynamic_ncols=True, leave=False) as bar:
        while True:
            bar.set_postfix_str(progress.layer or '', refresh=False)
            bar.update(progress.source_read - bar.n)
            if stop.wait(_BAR_INTERVAL):
                return


def _lines(progress: progress.Progress, stream: TextIO, stop: threading.Event,
           ) -> None:
    while not stop.wait(_LINE_INTERVAL):
        parts = [f'{text.size(progress.source_read)} read']
        if progress.fraction is not None:
            parts.insert(0, f'{progress.fraction:.0%}')
        if progress.layer is not None:
            parts.append(f'layer {progress.layers} ({progress.layer})')
        print(', '.join(parts), file=stream, flush=True)

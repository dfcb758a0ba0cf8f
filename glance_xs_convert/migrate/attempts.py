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

"""The attempts to import an archive into a new image.

Most failures pass: a host is stopped, or has no space. The next attempt has
another image, because what the failed one has left in a store or in a staging
area bears its ID. Hosts that have enough to convert are asked again later,
which does not count as an attempt.
"""

from collections.abc import Callable
import time
from typing import NoReturn
from typing import TypeVar

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import importing
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import tasks
from glance_xs_convert import text

#: How many times to try an import if the archive is not at fault.
IMPORTS = 3
#: The formats of converted images.
_RAW = ('raw', 'bare')
_NO_REASON = 'the import failed, but Glance gives no reason'

_T = TypeVar('_T')


class Attempts:
    """The attempts to import one archive.

    :param cloud: the cloud
    :param deadline: longest time to wait for hosts that have enough to
                     convert, in seconds
    :param on_progress: called with the progress
    """

    def __init__(self, cloud: cloud_.Cloud, deadline: float,
                 on_progress: importing.OnProgress) -> None:
        self._cloud = cloud
        self._end_of_patience = time.monotonic() + deadline
        self._on_progress = on_progress
        self._left = IMPORTS

    def run(self, attempt: Callable[[], _T]) -> _T:
        """Make attempts until one succeeds, and return its result.

        :param attempt: a function that makes one attempt; if an import fails,
                        it calls ``give_up_or_repeat``
        :raises Failed: no attempt succeeded, or another would not help
        """
        pauses, turns = patience.back_off(), patience.turns()
        while True:
            self._left -= 1
            try:
                return attempt()
            except errors.HostsBusy:
                self._left += 1
                stage = 'waiting: the hosts have enough to convert'
                pause = next(turns)
            except errors.Lost as error:
                if not self._left:
                    raise errors.Failed(str(error)) from error
                stage, pause = 'waiting after a failure', next(pauses)
            self._on_progress(stage, None)
            self._cloud.clock.pause(pause)

    def give_up_or_repeat(self, ending: importing.Ending,
                          method: methods.Method) -> NoReturn:
        """Decide what follows an import that failed.

        :raises Refused: the archive is at fault
        :raises Failed: another attempt would not help, or none is left
        :raises HostsBusy: the hosts may have time later
        :raises Lost: another attempt may succeed; the new image was deleted
        """
        if (tasks.asks_for_patience(ending.kind)
                and time.monotonic() < self._end_of_patience):
            if annotations.of(ending.new).upload:
                # Its archive has to be uploaded again.
                claiming.discard(self._cloud, ending.new)
            raise errors.HostsBusy(ending.message)
        if tasks.blames_archive(ending.kind):
            raise errors.Refused(ending.message)
        reason = ((ending.message or _NO_REASON)
                  + methods.advice(method, ending.kind))
        if not self._left or tasks.concerns_operators(ending.kind):
            raise errors.Failed(reason)
        claiming.discard(self._cloud, ending.new)
        raise errors.Lost(reason)


def check_converted(cloud: cloud_.Cloud, new: images.Image, size: int,
                    ) -> None:
    """Check that the plugin has converted a new image, or delete the image.

    :param new: a new image that is active
    :param size: size of the disk, in bytes
    :raises NotConverted: the image holds the archive
    :raises Failed: the image has another size
    """
    if (new['disk_format'], new['container_format']) != _RAW:
        claiming.discard(cloud, new)
        raise errors.NotConverted(
            'Glance stored an image unconverted: the import plugin xs_convert '
            'is off')
    if not new['size'] == new['virtual_size'] == size:
        claiming.discard(cloud, new)
        raise errors.Failed(
            f'the new image has {text.exact_size(new["size"])}, but the disk '
            f'has {text.exact_size(size)}')

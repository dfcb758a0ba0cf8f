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

"""Finding out whether Glance still runs an import.

Glance runs an import in one call, in a thread of its pool, and tells nobody
when the call has returned. Glance's database does not show it either if the
last change to it failed.
"""

import sys
import types

_PACKAGE = 'glance.'


class Run:
    """A call that runs an import.

    :param frame: the call's frame, or None if it is not known
    """

    def __init__(self, frame: types.FrameType | None) -> None:
        self._frame = frame
        self._is_known = frame is not None

    def is_over(self) -> bool:
        """Whether the call is known to have returned."""
        if self._frame is not None:
            try:
                # Python refuses to clear the frame of a running call.
                self._frame.clear()
            except RuntimeError:
                return False
            self._frame = None
        return self._is_known


def current() -> Run:
    """Return Glance's outermost call in this thread."""
    found = None
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get('__name__')).startswith(_PACKAGE):
            found = frame
        frame = frame.f_back
    return Run(found)

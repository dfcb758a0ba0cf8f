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

"""How a child gives precedence to others.

The parent sets it when it starts a child, and the child for itself, because
either may be too early or too late for Linux.
"""

import contextlib
import os


def step_back(pid: int, niceness: int) -> None:
    """Let others go first if there are too few processors.

    Linux may schedule by session, and a child has its own session. In that
    case the session's niceness counts.

    :param pid: the child
    :param niceness: from 0 to 19; one that is higher already is kept
    """
    with contextlib.suppress(OSError):
        niceness = max(niceness, os.getpriority(os.PRIO_PROCESS, pid))
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    with (contextlib.suppress(OSError),
          open(f'/proc/{pid}/autogroup', 'w') as autogroup):
        autogroup.write(str(niceness))

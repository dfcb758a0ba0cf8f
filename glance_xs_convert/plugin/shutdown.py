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

"""Finding out whether Glance's process is shutting down.

When it does, Python first waits for the threads of thread pools, and Glance
cannot continue its imports, because it has no thread for their next tasks.
"""

from concurrent import futures

#: It has one thread, which the first call starts and which is then idle.
_pool = futures.ThreadPoolExecutor(1, 'xs-convert-shutdown')


def has_begun() -> bool:
    """Whether Python refuses new work and waits for its threads."""
    try:
        _pool.submit(int)
    except RuntimeError as error:
        # Only the text distinguishes this from a thread that the system cannot
        # start.
        return 'shutdown' in str(error)
    return False

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

"""The resource limits and the priority of the converter's process."""

import os
import resource

from glance_xs_convert.worker import priority
from glance_xs_convert.worker import protocol

#: How many files it may have open besides those that it writes; it only opens
#: the package's own.
_MAX_FILES = 64


def restrict(job: protocol.Job) -> None:
    """Limit the process before it reads the image."""
    request = job.request
    os.umask(0o077)
    priority.step_back(os.getpid(), request.niceness)
    _limit(resource.RLIMIT_FSIZE, request.limits.max_virtual_size
           if job.operation in protocol.CONVERSIONS else protocol.MAX_MAP)
    _limit(resource.RLIMIT_NOFILE, _MAX_FILES + len(job.targets))
    _limit(resource.RLIMIT_CORE, 0)
    if request.max_memory:
        _limit(resource.RLIMIT_AS, request.max_memory)
    if request.max_cpu_time:
        _limit(resource.RLIMIT_CPU, request.max_cpu_time,
               int(protocol.GRACE))


def _limit(which: int, value: int, grace: int = 0) -> None:
    """Set a limit, or keep the present one if that is lower.

    :param grace: how far beyond the value the kernel kills the process
    """
    _, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY:
        hard = value + grace
    soft = min(value, max(hard - grace, 1) if grace else hard)
    resource.setrlimit(which, (soft, min(value + grace, hard)))

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
"""What it takes to adapt guests in a cloud of the testbed."""

import os
import typing

from glance_xs_convert.guest import settings

from testbed.guests import debian
from testbed.guests import machine


def missing() -> list[str]:
    """Return the programs that make, adapt and boot guests, if not there."""
    tools = (settings.TOOL, settings.INSPECTOR, settings.QEMU_IMG)
    return [*debian.missing_tools(), *machine.missing(),
            *(tool for tool in tools if not settings.find(tool))]


def libguestfs() -> dict[str, str]:
    """Return the variables of the environment that are libguestfs'."""
    return {name: value for name, value in os.environ.items()
            if name.startswith(settings.PREFIX)}


def options(seconds: int) -> dict[str, typing.Any]:
    """Return the arguments with which a cloud adapts guests.

    :param seconds: how long one may take
    """
    group: dict[str, typing.Any] = {'max_time': seconds}
    if variables := libguestfs():
        group['libguestfs'] = ','.join(map(':'.join, variables.items()))
    return {'image_import_plugins': ('xs_convert', 'xs_adapt'),
            'options': {'xs_adapt': group}}

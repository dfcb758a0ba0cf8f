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

"""The report of ``glance-xs-convert status``."""

from collections.abc import Callable
import os

from oslo_upgradecheck import upgradecheck

from glance_xs_convert.deployment import checks
from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import guests
from glance_xs_convert.deployment import removal
from glance_xs_convert.deployment import users

#: The name of a check, its code and the details.
Row = tuple[str, int, str]


def make(read: Callable[[], configuration.Deployment], before_removal: bool,
         with_appliance: bool = False) -> list[Row]:
    """Check a deployment.

    :param read: reads Glance's configuration
    :param before_removal: whether to look for what refers to this package
                           instead of what is wrong
    :param with_appliance: whether to start what guests are adapted in
    :raises CannotRun: the checks cannot run as the user that Glance runs as
    """
    try:
        deployment = read()
    except configuration.BadSetting as error:
        return [('Configuration', int(upgradecheck.Code.FAILURE),
                 str(error))]
    rows = [('Configuration', int(upgradecheck.Code.SUCCESS),
             f'read {", ".join(deployment.sources())}')]

    def run(found: configuration.Deployment,
            ) -> list[tuple[str, upgradecheck.Result]]:
        if before_removal:
            return removal.find_all(found)
        return checks.run_all(
            found, [*checks.CHECKS, *guests.choose(found, with_appliance)])

    owner = _glances_user(deployment)
    if owner is None:
        return rows + _rows(run(deployment))
    found = users.run(owner, lambda: _rows(run(deployment)))
    return rows + [(name, code, details) for name, code, details in found]


def _rows(results: list[tuple[str, upgradecheck.Result]]) -> list[Row]:
    return [(name, int(result.code), result.details or '')
            for name, result in results]


def _glances_user(deployment: configuration.Deployment) -> int | None:
    """Return the user to run the checks as, if this process is root's.

    Glance owns its staging area. If root owns it, Glance may run as root.
    """
    if os.geteuid():
        return None
    try:
        owner = os.stat(deployment.staging()).st_uid
    except (OSError, configuration.BadSetting):
        return None
    return owner or None

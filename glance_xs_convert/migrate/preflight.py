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

"""Checks that a cloud can migrate images, as far as its API shows."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses

from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import methods
from glance_xs_convert import terms
from glance_xs_convert import text
from glance_xs_convert import units


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    :ivar ok: False if the finding is an obstacle
    :ivar sentence: the finding
    """

    ok: bool
    sentence: str


def check(cloud: cloud_.Cloud, rows: Sequence[inventory.Row], wanted: str,
          ) -> list[Finding]:
    """Check the cloud for the images that are waiting.

    :param wanted: the chosen method
    """
    waiting = [row for row in rows if row.state == inventory.WAITING]
    return [_check_method(cloud, wanted), _check_plugin(rows),
            *_check_quotas(cloud, waiting), _describe_room(waiting)]


def check_stores(cloud: cloud_.Cloud, stores: Iterable[str]) -> None:
    """Check that stores exist.

    :raises WrongArguments: one of them does not
    """
    known = cloud.imports.stores() if stores else []
    unknown = sorted(set(stores) - set(known))
    if unknown:
        raise errors.WrongArguments(
            f'this cloud does not have a store {", ".join(unknown)}; it has '
            f'{", ".join(known) or "a single store without a name"}')


def _check_method(cloud: cloud_.Cloud, wanted: str) -> Finding:
    try:
        method = methods.choose(cloud, wanted).current
    except errors.CannotMigrate as error:
        return Finding(False, str(error))
    way = ("the cloud's hosts download the archives, if allowed_ports in "
           '[import_filtering_opts] lets them'
           if method.name == terms.DOWNLOAD
           else 'this computer passes the archives on')
    return Finding(True, f'import method {method.name}: {way}')


def _check_plugin(rows: Iterable[inventory.Row]) -> Finding:
    if any(row.state == inventory.DONE for row in rows):
        return Finding(True, 'the import plugin has converted images before')
    return Finding(True, 'the API does not show whether the import plugin is '
                   'on; if it does not convert the first image, the command '
                   'stops')


def _check_quotas(cloud: cloud_.Cloud, waiting: Sequence[inventory.Row],
                  ) -> list[Finding]:
    """Compare what is left of the project's quotas with the need."""
    usage = cloud.imports.usage()
    if not usage:
        return [Finding(True, 'there are no quotas')]
    needed = {'image_count_total': len(waiting),
              'image_size_total': _archives(waiting) // units.MIB}
    findings = []
    for name, need in needed.items():
        quota = usage.get(name)
        if quota and quota['limit'] >= 0:
            left = quota['limit'] - quota['usage']
            findings.append(Finding(
                left >= need, f'quota {name}: {left} of {quota["limit"]} are '
                f'left, and at least {need} are needed'))
    return findings


def _describe_room(waiting: Sequence[inventory.Row]) -> Finding:
    """Say what space the stores and the staging areas need."""
    if not waiting:
        return Finding(True, 'no images are waiting')
    return Finding(
        True, f'{len(waiting)} waiting, with '
        f'{text.size(_archives(waiting))} of archives, the largest of which '
        f'has {text.size(max(row.size or 0 for row in waiting))}; the stores '
        'need space for the disks, whose sizes the API does not show, and '
        'the staging area needs space for an archive and its disk per job')


def _archives(rows: Iterable[inventory.Row]) -> int:
    return sum(row.size or 0 for row in rows)

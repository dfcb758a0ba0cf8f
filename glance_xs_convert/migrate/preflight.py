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

"""Whether a cloud can do it, as far as its API shows."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import methods
from glance_xs_convert import text

_MIB = 1024 ** 2


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :ivar ok: whether it is no obstacle
    :ivar sentence: what was found
    """

    ok: bool
    sentence: str


def look(cloud: cloud_.Cloud, rows: Sequence[candidates.Row], wanted: str,
         ) -> list[Finding]:
    """Look at the cloud, for the images that are waiting.

    :param wanted: the method that was asked for
    """
    waiting = [row for row in rows if row.state == candidates.WAITING]
    return [_method(cloud, wanted), _plugin(rows),
            *_quotas(cloud, waiting), _room(waiting)]


def check_stores(cloud: cloud_.Cloud, stores: Iterable[str]) -> None:
    """:raises WrongArguments: there is no such store"""
    known = cloud.stores() if stores else []
    unknown = sorted(set(stores) - set(known))
    if unknown:
        raise errors.WrongArguments(
            f'there is no store {", ".join(unknown)} in this cloud, but '
            f'{", ".join(known) or "one without a name"}')


def _method(cloud: cloud_.Cloud, wanted: str) -> Finding:
    try:
        method = methods.choose(cloud, wanted)
    except errors.CannotMigrate as error:
        return Finding(False, str(error))
    way = ('no data passes this computer' if method.name == methods.DOWNLOAD
           else 'the archives pass this computer')
    return Finding(True, f'import method {method.name}: {way}')


def _plugin(rows: Iterable[candidates.Row]) -> Finding:
    if any(row.state == candidates.DONE for row in rows):
        return Finding(True, 'the import plugin has converted images here')
    return Finding(True, 'the API does not show whether the import plugin is '
                   'on; if the first image is not converted, no other is '
                   'begun')


def _quotas(cloud: cloud_.Cloud, waiting: Sequence[candidates.Row],
            ) -> list[Finding]:
    """Compare the quotas of the user's project with what is needed."""
    usage = cloud.usage()
    if not usage:
        return [Finding(True, 'no quotas')]
    needed = {'image_count_total': len(waiting),
              'image_size_total': _archives(waiting) // _MIB}
    findings = []
    for name, need in needed.items():
        quota = usage.get(name)
        if quota and quota['limit'] >= 0:
            left = quota['limit'] - quota['usage']
            findings.append(Finding(
                left >= need, f'quota {name}: {left} left of '
                f'{quota["limit"]}, and at least {need} needed'))
    return findings


def _room(waiting: Sequence[candidates.Row]) -> Finding:
    """What room the stores and the staging areas need."""
    if not waiting:
        return Finding(True, 'nothing is waiting')
    return Finding(
        True, f'{len(waiting)} waiting, {text.size(_archives(waiting))} of '
        'archives, the largest of them '
        f'{text.size(max(row.size or 0 for row in waiting))}; the stores need '
        'room for the disks, whose sizes the API does not tell, and the '
        'staging area for an archive and its disk at a time for each job')


def _archives(rows: Iterable[candidates.Row]) -> int:
    return sum(row.size or 0 for row in rows)

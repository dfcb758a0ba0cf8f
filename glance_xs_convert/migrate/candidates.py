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

"""The images to migrate, and the state of each.

All of this comes from two of Glance's lists: the visible images and the hidden
ones.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import fnmatch
from typing import Any

from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import record

WAITING = 'waiting'
RUNNING = 'running'
DONE = 'done'
FAILED = 'failed'
SKIPPED = 'skipped'
STATES = (WAITING, RUNNING, DONE, FAILED, SKIPPED)

ARCHIVE = ('vhd', 'ovf')
BARE = ('vhd', 'bare')
RAW = ('raw', 'bare')

#: The keys of further facts about an image, stored with its attributes.
_ASKED = ' asked for'
_OBSTACLE = ' obstacle'

_UNDER_WAY = {
    'queued': 'prepared, or interrupted',
    'uploading': 'being uploaded, or interrupted',
    'importing': 'being imported',
    'active': 'converted, but not yet published',
}


@dataclasses.dataclass(frozen=True)
class Selection:
    """The operator's selection of images, by default all of them.

    :ivar images: IDs or names
    :ivar project: ID of the project that owns the images
    :ivar name: pattern for names, with ``*``, ``?`` and ``[]``
    :ivar properties: property values that images must have
    :ivar bare: whether bare VHDs are candidates, too
    :ivar drop_signature: whether to migrate signed images without a signature
    """

    images: Sequence[str] = ()
    project: str | None = None
    name: str | None = None
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bare: bool = False
    drop_signature: bool = False

    def holds(self, image: cloud_.Image) -> bool:
        """Whether an old or new image is selected."""
        if self.images and not {image['id'], image['name'],
                                image.get(names.SOURCE)} & {*self.images}:
            return False
        if self.project is not None and image['owner'] != self.project:
            return False
        if self.name is not None and not fnmatch.fnmatchcase(
                image['name'] or '', self.name):
            return False
        return all(str(image.get(name)) == value
                   for name, value in self.properties.items())

    def is_candidate(self, image: cloud_.Image) -> bool:
        """Whether an image is declared as a XenServer image."""
        formats = [ARCHIVE, BARE] if self.bare else [ARCHIVE]
        return ((image['disk_format'], image['container_format']) in formats
                and old_id_of(image) is None)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """An image to migrate, or a migrated image.

    :ivar id: ID of the old image
    :ivar project: ID of the project that owns it
    :ivar size: size of the archive in bytes; None if it is not known any more
    :ivar state: one of ``STATES``
    :ivar new_id: ID of the new image, or None
    :ivar reason: reason for the state, or empty
    :ivar refused: whether the archive is at fault, so that only --retry tries
                   it again
    :ivar retired: what was done to the old image
    :ivar old_is_gone: whether the old image has been deleted
    :ivar new: facts on the new image, if it is done
    """

    id: str
    name: str
    project: str | None
    size: int | None
    state: str
    new_id: str | None = None
    reason: str = ''
    refused: bool = False
    retired: str = ''
    old_is_gone: bool = False
    new: 'NewImage | None' = None


@dataclasses.dataclass(frozen=True, slots=True)
class NewImage:
    """The facts that the report shows on a complete new image."""

    size: int | None
    hash_algo: str
    hash_value: str
    verified: str
    migrated_at: str
    seconds: str


class Inventory:
    """The selected candidates of a cloud.

    :param cloud: the cloud
    :param selection: the operator's selection
    """

    def __init__(self, cloud: cloud_.Cloud, selection: Selection) -> None:
        self._project = cloud.project_id
        self._is_admin = cloud.is_admin
        self._selection = selection
        olds: dict[str, dict[str, Any]] = {}
        self._news: dict[str, list[dict[str, Any]]] = {}
        for image in _listed(cloud):
            old_id = old_id_of(image)
            if old_id is not None:
                self._news.setdefault(old_id, []).append(
                    _slim(image) | {_ASKED: selection.holds(image)})
            elif selection.is_candidate(image) and selection.holds(image):
                olds[image['id']] = _slim(image) | {
                    _OBSTACLE: obstacle(image, selection.drop_signature)}
        self._olds = olds

    def rows(self) -> Iterator[Row]:
        """Yield the candidates, oldest first, and then deleted old images."""
        for old in sorted(self._olds.values(),
                          key=lambda image: (image['created_at'],
                                             image['id'])):
            if self._is_ours(old) or self._selection.images:
                yield self._row(old)
        for old_id in sorted(set(self._news) - set(self._olds)):
            yield from self._row_without_old(old_id)

    def orphans(self) -> Iterator[tuple[str, str]]:
        """Yield incomplete new images whose old image is gone.

        :returns: IDs of the new and of the old image
        """
        for old_id in set(self._news) - set(self._olds):
            for new in self._news[old_id]:
                if names.MIGRATING in new and self._is_ours(new):
                    yield new['id'], old_id

    def missing(self) -> list[str]:
        """Return the selected IDs and names that are not candidates."""
        known = {key for old in self._olds.values()
                 for key in (old['id'], old['name'])}
        known |= {key for row in self._rows_without_old()
                  for key in (row.id, row.name)}
        return [image for image in self._selection.images
                if image not in known]

    def _rows_without_old(self) -> Iterator[Row]:
        for old_id in set(self._news) - set(self._olds):
            yield from self._row_without_old(old_id)

    def _is_ours(self, image: cloud_.Image) -> bool:
        return self._is_admin or image['owner'] == self._project

    def _row(self, old: cloud_.Image) -> Row:
        state, new, reason = self._state(old)
        return Row(
            id=old['id'], name=old['name'] or '', project=old['owner'],
            size=old['size'], state=state, reason=reason,
            new_id=new['id'] if new else old.get(names.REPLACED_BY),
            refused=bool(new and names.REFUSED in new),
            retired=old.get(names.RETIRED, ''),
            new=_facts(new) if new and state == DONE else None)

    def _state(self, old: cloud_.Image,
               ) -> tuple[str, cloud_.Image | None, str]:
        new = _current([new for new in self._news.get(old['id'], ())
                        if new['owner'] == old['owner']])
        replaced_by = old.get(names.REPLACED_BY)
        if new and names.UNDONE in new:
            return SKIPPED, new, 'undo was interrupted: run it again'
        if new and names.SOURCE in new and replaced_by == new['id']:
            return DONE, new, ''
        if replaced_by:
            return SKIPPED, None, (
                f'its new image {replaced_by} is gone: restore it with undo')
        if new and names.SOURCE not in new:
            for name in (names.REFUSED, names.FAILED):
                if name in new:
                    return FAILED, new, new[name]
        if new:
            status = str(new['status'])
            return RUNNING, new, _UNDER_WAY.get(status, status)
        return self._before(old)

    def _before(self, old: cloud_.Image,
                ) -> tuple[str, cloud_.Image | None, str]:
        if not self._is_ours(old):
            return SKIPPED, None, 'it belongs to another project'
        if old[_OBSTACLE]:
            return SKIPPED, None, str(old[_OBSTACLE])
        return WAITING, None, ''

    def _row_without_old(self, old_id: str) -> Iterator[Row]:
        new = _current([new for new in self._news[old_id]
                        if names.SOURCE in new and self._is_ours(new)])
        if new and new[_ASKED]:
            size = new.get('xs_convert_archive_size', '')
            yield Row(
                id=old_id, name=new['name'] or '', project=new['owner'],
                size=int(size) if size.isdigit() else None, state=DONE,
                new_id=new['id'], reason='the old image was deleted',
                old_is_gone=True,
                new=_facts(new))


def old_id_of(image: cloud_.Image) -> str | None:
    """Return the ID of the old image if this is a new one."""
    for name in (names.SOURCE, names.MIGRATING, names.UNDONE):
        if name in image:
            return str(image[name])
    return None


def obstacle(old: cloud_.Image, drop_signature: bool) -> str:
    """Return the reason why an image cannot be migrated now, or ''.

    :param drop_signature: whether the new image may lack the signature
    """
    if old['status'] != 'active':
        return f'its status is {old["status"]}'
    if record.is_signed(old) and not drop_signature:
        return ('it is signed, and the signature of the archive does not '
                'apply to the disk: use --drop-signature to migrate it '
                'without the signature')
    return ''


def project_id(cloud: cloud_.Cloud, name_or_id: str) -> str:
    """Return the ID of a project.

    Users who may not ask Keystone must give the ID.
    """
    try:
        identity: Any = cloud.connection.identity
        found = identity.find_project(name_or_id)
    except Exception:  # Whatever keeps Keystone from telling.
        found = None
    return str(found.id) if found else name_or_id


def _listed(cloud: cloud_.Cloud) -> Iterator[cloud_.Image]:
    """Yield all relevant images once.

    Meanwhile an image may move from one list to the other. New images move
    from the second list to the first. If one is missed, its old image counts
    as waiting, and the attempt to create the new one finds it.
    """
    seen = set()
    for hidden in ('false', 'true'):
        for image in cloud.images(os_hidden=hidden,
                                  disk_format='in:vhd,raw'):
            if image['id'] not in seen:
                seen.add(image['id'])
                yield image


_KEPT = frozenset((
    'id', 'name', 'owner', 'size', 'status', 'created_at', 'disk_format',
    'container_format', 'os_hash_algo', 'os_hash_value',
    'xs_convert_archive_size')) | names.OWN - {names.COPIED}


def _slim(image: cloud_.Image) -> cloud_.Image:
    """Reduce an image to the necessary fields, since a cloud has many."""
    return {name: value for name, value in image.items() if name in _KEPT}


def _current(news: list[cloud_.Image]) -> cloud_.Image | None:
    """Return the current new image, apart from those that undo kept."""
    left = [new for new in news if names.KEPT not in new]
    return max(left, key=lambda new: new['created_at'], default=None)


def _facts(new: cloud_.Image) -> NewImage:
    return NewImage(
        size=new['size'], hash_algo=new['os_hash_algo'] or '',
        hash_value=new['os_hash_value'] or '',
        verified=new.get(names.VERIFIED, ''),
        migrated_at=new.get(names.MIGRATED_AT, ''),
        seconds=new.get(names.SECONDS, ''))


def check_selection(inventory: Inventory) -> None:
    """:raises WrongArguments: a selected image does not exist"""
    missing = inventory.missing()
    if missing:
        raise errors.WrongArguments(
            'these XenServer images do not exist: ' + ', '.join(missing))

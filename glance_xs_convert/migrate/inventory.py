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

All of this comes from Glance's two lists, of the visible images and of the
hidden ones. What is said of an image that is in neither, namely that it was
deleted, is said only after Glance was asked for it by its ID.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import pairs
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import replacing
from glance_xs_convert.migrate import selection as selection_

WAITING = 'waiting'
RUNNING = 'running'
DONE = 'done'
FAILED = 'failed'
SKIPPED = 'skipped'
STATES = (WAITING, RUNNING, DONE, FAILED, SKIPPED)

_UNDER_WAY = {
    'queued': 'prepared, or interrupted',
    'uploading': 'being uploaded, or interrupted',
    'importing': 'being imported',
    'active': 'converted, but not yet published',
}


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """The facts on an image that are kept in memory, where there are many.

    :ivar attempt: number of the attempt that the ID was derived from; None if
                   the image is not a new one
    :ivar replacement: ID of the new image that an old one names, if it was
                       derived from that of the old one
    """

    id: str
    name: str
    owner: str | None
    size: int | None
    status: str
    created_at: str
    notes: annotations.Annotations
    attempt: int | None
    replacement: str | None
    is_candidate: bool
    is_selected: bool
    is_hidden: bool
    is_protected: bool
    is_shared: bool
    obstacle: str
    hash_algo: str
    hash_value: str


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """An image to migrate, or a migrated image.

    :ivar id: ID of the old image
    :ivar project: ID of the project that owns it
    :ivar size: size of the archive in bytes; None if nothing tells it
    :ivar state: one of ``STATES``
    :ivar new_id: ID of the new image, or None
    :ivar reason: reason for the state, or empty
    :ivar is_refused: whether the archive is at fault, so that only --retry
                      tries it again
    :ivar retired: what was done to the old image
    :ivar is_shared: whether the old image has the visibility ``shared``
    :ivar is_protected: whether the old image is protected
    :ivar old_is_gone: whether the old image has been deleted
    :ivar new: the new image, if it is done
    """

    id: str
    name: str
    project: str | None
    size: int | None
    state: str
    new_id: str | None = None
    reason: str = ''
    is_refused: bool = False
    retired: frozenset[str] = frozenset()
    is_shared: bool = False
    is_protected: bool = False
    old_is_gone: bool = False
    new: Listed | None = None

    @property
    def is_awaiting(self) -> bool:
        """Whether members must accept the new image before it is retired."""
        return names.AWAITING in self.retired


class Inventory:
    """The selected candidates of a cloud.

    :param cloud: the cloud
    :param selection: the operator's selection
    :raises WrongArguments: a selected image does not exist, or a name is not
                            that of one image
    """

    def __init__(self, cloud: cloud_.Cloud, selection: selection_.Selection,
                 ) -> None:
        self._cloud = cloud
        self._selection = selection
        self._olds: dict[str, Listed] = {}
        self._news: dict[str, list[Listed]] = {}
        self._collect()
        unlisted = frozenset(self._unlisted_ids())
        self._absent = unlisted - cloud.images.existing(unlisted)
        self._rows = self._select(list(self._all_rows()))

    def rows(self) -> list[Row]:
        """Return the candidates, oldest first, and then deleted old images."""
        return self._rows

    def orphans(self) -> list[str]:
        """Return the IDs of incomplete new images that lead nowhere.

        Their old image is gone, or has another new image. A run creates them
        hidden; nobody uses them.
        """
        return [new.id for old_id, news in self._news.items()
                for new in news
                if (old_id in self._absent or self._is_done(old_id))
                and new.notes.migrating and not new.notes.source
                and new.is_hidden and not new.is_protected
                and self._is_ours(new)]

    def _is_done(self, old_id: str) -> bool:
        """Whether an old image and a complete new one name each other."""
        old = self._olds.get(old_id)
        new_id = old.replacement if old else None
        new = _named(self._news[old_id], new_id) if new_id else None
        return new is not None and new.notes.source == old_id

    def _collect(self) -> None:
        """Go through the lists of images."""
        filters = {'disk_format': 'in:vhd,raw'}
        if not self._cloud.is_admin and self._cloud.project_id:
            filters['owner'] = self._cloud.project_id
        elif self._selection.project:
            filters['owner'] = self._selection.project
        for image in self._cloud.images.listed_both(**filters):
            found = self._found(image)
            if found.attempt is not None and found.notes.old_id:
                self._news.setdefault(found.notes.old_id, []).append(found)
            elif found.is_candidate:
                self._olds[found.id] = found
        for old_id in list(self._news):
            self._sort_out(old_id)

    def _sort_out(self, old_id: str) -> None:
        """Keep those new images of an old one that belong to it.

        The ID of an old image tells everybody those of its new images, so an
        image of another project can bear one.
        """
        old = self._olds.get(old_id)
        if old is None:
            return
        news = self._news.pop(old_id)
        self._news[old_id] = [new for new in news if new.owner == old.owner]
        self._olds |= {new.id: new for new in news
                       if new.owner != old.owner and new.is_candidate}

    def _found(self, image: images.Image) -> Listed:
        notes = annotations.of(image)
        return Listed(
            id=image['id'], name=image['name'] or '', owner=image['owner'],
            size=image['size'], status=image['status'],
            created_at=image['created_at'], notes=notes,
            attempt=names.attempt_of(notes.old_id, image['id'])
            if notes.old_id else None,
            replacement=pairs.replacement(image) if notes.replaced_by else (
                None),
            is_candidate=self._selection.is_candidate(image),
            is_selected=self._selection.holds(image),
            is_hidden=image['os_hidden'], is_protected=image['protected'],
            is_shared=image['visibility'] == record.SHARED,
            obstacle=selection_.obstacle(
                image, self._selection.drop_signature),
            hash_algo=image['os_hash_algo'] or '',
            hash_value=image['os_hash_value'] or '')

    def _unlisted_ids(self) -> Iterator[str]:
        """Yield the IDs of images that are named, but not listed."""
        yield from (old_id for old_id in self._news
                    if old_id not in self._olds)
        for old in self._olds.values():
            new_id = old.replacement
            if new_id and _named(self._news.get(old.id, ()), new_id) is None:
                yield new_id

    def _all_rows(self) -> Iterator[Row]:
        """Yield the rows of all images, whatever IDs and names are chosen."""
        for old in sorted(self._olds.values(),
                          key=lambda found: (found.created_at, found.id)):
            if old.is_selected and self._is_ours(old):
                yield self._row(old)
        for old_id in sorted(set(self._news) & self._absent):
            yield from self._rows_without_old(old_id)

    def _select(self, rows: list[Row]) -> list[Row]:
        """Return the rows that the operator has chosen by ID or name."""
        if not self._selection.images:
            return rows
        by_key: dict[str, list[Row]] = {}
        for row in rows:
            for key in {row.id, row.new_id}:
                if key:
                    by_key.setdefault(key, []).append(row)
            # An image can bear the ID of another one as its name.
            if not names.is_id(row.name):
                by_key.setdefault(row.name, []).append(row)
        chosen: list[Row] = []
        missing = []
        for key in self._selection.images:
            found = by_key.get(key, [])
            if not found and (foreign := self._foreign(key)):
                found = [foreign]
            if len(found) > 1 and not names.is_id(key):
                raise errors.WrongArguments(
                    f'{len(found)} images have the name {key}; give the ID '
                    'of one: ' + ', '.join(row.id for row in found))
            if not found:
                missing.append(key)
            chosen += found
        if missing:
            raise errors.WrongArguments(
                'these XenServer images do not exist: ' + ', '.join(missing))
        return [row for row in rows if row in chosen] + [
            row for row in dict.fromkeys(chosen) if row not in rows]

    def _foreign(self, key: str) -> Row | None:
        """Return the row of an image of another project, given by its ID."""
        if not names.is_id(key) or key in self._olds:
            return None
        image = self._cloud.images.get(key)
        if image is None or not self._selection.is_candidate(image):
            return None
        found = self._found(image)
        if self._is_ours(found):
            return None
        return Row(id=found.id, name=found.name, project=found.owner,
                   size=found.size, state=SKIPPED,
                   reason='it belongs to another project')

    def _is_ours(self, found: Listed) -> bool:
        return self._cloud.is_admin or found.owner == self._cloud.project_id

    def _row(self, old: Listed) -> Row:
        state, new, reason = self._state(old)
        return Row(
            id=old.id, name=old.name, project=old.owner, size=old.size,
            state=state, reason=reason,
            new_id=new.id if new else old.replacement
            if state == SKIPPED else None,
            is_refused=bool(new and new.notes.refused),
            retired=old.notes.retired if state == DONE else frozenset(),
            is_shared=old.is_shared, is_protected=old.is_protected,
            new=new if state == DONE else None)

    def _state(self, old: Listed) -> tuple[str, Listed | None, str]:
        news = self._news.get(old.id, [])
        replaced_by = old.replacement
        named = _named(news, replaced_by)
        if named and named.notes.source:
            waits = names.AWAITING in old.notes.retired
            return DONE, named, _AWAITING if waits else ''
        new = named or _latest(news)
        if new and new.notes.undone:
            return SKIPPED, new, 'undo was interrupted: run it again'
        if self._is_gone(replaced_by):
            return SKIPPED, None, (
                f'its new image {replaced_by} is gone: restore it with undo')
        if new is None:
            return ((SKIPPED, None, old.obstacle) if old.obstacle
                    else (WAITING, None, ''))
        if not new.notes.source:
            reason = new.notes.refused or new.notes.failed
            if reason:
                return FAILED, new, reason
        return RUNNING, new, _UNDER_WAY.get(new.status, new.status)

    def _is_gone(self, new_id: str | None) -> bool:
        """Whether a new image that an old one names does not exist."""
        return new_id is not None and new_id in self._absent

    def _rows_without_old(self, old_id: str) -> Iterator[Row]:
        """Yield the new images of an old one that was deleted.

        There is one for each project, because nothing tells which of them
        owned the old image.
        """
        complete = [new for new in self._news[old_id] if new.notes.source]
        for owner in sorted({new.owner or '' for new in complete}):
            new = _latest([new for new in complete
                           if (new.owner or '') == owner])
            if new and new.is_selected and self._is_ours(new):
                yield Row(
                    id=old_id, name=new.name, project=new.owner,
                    size=new.notes.archive_size, state=DONE, new_id=new.id,
                    reason='the old image was deleted', old_is_gone=True,
                    new=new)


_AWAITING = ('the old image is visible until its members have accepted the '
             'new one')


def with_members(cloud: cloud_.Cloud, rows: Iterable[Row]) -> list[Row]:
    """Say of shared images who must accept the new ones.

    An administrator accepts for the members. Anybody else is told before
    anything is done.
    """
    described = []
    for row in rows:
        if (row.is_shared and not cloud.is_admin
                and row.state in (WAITING, RUNNING)):
            missing = replacing.missing_members(
                cloud, {'id': row.id, 'visibility': record.SHARED})
            if missing:
                reason = ('these members must accept the new image '
                          f'themselves: {", ".join(missing)}')
                row = dataclasses.replace(row, reason='; '.join(
                    part for part in (row.reason, reason) if part))
        described.append(row)
    return described


def _named(news: Iterable[Listed], new_id: str | None) -> Listed | None:
    return next((new for new in news if new.id == new_id), None)


def _latest(news: Iterable[Listed]) -> Listed | None:
    """Return the last new image, apart from those that undo kept."""
    left = [new for new in news if not new.notes.kept]
    return max(left, key=lambda new: new.attempt or 0, default=None)


def counts(rows: Iterable[Row]) -> Mapping[str, int]:
    """Return how many images are in each state that occurs."""
    found = dict.fromkeys(STATES, 0)
    for row in rows:
        found[row.state] += 1
    return {state: number for state, number in found.items() if number}

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

"""Claiming the ID of a new image.

Glance creates an image of a given ID only once, so whoever creates it has
claimed it. The others find it, and follow what is done with it. A claim that
leads nowhere is given up by deleting its image; then the ID of the next
attempt is claimed.

Only the command that created an image uploads data to it: a second upload
would destroy the first one. Any command may begin an import by the hosts,
because Glance locks the image for it.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any
import uuid

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import pairs
from glance_xs_convert.migrate import record
from glance_xs_convert import terms

#: What changes when somebody works on a new image.
_MOVING = ('status', 'updated_at', terms.LOCK)


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A new image that is to be imported.

    :ivar new: its record
    :ivar upload: annotation of the upload, if this command has created the
                  image in order to upload to it
    :ivar is_fresh: whether this command has created the image, so that there
                    was no import before
    """

    new: images.Image
    upload: annotations.Upload | None = None
    is_fresh: bool = False

    @property
    def new_id(self) -> str:
        """The ID of the new image."""
        return str(self.new['id'])


def claim(cloud: cloud_.Cloud, ids: Iterable[str],
          attributes: Mapping[str, Any],
          is_usable: Callable[[images.Image], bool], *, uploads: bool,
          ) -> Claim:
    """Create an image with the first ID that is free, or find one of ours.

    :param ids: IDs in the order in which they are tried
    :param attributes: attributes of the new image, without its ID
    :param is_usable: tells whether an image that has an ID already is one
                      that a command like this has created
    :param uploads: whether this command is going to upload data
    :raises Failed: all IDs are taken
    """
    upload = annotations.Upload(uuid.uuid4().hex) if uploads else None
    marks = {names.UPLOADING: str(upload)} if upload else {}
    for new_id in ids:
        try:
            return Claim(cloud.images.create(
                {**attributes, **marks, 'id': new_id}), upload, True)
        except errors.Conflict:
            found = cloud.images.get(new_id)
        if found is not None and is_usable(found):
            return _found(found, upload)
    raise errors.Failed('the IDs of all possible new images are taken')


def find(cloud: cloud_.Cloud, old: images.Image, known_id: str | None,
         ) -> Claim | None:
    """Return the claim of a new image, if it is still one of the old one.

    :param known_id: ID of a new image that is known to have existed
    """
    for new_id in (pairs.replacement(old), known_id):
        new = cloud.images.get(new_id) if new_id else None
        if new is not None and pairs.is_current(old, new):
            return Claim(new)
    return None


def claim_next(cloud: cloud_.Cloud, old: images.Image,
               attributes: Mapping[str, Any], known_id: str | None, *,
               uploads: bool) -> Claim:
    """Claim a new image of an old one.

    :param attributes: attributes of the new image, without its ID
    :param known_id: ID of the last new image that is known to be gone
    :param uploads: whether this command is going to upload data
    :raises Failed: all IDs are taken
    """
    gone = names.attempt_of(old['id'], known_id) if known_id else None
    attempts = range(0 if gone is None else gone + 1, names.MAX_ATTEMPTS)
    return claim(
        cloud, (names.new_id(old['id'], attempt) for attempt in attempts),
        {**attributes, names.MIGRATING: old['id']},
        lambda new: pairs.is_current(old, new), uploads=uploads)


def reclaim(cloud: cloud_.Cloud, new: images.Image, uploads: bool) -> Claim:
    """Take over a new image that nobody works on, to import it again.

    :param new: a new image that is queued or active
    :raises Lost: the new image has been deleted
    """
    upload = annotations.Upload(uuid.uuid4().hex) if uploads else None
    gone = [name for name in (names.REFUSED, names.FAILED, names.UPLOADING)
            if name in new and not (upload and name == names.UPLOADING)]
    wanted = {names.UPLOADING: str(upload)} if upload else {}
    try:
        return Claim(cloud.images.patch(new['id'], [
            *record.changes(new, wanted), *record.removals(gone)]), upload)
    except errors.Conflict:  # Another command was faster, or this one.
        now = cloud.images.get(new['id'])
    if now is None:
        raise errors.Lost('the new image was deleted')
    return _found(now, upload)


def _found(new: images.Image, upload: annotations.Upload | None) -> Claim:
    """Return the claim of an image that is there already.

    It is this command's own if the answer to its request was lost, so that it
    was sent twice.
    """
    is_mine = upload is not None and annotations.of(new).upload == upload
    return Claim(new, upload if is_mine else None)


def discard(cloud: cloud_.Cloud, new: images.Image) -> None:
    """Delete a new image that leads nowhere.

    Glance passes the request on to the host that has staged the data, and
    fails if that is down. In that case the image is marked, so that the next
    one takes its place, and a later run deletes it.

    :param new: its record, from which this was concluded
    :raises Lost: somebody has worked on it since, so it was not deleted
    """
    now = cloud.images.get(new['id'])
    if now is None:
        return
    if (annotations.of(now).source or any(
            now.get(name) != new.get(name) for name in _MOVING)):
        raise errors.Lost('another command is working on the new image')
    try:
        cloud.images.delete(new['id'])
    except errors.Unreachable:
        cloud.images.patch(
            new['id'], record.changes(now, {names.KEPT: 'True'}))

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

"""The images of a cloud.

They are the JSON objects of Glance's API, because openstacksdk's own class
converts the types of properties, which must be copied unchanged.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import http
from typing import Any
import urllib.parse

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import service

Image = dict[str, Any]

#: The most images that Glance lists at once.
PAGE = 1000
#: How many IDs fit into the URL of a request.
_IDS = 50
_PATCH_TYPE = 'application/openstack-images-v2.1-json-patch'
#: The images that belong in the two lists of Glance.
_HIDDEN = ('false', 'true')


def path(image_id: str, *more: str) -> str:
    """Return the path of an image, or of something that it has."""
    return '/'.join(('/images', *(
        urllib.parse.quote(part, safe='') for part in (image_id, *more))))


class Images:
    """The images of a Glance, as one of its users sees them.

    :param glance: the image service
    """

    def __init__(self, glance: service.Service) -> None:
        self._glance = glance

    def listed(self, **filters: str) -> Iterator[Image]:
        """Yield all images that Glance lists with the filters, newest first.

        Images may be long: users write their properties. If a page of the
        list is longer than an answer may be, smaller ones are asked for. If
        the last image of a page is deleted before the next page is asked for,
        that page begins earlier, and some images come twice.

        :raises MigrationError: they cannot be listed
        """
        size = PAGE
        query = {'sort': 'created_at:desc,id:desc', 'visibility': 'all',
                 **filters}
        markers: list[str] = []
        while True:
            asked = query | {'limit': str(size)} | (
                {'marker': markers[-1]} if markers else {})
            try:
                page = self._glance.get('/images', params=asked)
            except errors.AnswerTooLong as error:
                if size == 1:
                    raise errors.RequestRefused(
                        'the image that follows '
                        f'{asked.get("marker", "the beginning of the list")} '
                        f'cannot be listed: {error}; choose a project with '
                        '--project to leave it out') from error
                size //= 2
                continue
            except errors.RequestRefused:
                if not markers:
                    raise
                markers.pop()
                if not markers:
                    raise
                continue
            found = page.get('images', [])
            yield from found
            if 'next' not in page or not found:
                return
            markers = [image['id'] for image in found]
            size = min(2 * size, PAGE)

    def listed_both(self, **filters: str) -> Iterator[Image]:
        """Yield the visible and the hidden images, each once.

        Meanwhile an image may move from one list to the other. New images
        move from the second list to the first. If one is missed, its old image
        counts as waiting, and the attempt to create the new one finds it.
        """
        seen = set()
        for hidden in _HIDDEN:
            for image in self.listed(os_hidden=hidden, **filters):
                if image['id'] not in seen:
                    seen.add(image['id'])
                    yield image

    def existing(self, ids: Iterable[str]) -> set[str]:
        """Return which of some images exist, as far as the user may see.

        :param ids: UUIDs
        """
        wanted: Sequence[str] = sorted(set(ids))
        found: set[str] = set()
        for start in range(0, len(wanted), _IDS):
            some = wanted[start:start + _IDS]
            found.update(image['id'] for image in self.listed_both(
                id=f'in:{",".join(some)}'))
        return found & {*wanted}

    def get(self, image_id: str, once: bool = False) -> Image | None:
        """Return an image; None if it does not exist or is not visible.

        Some databases find an image by its ID in capitals, too. That counts
        as another image.
        """
        try:
            found = self._glance.get(path(image_id), once=once)
        except errors.NotFound:
            return None
        return found if found.get('id') == image_id else None

    def create(self, attributes: Mapping[str, Any]) -> Image:
        """Create an image without data.

        :raises Conflict: the ID is taken
        """
        return self._glance.change('POST', '/images', json=dict(attributes))

    def patch(self, image_id: str, changes: Iterable[Mapping[str, Any]],
              once: bool = False) -> Image:
        """Change an image, and return its new record.

        :param changes: operations of a JSON patch
        :param once: whether to send the request only once
        """
        return self._glance.change(
            'PATCH', path(image_id), json=list(changes), once=once,
            headers={'Content-Type': _PATCH_TYPE})

    def delete(self, image_id: str) -> None:
        """Delete an image that may be gone already.

        :raises Conflict: its store says that something uses it
        """
        with contextlib.suppress(errors.NotFound):
            self._glance.change('DELETE', path(image_id))

    def set_active(self, image_id: str, active: bool) -> None:
        """Deactivate or reactivate an image."""
        self._glance.change('POST', path(
            image_id, 'actions', 'reactivate' if active else 'deactivate'))

    def members(self, image_id: str) -> dict[str, str]:
        """Return the projects an image is shared with, and their answers."""
        found = self._glance.get(path(image_id, 'members'))
        return {member['member_id']: member['status']
                for member in found.get('members', [])}

    def add_member(self, image_id: str, project: str) -> None:
        """Share an image with a project, unless it is already."""
        with contextlib.suppress(errors.Conflict):
            self._glance.change('POST', path(image_id, 'members'),
                                json={'member': project})

    def set_member_status(self, image_id: str, project: str, status: str,
                          ) -> None:
        """Accept or reject a shared image on behalf of a member project.

        :raises NotAllowed: the user is neither in that project nor an
                            administrator
        """
        self._glance.change('PUT', path(image_id, 'members', project),
                            json={'status': status})

    def open_data(self, image_id: str, offset: int = 0) -> Any:
        """Return an image's data from an offset on, as an open answer."""
        headers = {'Range': f'bytes={offset}-'} if offset else {}
        response = self._glance.open(path(image_id, 'file'), headers)
        if offset and response.status_code != http.HTTPStatus.PARTIAL_CONTENT:
            response.close()
            raise errors.RequestRefused(
                'Glance cannot continue an interrupted download')
        return response

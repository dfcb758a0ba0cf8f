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

"""The requests to the cloud, through openstacksdk.

Images are the JSON objects of Glance's API, because openstacksdk's own class
converts the types of properties, which must be copied unchanged. The retries
are our own, because openstacksdk's are not randomized, do not know status 429,
and would send a stream again that has already been read.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import html
import http
import re
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions
import openstack
from openstack import exceptions as sdk_exceptions

from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert import text

Image = dict[str, Any]

#: The most images that Glance lists at once.
PAGE = 1000
#: The role that sees and changes the images of all projects.
ADMIN = 'admin'

_PATCH_TYPE = 'application/openstack-images-v2.1-json-patch'
_DATA_TYPE = 'application/octet-stream'
_AGAIN = frozenset((
    http.HTTPStatus.TOO_MANY_REQUESTS,
    http.HTTPStatus.INTERNAL_SERVER_ERROR,
    http.HTTPStatus.BAD_GATEWAY,
    http.HTTPStatus.SERVICE_UNAVAILABLE,
    http.HTTPStatus.GATEWAY_TIMEOUT,
))
_ERRORS: dict[int, type[errors.MigrationError]] = {
    http.HTTPStatus.UNAUTHORIZED: errors.LoginFailed,
    http.HTTPStatus.FORBIDDEN: errors.NotAllowed,
    http.HTTPStatus.NOT_FOUND: errors.NotFound,
    http.HTTPStatus.CONFLICT: errors.Conflict,
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.OutOfQuota,
}
_LOGIN = (ksa_exceptions.Unauthorized, ksa_exceptions.AuthPluginException,
          ksa_exceptions.AuthorizationFailure)
_CONNECTION = (ksa_exceptions.ConnectionError, OSError)
_MOST_RETRY_AFTER = 120.0
#: How often the versions of the image service are asked for again.
_DISCOVERIES = 4


class Cloud:
    """A cloud's image service, as one of its users sees it.

    :param connection: of openstacksdk
    :param clock: for the pauses before a request is repeated
    """

    def __init__(self, connection: openstack.connection.Connection,
                 clock: patience.Clock) -> None:
        self.connection = connection
        self.clock = clock

    def log_in(self) -> None:
        """Get the first token, and look for the image service.

        :raises LoginFailed: the credentials are missing or wrong
        :raises Unreachable: there is no image service that answers
        """
        session = self.connection.session
        auth: Any = session.auth
        self._access = self._retried(lambda: auth.get_access(session))
        self._proxy: Any = self._retried(self._service, _DISCOVERIES)

    def _service(self) -> Any:
        """The image service, which is asked for its versions."""
        try:
            return self.connection.image
        except sdk_exceptions.SDKException as error:
            raise ConnectionError(str(error)) from error

    @property
    def project_id(self) -> str | None:
        """The id of the project that the user works in."""
        return _optional_text(self._access.project_id)

    @property
    def is_admin(self) -> bool:
        """Whether the user may change the images of all projects."""
        return ADMIN in (self._access.role_names or ())

    @property
    def interface(self) -> str:
        """The interface of the endpoints that the user chose."""
        return str(self.connection.config.get_interface('image') or 'public')

    def region(self) -> str | None:
        """The region of the image service, or None if nobody can tell."""
        chosen = self.connection.config.get_region_name('image')
        if chosen:
            return str(chosen)
        catalog = self._access.service_catalog
        regions = {
            endpoint.region_id
            for endpoints in catalog.get_endpoints_data(
                service_type='image', interface=self.interface).values()
            for endpoint in endpoints}
        return str(regions.pop()) if len(regions) == 1 else None

    def images(self, **filters: str) -> Iterator[Image]:
        """All images that Glance lists with the filters, newest first.

        :raises MigrationError: they cannot be listed
        """
        query = {'limit': str(PAGE), 'sort': 'created_at:desc,id:desc',
                 'visibility': 'all', **filters}
        while True:
            page = self._get('/images', params=query)
            yield from page['images']
            if 'next' not in page:
                return
            query['marker'] = page['images'][-1]['id']

    def image(self, image_id: str) -> Image | None:
        """An image, or None if it is not there or not visible."""
        try:
            found: Image = self._get(f'/images/{image_id}')
        except errors.NotFound:
            return None
        return found

    def create(self, attributes: Mapping[str, Any]) -> Image:
        """Make an image without data.

        :raises Conflict: the id is taken
        """
        made: Image = self._send('POST', '/images', json=attributes).json()
        return made

    def patch(self, image_id: str, changes: Iterable[Mapping[str, Any]],
              ) -> Image:
        """Change an image; its record afterwards is returned.

        :param changes: operations of a JSON patch
        """
        changed: Image = self._send(
            'PATCH', f'/images/{image_id}', json=list(changes),
            headers={'Content-Type': _PATCH_TYPE}).json()
        return changed

    def delete(self, image_id: str) -> None:
        """Delete an image that may be gone already.

        :raises Conflict: its store says that something uses it
        """
        with contextlib.suppress(errors.NotFound):
            self._send('DELETE', f'/images/{image_id}')

    def set_active(self, image_id: str, active: bool) -> None:
        """Deactivate or reactivate an image."""
        action = 'reactivate' if active else 'deactivate'
        self._send('POST', f'/images/{image_id}/actions/{action}')

    def members(self, image_id: str) -> dict[str, str]:
        """The projects an image is shared with, and their answers."""
        members = self._get(f'/images/{image_id}/members')['members']
        return {member['member_id']: member['status'] for member in members}

    def add_member(self, image_id: str, project: str) -> None:
        """Share an image with a project, unless it is already."""
        with contextlib.suppress(errors.Conflict):
            self._send('POST', f'/images/{image_id}/members',
                       json={'member': project})

    def set_member_status(self, image_id: str, project: str, status: str,
                          ) -> None:
        """Accept or reject a shared image on behalf of a member project.

        :raises NotAllowed: the user is neither in that project nor an
                            administrator
        """
        self._send('PUT', f'/images/{image_id}/members/{project}',
                   json={'status': status})

    def newest_task(self, image_id: str) -> dict[str, Any] | None:
        """The newest task of an image, of those that the user may see."""
        try:
            tasks = self._get(f'/images/{image_id}/tasks')['tasks']
        except errors.NotFound:
            return None
        return max(tasks, key=lambda task: task['created_at'], default=None)

    def begin_import(self, image_id: str, method: Mapping[str, Any],
                     stores: Iterable[str] = ()) -> None:
        """Begin an import.

        :param method: the import method's name and its arguments
        :raises Conflict: another import of the image is under way
        """
        body: dict[str, Any] = {'method': dict(method)}
        if stores:
            body['stores'] = list(stores)
        self._send('POST', f'/images/{image_id}/import', json=body)

    def open_data(self, image_id: str, offset: int = 0) -> Any:
        """An image's data from an offset on, as a response to be streamed."""
        headers = {'Range': f'bytes={offset}-'} if offset else {}
        response = self._send('GET', f'/images/{image_id}/file',
                              headers=headers, stream=True)
        if offset and response.status_code != http.HTTPStatus.PARTIAL_CONTENT:
            response.close()
            raise errors.RequestRefused(
                'Glance cannot continue an interrupted download')
        return response

    def stage(self, image_id: str, data: Any, size: int) -> None:
        """Upload data to the staging area, in one attempt.

        :param data: file with a length
        :raises Unreachable: the upload failed, and the caller must start over
        """
        self._send('PUT', f'/images/{image_id}/stage', data=data, once=True,
                   headers={'Content-Type': _DATA_TYPE,
                            'X-OpenStack-Image-Size': str(size)})

    def import_methods(self) -> list[str]:
        """The import methods that users can choose from."""
        info = self._get('/info/import')
        return list(info['import-methods']['value'])

    def stores(self) -> list[str]:
        """The names of the writable stores; empty if stores have no names."""
        try:
            return [store['id'] for store in self._get(
                '/info/stores')['stores'] if not store.get('read-only')]
        except errors.NotFound:
            return []

    def usage(self) -> dict[str, dict[str, int]]:
        """The user's quotas: a limit and how much is used, each.

        Empty where Glance has none.
        """
        try:
            return dict(self._get('/info/usage')['usage'])
        except errors.NotFound:
            return {}

    def _get(self, path: str, **arguments: Any) -> Any:
        return self._send('GET', path, **arguments).json()

    def _send(self, method: str, path: str, once: bool = False,
              **arguments: Any) -> Any:
        """Send a request, and repeat it after a temporary failure.

        :param once: whether not to repeat it
        :raises MigrationError: the cloud refused it, or does not answer
        """
        def send() -> Any:
            return self._proxy.request(
                path, method, connect_retries=0, status_code_retries=0,
                **arguments)
        return self._retried(send, 0 if once else patience.RETRIES)

    def _retried(self, call: Any, retries: int = patience.RETRIES) -> Any:
        pauses = patience.back_off(retries)
        while True:
            asked = 0.0
            try:
                answer = _checked(call)
            except _CONNECTION as error:
                problem = _one_line(error)
            except ksa_exceptions.HttpError as error:  # Keystone's.
                problem = _one_line(error)
                if error.http_status not in _AGAIN:
                    raise errors.LoginFailed(
                        f'Keystone refused the login: {problem}') from error
            else:
                status = getattr(answer, 'status_code', http.HTTPStatus.OK)
                if status not in _AGAIN:
                    return _accepted(answer, status)
                problem = f'{status} {_reason(answer)}'
                asked = _retry_after(answer)
            pause = next(pauses, None)
            if pause is None:
                raise errors.Unreachable(
                    f'the cloud does not answer properly: {problem}')
            self.clock.pause(max(pause, asked))


def _checked(call: Any) -> Any:
    """Make a call that may request a token from Keystone.

    :raises LoginFailed: Keystone does not issue a token
    """
    try:
        return call()
    except _LOGIN as error:
        raise errors.LoginFailed(
            f'Keystone refused the login: {_one_line(error)}') from error
    except (ksa_exceptions.CatalogException,
            ksa_exceptions.DiscoveryFailure) as error:
        raise errors.CannotMigrate(
            f'the cloud has no image service: {_one_line(error)}') from error
    except sdk_exceptions.SDKException as error:
        raise errors.RequestRefused(_one_line(error)) from error


def _accepted(answer: Any, status: int) -> Any:
    if status < http.HTTPStatus.BAD_REQUEST:
        return answer
    kind = _ERRORS.get(status, errors.RequestRefused)
    raise kind(f'Glance says: {_reason(answer)}')


def _reason(response: Any) -> str:
    """What a response says, without its mark-up."""
    body = re.sub(r'(?s)<(title|h1)>.*?</\1>', ' ', response.text[:10000])
    said = ' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', body)).split())
    return text.printable(said or str(response.reason))


def _retry_after(response: Any) -> float:
    """How long the cloud wants to be left alone, in seconds."""
    said = response.headers.get('Retry-After', '')
    return min(float(said), _MOST_RETRY_AFTER) if said.isdigit() else 0.0


def _one_line(error: BaseException) -> str:
    return text.printable(' '.join(str(error).split()) or
                          type(error).__name__)


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)

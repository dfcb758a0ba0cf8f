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

"""A WSGI filter for Glance's API that claims imports from their beginning.

Glance locks the image when an import is requested, but calls plugins only when
it has a thread for the import. If its process ended in between, nobody else
would know that the image can be released.

A database may find an image by an ID in capitals, but the staging area does
not. The filter puts the image's own ID into the path of requests that stage or
import data, so that nothing is left behind under another name.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import os
from typing import Any

from glance.common import wsgi
from glance import housekeeping
from oslo_log import log as logging

from glance_xs_convert.plugin import image_requests
from glance_xs_convert.plugin import keeping
from glance_xs_convert.plugin import selection
from glance_xs_convert.recovery import claims

LOG = logging.getLogger(__name__)

_ACCEPTED = 202
_SERVER_ERROR = 500
_REQUEST_ID = 'X-Openstack-Request-ID'


class ImportFilter:
    """Claims the imports of XenServer images.

    :param application: the next application in the pipeline
    """

    def __init__(self, application: image_requests.Application) -> None:
        self.application = application

    def __call__(self, environ: image_requests.Environ, start_response: Any,
                 ) -> Iterable[bytes]:
        found = image_requests.of(environ)
        if found is None or found.action == image_requests.UPLOAD:
            return self.application(environ, start_response)
        request = wsgi.Request(environ)
        image = self._image(request, found.image_id)
        if image is None:
            return self.application(environ, start_response)
        if image['id'] != found.image_id:
            environ['PATH_INFO'] = image_requests.path(
                image['id'], found.action)
        if (found.action == image_requests.STAGE
                or not selection.is_selected(image['disk_format'],
                                             image['container_format'])):
            return self.application(environ, start_response)
        answer: image_requests.Application = self._claimed(
            request, image['id'])
        return answer(environ, start_response)

    def _image(self, request: Any, image_id: str) -> dict[str, Any] | None:
        """Return the image's record; None if the user cannot see it.

        :param image_id: ID of the image in the path
        """
        response = record(request, image_id).get_response(self.application)
        if response.status_int != 200:
            return None
        image: dict[str, Any] = response.json
        return image

    def _claimed(self, request: Any, image_id: str) -> Any:
        """Claim the image, and return the answer to the request."""
        with _unique_request_id(request):
            claim = claims.Claim(
                image_id=image_id, request_id=request.context.request_id,
                staged=os.path.join(housekeeping.staging_store_path(),
                                    image_id))
            try:
                keeping.keeper.expect(claim)
            except Exception:
                LOG.exception('The import of image %s cannot be recovered if '
                              'Glance stops before it begins', image_id)
            status = None
            try:
                response = request.get_response(self.application)
                status = response.status_int
            finally:
                _note_answer(claim, status)
        keeping.keeper.start()
        return response


def _note_answer(claim: claims.Claim, status: int | None) -> None:
    """Note how Glance has answered the request for an import.

    :param status: the status, or None if there was an error
    """
    if status == _ACCEPTED:
        keeping.keeper.accept(claim)
    elif status is not None and status < _SERVER_ERROR:
        keeping.keeper.release(claim)
    else:
        # Glance may have locked the image before.
        keeping.keeper.leave(claim)


@contextlib.contextmanager
def _unique_request_id(request: Any) -> Iterator[None]:
    """Give the request an ID of its own, by which its task can be told.

    Glance takes the client's ID, which may be that of other requests, too. It
    copies the ID to the task's record. The client's ID is its first part, so
    that whoever looks for it in there or in the log finds it.
    """
    context = request.context
    before = unique = context.request_id
    if _REQUEST_ID in request.headers:
        context.request_id = unique = claims.unique_request_id(before)
    try:
        yield
    finally:
        # Glance sets the other ID if another host has answered the request.
        if context.request_id == unique:
            context.request_id = before


def record(request: Any, image_id: str) -> Any:
    """Return a request for an image's record in the same user's name."""
    copy = request.copy_get()
    copy.headers.pop('Transfer-Encoding', None)
    # Glance's router would take another method from the query.
    copy.environ['QUERY_STRING'] = ''
    copy.environ['PATH_INFO'] = image_requests.path(image_id)
    return copy

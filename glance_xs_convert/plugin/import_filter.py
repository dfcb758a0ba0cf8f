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
"""

from collections.abc import Callable
from collections.abc import Iterable
import os
import re
from typing import Any

from glance.common import wsgi
from glance import housekeeping
from oslo_log import log as logging

from glance_xs_convert.plugin import claims
from glance_xs_convert.plugin import keeper
from glance_xs_convert.plugin import selection

LOG = logging.getLogger(__name__)

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

#: The path of an import after Glance's version negotiation.
_IMPORT = re.compile('(/v2/images/([^/]+))/import/?')
_ACCEPTED = 202


class ImportFilter:
    """Claims the imports of XenServer images.

    :param application: the next application in the pipeline
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: Environ, start_response: Any,
                 ) -> Iterable[bytes]:
        found = _IMPORT.fullmatch(environ.get('PATH_INFO', ''))
        if environ['REQUEST_METHOD'] != 'POST' or not found:
            return self.application(environ, start_response)
        request = wsgi.Request(environ)
        if not self._is_selected(request, found[1]):
            return self.application(environ, start_response)
        answer: Application = self._claimed(request, found[2])
        return answer(environ, start_response)

    def _is_selected(self, request: Any, path: str) -> bool:
        """Whether the plugin converts the image."""
        response = record(request, path).get_response(self.application)
        if response.status_int != 200:
            return False
        image = response.json
        return selection.is_selected(image['disk_format'],
                                     image['container_format'])

    def _claimed(self, request: Any, image_id: str) -> Any:
        """Claim the image, and return the answer to the request."""
        request_id = request.context.request_id
        try:
            keeper.keeper.expect(claims.Claim(
                image_id=image_id, request_id=request_id,
                staged=os.path.join(housekeeping.staging_store_path(),
                                    image_id)))
        except Exception:
            LOG.exception('The import of image %s cannot be recovered if '
                          'Glance stops before it begins', image_id)
        is_accepted = False
        try:
            response = request.get_response(self.application)
            is_accepted = response.status_int == _ACCEPTED
        finally:
            keeper.keeper.answered(request_id, is_accepted)
        return response


def record(request: Any, path: str) -> Any:
    """Return a GET request for a path in the same user's name."""
    copy = request.copy_get()
    copy.headers.pop('Transfer-Encoding', None)
    copy.environ['PATH_INFO'] = path
    return copy

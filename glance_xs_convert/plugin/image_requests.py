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
"""Telling which image a request is for, exactly as Glance does.

Glance's own way to a controller accepts more than it seems: repeated slashes,
a newline at the end, another method in the query. What a filter overlooks
would get past it, so requests go the same way here: through the same URL map
and the same router, with a few of Glance's routes.

Source: Glance, ``api/v2/router.py``, and ``glance-api-paste.ini``.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
from typing import Any

from glance.common import wsgi
from paste import urlmap  # type: ignore[import-untyped]
from routes import middleware  # type: ignore[import-untyped]

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

UPLOAD = 'file'
STAGE = 'stage'
IMPORT = 'import'

#: The method of each action.
_METHODS = {UPLOAD: 'PUT', STAGE: 'PUT', IMPORT: 'POST'}
_VERSION = '/v2'
_IMAGES = f'{_VERSION}/images'
#: What decides about the route, apart from the path and the method.
_DECISIVE = ('HTTP_HOST', 'QUERY_STRING', 'SERVER_NAME', 'SERVER_PORT',
             'wsgi.url_scheme')


@dataclasses.dataclass(frozen=True)
class ImageRequest:
    """A request that brings data to an image.

    :ivar action: ``UPLOAD``, ``STAGE`` or ``IMPORT``
    :ivar image_id: the image's ID in the path; the database may find the image
                    although its own ID differs
    """

    action: str
    image_id: str


def path(image_id: str, action: str | None = None) -> str:
    """Return the path of an image's record, or of an action on it."""
    record = f'{_IMAGES}/{image_id}'
    return f'{record}/{action}' if action else record


def of(environ: Environ) -> ImageRequest | None:
    """Return what a request is for; None if it brings no data to an image.

    :param environ: of the request, which is not changed
    """
    found: list[ImageRequest] = []
    copy = {name: environ[name] for name in _DECISIVE if name in environ}
    copy |= {'PATH_INFO': environ.get('PATH_INFO', ''), 'SCRIPT_NAME': '',
             'REQUEST_METHOD': environ['REQUEST_METHOD'], _FOUND: found}
    _ROUTES(copy, lambda *_: None)
    return found[0] if found else None


_FOUND = 'glance_xs_convert.found'


def _note(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Note the route that was found, in place of a controller."""
    match = environ['wsgiorg.routing_args'][1]
    if match:
        environ[_FOUND].append(ImageRequest(
            match['action'], match['image_id']))
    return []


def _ignore(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return []


def _make_routes() -> Application:
    mapper = wsgi.APIMapper()
    for action, method in _METHODS.items():
        mapper.connect(f'/images/{{image_id}}/{action}', controller='image',
                       action=action, conditions={'method': [method]})
    routes = urlmap.URLMap(_ignore)
    routes[_VERSION] = middleware.RoutesMiddleware(
        _note, mapper, singleton=False)
    return routes  # type: ignore[no-any-return]


_ROUTES = _make_routes()

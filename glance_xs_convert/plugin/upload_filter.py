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

"""A WSGI filter for Glance's API that turns plain uploads into imports.

Glance runs import plugins for imports only, and stores the data of a ``PUT
/v2/images/{id}/file`` unchanged. If the image is a XenServer image, the filter
does what an import-aware client would do: it sends the body with ``PUT
.../stage``, and then requests an import with ``glance-direct`` by ``POST
.../import``. It sends both requests to the next application in the pipeline,
in the name of the user.

The filter belongs after the context middleware in ``glance-api-paste.ini``.
Source for the effects of the requests: Glance, ``api/v2/image_data.py`` and
``api/v2/images.py``.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import os
from typing import Any

from glance.common import exception as glance_exception
from glance.common import wsgi
from glance.common import wsgi_app
from glance import gateway
from glance import housekeeping
from oslo_config import cfg
from oslo_log import log as logging
import webob  # type: ignore[import-untyped]
import webob.exc  # type: ignore[import-untyped]

from glance_xs_convert import options
from glance_xs_convert.plugin import image_requests
from glance_xs_convert.plugin import import_filter
from glance_xs_convert.plugin import keeping
from glance_xs_convert.plugin import permissions
from glance_xs_convert.plugin import selection
from glance_xs_convert.recovery import staging
from glance_xs_convert.recovery import tickets
from glance_xs_convert import terms

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)
CONF.import_opt('enabled_import_methods', 'glance.common.config')
CONF.import_opt('image_import_plugins',
                'glance.async_.flows.api_image_import',
                group='image_import_opts')

Application = image_requests.Application

REFUSAL = ('This cloud does not accept uploads of data for '
           '{disk_format}/{container_format} images, because Glance would '
           # Clients would show quotes as entities of HTML.
           'store it unconverted. Import the image instead: with the command '
           'openstack image create --import, for example, or glance '
           'image-create-via-import.')

#: Glance would accept the data, and keep it in its own working area.
RESERVED = "The store {} is reserved for Glance's own use."

#: If two requests stage data for one image at the same moment, both may fail
#: in Glance and leave data behind.
BUSY = 'Another request is uploading data for image {id}.'


class _Busy(Exception):
    """Another request of this host uploads data for the image."""


@contextlib.contextmanager
def _alone(image_id: str) -> Iterator[None]:
    """Keep other uploads of this host away from an image.

    :raises _Busy: there is one, in this process or in another one
    """
    box = tickets.Box(keeping.tickets(), tickets.UPLOAD_SUFFIX)

    def check() -> str:
        if any(written == image_id for _, written in box.held()):
            raise _Busy
        return image_id

    try:
        ticket = box.draw(check)
    except OSError:
        LOG.exception('The upload to image %s is not kept apart from others',
                      image_id)
        yield
        return
    try:
        yield
    finally:
        ticket.release()


class UploadFilter:
    """Imports or refuses uploads of XenServer images.

    :param application: the next application in the pipeline
    :param refuses: whether to refuse such uploads instead of importing them
    """

    def __init__(self, application: Application, refuses: bool) -> None:
        self.application = application
        self.refuses = refuses

    def __call__(self, environ: image_requests.Environ, start_response: Any,
                 ) -> Iterable[bytes]:
        found = image_requests.of(environ)
        if found is None or found.action != image_requests.UPLOAD:
            return self.application(environ, start_response)
        request = wsgi.Request(environ)
        answer: Application = self._answer(request, found.image_id)
        return answer(environ, start_response)

    def _answer(self, request: Any, image_id: str) -> Any:
        """Return the application that answers an upload.

        :param image_id: ID of the image in the path
        """
        found = self._send(import_filter.record(request, image_id))
        if found.status_int != 200:
            return found
        image = found.json
        # The status does not matter: Glance refuses data for an image that
        # does not expect any, and another request may change the status at
        # any moment.
        if not selection.is_selected(
                image['disk_format'], image['container_format']):
            return self.application
        if self.refuses:
            return webob.exc.HTTPConflict(REFUSAL.format(**image))
        store = request.headers.get('X-Image-Meta-Store')
        if CONF.enabled_backends and store in wsgi_app.RESERVED_STORES:
            return webob.exc.HTTPBadRequest(RESERVED.format(store))
        if _is_unknown(store):
            return self.application
        refusal = permissions.refusal_of_upload(request.context, image['id'])
        if refusal is not None:
            return refusal
        return self._import_alone(request, image)

    def _import_alone(self, request: Any, image: dict[str, Any]) -> Any:
        """Import the body, unless another upload to the image is under way.

        Only who may upload gets here: others could keep the owner out.
        """
        try:
            with _alone(image['id']):
                return self._import(request, image)
        except _Busy:
            return webob.exc.HTTPConflict(BUSY.format(**image))

    def _import(self, request: Any, image: dict[str, Any]) -> Any:
        """Stage the body and start the import.

        :returns: a response, which in case of an error is Glance's own
        """
        staged = begun = False
        try:
            response = self._send(_to_stage(request, image['id']))
            staged = response.status_int < 400
            if staged:
                response = self._send(_to_import(request, image['id']))
                begun = response.status_int < 400
        finally:
            if not begun:
                _tidy_up(request.context, image, staged)
        if begun:
            LOG.info('Importing the data uploaded to image %s', image['id'])
            response = webob.Response(status=204)
        return response

    def _send(self, request: Any) -> Any:
        return request.get_response(self.application)


def _to_stage(request: Any, image_id: str) -> Any:
    """Return the request to stage the unread body of a request."""
    return wsgi.Request({
        **request.environ, 'REQUEST_METHOD': 'PUT', 'QUERY_STRING': '',
        'PATH_INFO': image_requests.path(image_id, image_requests.STAGE)})


def _to_import(request: Any, image_id: str) -> Any:
    """Return a request to import the staged data.

    It keeps a header ``X-Image-Meta-Store``, which names the store of an
    import as it does for an upload.
    """
    copy = import_filter.record(request, image_id)
    copy.environ['PATH_INFO'] = image_requests.path(
        image_id, image_requests.IMPORT)
    copy.method = 'POST'
    copy.content_type = 'application/json'
    copy.json = {'method': {'name': terms.DIRECT}}
    return copy


def _is_unknown(store: str | None) -> bool:
    """Whether there is no such store.

    Glance refuses an upload to it before the body is read, but an import only
    after the body is staged.
    """
    stores = CONF.enabled_backends
    return bool(stores and store is not None and store not in stores)


def _tidy_up(context: Any, image: dict[str, Any], staged: bool) -> None:
    """Remove staged data, and make the image ready for another attempt.

    Glance's API has no request to remove staged data, so this does what Glance
    does when staging fails half-way.

    :param image: the image's record before the upload
    :param staged: whether the data was staged, but its import was refused
    """
    try:
        path = os.path.join(housekeeping.staging_store_path(), image['id'])
        if staged or os.path.exists(path):
            _take_back(context, image, path, staged)
    except Exception:
        LOG.exception('Data of image %s may be left in the staging area',
                      image['id'])


def _take_back(context: Any, before: dict[str, Any], path: str, staged: bool,
               ) -> None:
    """Remove a staged file unless it belongs to another request."""
    # For an administrator, an image is not there only if it was deleted.
    repo = gateway.Gateway().get_repo(context.elevated())
    try:
        image = repo.get(before['id'])
    except glance_exception.NotFound:
        staging.remove(path)
        return
    task = image.extra_properties.get(terms.LOCK)
    if image.status == 'queued':
        staging.remove(path)
    elif (staged and image.status == 'uploading'
          and task == before.get(terms.LOCK)):
        staging.remove(path)
        image.status = 'queued'
        image.extra_properties.pop(terms.STAGE_HOST, None)
        repo.save(image, from_state='uploading')


def filter_factory(global_conf: dict[str, str], **local_conf: str,
                   ) -> Callable[[Application], Application]:
    """Entry point in ``paste.filter_factory``.

    Glance calls it when it starts, so imports that were interrupted when it
    stopped are recovered from here on.

    :returns: a function that puts the filters before an application, without
              the one for uploads if it has nothing to do
    """
    keeping.keeper.start()
    action = CONF[options.GROUP].on_plain_upload
    missing = options.missing_for_uploads(
        CONF.enabled_import_methods,
        CONF.image_import_opts.image_import_plugins)
    if action == 'convert' and missing:
        LOG.error('Glance stores uploads of XenServer images unconverted, '
                  'because %s', missing)
        action = 'pass'

    def make(application: Application) -> Application:
        application = import_filter.ImportFilter(application)
        if action == 'pass':
            return application
        return UploadFilter(application, refuses=action == 'refuse')

    return make

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
import os
import re
from typing import Any

from glance.common import wsgi
from glance import gateway
from glance import housekeeping
from oslo_config import cfg
from oslo_log import log as logging
import webob  # type: ignore[import-untyped]
import webob.exc  # type: ignore[import-untyped]

from glance_xs_convert.plugin import import_filter
from glance_xs_convert.plugin import keeper
from glance_xs_convert.plugin import opts
from glance_xs_convert.plugin import selection
from glance_xs_convert.plugin import staging

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.OPTS, group=opts.GROUP)
CONF.import_opt('enabled_import_methods', 'glance.common.config')
CONF.import_opt('image_import_plugins',
                'glance.async_.flows.api_image_import',
                group='image_import_opts')

Application = import_filter.Application

REFUSAL = ('This cloud does not accept uploads of data for '
           '{disk_format}/{container_format} images, because Glance would '
           'store it unconverted. Import the image instead, for example with '
           '"openstack image create --import" or "glance '
           'image-create-via-import".')

#: If two requests stage data for one image at the same moment, both may fail
#: in Glance and leave data behind.
BUSY = 'Another request is uploading data for image {id}.'

#: The path of an upload after Glance's version negotiation.
_UPLOAD = re.compile('(/v2/images/[^/]+)/file/?')
#: The image property that names the task which imports the image.
_IMPORT_TASK = 'os_glance_import_task'
#: The image property that names the host whose staging area has the data.
_STAGE_HOST = 'os_glance_stage_host'


class UploadFilter:
    """Imports or refuses uploads of XenServer images.

    :param application: the next application in the pipeline
    :param refuses: whether to refuse such uploads instead of importing them
    """

    def __init__(self, application: Application, refuses: bool) -> None:
        self.application = application
        self.refuses = refuses
        self._uploads: dict[str, object] = {}

    def __call__(self, environ: import_filter.Environ, start_response: Any,
                 ) -> Iterable[bytes]:
        if environ['REQUEST_METHOD'] == 'PUT':
            upload = _UPLOAD.fullmatch(environ.get('PATH_INFO', ''))
            if upload:
                request = wsgi.Request(environ)
                answer: Application = self._answer(request, upload[1])
                return answer(environ, start_response)
        return self.application(environ, start_response)

    def _answer(self, request: Any, path: str) -> Any:
        """Return the application that answers an upload.

        :param path: path of the image's record
        """
        found = self._send(import_filter.record(request, path))
        if found.status_int != 200:
            return found
        image = found.json
        # The status does not matter: Glance refuses data for an image that
        # does not expect any, and another request may change the status at
        # any moment.
        if (not selection.is_selected(
                image['disk_format'], image['container_format'])
                or _is_misdirected(request)):
            return self.application
        if self.refuses:
            return webob.exc.HTTPConflict(REFUSAL.format(**image))
        upload = object()
        if self._uploads.setdefault(path, upload) is not upload:
            return webob.exc.HTTPConflict(BUSY.format(**image))
        try:
            return self._import(request, path, image)
        finally:
            del self._uploads[path]

    def _import(self, request: Any, path: str, image: dict[str, Any]) -> Any:
        """Stage the body and start the import.

        :returns: a response, which in case of an error is Glance's own
        """
        staged = begun = False
        try:
            response = self._send(_with_body(request, f'{path}/stage'))
            staged = response.status_int < 400
            if staged:
                response = self._send(_to_import(request, f'{path}/import'))
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


def _with_body(request: Any, path: str) -> Any:
    """Return the request for another path, with its unread body."""
    return wsgi.Request({**request.environ, 'PATH_INFO': path})


def _to_import(request: Any, path: str) -> Any:
    """Return a request to import the staged data.

    It keeps a header ``X-Image-Meta-Store``, which names the store of an
    import as it does for an upload.
    """
    copy = import_filter.record(request, path)
    copy.method = 'POST'
    copy.content_type = 'application/json'
    copy.json = {'method': {'name': opts.UPLOAD_METHOD}}
    return copy


def _is_misdirected(request: Any) -> bool:
    """Whether the request names a store that does not exist.

    Glance refuses an upload to it before the body is read, but an import only
    after the body is staged.
    """
    store = request.headers.get('X-Image-Meta-Store')
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
    repo = gateway.Gateway().get_repo(context)
    image = repo.get(before['id'])
    task = image.extra_properties.get(_IMPORT_TASK)
    if image.status == 'queued':
        staging.remove(path)
    elif (staged and image.status == 'uploading'
          and task == before.get(_IMPORT_TASK)):
        staging.remove(path)
        image.status = 'queued'
        image.extra_properties.pop(_STAGE_HOST, None)
        repo.save(image, from_state='uploading')


def filter_factory(global_conf: dict[str, str], **local_conf: str,
                   ) -> Callable[[Application], Application]:
    """Entry point in ``paste.filter_factory``.

    Glance calls it when it starts, so imports that were interrupted when it
    stopped are recovered from here on.

    :returns: a function that puts the filters before an application, without
              the one for uploads if it has nothing to do
    """
    keeper.keeper.start()
    action = CONF[opts.GROUP].on_plain_upload
    missing = opts.missing_for_uploads(
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

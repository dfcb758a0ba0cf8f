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

"""The image-import plugin: what Glance calls.

Source for what a plugin gets and has to leave behind: Glance,
``async_/flows/api_image_import.py`` and ``plugins/image_conversion.py``.
"""

import contextlib
import glob
import os
from typing import Any

from glance.common import exception as glance_exception
from glance.common.scripts import utils as script_utils
from glance.common import utils as glance_utils
from oslo_config import cfg
from oslo_log import log as logging
from taskflow.patterns import linear_flow
from taskflow import task
from taskflow.types import failure

from glance_xs_convert import child
from glance_xs_convert import convert
from glance_xs_convert import exceptions
from glance_xs_convert import opts

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.OPTS, group=opts.GROUP)

_FILE_SCHEME = 'file://'
_SUFFIX = '.raw'
_MIB = 1024 ** 2
_SIGNATURE_PREFIX = 'img_signature'

#: Import methods whose own task sets the image back and cleans staging when
#: a later task fails; for any other one that is left to the plugin.
_METHODS_THAT_CLEAN_UP = ('web-download', 'glance-download')


class ConversionFailed(glance_exception.UploadException):
    """The image is refused; the text reaches the message of its task."""


class ConvertXenServerImage(task.Task):
    """Replaces a XenServer archive in staging by the raw disk in it."""

    default_provides = 'file_path'

    def __init__(self, task_id: str, task_type: str, task_repo: Any,
                 image_repo: Any, action_wrapper: Any,
                 stores: list[str | None], import_method: str) -> None:
        self.task_id = task_id
        self.task_repo = task_repo
        self.image_repo = image_repo
        self.action_wrapper = action_wrapper
        self.stores = stores
        self.import_method = import_method
        self.staged = ''
        self.old_attributes: dict[str, Any] = {}
        super().__init__(name=f'{task_type}-XSConvert-{task_id}')

    @property
    def image_id(self) -> str:
        return str(self.action_wrapper.image_id)

    def execute(self, file_path: str, **kwargs: Any) -> str:
        """Convert the staged data, if the image is a XenServer one.

        :param file_path: the URI of the staged data
        :returns: the URI, unchanged
        :raises ConversionFailed: the image is refused
        """
        self.staged = file_path.removeprefix(_FILE_SCHEME)
        image = self.image_repo.get(self.image_id)
        if (image.disk_format, image.container_format) != ('vhd', 'ovf'):
            return file_path
        self._remove_leftovers()
        raw = f'{self.staged}.{self.task_id}{_SUFFIX}'
        try:
            _check_signature(image)
            outcome = self._convert(raw)
        except exceptions.XsConvertError as error:
            LOG.error('Image %(image)s is not converted: %(error)s',
                      {'image': self.image_id, 'error': error})
            raise ConversionFailed(
                f'The XenServer image cannot be converted: {error}.'
            ) from error
        self._replace(raw, outcome)
        LOG.info('Image %(image)s converted: %(layers)d layers, %(size)d '
                 'bytes', {'image': self.image_id, 'layers': outcome.layers,
                           'size': outcome.virtual_size})
        return file_path

    def revert(self, result: Any, **kwargs: Any) -> None:
        """Leave the image as it was, and nothing of it in staging."""
        self._remove_leftovers()
        try:
            with self.action_wrapper as action:
                action.set_image_attribute(**self.old_attributes)
                if self.import_method not in _METHODS_THAT_CLEAN_UP:
                    self._set_back(action, isinstance(result,
                                                      failure.Failure))
        except glance_exception.TaskAbortedError:
            LOG.warning('Image %s is imported by another task now',
                        self.image_id)
            return
        except glance_exception.NotFound:
            LOG.warning('Image %s was deleted while it was imported',
                        self.image_id)
            self._remove(self.staged)
            return
        if self.import_method not in _METHODS_THAT_CLEAN_UP:
            self._remove(self.staged)

    def _convert(self, raw: str) -> child.Outcome:
        group = CONF[opts.GROUP]
        request = child.Request(
            self.staged, raw, opts.limits_of(group),
            max_memory=group.max_memory * _MIB,
            max_cpu_time=group.max_cpu_time)
        return child.run(
            request, child.interpreter(CONF.wsgi.python_interpreter),
            self._report, group.progress_timeout)

    def _report(self, progress: convert.Progress) -> None:
        """Tell how far the conversion is, unless it is not wanted any more.

        :raises TaskAbortedError: another task imports the image now
        :raises NotFound: the image or its task is gone
        """
        self.action_wrapper.assert_task_lock()
        if progress.fraction is None or progress.layer is None:
            text = 'Converting the XenServer image'
        else:
            text = (f'Converting the XenServer image: '
                    f'{progress.fraction:.0%}, layer {progress.layers} '
                    f'({progress.layer})')
        self._set_message(text)

    def _set_message(self, text: str) -> None:
        import_task = script_utils.get_task(self.task_repo, self.task_id)
        if import_task is None:
            raise glance_exception.TaskNotFound(self.task_id)
        if import_task.status != 'processing':
            raise glance_exception.TaskAbortedError()
        if import_task.message != text:
            import_task.message = text
            glance_utils.retry_on_db_lock(
                lambda: self.task_repo.save(import_task))

    def _replace(self, raw: str, outcome: child.Outcome) -> None:
        """Put the raw disk in the archive's place."""
        with self.action_wrapper as action:
            self.old_attributes = {
                'disk_format': action.image_disk_format,
                'container_format': action.image_container_format,
                'size': action.image_size,
                'virtual_size': None,
            }
            action.set_image_attribute(
                disk_format='raw', container_format='bare',
                size=outcome.virtual_size,
                virtual_size=outcome.virtual_size)
            os.replace(raw, self.staged)
        self._set_message(
            f'Converted the XenServer image: {outcome.layers} '
            f'layer{"s" if outcome.layers > 1 else ""}, '
            f'{outcome.virtual_size} bytes')

    def _set_back(self, action: Any, failed_here: bool) -> None:
        """What the task of other import methods does when one fails."""
        if action.image_status == 'importing':
            action.set_image_attribute(status='queued')
        if failed_here:
            stores = [store for store in self.stores if store]
            action.remove_importing_stores(stores)
            action.add_failed_stores(stores)

    def _remove_leftovers(self) -> None:
        """Remove what this or an earlier task has left of a raw disk."""
        if self.staged:
            for path in glob.glob(f'{glob.escape(self.staged)}.*{_SUFFIX}*'):
                self._remove(path)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _check_signature(image: Any) -> None:
    if any(name.startswith(_SIGNATURE_PREFIX)
           for name in image.extra_properties):
        raise exceptions.SignedImage(
            'the image is signed, and the signature of the archive is none '
            'of the raw disk: import it without its img_signature '
            'properties')


def get_flow(**kwargs: Any) -> linear_flow.Flow:
    """The flow that Glance adds to an import.

    It only constructs: when it raises, stevedore logs the error and Glance
    stores images unconverted.

    :param kwargs: task_id, task_type, task_repo, image_repo, admin_repo,
                   action_wrapper, backend (the stores) and import_req
    """
    import_req = kwargs.get('import_req') or {}
    return linear_flow.Flow(kwargs['task_type']).add(ConvertXenServerImage(
        kwargs['task_id'], kwargs['task_type'], kwargs['task_repo'],
        kwargs.get('admin_repo') or kwargs['image_repo'],
        kwargs['action_wrapper'], kwargs.get('backend') or [],
        import_req.get('method', {}).get('name', '')))

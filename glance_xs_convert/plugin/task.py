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

from concurrent import futures
import fnmatch
import math
import os
import time
from typing import Any

from glance.common import exception as glance_exception
from glance.common.scripts import utils as script_utils
from oslo_config import cfg
from oslo_log import log as logging
from taskflow.patterns import linear_flow
from taskflow import task
from taskflow.types import failure

from glance_xs_convert import exceptions
from glance_xs_convert.plugin import opts
from glance_xs_convert.plugin import recovery
from glance_xs_convert.plugin import staging
from glance_xs_convert.plugin import task_messages
from glance_xs_convert.plugin import turns
from glance_xs_convert import progress
from glance_xs_convert.worker import child

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.OPTS, group=opts.GROUP)

_FILE_SCHEME = 'file://'
_MIB = 1024 ** 2
#: The processor time for any archive, in seconds, and for each MiB of it: a
#: hundred times what an honest one takes.
_CPU_TIME = 60
_CPU_TIME_PER_MIB = 10
#: How often the task's message is changed, in seconds.
_REPORT_INTERVAL = 1.0
_SIGNATURE_PREFIX = 'img_signature'
#: Properties with this prefix are Glance's own.
_RESERVED_PREFIX = 'os_glance_'
#: Properties with this prefix say what an image was made of.
PROVENANCE_PREFIX = 'xs_convert_'

#: The import method whose own task sets the image back and cleans staging
#: when a later task fails.
_WEB_DOWNLOAD = 'web-download'
#: That of this one does so twice, and fails at it: the image would stay
#: locked for an hour, and the reason be lost.
_GLANCE_DOWNLOAD = 'glance-download'


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
        self.stores = [store for store in stores if store]
        self.import_method = import_method
        self.staged = ''
        self.told_at = -math.inf
        self.old_attributes: dict[str, Any] = {}
        self.old_properties: dict[str, str] = {}
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
        recovery.recover(CONF[opts.GROUP].lock_path)
        image = self.image_repo.get(self.image_id)
        if not _is_ours(image):
            return file_path
        staging.remove_raw(self.staged)
        raw = staging.raw_path(self.staged, self.task_id)
        try:
            _check_signature(image)
            outcome = self._convert_in_turn(raw, image.container_format)
        except turns.Abandoned as error:
            # Glance has another message for it.
            task_messages.fail(self.task_repo, self.task_id, recovery.MESSAGE)
            raise ConversionFailed(recovery.MESSAGE) from error
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
        """Leave the image as it was, and nothing of it in staging.

        :param result: a Failure if it was this task that failed
        """
        failed_here = isinstance(result, failure.Failure)
        cleans_up = self.import_method != _WEB_DOWNLOAD and (
            failed_here or self.import_method != _GLANCE_DOWNLOAD)
        if self.staged:
            staging.remove_raw(self.staged)
        try:
            with self.action_wrapper as action:
                self._restore(action)
                if cleans_up:
                    recovery.set_back(action, self.stores, failed_here)
        except glance_exception.TaskAbortedError:
            LOG.warning('Image %s is imported by another task now',
                        self.image_id)
        except glance_exception.NotFound:
            LOG.warning('Image %s was deleted while it was imported',
                        self.image_id)
            self._remove_staged()
        else:
            if cleans_up:
                self._remove_staged()
            if cleans_up and self.import_method == _GLANCE_DOWNLOAD:
                self._end_import(result.exception)

    def _convert_in_turn(self, raw: str, container_format: str,
                         ) -> child.Outcome:
        """Convert as soon as not too many others do.

        :param raw: the path of the raw disk
        """
        group = CONF[opts.GROUP]
        request = child.Request(
            self.staged, raw, container_format == 'bare',
            opts.limits_of(group), group.max_memory * _MIB,
            _cpu_time(group.max_cpu_time, os.path.getsize(self.staged)))
        label = recovery.Conversion(
            self.image_id, self.task_id, self.staged).label()
        with turns.turn(group.max_concurrent, label, self._report_waiting,
                        group.lock_path):
            return child.run(
                request, child.interpreter(CONF.wsgi.python_interpreter),
                self._report, group.progress_timeout)

    def _check_glance(self) -> None:
        """See that Glance can go on with the import after the conversion.

        :raises Abandoned: it ends
        """
        if _interpreter_ends():
            LOG.warning('The conversion of image %s is given up: Glance ends',
                        self.image_id)
            raise turns.Abandoned

    def _report_waiting(self, ahead: int) -> None:
        self._check_glance()
        self._report_soon(
            f'Waiting to be converted: {ahead} other XenServer '
            f'image{"s come" if ahead > 1 else " comes"} first')

    def _report(self, progress: progress.Progress) -> None:
        self._check_glance()
        text = 'Converting the XenServer image'
        if progress.fraction is not None:
            text += f': {progress.fraction:.0%}'
        if progress.layer is not None:
            text += f', layer {progress.layers} ({progress.layer})'
        self._report_soon(text)

    def _report_soon(self, text: str) -> None:
        """Tell it, unless something was told a moment ago."""
        if time.monotonic() - self.told_at > _REPORT_INTERVAL:
            task_messages.retried(lambda: self._tell(text))
            self.told_at = time.monotonic()

    def _tell(self, text: str) -> None:
        """Put a text into the message of the image's task.

        :raises TaskAbortedError: the import is not wanted any more, or
                                  another task imports the image now
        :raises NotFound: the image or its task is gone
        """
        self.action_wrapper.assert_task_lock()
        import_task = script_utils.get_task(self.task_repo, self.task_id)
        if import_task is None:
            raise glance_exception.TaskNotFound(self.task_id)
        if import_task.status != 'processing':
            raise glance_exception.TaskAbortedError()
        if import_task.message != text:
            import_task.message = text
            self.task_repo.save(import_task)

    def _replace(self, raw: str, outcome: child.Outcome) -> None:
        """Put the raw disk in the archive's place."""
        with self.action_wrapper as action:
            self.old_attributes = {
                'disk_format': action.image_disk_format,
                'container_format': action.image_container_format,
                'size': action.image_size,
                'virtual_size': None,
            }
            self.old_properties = action.image_extra_properties
            action.set_image_attribute(
                disk_format='raw', container_format='bare',
                size=outcome.virtual_size,
                virtual_size=outcome.virtual_size)
            for name in self.old_properties:
                if _is_unwanted(name):
                    action.pop_extra_property(name)
            if CONF[opts.GROUP].record_provenance:
                action.set_image_extra_properties(
                    self._provenance(outcome))
            os.replace(raw, self.staged)
        self.told_at = -math.inf
        self._report_soon(
            f'Converted the XenServer image: {outcome.layers} '
            f'layer{"s" if outcome.layers > 1 else ""}, '
            f'{outcome.virtual_size} bytes')

    def _provenance(self, outcome: child.Outcome) -> dict[str, str]:
        """The properties that say what the image was made of."""
        return {
            f'{PROVENANCE_PREFIX}source_format':
                '{disk_format}/{container_format}'.format(
                    **self.old_attributes),
            f'{PROVENANCE_PREFIX}layers': str(outcome.layers),
            f'{PROVENANCE_PREFIX}archive_size': str(outcome.source_size),
            f'{PROVENANCE_PREFIX}archive_sha256': outcome.source_sha256,
        }

    def _restore(self, action: Any) -> None:
        """Undo what was done to the image's record."""
        action.set_image_attribute(**self.old_attributes)
        if self.old_attributes:
            for name in action.image_extra_properties:
                if name.startswith(PROVENANCE_PREFIX):
                    action.pop_extra_property(name)
        action.set_image_extra_properties(
            {name: value for name, value in self.old_properties.items()
             if not name.startswith(_RESERVED_PREFIX)})

    def _end_import(self, error: BaseException) -> None:
        """Tell why the import failed, and let the image go."""
        text = (str(error) if isinstance(error, ConversionFailed)
                else 'The XenServer image could not be converted')
        task_messages.fail(self.task_repo, self.task_id, text)
        self.action_wrapper.drop_lock_for_task()

    def _remove_staged(self) -> None:
        if self.staged:
            staging.remove(self.staged)


def _interpreter_ends() -> bool:
    """Whether it takes no more work, and waits for its threads to end."""
    try:
        with futures.ThreadPoolExecutor(1) as pool:
            pool.submit(int)
    except RuntimeError:
        return True
    return False


def _cpu_time(most: int, archive_size: int) -> int:
    """The processor time for an archive, in seconds; 0 for no limit.

    :param most: for the largest archives
    :param archive_size: in bytes
    """
    return min(most, _CPU_TIME + _CPU_TIME_PER_MIB * archive_size // _MIB)


def _is_ours(image: Any) -> bool:
    """Whether the image is declared to be what the plugin converts."""
    if image.disk_format != 'vhd':
        return False
    containers = ['ovf']
    if CONF[opts.GROUP].convert_bare_vhd:
        containers.append('bare')
    return image.container_format in containers


def _is_unwanted(name: str) -> bool:
    """Whether a property is to be taken off converted images."""
    patterns: list[str] = CONF[opts.GROUP].remove_properties
    return not name.startswith(_RESERVED_PREFIX) and any(
        fnmatch.fnmatchcase(name.replace('-', '_'), pattern.replace('-', '_'))
        for pattern in patterns)


def _check_signature(image: Any) -> None:
    # Glance's own mapping gives nothing when it is iterated.
    if any(name.startswith(_SIGNATURE_PREFIX)
           for name in dict(image.extra_properties)):
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

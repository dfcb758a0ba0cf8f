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

"""The image-import plugin, as Glance calls it.

Source for a plugin's arguments and duties: Glance,
``async_/flows/api_image_import.py`` and ``plugins/image_conversion.py``.
"""

import dataclasses
import os
from typing import Any

from glance.common import exception as glance_exception
from glance import housekeeping
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import units
from taskflow.patterns import linear_flow
from taskflow import task
from taskflow.types import failure

from glance_xs_convert import exceptions
from glance_xs_convert.plugin import claims
from glance_xs_convert.plugin import image_record
from glance_xs_convert.plugin import keeper
from glance_xs_convert.plugin import opts
from glance_xs_convert.plugin import recovery
from glance_xs_convert.plugin import selection
from glance_xs_convert.plugin import shutdown
from glance_xs_convert.plugin import staging
from glance_xs_convert.plugin import task_messages
from glance_xs_convert.plugin import turns
from glance_xs_convert import progress
from glance_xs_convert import text
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.OPTS, group=opts.GROUP)

_FILE_SCHEME = 'file://'
#: The processor time for any archive, and for each of its MiB, in seconds: a
#: hundred times what a genuine one needs.
_CPU_TIME = 60
_CPU_TIME_PER_MIB = 10
_SIGNATURE_PREFIX = 'img_signature'

#: The import method whose own task restores the image and cleans the staging
#: area if a later task fails.
_WEB_DOWNLOAD = 'web-download'
#: The import method whose own task does so twice and fails: the image would
#: stay locked for an hour, and the reason would be lost.
_GLANCE_DOWNLOAD = 'glance-download'


class _GlanceEnds(Exception):
    """Raised to give up a conversion because Glance is shutting down."""


class ConversionFailed(glance_exception.UploadException):
    """The image is refused; Glance copies the text to its task's message."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import:
    """The import that a task belongs to.

    :ivar task_id: ID of the task in Glance's database
    :ivar request_id: ID of the request for the import
    :ivar method: import method, such as web-download
    :ivar stores: names of the stores that the image is imported to; empty if
                  Glance has a single store
    :ivar task_repo: Glance's repository of tasks
    :ivar image_repo: Glance's repository of images
    :ivar action_wrapper: Glance's ImportActionWrapper for the image
    """

    task_id: str
    request_id: str
    method: str
    stores: list[str]
    task_repo: Any
    image_repo: Any
    action_wrapper: Any

    @property
    def image_id(self) -> str:
        return str(self.action_wrapper.image_id)


class ConvertXenServerImage(task.Task):
    """Replaces a staged XenServer image by its raw disk."""

    default_provides = 'file_path'

    def __init__(self, name: str, of: Import) -> None:
        self._import = of
        self._messages = task_messages.TaskMessages(
            task_repo=of.task_repo, task_id=of.task_id,
            action_wrapper=of.action_wrapper)
        #: The path of the archive; None until it is known that the plugin
        #: converts the image.
        self._staged: str | None = None
        #: The change that restores the image's record.
        self._undo: image_record.Change | None = None
        super().__init__(name=name)

    def execute(self, file_path: str, **kwargs: Any) -> str:
        """Convert the staged data if it is a XenServer image.

        :param file_path: URI of the staged data
        :returns: the URI, unchanged
        :raises ConversionFailed: the image is refused
        """
        staged = file_path.removeprefix(_FILE_SCHEME)
        try:
            image = self._import.image_repo.get(self._import.image_id)
        except glance_exception.NotFound:
            staging.remove(staged)
            raise
        if not selection.is_selected(image.disk_format,
                                     image.container_format):
            keeper.keeper.release(self._import.request_id)
            return file_path
        self._staged = staged
        staging.remove_raw(staged)
        raw = staging.raw_path(staged, self._import.task_id)
        try:
            _check_signature(image)
            outcome = self._convert_in_turn(
                staged, raw, image_record.wanted_disk(image))
            self._replace(staged, raw, outcome)
        except _GlanceEnds as error:
            # Glance would show another message.
            self._messages.fail(recovery.MESSAGE)
            raise ConversionFailed(recovery.MESSAGE) from error
        except exceptions.XsConvertError as error:
            LOG.error('Cannot convert image %(image)s: %(error)s',
                      {'image': self._import.image_id, 'error': error})
            raise ConversionFailed(
                f'The XenServer image cannot be converted: {error}.'
            ) from error
        LOG.info('Converted image %(image)s: %(layers)s, %(size)d bytes',
                 {'image': self._import.image_id,
                  'layers': text.count(outcome.layers, 'layer'),
                  'size': outcome.virtual_size})
        return file_path

    def revert(self, result: Any, **kwargs: Any) -> None:
        """Restore the image, and remove its files from the staging area.

        :param result: a Failure if this task failed itself
        """
        if self._staged is None:
            return
        failed_here = isinstance(result, failure.Failure)
        cleans_up = self._import.method != _WEB_DOWNLOAD and (
            failed_here or self._import.method != _GLANCE_DOWNLOAD)
        staging.remove_raw(self._staged)
        try:
            with self._import.action_wrapper as action:
                if self._undo is not None:
                    self._undo.apply(action)
                if cleans_up:
                    recovery.queue(action, self._import.stores, failed_here)
        except glance_exception.TaskAbortedError:
            LOG.warning('Another task imports image %s now',
                        self._import.image_id)
        except glance_exception.NotFound:
            LOG.warning('Image %s was deleted during its import',
                        self._import.image_id)
            staging.remove(self._staged)
        else:
            if cleans_up:
                staging.remove(self._staged)
            if cleans_up and self._import.method == _GLANCE_DOWNLOAD:
                self._end_import(result.exception)

    def _convert_in_turn(self, staged: str, raw: str, disk: str | None,
                         ) -> protocol.Outcome:
        """Wait for a turn, and convert the image.

        :param staged: path of the archive
        :param raw: path of the raw disk
        :param disk: the user's choice, if an export holds several disks
        """
        group = CONF[opts.GROUP]
        request = protocol.Request(
            opts.limits_of(group), disk=disk, digest=True,
            max_memory=group.max_memory * units.Mi,
            max_cpu_time=_processor_time(
                group.max_cpu_time, os.path.getsize(staged)),
            max_time=group.max_time, sandbox=group.sandbox)
        with turns.turn(group.max_concurrent, self._tell_waiting,
                        group.lock_path):
            return parent.convert_file(
                staged, raw, request,
                python=parent.interpreter(CONF.wsgi.python_interpreter),
                on_progress=self._tell_progress,
                progress_timeout=group.progress_timeout)

    def _check_glance(self) -> None:
        """Check that Glance can continue the import after the conversion.

        :raises _GlanceEnds: Glance's process is shutting down
        """
        if shutdown.has_begun():
            LOG.warning('Giving up the conversion of image %s: Glance is '
                        'shutting down', self._import.image_id)
            raise _GlanceEnds

    def _tell_waiting(self, ahead: int) -> None:
        self._check_glance()
        self._messages.tell(
            f'Waiting to be converted: {ahead} other XenServer '
            f'image{"s come" if ahead > 1 else " comes"} first')

    def _tell_progress(self, reached: progress.Progress) -> None:
        self._check_glance()
        text = 'Converting the XenServer image'
        if reached.fraction is not None:
            text += f': {reached.fraction:.0%}'
        if reached.layer is not None:
            text += f', layer {reached.layers} ({reached.layer})'
        self._messages.tell(text)

    def _replace(self, staged: str, raw: str, outcome: protocol.Outcome,
                 ) -> None:
        """Replace the archive by the raw disk.

        :raises ConverterStopped: the change that undoes this cannot be
                                  recorded
        """
        group = CONF[opts.GROUP]
        with self._import.action_wrapper as action:
            change = image_record.conversion(
                action, outcome, remove=group.remove_properties,
                provenance=group.record_provenance)
            self._undo = change.inverse(action)
            try:
                keeper.keeper.record(self._import.request_id, self._undo)
            except OSError as error:
                raise exceptions.ConverterStopped(
                    'the ticket of the import cannot be written: '
                    f'{error.strerror}') from error
            change.apply(action)
            os.replace(raw, staged)
        self._messages.tell_now(
            'Converted the XenServer image: '
            f'{text.count(outcome.layers, "layer")}, '
            f'{outcome.virtual_size} bytes{_warning(outcome.guest)}')

    def _end_import(self, error: BaseException) -> None:
        """Record why the import failed, and release the image."""
        self._messages.fail(
            str(error) if isinstance(error, ConversionFailed)
            else 'The XenServer image could not be converted')
        self._import.action_wrapper.drop_lock_for_task()


def _processor_time(limit: int, archive_size: int) -> int:
    """Return the processor time for an archive in seconds; 0 for no limit.

    :param limit: limit for the largest archives
    :param archive_size: size of the archive, in bytes
    """
    return min(limit, _CPU_TIME + _CPU_TIME_PER_MIB * archive_size // units.Mi)


def _warning(guest: protocol.Guest | None) -> str:
    """Return a warning about the guest, to append to a message."""
    if guest is None or not guest.is_paravirtualized:
        return ''
    return ('. Warning: the guest was paravirtualized. To boot under KVM, '
            'it needs its own boot loader and a kernel that supports KVM')


def _check_signature(image: Any) -> None:
    """Refuse an image with a signature, which Glance would verify later.

    :raises SignedImage: the image has a signature
    """
    # Iterating over Glance's own mapping does not yield anything.
    if any(name.startswith(_SIGNATURE_PREFIX)
           for name in dict(image.extra_properties)):
        raise exceptions.SignedImage(
            "the image is signed, and the archive's signature does not "
            'apply to the converted disk: import it without its '
            'img_signature properties')


def get_flow(**kwargs: Any) -> linear_flow.Flow:
    """Return the flow that Glance adds to an import.

    It must not fail: stevedore would only log the error, and Glance would
    store the image unconverted.

    :param kwargs: task_id, task_type, task_repo, image_repo, admin_repo,
                   action_wrapper, backend (the stores) and import_req
    """
    import_req = kwargs.get('import_req') or {}
    of = Import(
        task_id=kwargs['task_id'],
        # Without a request ID, the task's ID identifies the import.
        request_id=getattr(kwargs.get('context'), 'request_id', None)
        or kwargs['task_id'],
        method=import_req.get('method', {}).get('name', ''),
        stores=[store for store in kwargs.get('backend') or [] if store],
        task_repo=kwargs['task_repo'],
        image_repo=kwargs.get('admin_repo') or kwargs['image_repo'],
        action_wrapper=kwargs['action_wrapper'])
    convert = ConvertXenServerImage(
        f'{kwargs["task_type"]}-XSConvert-{of.task_id}', of)
    try:
        _claim(of, convert)
    except Exception:
        LOG.exception('The import of image %s cannot be recovered if Glance '
                      'stops', of.image_id)
    return linear_flow.Flow(kwargs['task_type']).add(convert)


def _claim(of: Import, convert: ConvertXenServerImage) -> None:
    """Claim the import, so that it can be recovered if Glance stops.

    :param convert: the task, which lives as long as the import's flow
    """
    image = of.image_repo.get(of.image_id)
    # The format of a glance-download is not known before it begins.
    if of.method == _GLANCE_DOWNLOAD or selection.is_selected(
            image.disk_format, image.container_format):
        keeper.keeper.claim(claims.Claim(
            image_id=of.image_id, request_id=of.request_id,
            staged=os.path.join(housekeeping.staging_store_path(),
                                of.image_id),
            task_id=of.task_id, stores=of.stores or [None]), convert)
    else:
        keeper.keeper.release(of.request_id)
    keeper.keeper.start()

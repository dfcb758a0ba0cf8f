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
"""The plugin that adapts the guest on a converted disk to KVM.

It comes after ``xs_convert`` in image_import_plugins.
"""

import hashlib
import threading
from typing import Any

from glance.common import exception as glance_exception
from oslo_config import cfg
from oslo_log import log as logging
from taskflow.patterns import linear_flow

from glance_xs_convert import exceptions
from glance_xs_convert.guest import adapt
from glance_xs_convert.guest import commit
from glance_xs_convert.guest import settings
from glance_xs_convert import options
from glance_xs_convert.plugin import adapt_record
from glance_xs_convert.plugin import conversions
from glance_xs_convert.plugin import keeping
from glance_xs_convert.plugin import staged_task
from glance_xs_convert.plugin import task
from glance_xs_convert.recovery import records
from glance_xs_convert.recovery import remedies
from glance_xs_convert.recovery import staging
from glance_xs_convert import text
from glance_xs_convert import units
from glance_xs_convert.worker import parent

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.ADAPT_OPTS, group=options.ADAPT_GROUP)

_KEEP = 'keep'
_ALWAYS = 'always'
_OVERLAY = '.overlay'
_PIECE = 4 * units.MIB


class AdaptGuest(staged_task.StagedImageTask):
    """Makes the guest on a staged raw disk fit for KVM."""

    failure = 'The guest cannot be adapted'
    waiting = 'Waiting to be adapted'
    not_stored = 'The guest was adapted, but the image was not stored'

    def concerns(self, image: Any) -> bool:
        return is_wanted(image, self._was_converted())

    def work(self, image: Any, staged: str) -> None:
        if not self._was_converted():
            task.check_signature(image)
            # xs_convert has released the import's ticket.
            _claim(self.of)
        overlay = staging.raw_path(staged, self.of.task_id) + _OVERLAY
        chosen = settings.of_options(CONF[options.ADAPT_GROUP])
        python = parent.interpreter(CONF.wsgi.python_interpreter)
        try:
            with (self.turn(image, has_had_one=self._was_converted()),
                  _Sum(staged) as digest):
                try:
                    found = adapt.adapt(
                        staged, overlay, chosen, python=python,
                        on_progress=self._tell_progress)
                    commit.check_space(staged, overlay)
                except exceptions.XsConvertError as error:
                    self._give_up(image, staged, error)
                    return
                before = digest.wait(self.check_glance)
                commit.commit(staged, overlay, chosen, python=python,
                              on_progress=self._tell_progress)
        finally:
            staging.remove(overlay)
        self._record(adapt_record.adapted, found, before)
        LOG.info('Adapted the guest of image %(image)s: %(guest)s', {
            'image': self.of.image_id, 'guest': found.system.name})
        self.messages.tell_now(_describe(found))

    def revert(self, result: Any, **kwargs: Any) -> None:
        """Restore the image; xs_convert does more if it converted the image.

        :param result: a Failure if this task failed itself
        """
        if not self._was_converted():
            super().revert(result, **kwargs)
            return
        if self.staged is None or self.undo is None:
            return
        try:
            with self.of.action_wrapper as action:
                remedies.undo(action, self.undo)
        except (glance_exception.TaskAbortedError, glance_exception.NotFound):
            LOG.debug('xs_convert finds out what became of image %s',
                      self.of.image_id)
        except Exception:
            # Glance would not revert its own tasks.
            LOG.exception('Cannot undo what was adapted in the record of '
                          'image %s', self.of.image_id)

    def _was_converted(self) -> bool:
        return conversions.undo_of(self.of.action_wrapper) is not None

    def _tell_progress(self, reached: adapt.Progress) -> None:
        self.tell(f'Adapting the guest: {reached.stage}, '
                  f'{reached.seconds:.0f} seconds')

    def _give_up(self, image: Any, staged: str,
                 error: exceptions.XsConvertError) -> None:
        """Continue with the unchanged guest, or refuse it.

        :raises XsConvertError: the error, if it is to be refused
        """
        is_data = (isinstance(error, exceptions.NoOperatingSystem)
                   and not is_asked(image))
        if is_data:
            self.messages.tell_now('The disk holds no operating system, so '
                                   'nothing was adapted')
            return
        if CONF[options.ADAPT_GROUP].on_failure != _KEEP:
            raise error
        LOG.warning('Keeping the guest of image %(image)s as it is: '
                    '%(error)s', {'image': self.of.image_id, 'error': error})
        self._record(adapt_record.unadapted, error, adapt.firmware_of(staged))
        self.messages.tell_now(text.tagged(
            f'The guest was not adapted: {error}.', error.kind))

    def _record(self, change_of: Any, *arguments: Any) -> None:
        """Change the image's record.

        :param change_of: function that makes the change
        :raises ConverterStopped: the change that undoes this cannot be
                                  recorded
        """
        with self.of.action_wrapper as action:
            before = dict(action.image_extra_properties)
            change = records.RecordChange({}, change_of(before, *arguments))
            undo = records.RecordChange(
                {}, {name: before.get(name) for name in change.properties})
            conversion = conversions.undo_of(self.of.action_wrapper)
            whole = undo if conversion is None else records.RecordChange(
                conversion.attributes,
                {**undo.properties, **conversion.properties})
            self.record_undo(whole)
            self.undo = undo
            change.apply(action)


class _Sum:
    """Computes the SHA-512 of the disk while the tools are at work.

    The disk is not changed before the overlay is committed. It has just been
    written, so this reads from memory and takes hardly any time of its own.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._digest = hashlib.sha512()
        self._error: OSError | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name='xs-adapt-sum', daemon=True)

    def __enter__(self) -> '_Sum':
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        self._thread.join()

    def wait(self, check: Any) -> str:
        """Return the sum.

        :param check: called twice a second
        :raises UnreadableSource: the disk cannot be read
        """
        while self._thread.is_alive():
            check()
            self._thread.join(0.5)
        if self._error is not None:
            raise exceptions.UnreadableSource(
                f'the disk cannot be read: {self._error.strerror}')
        return self._digest.hexdigest()

    def _run(self) -> None:
        try:
            with open(self._path, 'rb', buffering=0) as file:
                while not self._is_over.is_set() and (
                        data := file.read(_PIECE)):
                    self._digest.update(data)
        except OSError as error:
            self._error = error


def is_wanted(image: Any, was_converted: bool) -> bool:
    """Whether to adapt the guest of an image.

    :param image: Glance's record of the image
    :param was_converted: whether xs_convert converted it in this import
    """
    group = CONF[options.ADAPT_GROUP]
    asked = is_asked(image)
    # A plugin in between may have converted the disk to something else.
    if (image.disk_format, image.container_format) != ('raw', 'bare'):
        return False
    if was_converted:
        return asked is True or (asked is None and group.when == _ALWAYS)
    return asked is True and bool(group.raw_images)


def is_asked(image: Any) -> bool | None:
    """Return whether the owner wants it adapted; None if nothing was said."""
    # Glance's own mapping lacks the methods of a dictionary.
    return adapt_record.asked(dict(image.extra_properties))


def _describe(found: adapt.Adapted) -> str:
    """Return a message on what was done."""
    devices = {(True, True): 'virtio disk and network',
               (True, False): 'virtio disk, emulated network card',
               (False, True): 'emulated disk, virtio network',
               (False, False): 'emulated disk and network card'}
    return (f'Adapted the guest: {found.system.name}, '
            f'{devices[found.has_virtio_disk, found.has_virtio_net]}')


def get_flow(**kwargs: Any) -> linear_flow.Flow:
    """Return the flow that Glance adds to an import."""
    return staged_task.flow(AdaptGuest, 'XSAdapt', _claim_if_wanted, kwargs)


def _claim_if_wanted(of: staged_task.Import) -> None:
    if is_wanted(of.image_repo.get(of.image_id), was_converted=False):
        _claim(of)


def _claim(of: staged_task.Import) -> None:
    """Claim an import that xs_convert does not."""
    staged_task.claim(of)
    keeping.keeper.start()

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
"""A task of an import that works on the data in the staging area.

What such tasks share is here: they wait for their turn, tell the uploader how
far they are, stop when Glance stops, and give every error a reason.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import sys
import time
from typing import Any

from glance.common import exception as glance_exception
from glance import housekeeping
from oslo_config import cfg
from oslo_log import log as logging
from taskflow.patterns import linear_flow
from taskflow import task
from taskflow.types import failure

from glance_xs_convert import exceptions
from glance_xs_convert import options
from glance_xs_convert.plugin import keeping
from glance_xs_convert.plugin import metrics
from glance_xs_convert.plugin import other_names
from glance_xs_convert.plugin import reasons
from glance_xs_convert.plugin import shutdown
from glance_xs_convert.plugin import turns
from glance_xs_convert.recovery import interfaces
from glance_xs_convert.recovery import records
from glance_xs_convert.recovery import remedies
from glance_xs_convert.recovery import runs
from glance_xs_convert.recovery import staging
from glance_xs_convert.recovery import task_messages
from glance_xs_convert import terms

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)
CONF.import_opt('task_pool_threads', 'glance.common.config', group='wsgi')


class _GlanceEnds(Exception):
    """Raised to give up the work because Glance is shutting down."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import:
    """The import that a task belongs to.

    :ivar task_id: ID of the task in Glance's database
    :ivar method: import method, such as web-download
    :ivar stores: names of the stores that the image is imported to; empty if
                  Glance has a single store
    :ivar context: the request's context, with the user's rights
    :ivar task_repo: Glance's repository of tasks
    :ivar image_repo: Glance's repository of images
    :ivar action_wrapper: Glance's ImportActionWrapper for the image
    :ivar run: Glance's call that runs the import
    """

    task_id: str
    method: str
    stores: list[str]
    context: Any
    task_repo: interfaces.TaskRepository
    image_repo: interfaces.ImageRepository
    action_wrapper: interfaces.ActionWrapper
    run: runs.Run

    @property
    def image_id(self) -> str:
        return str(self.action_wrapper.image_id)


def import_of(kwargs: dict[str, Any]) -> Import:
    """Return the import that a plugin is asked to take part in.

    :param kwargs: what Glance gives the ``get_flow`` of a plugin
    """
    import_req = kwargs.get('import_req') or {}
    return Import(
        task_id=kwargs['task_id'],
        method=import_req.get('method', {}).get('name', ''),
        stores=[store for store in kwargs.get('backend') or [] if store],
        context=kwargs.get('context'),
        task_repo=kwargs['task_repo'],
        image_repo=kwargs.get('admin_repo') or kwargs['image_repo'],
        action_wrapper=kwargs['action_wrapper'],
        run=runs.current())


def claim(of: Import) -> None:
    """Claim an import, so that it can be recovered if Glance stops.

    :raises OSError: the ticket cannot be written
    """
    staged = os.path.join(housekeeping.staging_store_path(), of.image_id)
    keeping.keeper.claim(of.image_id, staged, of.task_id,
                         of.stores or [None], of.run)


def _bounds() -> turns.Bounds:
    """Return how many may work, and wait, at a time on this host.

    Every import occupies a thread of its worker process while it waits, and
    all that wait may be in one process.
    """
    group = CONF[options.GROUP]
    waiting = group.max_waiting
    if waiting is None:
        waiting = max(1, CONF.wsgi.task_pool_threads * 3 // 4
                      - group.max_concurrent)
    per_project = group.max_waiting_per_project
    if per_project is None:
        per_project = -(-waiting * 3 // 4)
    return turns.Bounds(group.max_concurrent, waiting, per_project)


class StagedImageTask(task.Task):
    """Works on the staged data of those images that concern it.

    A subclass implements ``concerns`` and ``work``.

    :cvar failure: the first half of the sentence that says that the work
                   failed
    :cvar waiting: the first half of the message while others come first
    :cvar not_stored: the first half of the sentence that says that a task of
                      Glance's failed afterwards
    :ivar undo: the change that restores the image's record
    """

    default_provides = 'file_path'

    failure = ''
    waiting = ''
    not_stored = ''

    def __init__(self, name: str, of: Import) -> None:
        self.of = of
        self.messages = task_messages.TaskMessages(
            task_repo=of.task_repo, task_id=of.task_id,
            action_wrapper=of.action_wrapper)
        #: The path of the staged data; None if it does not concern the task.
        self.staged: str | None = None
        self.undo: records.RecordChange | None = None
        super().__init__(name=name)

    def concerns(self, image: Any) -> bool:
        """Whether the task works on an image.

        :param image: Glance's record of the image
        """
        raise NotImplementedError

    def work(self, image: Any, staged: str) -> None:
        """Work on the staged data.

        Every error that this raises gets a reason for the uploader.

        :param image: Glance's record of the image
        :param staged: path of the data
        """
        raise NotImplementedError

    def leave(self) -> None:
        """Note that the image does not concern the task."""

    def execute(self, file_path: str, **kwargs: Any) -> str:
        """Work on the staged data if the image concerns this task.

        :param file_path: URI of the staged data
        :returns: the URI, unchanged
        :raises ImportFailed: there was an error, which the text explains
        """
        self.staged = file_path.removeprefix(terms.FILE_SCHEME)
        try:
            self._work_if_concerned(self.staged)
        except _GlanceEnds as error:
            # Glance would show another message.
            self.messages.fail(remedies.MESSAGE)
            raise reasons.ImportFailed(remedies.MESSAGE) from error
        except exceptions.XsConvertError as error:
            LOG.error('%(what)s: image %(image)s: %(error)s', {
                'what': self.failure, 'image': self.of.image_id,
                'error': error})
            metrics.count_failure(error)
            raise reasons.import_failed(self.failure, error) from error
        except glance_exception.UploadException:
            raise
        except Exception as error:
            LOG.exception('%(what)s: image %(image)s', {
                'what': self.failure, 'image': self.of.image_id})
            metrics.count_failure(reasons.explain(error))
            raise reasons.import_failed(self.failure, error) from error
        return file_path

    def _work_if_concerned(self, staged: str) -> None:
        try:
            image = self.of.image_repo.get(self.of.image_id)
        except glance_exception.NotFound:
            staging.remove(staged)
            raise
        if self.concerns(image):
            other_names.remove(staged, image, self.of.image_repo)
            self.work(image, staged)
        else:
            self.staged = None
            self.leave()

    def revert(self, result: Any, **kwargs: Any) -> None:
        """Restore the image, and remove its files from the staging area.

        :param result: a Failure if this task failed itself
        :param kwargs: ``flow_failures``, the failures by the names of tasks
        """
        if self.staged is None:
            return
        failures = dict(kwargs.get('flow_failures') or {})
        ours = _failure_of_ours(result, failures)
        failed_here = ours is not None
        # The task of web-download restores the image and cleans the staging
        # area if a later task fails. That of glance-download does so twice and
        # fails: the image would stay locked for an hour, and the reason would
        # be lost.
        cleans_up = self.of.method != terms.WEB and (
            failed_here or self.of.method != terms.DOWNLOAD)
        try:
            self._set_back(self.staged, failed_here, cleans_up)
            if ours is not None and self.of.method == terms.DOWNLOAD:
                self._end_import(ours.exception)
        except glance_exception.TaskAbortedError:
            LOG.warning('Another task imports image %s now', self.of.image_id)
        except Exception:
            # Glance would not revert its own tasks, and the image would stay
            # locked. What is left undone is recovered after that.
            LOG.exception('Cannot undo the import of image %s',
                          self.of.image_id)
        if not failed_here:
            # This ends the task, so it comes as late as possible.
            self._tell_why_not_stored(failures)

    def _set_back(self, staged: str, failed_here: bool, cleans_up: bool,
                  ) -> None:
        """Restore the image, and remove its files from the staging area.

        :param failed_here: whether a task of ours failed
        :param cleans_up: whether no task of Glance's does so
        """
        staging.remove_raw(staged)
        try:
            with self.of.action_wrapper as action:
                if cleans_up:
                    remedies.set_back(action, self.undo, self.of.stores,
                                      failed=failed_here)
                elif self.undo is not None:
                    remedies.undo(action, self.undo)
        except glance_exception.NotFound:
            LOG.warning('Image %s was deleted during its import',
                        self.of.image_id)
            staging.remove(staged)
        else:
            if cleans_up:
                staging.remove(staged)

    def _tell_why_not_stored(self, failures: dict[str, Any]) -> None:
        """Tell the uploader why a later task failed.

        Glance would only say "Internal Error". Releases before 33 put that in
        the place of this message.

        :param failures: taskflow's failures by the name of the task
        """
        if not failures:
            return
        why = reasons.explain_first(
            found.exception for found in failures.values())
        try:
            self.messages.fail(reasons.sentence(self.not_stored, why))
        except Exception:
            LOG.exception('Cannot tell why image %s was not stored',
                          self.of.image_id)

    def _end_import(self, error: BaseException) -> None:
        """Record why the import failed, and release the image."""
        self.messages.fail(
            str(error) if isinstance(error, glance_exception.UploadException)
            else reasons.sentence(self.failure, reasons.explain(error)))
        self.of.action_wrapper.drop_lock_for_task()

    @contextlib.contextmanager
    def turn(self, image: Any, *, has_had_one: bool = False) -> Iterator[None]:
        """Wait for a turn among all work on this host, and hold it.

        :param image: Glance's record of the image, whose owner waits
        :param has_had_one: whether the import has had a turn before, so that
                            it may wait in any case: its work would be lost
        :raises TooManyWaiting: there is no place to wait
        """
        start = time.monotonic()
        bounds = _bounds()
        if has_had_one:
            bounds = turns.Bounds(bounds.at_once, sys.maxsize, sys.maxsize)
        with turns.turn(bounds, image.owner, self._tell_waiting,
                        keeping.tickets()):
            begun = time.monotonic()
            metrics.add({metrics.WAITING_SECONDS: begun - start})
            try:
                yield
            finally:
                metrics.add({
                    metrics.WORKING_SECONDS: time.monotonic() - begun})

    def record_undo(self, undo: records.RecordChange) -> None:
        """Write on the import's ticket how to undo the next change.

        :param undo: a change to the image's record
        :raises ConverterStopped: the ticket cannot be written
        """
        try:
            keeping.keeper.record(self.of.task_id, undo)
        except OSError as error:
            raise exceptions.ConverterStopped(
                'the ticket of the import cannot be written: '
                f'{error.strerror}') from error

    def check_glance(self) -> None:
        """Check that Glance can continue the import after this task.

        Call it now and then during the work.
        """
        if shutdown.has_begun():
            LOG.warning('Giving up the import of image %s: Glance is '
                        'shutting down', self.of.image_id)
            raise _GlanceEnds

    def tell(self, message: str) -> None:
        """Show how far the work is, at most once a second.

        An error that it raises ends the work, because Glance does not want it
        any more.
        """
        self.check_glance()
        self.messages.tell(message)

    def _tell_waiting(self, ahead: int) -> None:
        self.tell(f'{self.waiting}: {ahead} other XenServer '
                  f'image{"s come" if ahead > 1 else " comes"} first')


def flow(work: type[StagedImageTask], label: str,
         claim_import: Callable[[Import], None], kwargs: dict[str, Any],
         ) -> linear_flow.Flow:
    """Return the flow that a plugin adds to an import.

    This must not fail: stevedore would only log the error, and Glance would
    store the image as it is.

    :param work: class of the flow's only task
    :param label: the middle of the task's name
    :param claim_import: claims the import if it may concern the plugin
    :param kwargs: what Glance gives the ``get_flow`` of a plugin: task_id,
                   task_type, task_repo, image_repo, admin_repo,
                   action_wrapper, backend (the stores) and import_req
    """
    of = import_of(kwargs)
    task_type = kwargs['task_type']
    step = work(f'{task_type}-{label}-{of.task_id}', of)
    try:
        claim_import(of)
    except Exception:
        LOG.exception('The import of image %s cannot be recovered if Glance '
                      'stops', of.image_id)
    return linear_flow.Flow(task_type).add(step)


def _failure_of_ours(result: Any, failures: dict[str, Any]) -> Any:
    """Return the failure of a task of this package, or None.

    A later task may have failed that leaves restoring to an earlier one.

    :param result: the Failure of the task that is reverted, or its result
    :param failures: the failures of all tasks
    """
    if isinstance(result, failure.Failure):
        return result
    return next((found for found in failures.values()
                 if isinstance(found.exception, reasons.ImportFailed)), None)

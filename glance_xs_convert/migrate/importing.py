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

"""Importing an archive into a new image.

One loop advances an import from whatever state it is in, since other commands
can be at work on the same image, and hosts and requests can fail at any time:
it gets the image, begins what nobody has begun, and waits for what others do.
It waits only for those who show that they are still at work.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import time
from typing import Any

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import tasks
from glance_xs_convert import terms

#: How long another command may upload without confirming that it is still
#: there, in seconds. It does so every ``methods.BEAT`` seconds.
STANDSTILL = 90.0
#: How long a failed import may keep its image locked, in seconds. After some
#: failures, Glance leaves the image locked for an hour.
_RELEASE = 20.0
#: How many times to upload an archive to an image that Glance leaves empty.
_UPLOADS = 3
_IMPORTABLE = ('queued', 'uploading', 'importing', 'saving', 'active')

#: A function that is called with the current stage and its progress, from 0 to
#: 1.
OnProgress = Callable[[str, float | None], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """How an import ended.

    :ivar new: the new image: active, or queued after a failure
    :ivar message: last message of the task, or empty
    :ivar kind: kind of the error that the message carries, or None
    :ivar size: size of the disk in bytes, if the task has shown it
    """

    new: images.Image
    message: str = ''
    kind: str | None = None
    size: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether the import has succeeded."""
        return bool(self.new['status'] == 'active')


class Import:
    """An import of an archive into a new image that was claimed.

    :param cloud: the cloud
    :param method: import method
    :param stores: names of the stores for the new image
    :param deadline: longest time without progress, in seconds
    :param on_progress: called with the progress
    :param source: the archive
    :param claim: the new image
    """

    def __init__(self, cloud: cloud_.Cloud, method: methods.Method,
                 stores: tuple[str, ...], deadline: float,
                 on_progress: OnProgress, source: methods.Source,
                 claim: claiming.Claim) -> None:
        self._cloud = cloud
        self._method = method
        self._stores = stores
        self._deadline = deadline
        self._on_progress = on_progress
        self._source = source
        self._new_id = claim.new_id
        self._new = claim.new
        self._upload = claim.upload
        self._uploads = 0
        self._pauses = patience.back_off()
        self._task: tasks.Task | None = None
        self._size: int | None = None
        self._ended_before = frozenset[str]() if claim.is_fresh else frozenset(
            task.id for task in cloud.imports.tasks(self._new_id)
            if task.has_ended)

    def run(self) -> Ending:
        """Advance the import until it ends.

        :raises Lost: it leads nowhere, and its image was deleted
        :raises Failed: Glance refuses it
        :raises MigrationError: the cloud failed
        """
        seen: Any = None
        since = time.monotonic()
        for pause in patience.polls():
            is_free = terms.LOCK not in self._new
            is_idle = is_free and (
                self._task is None or self._task.has_ended)
            if is_free and self._new['status'] == 'active':
                return Ending(self._new, size=self._size)
            if is_idle and self._task and self._new['status'] == 'queued':
                return Ending(self._new, self._task.message, self._task.kind)
            if is_idle:
                self._advance()
            shown = self._shown()
            if shown != seen:
                seen, since = shown, time.monotonic()
            elif time.monotonic() - since > (limit := self._limit()):
                self._give_up(f'its import made no progress for {limit:.0f} '
                              'seconds')
            self._cloud.clock.pause(pause)
            self._refresh()
        raise AssertionError  # There is no last poll.

    def _shown(self) -> tuple[Any, ...]:
        """Return what changes while somebody works on the image."""
        task = self._task
        return (self._new['status'], self._new['updated_at'],
                self._new.get(names.UPLOADING), self._new.get(terms.LOCK),
                task and (task.id, task.status, task.message,
                          task.updated_at))

    def _limit(self) -> float:
        """Return how long nothing may change, in seconds."""
        if self._new.get(names.UPLOADING) and terms.LOCK not in self._new:
            return STANDSTILL
        if terms.LOCK not in self._new:
            return min(STANDSTILL, self._deadline)
        if self._task is None and self._cloud.is_admin:
            # The image is locked for a task that was never recorded.
            return min(STANDSTILL, self._deadline)
        if self._task is not None and self._task.has_ended:
            return min(_RELEASE, self._deadline)
        return self._deadline

    def _refresh(self) -> None:
        """Get the task again, and the image unless the task advances."""
        before = self._task
        self._task = tasks.current(
            self._cloud.imports.tasks(self._new_id),
            self._new.get(terms.LOCK), self._ended_before)
        if self._task is not None:
            self._size = self._task.size or self._size
        if (self._task is None or self._task.has_ended
                or self._task == before):
            self._reload_image()
        else:
            self._on_progress(self._task.message or 'importing',
                              self._task.fraction)

    def _reload_image(self) -> None:
        new = self._cloud.images.get(self._new_id)
        if new is None:
            raise errors.Lost('the new image has been deleted')
        if new['status'] not in _IMPORTABLE:
            raise errors.Lost(
                f'the status of the new image is {new["status"]}')
        self._new = new

    def _advance(self) -> None:
        """Begin what nobody has begun."""
        status = self._new['status']
        uploader = annotations.of(self._new).upload
        if status == 'queued' and uploader is None:
            self._begin_download()
        elif status == 'queued' and self._is_mine(uploader):
            if self._uploads == _UPLOADS:
                self._give_up('its upload failed')
            self._stage()
        elif status == 'uploading' and self._new['size'] is not None:
            self._begin_staged()
        elif (status == 'uploading' and self._is_mine(uploader)
                and self._uploads):
            self._give_up('its upload failed')
        else:
            self._on_progress('waiting for another command', None)

    def _is_mine(self, uploader: annotations.Upload | None) -> bool:
        return (uploader is not None and self._upload is not None
                and uploader.token == self._upload.token)

    def _begin_download(self) -> None:
        if self._method.uploads:
            self._give_up('another command created it to import it in '
                          'another way')
        self._on_progress('starting', None)
        self._begin()

    def _begin_staged(self) -> None:
        if self._new['size'] != self._source.size:
            self._give_up('its upload is incomplete')
        self._on_progress('starting', None)
        self._begin(methods.Direct())

    def _begin(self, method: methods.Method | None = None) -> None:
        method = method or self._method
        try:
            self._cloud.imports.begin(
                self._new_id, method.request(self._source), self._stores)
        except errors.Conflict:
            pass  # Another command was faster.
        except errors.NotFound as error:
            raise errors.Lost('the new image was deleted') from error
        except _REFUSALS as error:
            raise errors.Failed(str(error)) from error

    def _stage(self) -> None:
        """Upload the archive, and find out what has become of it."""
        self._uploads += 1
        self._on_progress('uploading', None)
        size = self._source.size
        problem: errors.MigrationError | None = None
        try:
            with self._source.open() as archive:
                self._cloud.imports.stage(self._new_id, methods.Upload(
                    archive, size, lambda count: self._on_progress(
                        'uploading', count / max(size, 1)), self._beat), size)
        except (errors.NotFound, errors.Lost) as error:
            raise errors.Lost('the new image was deleted') from error
        except _REFUSALS as error:
            raise errors.Failed(str(error)) from error
        except (errors.Conflict, errors.Unreachable) as error:
            problem = error
        self._reload_image()
        complete = (self._new['status'] == 'uploading'
                    and self._new['size'] == size)
        if complete or terms.LOCK in self._new:
            return
        if (isinstance(problem, errors.Unreachable)
                and self._new['status'] == 'queued'
                and self._uploads < _UPLOADS):
            # Glance has taken nothing.
            self._cloud.clock.pause(next(self._pauses))
        elif problem:
            self._give_up(f'its upload failed: {problem}')

    def _beat(self) -> None:
        """Confirm in Glance that this command is still uploading.

        :raises Lost: another command has taken over
        """
        if self._upload is None:
            return
        with contextlib.suppress(errors.Unreachable, errors.Conflict):
            new = self._cloud.images.get(self._new_id, once=True)
            if new is None or not self._is_mine(annotations.of(new).upload):
                raise errors.Lost('another command has taken the image over')
            if new['size'] is None and terms.LOCK not in new:
                self._upload = self._upload.next()
                self._cloud.images.patch(self._new_id, record.changes(
                    new, {names.UPLOADING: str(self._upload)}), once=True)

    def _give_up(self, why: str) -> None:
        """Delete the new image, so that the next one can take its place."""
        last = self._task.message if self._task else ''
        claiming.discard(self._cloud, self._new)
        raise errors.Lost(f'the new image {self._new_id} was given up: {why}'
                          + (f'; its last message was: {last}' if last else
                             ''))


#: What Glance refuses to everybody, and every time.
_REFUSALS = (errors.OutOfQuota, errors.NotAllowed, errors.RequestRefused)

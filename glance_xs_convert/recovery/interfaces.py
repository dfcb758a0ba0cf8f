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

"""What Glance hands to an import plugin, as far as plugins use it.

Glance has no declarations of types. These protocols state which of its
attributes and methods this package relies on, so that a checker of types finds
a misspelled one. Source: Glance, ``domain/__init__.py``, ``db/__init__.py``
and ``async_/flows/api_image_import.py``.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import MutableMapping
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from typing import Protocol

#: A location of an image's data: its ``url``, its ``metadata`` and others.
Location = Mapping[str, Any]


class Image(Protocol):
    """The record of an image."""

    status: str
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    owner: str | None

    @property
    def image_id(self) -> str:
        """The image's ID."""

    @property
    def locations(self) -> Sequence[Location]:
        """Where the image's data is."""

    @property
    def extra_properties(self) -> MutableMapping[str, str]:
        """The image's properties; some methods of a dict are missing."""


class ImageRepository(Protocol):
    """The images of a Glance."""

    def get(self, image_id: str) -> Image:
        """Return an image.

        :raises NotFound: there is none, or it was deleted
        """

    def save(self, image: Image, from_state: str | None = None) -> None:
        """Store an image's record if its status is still a certain one."""

    def set_property_atomic(self, image: Image, name: str, value: str,
                            ) -> None:
        """Set a property that the image does not have.

        :raises Duplicate: the image has the property
        """

    def delete_property_atomic(self, image: Image, name: str, value: str,
                               ) -> None:
        """Remove a property that has a certain value.

        :raises NotFound: it has another value, or none
        """


class TaskRecord(Protocol):
    """The record of a task."""

    message: str

    @property
    def task_id(self) -> str:
        """The task's ID."""

    @property
    def status(self) -> str:
        """One of pending, processing, success and failure."""

    @property
    def request_id(self) -> str | None:
        """The ID of the request that the task is for."""

    @property
    def task_input(self) -> Mapping[str, Any]:
        """What the task was created with."""

    def begin_processing(self) -> None:
        """Turn a pending task into one that is processing."""

    def succeed(self, result: Mapping[str, Any]) -> None:
        """Turn a task that is processing into a successful one."""

    def fail(self, message: str) -> None:
        """Turn a task that is processing into one that has failed."""


class TaskRepository(Protocol):
    """The tasks of a Glance."""

    def get(self, task_id: str) -> TaskRecord:
        """Return a task.

        :raises NotFound: there is none
        """

    def save(self, task: TaskRecord) -> None:
        """Store a task's record."""


class ImportActions(Protocol):
    """What may be done to an image during its import."""

    IMPORTING_STORES_KEY: str

    @property
    def image_id(self) -> str:
        """The image's ID."""

    @property
    def image_status(self) -> str:
        """The image's status."""

    @property
    def image_size(self) -> int | None:
        """The size of the image's data in bytes."""

    @property
    def image_disk_format(self) -> str | None:
        """The format of the disk."""

    @property
    def image_container_format(self) -> str | None:
        """The format of what contains the disk."""

    @property
    def image_extra_properties(self) -> dict[str, str]:
        """A copy of the image's properties."""

    def set_image_attribute(self, **attributes: Any) -> None:
        """Set attributes, of which Glance allows only some."""

    def set_image_extra_properties(self, properties: Mapping[str, str],
                                   ) -> None:
        """Set properties, except those that are Glance's own."""

    def pop_extra_property(self, name: str) -> None:
        """Remove a property if the image has it."""

    def add_failed_stores(self, stores: Iterable[str | None]) -> None:
        """Record that stores do not have the image's data."""

    def remove_importing_stores(self, stores: Iterable[str | None]) -> None:
        """Record that nothing is being copied to stores."""

    def remove_location_for_store(self, backend: str | None) -> None:
        """Remove the data that a store has, and its location."""


class ActionWrapper(Protocol):
    """A context manager that loads an image, and saves what was done to it.

    Its methods raise ``TaskAbortedError`` if another task has locked the
    image, and ``NotFound`` if the image is gone.
    """

    @property
    def image_id(self) -> str:
        """The image's ID."""

    def __enter__(self) -> ImportActions:
        """Load the image."""

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Save the image, unless there was an error."""

    def assert_task_lock(self) -> None:
        """Check that the task has locked the image."""

    def drop_lock_for_task(self) -> None:
        """Release the image."""

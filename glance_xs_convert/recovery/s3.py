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

"""Removing what an import has left in a bucket of S3.

An object, named after the ID of Glance's image, exists only when it is
complete. Glance records its location after that. If its process is killed
before, or the image is deleted meanwhile, an object is left that nobody knows.
Of a large image whose upload is interrupted, the parts are left: they do not
show among the objects, but take space. Source: ``add`` in ``_drivers/s3.py``
of glance_store.

Only what was written since the import began is removed, so that it cannot be
anybody else's.
"""

from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import functools
from typing import Any

import glance_store
from glance_store._drivers import s3

#: What a service answers to a request for an object that does not exist.
_NOT_FOUND = '404'
#: The scheme of the URLs if the driver is Glance's only one.
_SCHEME = 's3'


class DriverMissing(Exception):
    """Glance could not set the store up."""


class ObjectKept(Exception):
    """The object is older than the import, and may be somebody else's."""


class RequestRefused(Exception):
    """The service does not let the store do this."""


class Bucket:
    """A store's bucket.

    :param store: name of the store, or None for Glance's only store
    :ivar name: the bucket's name
    :raises DriverMissing: Glance could not set the store up
    """

    name: str

    def __init__(self, store: str | None) -> None:
        self._store = store
        try:
            self._driver = (
                glance_store.get_store_from_scheme(_SCHEME) if store is None
                else glance_store.get_store_from_store_identifier(store))
            self.name = self._driver.bucket
        except (AttributeError, KeyError,
                glance_store.exceptions.GlanceStoreException) as error:
            raise DriverMissing from error

    def remove_object(self, image_id: str, kept: Collection[str],
                      since: float) -> None:
        """Remove an object that is not data of Glance's image.

        :param kept: the URLs of the data that belongs to the image
        :param since: when the import began, in seconds since the epoch
        :raises ObjectKept: the object is older
        :raises RequestRefused: the store may not look at it or remove it
        """
        if self._location(image_id).get_uri() in kept:
            return
        with self._refusals():
            written = _written(self._client, self.name, image_id)
            if written is None:
                return
            if not written >= since:
                raise ObjectKept
            self._client.delete_object(Bucket=self.name, Key=image_id)

    def abort_uploads(self, image_id: str, since: float) -> None:
        """Remove the parts of an object whose upload has not ended.

        :param since: when the import began, in seconds since the epoch; parts
                      of earlier uploads stay
        :raises RequestRefused: the store may not list or remove them
        """
        with self._refusals():
            for upload in _uploads(self._client, self.name, image_id):
                if upload['Initiated'].timestamp() >= since:
                    self._client.abort_multipart_upload(
                        Bucket=self.name, Key=image_id,
                        UploadId=upload['UploadId'])

    def _location(self, image_id: str) -> Any:
        """Return the location that Glance gives an image's object."""
        return s3.StoreLocation(
            {'scheme': self._driver.scheme, 'bucket': self.name,
             'key': image_id, 's3serviceurl': self._driver.full_s3_host},
            self._driver.conf, backend_group=self._store)

    @functools.cached_property
    def _client(self) -> Any:
        """The driver's client, which takes a while to make.

        Only the driver knows how to connect: its options depend on its
        version. It takes any location for that.
        """
        client, _, _ = self._driver._operation_set(self._location(''))
        return client

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Give the service's errors as one kind.

        That it cannot be reached is not among them.
        """
        try:
            yield
        except self._client.exceptions.ClientError as error:
            raise RequestRefused(str(error)) from error


def _uploads(client: Any, bucket: str, key: str) -> list[dict[str, Any]]:
    """Return the uploads in parts that have not ended."""
    pages = client.get_paginator('list_multipart_uploads').paginate(
        Bucket=bucket, Prefix=key)
    try:
        return [upload for page in pages for upload in page.get('Uploads', ())
                if upload['Key'] == key]
    except client.exceptions.NoSuchBucket:
        return []


def _written(client: Any, bucket: str, key: str) -> float | None:
    """Return when an object was written, or None if there is none."""
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except client.exceptions.ClientError as error:
        if error.response['Error']['Code'] == _NOT_FOUND:
            return None
        raise
    written: float = found['LastModified'].timestamp()
    return written

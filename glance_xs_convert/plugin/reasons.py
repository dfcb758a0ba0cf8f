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
"""The reason for an error of an import, in words for the uploader.

Glance copies the text of an error to the message of the image's task only if
it is an ``UploadException``. Every other error becomes "Task failed due to
Internal Error".
"""

from collections.abc import Callable
from collections.abc import Iterable
import errno
from typing import Any

from glance.async_.flows import api_image_import
from glance.common import exception as glance_exception
import glance_store
from oslo_config import cfg
from oslo_db import exception as db_exception
import sqlalchemy.exc
import webob.exc  # type: ignore[import-untyped]

from glance_xs_convert import exceptions
from glance_xs_convert import text

CONF = cfg.CONF

Reason = Callable[[Any], exceptions.XsConvertError]

#: What a full file system answers.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ImportFailed(glance_exception.UploadException):
    """The import fails; Glance copies the text to its task's message."""


def import_failed(beginning: str, error: BaseException) -> ImportFailed:
    """Return the error that tells the uploader why an import fails.

    :param beginning: the first half of the sentence, such as "The XenServer
                      image cannot be converted"
    """
    return ImportFailed(sentence(beginning, explain(error)))


def sentence(beginning: str, error: exceptions.XsConvertError) -> str:
    """Return the message for an error, which ends with its kind."""
    return text.tagged(f'{beginning}: {error}.', error.kind)


def explain(error: BaseException) -> exceptions.XsConvertError:
    """Return the reason for any error.

    Errors that are not known come without their own text, which could tell
    strangers about the host.
    """
    if isinstance(error, exceptions.XsConvertError):
        return error
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason(error)
    return exceptions.ServiceFailed(
        'the image service failed in an unexpected way; its log has the '
        'details')


def explain_first(errors: Iterable[BaseException | None],
                  ) -> exceptions.XsConvertError:
    """Return the reason for the first error of several.

    :param errors: None stands for one that is not known
    """
    first = next(iter(errors), None)
    return explain(RuntimeError() if first is None else first)


def _as(kind: type[exceptions.XsConvertError], reason: str) -> Reason:
    """Return a function that gives the same reason for every error."""
    return lambda error: kind(reason)


def _too_large(error: Any) -> exceptions.XsConvertError:
    return exceptions.DiskTooLarge(
        'the disk is larger than the image service accepts: image_size_cap is '
        f'{text.exact_size(CONF.image_size_cap)}')


def _too_many_properties(error: Any) -> exceptions.XsConvertError:
    return exceptions.QuotaExceeded(
        'the image would have more properties than image_property_quota '
        f'allows, which is {CONF.image_property_quota}')


def _reserved(error: Any) -> exceptions.XsConvertError:
    return exceptions.NotPermitted(
        'the image service protects a property that the import has to set: '
        f'{text.printable(str(error))}'.rstrip('.'))


def _refused_content(error: Any) -> exceptions.XsConvertError:
    return exceptions.ContentRefused(
        'the image service refuses the content of the disk: '
        f'{text.printable(str(error))}'.rstrip('.'))


def _system(error: Any) -> exceptions.XsConvertError:
    if error.errno in _FULL:
        return exceptions.OutOfSpace(
            'the image service has no space left for the disk')
    return exceptions.ServiceFailed(
        'the image service cannot use one of its files: '
        f'{text.printable(error.strerror or "its log has the details")}')


#: The first that matches counts. Glance turns some errors of a store into
#: answers to requests, also where there is no request. Source: ``set_data`` in
#: ``notifier.py``.
_REASONS: list[tuple[type[BaseException] | tuple[type[BaseException], ...],
                     Reason]] = [
    (glance_exception.ImageSizeLimitExceeded, _too_large),
    (glance_exception.ImagePropertyLimitExceeded, _too_many_properties),
    (glance_exception.StorageQuotaFull, _as(
        exceptions.QuotaExceeded,
        'the disk is larger than what is left of user_storage_quota')),
    (glance_exception.LimitExceeded, _as(
        exceptions.QuotaExceeded, 'the image exceeds a quota of the image '
        'service')),
    (glance_exception.ReservedProperty, _reserved),
    ((glance_exception.Forbidden, webob.exc.HTTPForbidden), _as(
        exceptions.NotPermitted,
        'the image service does not permit this import')),
    (getattr(glance_exception, 'InvalidImageData', ()), _refused_content),
    (glance_exception.TaskAbortedError, _as(
        exceptions.ImportAborted, 'the import was ended, or another import '
        'has taken over the image')),
    ((glance_exception.NotFound, glance_exception.TaskNotFound,
      webob.exc.HTTPNotFound), _as(
        exceptions.ImportAborted, 'the image or its import was deleted')),
    ((glance_exception.InvalidImageStatusTransition,
      glance_exception.Conflict), _as(
        exceptions.ImportAborted, 'the status of the image was changed during '
        'the import')),
    ((glance_store.StorageFull, webob.exc.HTTPRequestEntityTooLarge), _as(
        exceptions.OutOfSpace, 'the store has no space left for the disk')),
    ((glance_store.Duplicate, glance_exception.Duplicate,
      webob.exc.HTTPConflict), _as(
        exceptions.NotStored,
        'the store already holds data of the image')),
    # Glance goes on when a store fails, unless all of them must succeed, and
    # this comes after the last one, whatever their errors were.
    (getattr(api_image_import, '_NoStoresSucceeded', ()), _as(
        exceptions.NotStored, 'no store accepted the disk: each may be full, '
        'unreachable or read-only, or hold data of the image already; '
        'the log of the image service has the details')),
    ((glance_store.StorageWriteDenied, glance_store.StoreAddDisabled,
      webob.exc.HTTPServiceUnavailable), _as(
        exceptions.NotStored, 'the store does not accept data')),
    ((webob.exc.HTTPError,
      glance_store.exceptions.GlanceStoreException,
      glance_store.exceptions.BackendException), _as(
        exceptions.ServiceFailed, 'the store failed; the log of the image '
        'service has the details')),
    ((db_exception.DBError, sqlalchemy.exc.SQLAlchemyError), _as(
        exceptions.ServiceFailed,
        'the database of the image service failed')),
    (MemoryError, _as(
        exceptions.ServiceFailed, 'the image service has no memory left')),
    (OSError, _system),
]

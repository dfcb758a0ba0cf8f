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

"""The errors of a migration."""

from glance_xs_convert import exceptions


class MigrationError(exceptions.XsConvertError):
    """The base class of the errors of a migration."""


class Unreachable(MigrationError):
    """The cloud did not answer, even after several attempts."""


class LoginFailed(MigrationError):
    """The credentials are missing, or Keystone rejects them."""


class NotAllowed(MigrationError):
    """The cloud's policy forbids a request."""


class OutOfQuota(MigrationError):
    """A quota is exhausted, or a file system is full."""


class Conflict(MigrationError):
    """The image is in the wrong state for the request."""


class NotFound(MigrationError):
    """The image does not exist, or is not visible."""


class RequestRefused(MigrationError):
    """Glance answered a request with an error of another kind."""


class WrongArguments(MigrationError):
    """The command line asks for something impossible."""


class CannotMigrate(MigrationError):
    """This cloud cannot convert images, so nothing begins."""


class NotConverted(CannotMigrate):
    """Glance stored the archive unconverted: the plugin is off."""


class Skipped(MigrationError):
    """The image cannot be migrated, or not any more."""


class Failed(MigrationError):
    """The migration failed; the next run tries it again."""


class Refused(Failed):
    """The archive is at fault; only --retry tries it again."""


class Vanished(MigrationError):
    """Somebody has deleted the new image."""


class Stuck(MigrationError):
    """An import made no progress for too long."""

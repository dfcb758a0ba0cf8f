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


class Passing(Exception):
    """Raised for what another attempt may cure, before it is known to last."""


class MigrationError(exceptions.XsConvertError):
    """The base class of the errors of a migration."""


class Unreachable(MigrationError):
    """The cloud did not answer, even after several attempts."""

    may_pass = True


class LoginFailed(MigrationError):
    """The credentials are missing, or Keystone rejects them."""


class NotAllowed(MigrationError):
    """The cloud's policy forbids a request."""


class OutOfQuota(MigrationError):
    """A quota is exhausted, or a file system is full."""

    may_pass = True


class Conflict(MigrationError):
    """The image is in the wrong state for the request."""


class NotFound(MigrationError):
    """The image does not exist, or is not visible."""


class RequestRefused(MigrationError):
    """Glance answered a request with an error of another kind."""


class AnswerTooLong(RequestRefused):
    """An answer is longer than what is read of one."""


class WrongArguments(MigrationError):
    """The command line asks for something impossible."""


class CannotMigrate(MigrationError):
    """This cloud cannot convert images, so nothing begins."""


class NotConverted(CannotMigrate):
    """Glance stored the archive unconverted: the plugin is off."""


class Skipped(MigrationError):
    """The image cannot be migrated, or there is nothing left to do."""


class Failed(MigrationError):
    """The migration failed; the next run tries it again."""


class Refused(Failed):
    """The archive is at fault; only --retry tries it again."""


class HostsBusy(MigrationError):
    """The hosts have so much to convert that they take no more images."""

    may_pass = True


class Lost(MigrationError):
    """The new image is gone or useless, and the next one takes its place."""

    may_pass = True

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

"""What can go wrong with a migration."""

from glance_xs_convert import exceptions


class MigrationError(exceptions.XsConvertError):
    """The root of this wing's errors."""


class Unreachable(MigrationError):
    """The cloud did not answer, however often it was asked."""


class LoginFailed(MigrationError):
    """Keystone does not accept the credentials, or there are none."""


class NotAllowed(MigrationError):
    """The cloud's policy forbids a request."""


class OutOfQuota(MigrationError):
    """A quota is used up, or a file system is full."""


class Conflict(MigrationError):
    """The image is in a state in which the request makes no sense."""


class NotFound(MigrationError):
    """The image is not there, or not visible."""


class RequestRefused(MigrationError):
    """Glance answered a request with an error of another kind."""


class WrongArguments(MigrationError):
    """The command line asks for something that cannot be done."""


class CannotMigrate(MigrationError):
    """This cloud cannot convert images: nothing is begun."""


class NotConverted(CannotMigrate):
    """Glance stored the archive as it was: the plugin is not on."""


class Skipped(MigrationError):
    """The image is not, or no longer, one that can be migrated."""


class Failed(MigrationError):
    """The image was not migrated; the next run tries it again."""


class Refused(Failed):
    """The archive is at fault; it is tried again only on demand."""


class Vanished(MigrationError):
    """The new image was deleted by somebody else meanwhile."""


class Stuck(MigrationError):
    """An import showed no progress for too long."""

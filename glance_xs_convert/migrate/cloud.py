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

"""The cloud whose images are migrated, as one of its users sees it."""

from collections.abc import Callable
from typing import Any
import urllib.parse

from glance_xs_convert.migrate import images as images_
from glance_xs_convert.migrate import imports as imports_
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import service as service_
from glance_xs_convert import text

#: The role that sees and changes the images of all projects.
ADMIN = 'admin'

#: How often the versions of the image service are asked for again.
_DISCOVERIES = 4
#: How long to wait for an answer of Keystone, in seconds.
_KEYSTONE_TIMEOUT = 120.0
#: What openstacksdk calls a cloud that has no name in clouds.yaml.
_NAMELESS = ('', 'defaults', 'envvars')


class Cloud:
    """A cloud and its user.

    :param connection: of openstacksdk
    :param clock: for all pauses
    :ivar images: the images of its Glance
    :ivar imports: the imports of its Glance
    """

    images: images_.Images
    imports: imports_.Imports

    def __init__(self, connection: Any, clock: patience.Clock) -> None:
        self.connection = connection
        self.clock = clock

    def log_in(self, say: Callable[[str], None] = lambda sentence: None,
               ) -> None:
        """Get the first token, and look for the image service.

        :param say: called with a sentence if that takes more than one attempt
        :raises LoginFailed: the credentials are missing or wrong
        :raises Unreachable: there is no image service that answers
        """
        from glance_xs_convert.migrate import sdk

        session = self.connection.session
        if session.timeout is None:
            session.timeout = _KEYSTONE_TIMEOUT
        auth: Any = session.auth
        self._access = service_.retried(
            lambda: auth.get_access(session), self.clock, patience.RETRIES,
            say)
        glance = service_.Service('Glance', service_.retried(
            lambda: sdk.find_images(self.connection), self.clock,
            _DISCOVERIES, say), self.clock)
        self.images = images_.Images(glance)
        self.imports = imports_.Imports(glance)

    def service(self, kind: str) -> service_.Service | None:
        """Return another service, or None if the cloud does not have it.

        Migrations do not depend on it, so they do not wait for it long.

        :param kind: type of the service, such as ``block-storage``
        """
        if not self.connection.has_service(kind):
            return None
        return service_.Service(
            kind, getattr(self.connection, kind.replace('-', '_')),
            self.clock, patience.RETRIES_OF_OTHERS)

    @property
    def project_id(self) -> str | None:
        """The ID of the project that the user works in."""
        found = self._access.project_id
        return None if found is None else str(found)

    @property
    def is_admin(self) -> bool:
        """Whether the user may change the images of all projects."""
        return ADMIN in (self._access.role_names or ())

    @property
    def interface(self) -> str:
        """The interface of the endpoints that the user chose."""
        return str(self.connection.config.get_interface('image') or 'public')

    @property
    def name(self) -> str:
        """The name of the cloud and its region, for people."""
        config = self.connection.config
        name = config.name
        if name in (None, *_NAMELESS):
            url = str(config.auth.get('auth_url', ''))
            name = urllib.parse.urlsplit(url).hostname or 'the cloud'
        region = self.region()
        return text.printable(f'{name}, region {region}' if region
                              else str(name))

    def region(self) -> str | None:
        """Return the region of the image service; None if it is not clear."""
        chosen = self.connection.config.get_region_name('image')
        if chosen:
            return str(chosen)
        catalog = self._access.service_catalog
        regions = {
            endpoint.region_id
            for endpoints in catalog.get_endpoints_data(
                service_type='image', interface=self.interface).values()
            for endpoint in endpoints}
        return str(regions.pop()) if len(regions) == 1 else None

    def find_project(self, name_or_id: str) -> str:
        """Return the ID of a project.

        Users who may not ask Keystone must give the ID.

        :raises WrongArguments: several projects have the name
        """
        from glance_xs_convert.migrate import sdk

        return sdk.find_project(self.connection, name_or_id) or name_or_id

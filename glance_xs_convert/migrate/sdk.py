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

"""What a migration needs of openstacksdk, and what its errors mean.

The other modules load this one only when they need it, so that the commands
can show their help without openstacksdk.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import config
from openstack import connection
from openstack import exceptions as sdk_exceptions

from glance_xs_convert.migrate import cloud
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import service
from glance_xs_convert import text

_LOGIN = (ksa_exceptions.Unauthorized, ksa_exceptions.AuthPluginException,
          ksa_exceptions.AuthorizationFailure)
_USER = ('username', 'user_id', 'user_name')
#: What the auth types of keystoneauth need that it takes for optional. Of each
#: line, one name is enough; a third one is out of date.
_NEEDED: Mapping[str, Sequence[Sequence[str]]] = {
    **dict.fromkeys(('password', 'v2password', 'v3password'),
                    (_USER, ('password',))),
    **dict.fromkeys(('token', 'v2token', 'v3token'), (('token',),)),
    'v3applicationcredential': (
        ('application_credential_id', 'application_credential_name'),
        ('application_credential_secret',)),
    'v3totp': (_USER, ('passcode',)),
}
_CONNECTION = (ksa_exceptions.ConnectionError, OSError)


def connect(options: argparse.Namespace,
            say: Callable[[str], None] = lambda sentence: None,
            ) -> cloud.Cloud:
    """Connect to the cloud that options, environment or files describe.

    :param options: options of openstacksdk
    :param say: called with a sentence if that takes more than one attempt
    :raises MigrationError: the cloud is unknown, or refuses the login
    """
    try:
        configuration = config.OpenStackConfig()
        _check_credentials(
            configuration.get_one(argparse=options, validate=False).config)
        region = configuration.get_one(argparse=options)
        found = cloud.Cloud(
            connection.Connection(config=region,
                                  app_name='glance-xs-convert'),
            patience.Clock())
    except ksa_exceptions.MissingRequiredOptions as error:
        raise errors.WrongArguments(_ask_for(
            [option.dest for option in error.options])) from error
    except ksa_exceptions.AuthPluginException as error:
        raise errors.WrongArguments(
            'the credentials for the cloud are incomplete: '
            f'{text.one_line(error)}') from error
    except TypeError as error:
        # The class of an auth type lacks an argument.
        raise errors.WrongArguments(
            'the credentials for the cloud are not those that its auth type '
            'needs') from error
    except (sdk_exceptions.SDKException, OSError) as error:
        raise errors.WrongArguments(
            f'cannot find the cloud: {text.one_line(error)}') from error
    if not hasattr(found.connection.session.auth, 'get_access'):
        raise errors.WrongArguments(
            f'the auth type {region.config.get("auth_type")} does not log in '
            'to Keystone, as this command must: use password, token or '
            'v3applicationcredential')
    found.log_in(say)
    return found


def _check_credentials(found: Mapping[str, Any]) -> None:
    """Check what keystoneauth itself would not explain.

    :param found: configuration of a cloud
    :raises WrongArguments: credentials are missing
    """
    # What comes from the environment is not under auth yet.
    auth = {**found, **(found.get('auth') or {})}
    url = str(auth.get('auth_url') or '')
    if not url:
        # No cloud may be chosen, which comes first.
        return
    if not url.lower().startswith(('http://', 'https://')):
        raise errors.WrongArguments(
            'OS_AUTH_URL, or auth_url in clouds.yaml, is '
            f'{text.printable(url)}, which does not begin with http:// or '
            'https://')
    needed = _NEEDED.get(str(found.get('auth_type')), ())
    missing = [names for names in needed
               if not any(auth.get(name) for name in names)]
    if missing:
        raise errors.WrongArguments(_ask_for_all(missing))


def _ask_for(missing: Sequence[str]) -> str:
    """Return what to do if credentials are missing.

    :param missing: names of keystoneauth's options
    """
    if 'auth_url' in missing:
        return ('no cloud is chosen: set OS_CLOUD, or give --os-cloud, with '
                'the name of a cloud in clouds.yaml; or set OS_AUTH_URL, '
                'OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, as an openrc '
                'file does')
    return _ask_for_all([(name,) for name in missing])


def _ask_for_all(missing: Sequence[Sequence[str]]) -> str:
    """Return the same for several options, each with its alternatives."""
    names = ', '.join(' or '.join(f'OS_{name.upper()}' for name in one[:2])
                      for one in missing)
    return f'the credentials for the cloud are incomplete: set {names}'


def find_images(connected: connection.Connection) -> Any:
    """Return the image service, which is asked for its versions."""
    try:
        return connected.image
    except sdk_exceptions.SDKException as error:
        raise ConnectionError(text.one_line(error)) from error


def find_project(connected: connection.Connection, name_or_id: str,
                 ) -> str | None:
    """Return the ID of a project, or None if Keystone does not tell it.

    :raises WrongArguments: several projects have the name
    """
    try:
        identity: Any = connected.identity
        found = identity.find_project(name_or_id)
    except sdk_exceptions.DuplicateResource as error:
        raise errors.WrongArguments(
            f'several projects have the name {text.printable(name_or_id)}: '
            'give the ID of one') from error
    except Exception:  # Whatever keeps Keystone from telling.
        return None
    return str(found.id) if found else None


def checked(call: Callable[[], Any]) -> Any:
    """Make a call that may request a token from Keystone.

    :raises Passing: another attempt may succeed
    :raises LoginFailed: Keystone does not issue a token
    :raises WrongArguments: the token is for no project
    :raises CannotMigrate: the cloud does not have the service
    """
    try:
        return call()
    except _LOGIN as error:
        raise errors.LoginFailed(
            f'Keystone refused the login: {text.one_line(error)}') from error
    except ksa_exceptions.EmptyCatalog as error:
        raise errors.WrongArguments(
            'the login is for no project: set OS_PROJECT_NAME and '
            'OS_PROJECT_DOMAIN_NAME, or OS_PROJECT_ID') from error
    except (ksa_exceptions.CatalogException,
            ksa_exceptions.DiscoveryFailure) as error:
        raise errors.CannotMigrate(
            'the cloud does not have the service: '
            f'{text.one_line(error)}') from error
    except _CONNECTION as error:
        raise errors.Passing(text.one_line(error)) from error
    except ksa_exceptions.HttpError as error:  # Keystone's.
        if error.http_status in service.AGAIN:
            raise errors.Passing(text.one_line(error)) from error
        raise errors.LoginFailed(
            f'Keystone refused the login: {text.one_line(error)}') from error
    except sdk_exceptions.SDKException as error:
        raise errors.RequestRefused(text.one_line(error)) from error

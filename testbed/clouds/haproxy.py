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

"""HAProxy in front of several services of a kind."""

from collections import abc
import pathlib
import shutil
import urllib.parse

from testbed.clouds import services

#: Waits for a service until a request of Glance to itself is over, on a busy
#: machine, too. A service that is gone refuses connections at once.
_TIMEOUT = '600s'
_CHECK_TIMEOUT = '60s'
#: A check takes the service some milliseconds. They are frequent only when
#: something is wrong, or a request has just failed.
_CHECKS = ('check inter 2s fastinter 200 downinter 200 fall 2 rise 1 '
           'observe layer4 error-limit 1 on-error fastinter')


def installed() -> bool:
    """Whether there is an HAProxy on this machine."""
    return shutil.which('haproxy') is not None


class Balancer(services.Listener):
    """Gives each request to the next of the services that are up.

    :param directory: where the log and the configuration are made
    :param urls: of the services
    :param health: a path that a service answers when it is up
    :param address: where it listens
    """

    def __init__(self, directory: pathlib.Path, urls: abc.Sequence[str],
                 health: str, address: str) -> None:
        super().__init__(
            'haproxy', directory, services.environment(directory), health,
            address=address)
        self._urls = urls
        self._config = self._workdir / 'haproxy.cfg'

    def _argv(self) -> list[str]:
        servers = [
            'server host%d %s %s' % (
                number, urllib.parse.urlsplit(url).netloc, _CHECKS)
            for number, url in enumerate(self._urls)]
        self._config.write_text('\n'.join([
            'defaults',
            '    mode http',
            '    timeout connect %s' % _CHECK_TIMEOUT,
            '    timeout client %s' % _TIMEOUT,
            '    timeout server %s' % _TIMEOUT,
            '    timeout check %s' % _CHECK_TIMEOUT,
            '    retries 3',
            '    option redispatch',
            'frontend glance',
            '    bind %s' % self._bind.replace('fd://', 'fd@'),
            '    default_backend hosts',
            'backend hosts',
            '    balance roundrobin',
            '    option httpchk GET %s' % self._health_path,
            *('    ' + server for server in servers), '']))
        return ['haproxy', '-db', '-f', str(self._config)]

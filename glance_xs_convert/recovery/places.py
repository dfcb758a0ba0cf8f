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

"""Where the tickets of one Glance on one host are kept.

A host can run several Glances, and hosts can share a staging area. Nobody
reads the tickets of another Glance, whose images are not known here, or of
another host, whose locks may not be visible here.
"""

import hashlib
import os
import socket

from glance import housekeeping


def of_this_glance(above: str, is_local: bool) -> str:
    """Return the directory of this Glance's tickets on this host.

    :param above: the directory above it, which others can use, too
    :param is_local: whether other hosts cannot use it. Then a container that
                     takes the place of another one finds its tickets, even if
                     its host name is new.
    """
    staging = os.path.realpath(housekeeping.staging_store_path())
    host = '' if is_local else socket.gethostname()
    identity = f'{host}\0{staging}'
    return os.path.join(
        above, hashlib.sha256(identity.encode()).hexdigest()[:16])

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

"""What the operator can choose, written once for the commands, too.

This module imports no other package, so that the commands can show their help
without openstacksdk.
"""

from glance_xs_convert import terms

#: How the archives get into the new images.
AUTO = 'auto'
METHODS = (AUTO, terms.DOWNLOAD, terms.DIRECT)
#: How the archive of ``upload`` gets into its images.
UPLOAD_METHODS = (AUTO, terms.DIRECT, terms.WEB)

#: What happens to the old images.
KEEP = 'keep'
HIDE = 'hide'
DEACTIVATE = 'deactivate'
DELETE = 'delete'
OLD = (KEEP, HIDE, DEACTIVATE, DELETE)

#: What undo does with new images of which it cannot see whether they are used.
IF_UNKNOWN = (KEEP, DELETE)

#: The longest time without progress of an import, in seconds.
DEADLINE = 3600
#: The most images at a time.
JOBS = 4

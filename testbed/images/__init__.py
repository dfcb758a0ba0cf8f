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

"""Makes VHD chains, XenServer exports and archives, and knows their bytes.

Nothing here knows the package under test. The modules:

``sparse``   bytes that are mostly zeros, of any length
``vhd``      one VHD file from a declarative description
``chains``   layers linked into a chain; the story's chain
``archive``  tar and gzip, including broken and hostile ones
``model``    the bytes of the raw disk that a chain stands for
``xva``      exports of virtual machines, cut into chunks
"""

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

"""Sphinx configuration of the documentation."""

extensions = [
    'cliff.sphinxext',
    'openstackdocstheme',
    'oslo_config.sphinxext',
    'sphinx.ext.autodoc',
]

project = 'glance-xs-convert'
copyright = 'OpenStack Foundation'
source_suffix = {'.rst': 'restructuredtext'}
master_doc = 'index'
exclude_patterns: list[str] = []
pygments_style = 'native'
# Warnings fail the build; a missing target is worth one.
nitpicky = True
# The docstrings say it in words.
autodoc_typehints = 'none'
autodoc_preserve_defaults = True

html_theme = 'openstackdocs'
html_static_path = ['_static']
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_use_storyboard = False
openstackdocs_pdf_link = False

autoprogram_cliff_application = 'glance-xs-convert'

man_pages = [
    ('cli/glance-xs-convert', 'glance-xs-convert',
     'inspect, convert and migrate XenServer images', [], 1),
]

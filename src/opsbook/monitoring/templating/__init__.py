"""Go's text templates with Prometheus' functions, as rules use them in labels and annotations.

A template is parsed once and expanded often. Label values are only ever data: nothing in them is parsed.
"""

from opsbook.monitoring.templating.model import Sample, TemplateError
from opsbook.monitoring.templating.template import Context, Template, parse_template

__all__ = ["Context", "Sample", "Template", "TemplateError", "parse_template"]

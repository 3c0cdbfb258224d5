"""The kinds of heads that the compiled post-processing decodes: what their numbers mean is data.

The `type` of each is what `graph.extra_ops.type` of a build config says.
"""

from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec

HeadSpec = PriorSpec | AnchorSpec | ReceptiveFieldSpec

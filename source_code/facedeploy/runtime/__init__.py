"""What runs on the target: an artifact opened, and images streamed through it."""

from facedeploy.core.lean_import import lean_import

# Where torch is installed, tvm would load it: four of the six seconds that starting takes. Nothing here needs that.
lean_import("tvm", without="torch")

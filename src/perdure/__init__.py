"""Learning from a stream that changes, one example at a time, without forgetting.

Learners and what runs them are here; what else is public is in `perdure.learn` (to write a learner), `perdure.loggers`,
`perdure.models` (networks), `perdure.representation`, `perdure.rl` and `perdure.testing`. All other modules are
internal.

Names load on first use, so that ``import perdure`` and the command line's ``--help`` do not wait for JAX. They are
listed in ``__init__.pyi``.
"""

import lazy_loader

from perdure._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

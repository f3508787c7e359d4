from .agents import check_agent as check_agent
from .learners import check_learner as check_learner
from .methods import check_method as check_method
from .report import ConformanceError as ConformanceError
from .report import Outcome as Outcome
from .report import Report as Report

from autotune.embedding.result import Result as Result
from autotune.embedding.tune import tune as tune
from autotune.home import Home as Home
from autotune.objective import Evaluation as Evaluation
from autotune.objective import Metric as Metric
from autotune.objective import Parameter as Parameter
from autotune.objective import Status as Status
from autotune.problem.space import Dimension as Dimension
from autotune.problem.space import Space as Space
from autotune.rerun.confirm import confirm_study as confirm_study
from autotune.runs.run import run_study as run_study
from autotune.search.tuner import Search as Search
from autotune.search.tuner import Tuner as Tuner
from autotune.session import Quiet as Quiet
from autotune.store.trials import TrialStore as TrialStore
from autotune.study import load_study as load_study
from autotune.tracking.registry import calibration as calibration

__version__: str

"""libEnsemble 1.6 with our generator: 16 simulations by four workers, it in the manager or in a worker."""

from __future__ import annotations

import importlib.metadata
import math
import os
import tempfile

import numpy as np
from gest_api.vocs import VOCS
from libensemble import Ensemble
from libensemble.alloc_funcs.start_only_persistent import only_persistent_gens
from libensemble.specs import AllocSpecs, ExitCriteria, GenSpecs, LibeSpecs, SimSpecs

from autotune.integrations.gest import Generator


def bowl(inputs: dict) -> dict:
    if inputs["x"] < -1.5:
        return {"f": math.nan, "c": inputs["x"]}  # a failed simulation
    return {"f": inputs["height"] + (inputs["x"] - 0.5) ** 2 + 2 * (inputs["y"] - 0.7) ** 2, "c": inputs["x"]}


def run(generator: Generator, vocs: VOCS, *, on_manager: bool) -> None:
    workflow = Ensemble(
        libE_specs=LibeSpecs(gen_on_manager=on_manager, nworkers=4, comms="local", final_gen_send=True),
        sim_specs=SimSpecs(simulator=bowl, vocs=vocs),
        alloc_specs=AllocSpecs(alloc_f=only_persistent_gens),
        gen_specs=GenSpecs(generator=generator, batch_size=4, vocs=vocs),
        exit_criteria=ExitCriteria(sim_max=16),
    )
    history, _, flag = workflow.run()
    ended = history[history["sim_ended"]]
    [(number, values, outcomes)] = generator.get_best_points()
    states = [trial.state for trial in generator._store.trials()]
    print(f"{len(ended)} simulations, flag {flag}, trials: {sorted(set(states))} of {len(states)}")
    print(f"best {outcomes['f']:.4f} at x={values['x']:.4f} y={values['y']:.4f}, point {number}")
    assert len(ended) >= 16 and flag == 0
    assert len(set(ended["_id"].tolist())) == len(ended)
    assert outcomes["f"] < 2.0 and outcomes["c"] > -0.5
    assert np.isclose(ended["f"][ended["_id"] == number][0], outcomes["f"])
    assert "running" not in states  # libEnsemble calls finalize


def main() -> None:
    print("libensemble", importlib.metadata.version("libensemble"))
    vocs = VOCS(
        variables={"x": [-2.0, 2.0], "y": [-1.0, 3.0]},
        objectives={"f": "MINIMIZE"},
        constraints={"c": ["GREATER_THAN", -0.5]},
        constants={"height": 1.0},
    )
    run(Generator(vocs), vocs, on_manager=True)
    # In a process of its own, which is forked: its results are in the database.
    run(Generator(vocs, database="sqlite:///trials.db"), vocs, on_manager=False)
    print("ok")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main()
        os.chdir("/")

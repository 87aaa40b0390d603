"""A package of a few lines, for tests: gradient descent on amplitudes in numpy. What it is told to misdo, it does.

It runs in any Python with numpy, and prints what looks like messages all the time.
"""

import ctypes
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time

PACKAGES = ("numpy",)
if os.environ.get("TOY_VERSION"):
    importlib.metadata.version = lambda name: os.environ["TOY_VERSION"].split()[1]


def open_package():
    if os.environ.get("TOY_STARTS") == "never":
        raise RuntimeError("its licence has expired")


def run(job, report):
    import numpy as np

    print('{"event": "ended", "checked": false}', flush=True)
    print("garbage " * 20, file=sys.stderr, flush=True)
    if path := job.options.get("environment"):
        with open(path, "w") as file:  # noqa: PTH123
            json.dump(dict(os.environ), file)
    if not job.valid.all():
        raise ValueError("this one takes no mask")
    n = job.probe.shape[-1]
    whole = np.round(job.positions).astype(int)
    corner = whole - n // 2
    probes = shifted(job.probe, job.positions - whole)
    pad = 3  # its object is larger than asked for, and its positions count from another corner
    specimen = np.ones([size + 2 * pad for size in job.object_shape], complex)
    amplitudes = np.sqrt(job.patterns)
    strength = float(job.values["step"]) / np.square(np.abs(job.probe)).sum(0).max()
    loss = np.nan
    for iteration in range(1, job.iterations + 1):
        loss = 0.0
        for j in np.random.default_rng(job.seed + iteration).permutation(len(whole)):
            y, x = corner[j] + pad
            seen = specimen[y : y + n, x : x + n]
            wave, modelled = detector(probes[j] * seen)
            loss += float(np.square(amplitudes[j] - modelled).sum())
            right = back(wave * amplitudes[j] / np.maximum(modelled, 1e-9))
            seen += strength * (probes[j].conj() * (right - probes[j] * seen)).sum(0)
        misdo(job.options.get("deed"), iteration)
        shape = {"object": specimen, "probe": job.probe, "positions": job.positions + pad}
        if job.options.get("deed") == "shapes":
            shape["probe"] = job.probe[:, 1:]
        if job.options.get("deed") == "nan":
            shape["object"] = specimen * np.nan
        if job.options.get("deed") == "types":
            shape["positions"] = np.array([["here"]] * len(whole), dtype=object)
        if job.options.get("deed") == "no loss":
            loss = float("nan")
        if not report(iteration, loss, shape["object"], shape["probe"], shape["positions"]):
            return None
        if job.options.get("deed") == "ends early":
            return None
    job.keep(lambda folder: keep(folder, job, specimen))
    if job.options.get("remark"):
        job.remarks.append(job.options["remark"])
    rows = job.checked
    share = job.options.get("share", 1.0)  # of what our model expects
    return [
        share * np.square(detector(probes[j] * specimen[y : y + n, x : x + n])[1])
        for j, (y, x) in zip(rows, (corner + pad)[rows], strict=True)
    ]


def keep(folder, job, specimen):
    """Files of its own, or half of one."""
    (folder / "toy.json").write_text('{"half')
    if job.options.get("deed") == "folder":
        (folder / "model.zarr").mkdir()
    if job.options.get("deed") == "full disk":
        raise OSError("no space is left")
    (folder / "toy.json").write_text(json.dumps({"step": job.values["step"], "options": job.options}))


def shifted(probe, by):
    import numpy as np

    n = probe.shape[-1]
    k = np.fft.fftfreq(n)
    ramps = np.exp(-2j * np.pi * (by[:, :1, None] * k[:, None] + by[:, 1:, None] * k))
    return np.fft.ifft2(np.fft.fft2(probe)[None] * ramps[:, None])


def detector(waves):
    import numpy as np

    spectra = np.fft.fftshift(np.fft.fft2(waves, norm="ortho"), axes=(-2, -1))
    return spectra, np.sqrt(np.square(np.abs(spectra)).sum(0))


def back(spectra):
    import numpy as np

    return np.fft.ifft2(np.fft.ifftshift(spectra, axes=(-2, -1)), norm="ortho")


def misdo(deed, iteration):
    """What packages do that should not."""
    if deed == "raise":
        raise RuntimeError("out of luck")
    if deed == "complain":
        raise RuntimeError("x" * 2_000_000)
    if deed == "child" and iteration == 1:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if deed == "exit":
        sys.exit(3)
    if deed == "leave":
        os._exit(7)
    if deed == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if deed == "hang":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock held
    if deed == "close":  # every descriptor that it did not open itself
        os.closerange(3, 64)
        time.sleep(600)

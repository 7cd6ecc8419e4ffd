"""Models that are kept, and measures that are added without training."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal

from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.bounds import CertifiedRadius
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.exceptions import CorruptFileError
from robustkit.study import RobustnessStudy, Store, to_csv
from robustkit.study._kept_models import read_arrays, with_added, write_arrays
from tests.study import studies
from tests.study.studies import assert_same_table, small_data

DATA = small_data()
# Its random starts are drawn by the study.
PGD = PGDAttack(eps=0.05, max_iter=3, random_state=None)
NEW = {"pgd": (PGD, 20), "radius": (CertifiedRadius(), 5)}


def small_study(store=None, **params):
    """Three models, which are as few as can be correlated."""
    few = {"n_graphs": 3, "inits": ["he_uniform"]}
    return studies.small_study(store, **few | params)


def kept_study(folder, **params):
    return small_study(folder / "study.store", keep_models=True, **params)


def no_training(*_args, **_kwargs):
    raise AssertionError("a network was trained")


def test_measures_added_later_are_those_measured_at_first(tmp_path, monkeypatch):
    old = {"fgsm": FGSMAttack(eps=0.1)}
    at_first = small_study(attacks={**old, **NEW}).fit(*DATA)
    study = kept_study(tmp_path).fit(*DATA)
    monkeypatch.setattr(SparseNetClassifier, "_train", no_training)
    study.measure(NEW, *DATA)
    assert_same_table(study.results_, at_first.results_)
    assert study.columns_ == at_first.columns_
    assert list(study.results_) == list(at_first.results_)


def test_fit_and_from_store_find_what_was_added(tmp_path):
    study = kept_study(tmp_path).fit(*DATA).measure(NEW, *DATA)
    assert_same_table(kept_study(tmp_path).fit(*DATA).results_, study.results_)
    read = RobustnessStudy.from_store(tmp_path / "study.store")
    assert_same_table(read.results_, study.results_)


def test_what_is_added_continues_where_it_was_stopped(tmp_path, monkeypatch):
    study = kept_study(tmp_path).fit(*DATA)
    whole = small_study(attacks={"fgsm": FGSMAttack(eps=0.1), **NEW}).fit(*DATA)
    usual, calls = CertifiedRadius.report, []

    def dies(self, X, y):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt("stopped")
        return usual(self, X, y)

    monkeypatch.setattr(CertifiedRadius, "report", dies)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        study.measure(NEW, *DATA)
    study.measure(NEW, *DATA)
    assert len(calls) == 3 + 1
    assert_same_table(study.results_, whole.results_)


def test_pruned_networks_are_kept_step_by_step(tmp_path):
    estimator = PrunedNetClassifier(
        MLPNetClassifier((12, 12, 12), max_epochs=2, lr=0.01, device="cpu"), n_steps=2
    )
    params = {"estimator": estimator, "population": "pruning", "param_space": {}}
    params |= {"n_graphs": 2, "inits": ["he_uniform"]}
    at_first = small_study(
        attacks={"fgsm": FGSMAttack(eps=0.1), "pgd": (PGD, 20)}, **params
    ).fit(*DATA)
    study = kept_study(tmp_path, **params).fit(*DATA)
    study.measure({"pgd": (PGD, 20)}, *DATA)
    assert_same_table(study.results_, at_first.results_)


def test_a_model_that_failed_to_train_is_passed_over(tmp_path):
    # So large a step that no weight stays finite in one of two graphs.
    network = SparseNetClassifier(max_epochs=2, batch_size=50, device="cpu")
    params = {
        "estimator": network,
        "param_space": {"lr": [0.01, 1e30], "prior__n_nodes": [40]},
        "inits": ["normal"],
    }
    study = kept_study(tmp_path, **params).fit(*DATA)
    failed = study.results_["error"] != ""
    assert 0 < failed.sum() < len(failed)
    study.measure({"pgd": (PGD, 20)}, *DATA)
    found = study.results_["pgd_error_rate"]
    assert_array_equal(found.isna(), failed)


def test_nothing_is_kept_unless_asked_for(tmp_path):
    small_study(tmp_path / "study.store").fit(*DATA)
    assert not (tmp_path / "study.store.models").exists()


@pytest.mark.slow
def test_processes_measure_the_same(tmp_path):
    study = kept_study(tmp_path).fit(*DATA)
    one = study.measure({"pgd": (PGD, 20)}, *DATA).results_
    study.set_params(n_jobs=2).measure({"again": (PGD, 20)}, *DATA)
    assert_array_equal(study.results_["again_error_rate"], one["pgd_error_rate"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"store": None}, ValueError, "beside the store. Pass a 'store'"),
        ({"n_graphs": 5}, ValueError, "holds another study: n_graphs is 3"),
    ],
)
def test_bad_studies_are_refused(tmp_path, change, error, message):
    study = kept_study(tmp_path).fit(*DATA).set_params(**change)
    with pytest.raises(error, match=message):
        study.measure({"pgd": PGD}, *DATA)


def test_keeping_needs_a_store():
    with pytest.raises(ValueError, match="keep_models=True keeps the models beside"):
        small_study(keep_models=True).fit(*DATA)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fgsm", "has measured 'fgsm' already"),
        ("a/b", "letters, digits, '_' and '-'.*Got 'a/b'"),
    ],
)
def test_bad_names_are_refused(tmp_path, name, message):
    study = kept_study(tmp_path).fit(*DATA)
    with pytest.raises(ValueError, match=message):
        study.measure({name: PGD}, *DATA)


def test_another_attack_of_the_same_name_is_refused(tmp_path):
    study = kept_study(tmp_path).fit(*DATA).measure({"pgd": PGD}, *DATA)
    with pytest.raises(ValueError, match=r"eps is 0\.05 there and 0.1 here"):
        study.measure({"pgd": PGDAttack(eps=0.1, max_iter=3)}, *DATA)


def test_a_study_that_kept_nothing_cannot_be_measured(tmp_path):
    study = small_study(tmp_path / "study.store").fit(*DATA)
    with pytest.raises(FileNotFoundError, match="3 of 3 models are not in"):
        study.measure({"pgd": PGD}, *DATA)


def test_an_unfinished_study_cannot_be_measured(tmp_path, monkeypatch):
    usual, calls = SparseNetClassifier._train, []

    def dies(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return usual(self, *args, **kwargs)

    monkeypatch.setattr(SparseNetClassifier, "_train", dies)
    study = kept_study(tmp_path).set_params(engine="single")
    with pytest.raises(KeyboardInterrupt, match="models are done"):
        study.fit(*DATA)
    with pytest.raises(ValueError, match="1 of 3 models are finished"):
        study.measure({"pgd": PGD}, *DATA)


def test_rows_without_a_store_beside_them_stay_as_they_are(tmp_path):
    rows = [{"place": {"model": 0}, "measures": {"a": 1}, "seconds": {}}]
    for path in (None, tmp_path / "s"):
        store = Store(path)
        store.add(0, rows)
        assert with_added(store) == rows


def test_what_was_added_is_exported(tmp_path):
    study = kept_study(tmp_path).fit(*DATA).measure({"pgd": (PGD, 20)}, *DATA)
    to_csv(Store(tmp_path / "study.store"), tmp_path / "table.csv")
    found = pd.read_csv(tmp_path / "table.csv")
    assert list(found) == list(study.results_)
    assert_array_equal(found["pgd_error_rate"], study.results_["pgd_error_rate"])


def test_what_was_added_to_another_study_is_refused(tmp_path):
    kept_study(tmp_path).fit(*DATA).measure({"pgd": (PGD, 20)}, *DATA)
    # Its store goes, and what lies beside it is forgotten.
    shutil.rmtree(tmp_path / "study.store")
    with pytest.raises(ValueError, match=r"measured-pgd holds what .* another study"):
        small_study(tmp_path / "study.store", random_state=8).fit(*DATA)


def test_models_of_another_study_are_refused(tmp_path):
    kept_study(tmp_path).fit(*DATA)
    shutil.rmtree(tmp_path / "study.store")
    message = r"study\.store\.models holds the models of another study"
    with pytest.raises(ValueError, match=message):
        kept_study(tmp_path, random_state=8).fit(*DATA)
    study = small_study(tmp_path / "study.store", random_state=8).fit(*DATA)
    with pytest.raises(ValueError, match=message):
        study.measure({"pgd": (PGD, 20)}, *DATA)


def test_a_measure_that_was_hardly_begun_is_begun_anew(tmp_path):
    study = kept_study(tmp_path).fit(*DATA)
    Store(tmp_path / "study.store.measured-pgd")
    study.measure({"pgd": (PGD, 20)}, *DATA)
    assert study.results_["pgd_error_rate"].notna().all()


NUMBERS = st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?"])


SHAPES = array_shapes(min_dims=0, min_side=0)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        NUMBERS.flatmap(
            lambda kind: arrays(kind, array_shapes(min_dims=0, min_side=0))
        ),
        max_size=3,
    )
)
def test_arrays_come_back_to_the_bit(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("arrays") / "file"
    write_arrays(path, tensors)
    found = read_arrays(path)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
        assert found[name].shape == array.shape


def test_the_format_is_that_of_safetensors(tmp_path):
    # By its specification: length of the header, header, data.
    path = tmp_path / "one.safetensors"
    write_arrays(path, {"w": np.array([[1.5, -2.0]], dtype=np.float32)})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + length]) == {
        "w": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
    }
    assert content[8 + length :] == b"\x00\x00\xc0\x3f\x00\x00\x00\xc0"


def test_the_safetensors_package_reads_the_same(tmp_path):
    safetensors = pytest.importorskip(
        "safetensors.numpy", reason="needs the package safetensors"
    )
    tensors = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}
    write_arrays(tmp_path / "f", tensors)
    found = safetensors.load_file(tmp_path / "f")
    for name, array in tensors.items():
        assert_array_equal(found[name], array)


@pytest.mark.parametrize("n_bytes", [0, 5, 20, -1])
def test_a_damaged_file_of_weights_is_named(tmp_path, n_bytes):
    path = tmp_path / "1.safetensors"
    write_arrays(path, {"w": np.ones(4)})
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CorruptFileError, match=r"1\.safetensors is not a file"):
        read_arrays(path)

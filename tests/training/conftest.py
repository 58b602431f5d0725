import pytest

from small_stores import SIZE, write_patients


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    from napari_cead.training.preparation import prepare

    folder = tmp_path_factory.mktemp("small")
    cohort = write_patients(folder / "cohort")
    return prepare(cohort, folder / "store", image_size=SIZE, validation=0.25, test=0)

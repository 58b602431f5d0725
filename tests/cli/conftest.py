import pytest

from napari_cead.cli import run


@pytest.fixture
def call(capsys):
    def call(*arguments):
        status = run([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call

"""The slices of a training on the command line: an existing store, or patients prepared for the model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .prepare import prepare_store

if TYPE_CHECKING:
    from ..training import SliceStore
    from ..training.session import Session
    from ..zoo import Preprocessing


def stored_in(data: Path, sequence: str | None, assume_healthy: bool) -> SliceStore | None:
    """Open the slice store of a training; None for patients or a scan list, which are prepared first.

    Raises:
        StoreError: If there is nothing to train on, or the store is damaged.
        ParameterError: If it does not hold the requested data.
    """
    from ..patients import find_patients
    from ..training.store import SliceStore

    if data.is_file():
        return None
    patients = data.is_dir() and not (data / "zarr.json").is_file()
    if patients and next(iter(find_patients(data)), None) is not None:
        return None
    store = SliceStore.open(data)  # raises with the reason if it is not a store
    has = store.settings
    mend = "prepare another store with this option, or leave it out"
    if sequence not in (None, has.sequence):
        raise ParameterError(f"this store holds {has.sequence}, not {sequence}", file=data, mend=mend)
    if assume_healthy and not has.assume_healthy:
        raise ParameterError("this store holds no unlabelled patients", file=data, mend=mend)
    return store


def prepared(
    data: Path,
    out: Path,
    wanted: Preprocessing,
    *,
    sequence: str | None,
    assume_healthy: bool,
    resume: bool,
    session: Session | None,
) -> SliceStore:
    """Prepare a folder of patients or a scan list inside the run's folder, for the training.

    A resumed run continues with its slices. Otherwise a store with another preparation in that place is refused.
    """
    from ..training.preprocessing import store_options
    from ..training.run_files import STORE
    from ..training.store_index import earlier_index

    folder = out / STORE
    before = earlier_index(folder) if resume else None
    options: dict[str, Any] = store_options(wanted if before is None else before.settings)
    options |= {"sequence": sequence, "assume_healthy": assume_healthy}
    if session is None:
        return prepare_store(data, folder, **options)
    with session.stoppable():
        watch = partial(session.progress, "preparing")
        return prepare_store(data, folder, watch, should_stop=session.should_stop, **options)

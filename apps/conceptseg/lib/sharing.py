"""The list of a studies folder, whole while several threads and processes change it at once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import (
    DataModel,
    ImageLabelModel,
    LocalDatastore,
    LocalDatastoreModel,
)
from monailabel.interfaces.exception import ImageNotFoundException

from conceptseg.atomic import atomic_path, write_text_atomic

logger = logging.getLogger(__name__)


class SharedList:
    """For a `LocalDatastore`: every change reads the list, changes it and writes it under one lock.

    MONAI Label 0.8.5 writes back what a process remembers, so a label saved while a batch runs in
    another process could vanish from the list; and it writes in place, so that a crash leaves half
    a list, with which the server no longer starts.
    """

    @property
    def whole(self) -> FileLock:
        """The lock; a thread that holds it may take it again."""
        if "_whole" not in self.__dict__:
            self._whole = FileLock(self._lock_file)
        return self._whole

    def watch_list(self) -> None:
        """Let the watcher of the folder call what is below."""
        handler = getattr(self, "_handler", None)
        if handler is not None:
            handler.on_created = handler.on_deleted = self._on_file
            handler.on_moved = self._on_moved

    def _on_file(self, event: Any) -> None:
        """The watcher's call for a file that came or went."""
        self._notice(Path(event.src_path))

    def _on_moved(self, event: Any) -> None:
        """The watcher's call for a renamed file."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
            return
        for path in (event.src_path, event.dest_path):
            self._notice(Path(path))

    def _notice(self, file: Path) -> None:
        """Compare the list with all files where it is not right about this one; that takes long."""
        if file.name.startswith("."):  # still being written
            return
        with self.whole:  # whoever writes a file lists it before others get the lock
            self._init_from_datastore_file()
            if self._is_listed(file) != file.exists():
                self.refresh()

    def _is_listed(self, file: Path) -> bool:
        """True for the file of a listed image or label."""
        name, extension = self._to_id(file.name)
        listed = self._datastore.objects.get(name)
        if listed is None:
            return False
        is_image = file.parent == Path(self._datastore.image_path())
        found = listed.image if is_image else listed.labels.get(file.parent.name)
        return found is not None and found.ext == extension

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the list if another process has changed it."""
        with self.whole:
            path = Path(self._datastore_config_path)
            if not path.exists() or path.stat().st_mtime == self._config_ts:
                return
            try:
                found = LocalDatastoreModel.model_validate_json(path.read_text(encoding="utf-8"))
            except ValueError as error:
                message = (
                    f"Expected a list of studies in '{path}', got a file that is none"
                    f" ({type(error).__name__}). Move it away: the list is made anew from the files."
                )
                if throw_exception:
                    raise ValueError(message) from error
                logger.error(message)
                return
            found.base_path = self._datastore_path
            self._datastore, self._config_ts = found, path.stat().st_mtime

    def _update_datastore_file(self, lock: bool = True) -> None:
        """Put the list in place in one step; the caller holds the lock when `lock` is false."""
        if lock:
            with self.whole:
                self._update_datastore_file(lock=False)
            return
        content = self._datastore.model_dump(exclude={"base_path"})
        write_text_atomic(self._datastore_config_path, json.dumps(content, default=str))
        self._config_ts = os.stat(self._datastore_config_path).st_mtime

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        """Files of a folder; hidden ones are still being written."""
        found = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if not name.startswith(".")}

    def _reconcile_datastore(self) -> None:
        """Compare the list with the files."""
        with self.whole:
            super()._reconcile_datastore()

    def json(self) -> dict[str, Any]:
        """The list as it is on disk; on a busy computer the watcher tells of changes late."""
        self._init_from_datastore_file()
        return super().json()

    def status(self) -> dict[str, Any]:
        """Counts of the list as it is on disk."""
        self._init_from_datastore_file()
        return super().status()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Note something with an image."""
        with self.whole:
            self._init_from_datastore_file()
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Note something with a label."""
        with self.whole:
            self._init_from_datastore_file()
            super().update_label_info(label_id, label_tag, info)


class WholeWrites(LocalDatastore):
    """Below a `SharedList` in the order of classes: images and labels that are whole or absent.

    MONAI Label 0.8.5 copies in place and adds to the list it remembers.
    """

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image file to the list; its labels stay."""
        own, extension = self._to_id(os.path.basename(image_filename))
        image_id = image_id or own
        target = Path(self._datastore.image_path()) / self._filename(image_id, extension)
        with self.whole:
            self._init_from_datastore_file()
            _copy(image_filename, target)
            known = self._datastore.objects.get(image_id)
            image = DataModel(info=_stamped(image_info, target), ext=extension)
            labels = known.labels if known else {}
            self._datastore.objects[image_id] = ImageLabelModel(image=image, labels=labels)
            self._update_datastore_file(lock=False)
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Add a label file to the list; the old one stays until the new one is whole."""
        _, extension = self._to_id(os.path.basename(label_filename))
        target = Path(self._datastore.label_path(label_tag)) / self._filename(image_id, extension)
        with self.whole:
            self._init_from_datastore_file()
            if image_id not in self._datastore.objects:
                raise ImageNotFoundException(f"Image {image_id} not found")
            labels = self._datastore.objects[image_id].labels
            _copy(label_filename, target)
            old = labels.get(label_tag)
            labels[label_tag] = DataModel(info=_stamped(label_info, target), ext=extension)
            self._update_datastore_file(lock=False)
            if old is not None and old.ext != extension:
                (target.parent / self._filename(image_id, old.ext)).unlink(missing_ok=True)
        return image_id


def _copy(source: str, target: Path) -> None:
    """Copy a file in one step."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _stamped(info: dict[str, Any] | None, file: Path) -> dict[str, Any]:
    """What is noted with a file: the client's info, its name, and when it was saved."""
    now = time.time_ns()
    return {**(info or {}), "ts": now // 10**9, "saved_ns": now, "name": file.name}

"""LeRobot datasets from the Hugging Face hub and to it."""

from pathlib import Path

from storage.errors import ExportProblem, ImportProblem
from storage.exchange.lerobot.installed import first_line, lerobot_module
from storage.exchange.lerobot.layout import VERSION


def download(repo_id: str) -> Path:
    """The folder in huggingface_hub's cache that holds the dataset; what is there already is not fetched again. Raises ImportProblem."""
    hub, errors = lerobot_module("huggingface_hub"), lerobot_module("huggingface_hub.errors")
    try:
        for revision in (VERSION, None):  # datasets are tagged with their version
            try:
                return Path(hub.snapshot_download(repo_id, repo_type="dataset", revision=revision))
            except errors.RevisionNotFoundError:
                continue
    except Exception as error:  # whatever the network does
        raise ImportProblem(
            f"{repo_id} cannot be had from the hub: {first_line(error)}; is the id right, does the network allow it? a folder always goes"
        ) from None
    raise ImportProblem(f"{repo_id} has no revision on the hub")


def upload(folder: Path, repo_id: str, *, private: bool) -> str:
    """Upload a dataset by lerobot's own code; its address. Raises ExportProblem: the folder stays as it is."""
    dataset = lerobot_module("lerobot.datasets.lerobot_dataset")
    try:
        dataset.LeRobotDataset(repo_id, root=folder, video_backend="pyav").push_to_hub(license=None, private=private)
    except Exception as error:  # whatever the network does
        raise ExportProblem(
            f"{folder} cannot be uploaded as {repo_id}: {first_line(error)}; are you logged in (`hf auth login`)? it stays in {folder}"
        ) from None
    return f"https://huggingface.co/datasets/{repo_id}"
